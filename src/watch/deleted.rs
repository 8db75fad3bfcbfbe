//! Finds queues, and the exchange of events, that somebody deleted at the broker while a worker runs. Declares them again if that is allowed,
//! and logs it in any case.

use std::collections::BTreeMap;

use super::Watch;
use crate::broker::DestinationQueues;
use crate::class::Class;
use crate::destination::View;

/// What is known of queues from reading their depths.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// The messages that lay ready when it was last there, by queue. One that was never there is not missed.
    seen: BTreeMap<String, u32>,
    /// Deleted ones, and whether that was logged.
    gone: BTreeMap<String, bool>,
    /// Whether bindings went with their exchange and not all are there again.
    bindings_owed: bool,
}

impl Queues {
    /// Takes note of what was read now.
    pub fn note(&mut self, read: &[(String, Option<u32>)]) {
        for (queue, count) in read {
            match count {
                Some(count) => {
                    self.seen.insert(queue.clone(), *count);
                    self.gone.remove(queue);
                }
                None if self.seen.contains_key(queue) => {
                    self.gone.entry(queue.clone()).or_default();
                }
                None => {}
            }
        }
    }

    /// Those among `queues` that are gone, with the messages that were last seen in each.
    fn gone(&self, queues: &[String]) -> Vec<(String, u32)> {
        let gone = queues.iter().filter(|queue| self.gone.contains_key(*queue));
        gone.map(|queue| (queue.clone(), self.seen.get(queue).copied().unwrap_or_default())).collect()
    }

    /// Whether its loss is to be logged: once.
    fn is_news(&mut self, queue: &str) -> bool {
        self.gone.get_mut(queue).is_some_and(|said| !std::mem::replace(said, true))
    }

    /// Whether it is known to be there, or to have been there.
    pub fn has_seen(&self, queue: &str) -> bool {
        self.seen.contains_key(queue)
    }

    /// Takes note of queues that this worker made itself.
    pub fn note_made(&mut self, made: impl IntoIterator<Item = String>) {
        for queue in made {
            self.seen.entry(queue).or_default();
        }
    }

    /// As if it had never been there.
    fn forget(&mut self, queue: &str) {
        self.gone.remove(queue);
        self.seen.remove(queue);
    }

    fn back(&mut self, queue: &str) {
        self.gone.remove(queue);
        self.seen.insert(queue.to_owned(), 0);
    }
}

impl Watch {
    /// Declares again what is gone of the destinations' queues, and of what all share.
    pub(super) async fn restore(&self, views: &[View]) {
        if !self.broker.status().borrow().connected() {
            return;
        }
        for class in Class::ALL {
            self.restore_exchange(class, views).await;
        }
        // Nearly always: then nothing is looked up for any destination.
        if self.known_depths().queues.gone.is_empty() {
            return;
        }
        for view in views {
            self.restore_one(view).await;
        }
    }

    /// The exchange that producers publish to takes every binding with it.
    async fn restore_exchange(&self, class: Class, views: &[View]) {
        let Ok(is_there) = self.broker.has_exchange(class).await else { return };
        let exchange = self.broker.names().exchange_of(class);
        // A queue may be called like it.
        let key = format!("exchange {exchange}");
        let is_gone = {
            let mut known = self.known_depths();
            known.queues.note(&[(key.clone(), is_there.then_some(0))]);
            known.queues.bindings_owed || !known.queues.gone(std::slice::from_ref(&key)).is_empty()
        };
        if !is_gone || views.is_empty() {
            return;
        }
        let mut restored = Ok(());
        for wanted in views.iter().filter_map(|view| self.wanted(&view.name)) {
            restored = restored.and(self.broker.restore(&wanted).await);
        }
        let mut known = self.known_depths();
        known.queues.bindings_owed = restored.is_err();
        match restored {
            Ok(()) => {
                tracing::error!(
                    exchange,
                    "the exchange was deleted at the broker; it is declared again, with every destination's bindings"
                );
                known.queues.back(&key);
            }
            Err(error) if known.queues.is_news(&key) => {
                tracing::error!(exchange, "the exchange was deleted at the broker, and producers are refused: {error}");
            }
            Err(_) => {}
        }
    }

    /// What a destination needs at the broker.
    fn wanted(&self, name: &str) -> Option<DestinationQueues> {
        let destination = self.destination(name)?;
        let (subscribe, retry_delays) = (destination.patterns(), destination.retry.delays);
        Some(DestinationQueues { name: name.to_owned(), subscribe, retry_delays })
    }

    async fn restore_one(&self, view: &View) {
        let Some(wanted) = self.wanted(&view.name) else { return };
        let names = self.broker.names();
        let mut queues = vec![
            names.unrouted(),
            names.queue(&view.name),
            names.bulk(&view.name),
            names.dead(&view.name),
            names.trash(&view.name),
        ];
        let delay_queues = self.delay_queues(&view.name);
        {
            let known = self.known_depths();
            let seen = delay_queues.iter().map(|queue| &queue.name).filter(|queue| known.queues.has_seen(queue));
            queues.extend(seen.cloned());
        }
        if self.known_depths().queues.gone(&queues).is_empty() {
            return;
        }
        // With all of them, so that each that is made anew is named; most are read less often.
        let Ok(counts) = self.broker.depths(&queues).await else { return };
        let read: Vec<(String, Option<u32>)> = queues.iter().cloned().zip(counts).collect();
        let gone = {
            let mut known = self.known_depths();
            known.queues.note(&read);
            known.queues.gone(&queues)
        };
        let (delayed, gone): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|(queue, _)| delay_queues.iter().any(|delayed| delayed.name == *queue));
        let gone = gone.into_iter().chain(self.forget_delayed(&view.name, delayed)).collect::<Vec<_>>();
        if gone.is_empty() {
            return;
        }
        let restored = self.broker.restore(&wanted).await;
        let mut known = self.known_depths();
        for (queue, last_seen) in gone {
            let destination = view.name.as_str();
            match &restored {
                Ok(()) => {
                    tracing::error!(
                        destination,
                        queue,
                        last_seen,
                        "the queue was deleted at the broker and what was in it is lost; it is declared again, empty"
                    );
                    known.queues.back(&queue);
                }
                Err(error) if known.queues.is_news(&queue) => {
                    tracing::error!(
                        destination,
                        queue,
                        last_seen,
                        "the queue was deleted at the broker, and what was in it is lost: {error}"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Queues that are made at first use need not be there. What comes out are those that nobody may make.
    fn forget_delayed(&self, destination: &str, gone: Vec<(String, u32)>) -> Vec<(String, u32)> {
        let mut known = self.known_depths();
        let mut left = Vec::new();
        for (queue, last_seen) in gone {
            if !self.broker.forget_delay_queue(&queue) {
                left.push((queue, last_seen));
                continue;
            }
            tracing::error!(
                destination,
                queue,
                last_seen,
                "the queue was deleted at the broker and what was in it is lost; it is made again when an event needs it"
            );
            known.queues.forget(&queue);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(queue: &str, count: Option<u32>) -> [(String, Option<u32>); 1] {
        [(queue.to_owned(), count)]
    }

    #[test]
    fn a_queue_is_gone_when_it_was_there_before_and_that_is_news_once() {
        let (mut queues, dead) = (Queues::default(), ["px.dead".to_owned()]);
        queues.note(&read("px.dead", None));
        assert_eq!(queues.gone(&dead), [], "a worker that starts has not declared it yet");
        queues.note(&read("px.dead", Some(7)));
        for is_news in [true, false] {
            queues.note(&read("px.dead", None));
            assert_eq!(queues.gone(&dead), [("px.dead".to_owned(), 7)]);
            assert_eq!(queues.is_news("px.dead"), is_news);
        }
        queues.note(&read("px.dead", Some(0)));
        assert_eq!(queues.gone(&dead), [], "somebody made it");
        queues.note(&read("px.dead", None));
        assert!(queues.is_news("px.dead"), "deleted again");
        queues.back("px.dead");
        assert_eq!(queues.gone(&dead), []);
    }
}
