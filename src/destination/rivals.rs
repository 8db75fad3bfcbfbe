//! Other consumers of a destination's queue: a worker of a version before the lease, or a program that nobody thought of. Such a one sends
//! without regard to what this worker sends. So that the vendor's limits hold, this one yields to it.

use std::time::{Duration, Instant};

use super::Driver;
use crate::clock;

/// A worker that is frozen or cut off stays a consumer until its heartbeats are missed, and on a node that died for longer: it is no rival.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of other consumers.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// Since when each look found some.
    since: Option<Instant>,
    is_yielding: bool,
}

impl Rivals {
    /// Whether they have been there for so long that nothing is sent beside them.
    pub fn is_yielding(&self) -> bool {
        self.is_yielding
    }

    /// That many were found; returns whether anything changes by that.
    fn found(&mut self, others: u32, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if others == 0 {
            self.since = None;
        }
        let yields = others > 0 && now.saturating_duration_since(since) >= PATIENCE;
        std::mem::replace(&mut self.is_yielding, yields) != yields
    }
}

impl Driver {
    /// Its queue has that many consumers, of which this worker may be one.
    pub(super) fn note_consumers(&mut self, consumers: u32) {
        let own = u32::from(*self.inbox.live.consuming.borrow());
        // Who stands by sees the driver's.
        let others = if self.keeping.lease.drives() { consumers.saturating_sub(own) } else { 0 };
        if !self.rivals.found(others, clock::now()) {
            return;
        }
        self.dispatch.look_now();
        let destination = self.settings.name.as_str();
        match self.yields_because() {
            Some(why) => tracing::error!(destination, others, "{why}"),
            None => tracing::info!(destination, "its queue has no other consumer any more; it goes on"),
        }
    }

    /// Why nothing is sent, where another program consumes the queue.
    pub(super) fn yields_because(&self) -> Option<&'static str> {
        self.rivals.is_yielding().then_some(
            "another program consumes its queue too and heeds none of its limits (an older version of Sluice, or a tool); this worker sends \
             nothing until that one is stopped",
        )
    }

    /// Whether events may be taken in to be sent.
    pub(super) fn may_take(&self) -> bool {
        self.keeping.lease.drives() && self.knows_suppressed() && !self.rivals.is_yielding()
    }
}
