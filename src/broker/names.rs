//! The names of every object at the broker, from one prefix. Pure; the only place that spells them.

use std::time::Duration;

use super::later;
use crate::class::Class;

/// What the name of a queue of bulk events ends with.
const BULK: &str = ".bulk";

/// Names under one prefix, `sluice` unless configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names that start with `prefix`.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Topic exchange where producers publish.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// Topic exchange where producers publish what may wait behind other events.
    #[must_use]
    pub fn bulk_events(&self) -> String {
        format!("{}.bulk", self.prefix)
    }

    /// The exchange for events of that class.
    #[must_use]
    pub fn exchange_of(&self, class: Class) -> String {
        match class {
            Class::Live => self.events(),
            Class::Bulk => self.bulk_events(),
        }
    }

    /// Fanout exchange, and the queue behind it, for events that no destination subscribes to.
    #[must_use]
    pub fn unrouted(&self) -> String {
        format!("{}.unrouted", self.prefix)
    }

    /// Fanout exchange that carries commands to every worker.
    #[must_use]
    pub fn control(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// Topic exchange where receipts are published.
    #[must_use]
    pub fn receipts(&self) -> String {
        format!("{}.receipts", self.prefix)
    }

    /// A destination's queue.
    #[must_use]
    pub fn queue(&self, destination: &str) -> String {
        format!("{}.{destination}", self.prefix)
    }

    /// A destination's queue of events that may wait behind the others.
    #[must_use]
    pub fn bulk(&self, destination: &str) -> String {
        format!("{}.{destination}{BULK}", self.prefix)
    }

    /// A destination's queue of that class.
    #[must_use]
    pub fn queue_of(&self, destination: &str, class: Class) -> String {
        match class {
            Class::Live => self.queue(destination),
            Class::Bulk => self.bulk(destination),
        }
    }

    /// The class of the events in one of a destination's two queues.
    #[must_use]
    pub fn class_of(queue: &str) -> Class {
        // A destination may be called `bulk` itself.
        Class::bulk_if(queue.strip_suffix(BULK).is_some_and(|queue| queue.contains('.')))
    }

    /// A destination's dead letters.
    #[must_use]
    pub fn dead(&self, destination: &str) -> String {
        format!("{}.{destination}.dead", self.prefix)
    }

    /// A destination's discarded dead letters.
    #[must_use]
    pub fn trash(&self, destination: &str) -> String {
        format!("{}.{destination}.trash", self.prefix)
    }

    /// Who did what.
    #[must_use]
    pub fn audit(&self) -> String {
        format!("{}.audit", self.prefix)
    }

    /// The stream of what became of events.
    #[must_use]
    pub fn history(&self) -> String {
        format!("{}.history", self.prefix)
    }

    /// The stream of those who must not be written to.
    #[must_use]
    pub fn suppressed(&self) -> String {
        format!("{}.suppressed", self.prefix)
    }

    /// Where the outcomes of the letters go that one operation replays.
    #[must_use]
    pub fn outcomes(&self, operation: &str) -> String {
        format!("{}.replay.{operation}", self.prefix)
    }

    /// Has one message: the worker that it is sent to drives the destination.
    #[must_use]
    pub fn lease(&self, destination: &str) -> String {
        format!("{}.{destination}.lease", self.prefix)
    }
}

/// A queue where messages lie for a fixed time, and which then puts them into another. It is made when something is first published to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayQueue {
    /// Its name, which follows from the rest.
    pub name: String,
    /// How long messages lie there.
    pub delay: Duration,
    /// The queue that they go to then.
    pub returns_to: String,
    /// The first queue of its kind, with its delay. It is made with each of them: where it is missing there is none.
    pub first: (String, Duration),
}

impl DelayQueue {
    /// Where events of the queue `returns_to` wait for their next attempt: one for each of `delays`, which are those of the configuration.
    #[must_use]
    pub fn retries(returns_to: &str, delays: &[Duration]) -> Vec<Self> {
        delays.iter().map(|delay| Self::retry(returns_to, *delay, delays)).collect()
    }

    /// The one of them for `delay`.
    #[must_use]
    pub fn retry(returns_to: &str, delay: Duration, delays: &[Duration]) -> Self {
        Self::new("retry", returns_to, delay, delays.first().copied().unwrap_or(delay))
    }

    /// Where events of that queue wait that may not be sent yet: one for each delay of [`super::later`].
    #[must_use]
    pub fn laters(returns_to: &str) -> Vec<Self> {
        later::DELAYS.iter().map(|delay| Self::later(returns_to, *delay)).collect()
    }

    /// The one of them for `delay`.
    #[must_use]
    pub fn later(returns_to: &str, delay: Duration) -> Self {
        Self::new("later", returns_to, delay, later::DELAYS[0])
    }

    /// Named in seconds, in milliseconds when they are not whole.
    fn new(kind: &str, returns_to: &str, delay: Duration, first: Duration) -> Self {
        let name = |delay: Duration| match delay.subsec_nanos() {
            0 => format!("{returns_to}.{kind}.{}", delay.as_secs()),
            _ => format!("{returns_to}.{kind}.{}ms", delay.as_millis()),
        };
        Self { name: name(delay), delay, returns_to: returns_to.to_owned(), first: (name(first), first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_carries_the_prefix_and_its_destination() {
        let names = Names::new("acme");
        assert_eq!(names.events(), "acme.events");
        assert_eq!(names.queue("px"), "acme.px");
        assert_eq!(names.dead("px"), "acme.px.dead");
        assert_eq!(names.queue_of("px", Class::Live), "acme.px");
        assert_eq!(names.queue_of("px", Class::Bulk), "acme.px.bulk");
        assert_eq!(Class::ALL.map(|class| names.exchange_of(class)), ["acme.events", "acme.bulk"]);
        for destination in ["px", "bulk"] {
            assert_eq!(Class::ALL.map(|class| Names::class_of(&names.queue_of(destination, class))), Class::ALL);
        }
    }

    #[test]
    fn a_retry_queue_is_named_after_the_queue_that_it_returns_to_and_its_delay() {
        let delays = [Duration::from_millis(1500), Duration::from_secs(600)];
        let queues = DelayQueue::retries("acme.px.bulk", &delays);
        let of =
            |queue: &DelayQueue| (queue.name.clone(), queue.delay, queue.returns_to.clone(), queue.first.0.clone());
        let first = "acme.px.bulk.retry.1500ms".to_owned();
        let main = "acme.px.bulk".to_owned();
        assert_eq!(of(&queues[0]), (first.clone(), delays[0], main.clone(), first.clone()));
        assert_eq!(of(&queues[1]), ("acme.px.bulk.retry.600".to_owned(), delays[1], main, first));
    }
}
