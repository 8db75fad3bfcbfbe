//! The names of every object at the broker, from one prefix. Pure; the only place that spells them.

use std::time::Duration;

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

    /// Where a destination's events wait for `delay`: named in seconds, in milliseconds when they are not whole.
    #[must_use]
    pub fn retry(&self, destination: &str, delay: Duration) -> String {
        let queue = self.queue(destination);
        if delay.subsec_nanos() == 0 {
            format!("{queue}.retry.{}", delay.as_secs())
        } else {
            format!("{queue}.retry.{}ms", delay.as_millis())
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_carries_the_prefix_and_its_destination() {
        let names = Names::new("acme");
        assert_eq!(names.events(), "acme.events");
        assert_eq!(names.queue("px"), "acme.px");
        assert_eq!(names.retry("px", Duration::from_secs(600)), "acme.px.retry.600");
        assert_eq!(names.retry("px", Duration::from_millis(1500)), "acme.px.retry.1500ms");
        assert_eq!(names.dead("px"), "acme.px.dead");
    }
}
