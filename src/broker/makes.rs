//! Queues that are made when something is first published to them: which are there, and what waits until one is. Pure, but for the making.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::link::Live;
use super::outbox::ALLOWED;
use super::port::{Publication, PublishError};
use super::topology::{Topology, TopologyError};

/// A queue's name, and whether it is there now.
pub(super) type Made = (String, Result<(), TopologyError>);

/// What makes one.
pub(super) type Making = BoxFuture<'static, Made>;

/// The names of queues that this worker made or found. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownQueues(Arc<Mutex<BTreeSet<String>>>);

impl KnownQueues {
    pub(super) fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for its queue.
#[derive(Default)]
pub(super) struct Makes {
    known: KnownQueues,
    /// In the order of their time, with that.
    waiting: VecDeque<(Instant, Publication)>,
    /// The queues that are being made.
    under_way: HashSet<String>,
}

impl Makes {
    pub(super) fn new(known: KnownQueues) -> Self {
        Self { known, ..Self::default() }
    }

    /// Comes back where its queue is there, as far as known, or nobody makes it. Otherwise it waits.
    pub(super) fn pass(&mut self, publication: Publication, now: Instant) -> Option<Publication> {
        if publication.delay.is_none() || self.known.names().contains(&publication.routing_key) {
            return Some(publication);
        }
        self.waiting.push_back((now + ALLOWED, publication));
        None
    }

    /// On a new channel: what was being made on the one before may be there or not.
    pub(super) fn begin_anew(&mut self) -> FuturesUnordered<Making> {
        self.under_way.clear();
        FuturesUnordered::new()
    }

    /// Makes the queues that something waits for, and that are not being made.
    pub(super) fn begin(&mut self, topology: &Topology, live: &Live) -> Vec<Making> {
        let mut begun = Vec::new();
        for queue in self.waiting.iter().filter_map(|(_, publication)| publication.delay.as_deref()) {
            if self.under_way.contains(&queue.name) {
                continue;
            }
            self.under_way.insert(queue.name.clone());
            let (topology, live, queue) = (topology.clone(), live.clone(), queue.clone());
            let making: Making = Box::pin(async move {
                let made = topology.ensure_delay(&live, &queue).await;
                (queue.name, made)
            });
            begun.push(making);
        }
        begun
    }

    /// What waited for that queue, with the reason where there is none.
    pub(super) fn made(&mut self, (queue, made): Made) -> Vec<(Publication, Option<PublishError>)> {
        self.under_way.remove(&queue);
        let trouble = made.err().map(|error| PublishError::NotMade { queue: queue.clone(), why: error.to_string() });
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(_, publication)| publication.routing_key == queue);
        self.waiting = waiting;
        if trouble.is_none() {
            let firsts = ready.iter().filter_map(|(_, publication)| publication.delay.as_deref());
            self.known.names().extend(firsts.take(1).map(|queue| queue.first.0.clone()).chain([queue]));
        }
        ready.into_iter().map(|(_, publication)| (publication, trouble.clone())).collect()
    }

    /// The broker returned it: somebody deleted its queue. The next one makes it again.
    pub(super) fn is_gone(&self, publication: &Publication) {
        if publication.delay.is_some() {
            self.known.names().remove(&publication.routing_key);
        }
    }

    /// What has waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Publication> {
        let mut expired = Vec::new();
        while let Some((_, publication)) = self.waiting.pop_front_if(|(due, _)| *due <= now) {
            expired.push(publication);
        }
        expired
    }

    /// When something has.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }

    /// Passes over what nobody waits for any more.
    pub(super) fn forget_unwanted(&mut self) {
        self.waiting.retain(|(_, publication)| !publication.outcome.is_closed());
    }

    /// Drops what waits, so that it counts as lost.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::broker::DelayQueue;
    use crate::clock;
    use crate::message::Message;

    type Answer = oneshot::Receiver<Result<(), PublishError>>;

    /// To the retry queue of that delay, of 5 s, 30 s and 60 s.
    fn retry(seconds: u64) -> (Publication, Answer) {
        let delays = [5, 30, 60].map(Duration::from_secs);
        let queue = DelayQueue::retry("sluice.px", Duration::from_secs(seconds), &delays);
        let (outcome, answer) = oneshot::channel();
        let (exchange, routing_key, delay) = (String::new(), queue.name.clone(), Some(Box::new(queue)));
        (Publication { exchange, routing_key, message: Message::default(), delay, outcome }, answer)
    }

    #[test]
    fn what_goes_to_a_queue_that_is_not_known_waits_until_it_is_made_and_later_ones_do_not() {
        let (mut makes, now) = (Makes::default(), clock::now());
        let (thirty, other) = (retry(30), retry(60));
        let queue = thirty.0.routing_key.clone();
        assert!(makes.pass(thirty.0, now).is_none() && makes.pass(other.0, now).is_none());
        let ready = makes.made((queue.clone(), Ok(())));
        assert!(matches!(&ready[..], [(publication, None)] if publication.routing_key == queue));
        assert!(!makes.is_empty(), "one waits for another queue");
        for known in [30, 5] {
            assert!(makes.pass(retry(known).0, now).is_some(), "the first one was made with it: {known}");
        }
        makes.is_gone(&retry(30).0);
        assert!(makes.pass(retry(30).0, now).is_none(), "it is made again");
    }

    #[test]
    fn where_a_queue_cannot_be_made_each_that_waits_is_told_why_and_the_next_one_tries_again() {
        let (mut makes, now) = (Makes::default(), clock::now());
        let _waiting = [makes.pass(retry(30).0, now), makes.pass(retry(30).0, now)];
        let queue = retry(30).0.routing_key;
        let told = makes.made((queue, Err(TopologyError::Missing("no queue".to_owned()))));
        assert_eq!(told.len(), 2);
        for (_, why) in told {
            let why = why.unwrap().to_string();
            assert!(why.contains("sluice.px.retry.30") && why.contains("declare = \"create\""), "{why}");
        }
        assert!(makes.pass(retry(30).0, now).is_none());
    }

    #[test]
    fn what_has_waited_as_long_as_a_publication_may_is_given_up() {
        let (mut makes, now) = (Makes::default(), clock::now());
        let (first, _answer) = retry(30);
        assert!(makes.pass(first, now).is_none());
        assert_eq!(makes.next_due(), Some(now + ALLOWED));
        assert!(makes.expire(now).is_empty());
        assert_eq!(makes.expire(now + ALLOWED).len(), 1);
        let (unwanted, answer) = retry(30);
        assert!(makes.pass(unwanted, now).is_none());
        drop(answer);
        makes.forget_unwanted();
        assert!(makes.is_empty());
    }
}
