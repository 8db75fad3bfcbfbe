//! Other consumers of a destination's queue: a worker of a version before the lease, or a program that nobody thought of. Such a one sends
//! without regard to what this worker sends. So that the vendor's limits hold, this one yields to it.

use std::time::{Duration, Instant};

use super::Driver;
use crate::clock;

/// A consumer that comes and goes is no rival: somebody looks at the queue, or a worker that was frozen is about to be missed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of other consumers.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// The connection that this worker consumed over at the last look.
    epoch: u64,
    /// How many others were there when it began to, or fewer since. They may be what a node that was cut off has left: such a consumer stays
    /// counted for as long as the node is away.
    left_over: Option<u32>,
    /// Since when each look found more.
    since: Option<Instant>,
    is_yielding: bool,
}

impl Rivals {
    /// Whether they have been there for so long that nothing is sent beside them.
    pub fn is_yielding(&self) -> bool {
        self.is_yielding
    }

    /// So many others were found beside this worker, or in its place; returns whether anything changes by that.
    fn found(&mut self, others: u32, epoch: u64, now: Instant) -> bool {
        if !self.is_yielding && std::mem::replace(&mut self.epoch, epoch) != epoch {
            self.left_over = None;
        }
        let left_over = self.left_over.map_or(others, |before| before.min(others));
        self.left_over = Some(left_over);
        self.since = (others > left_over).then(|| self.since.unwrap_or(now));
        let yields = self.since.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        std::mem::replace(&mut self.is_yielding, yields) != yields
    }
}

impl Driver {
    /// Its queue has that many consumers, of which this worker may be one, over the connection of that `epoch`.
    pub(super) fn note_consumers(&mut self, consumers: u32, epoch: u64) {
        if !self.keeping.lease.drives() {
            // The consumer is the driver's.
            self.rivals = Rivals::default();
            return;
        }
        let is_consuming = *self.inbox.live.consuming.borrow();
        // A queue that does not answer in time is told of as if nothing were there.
        if !self.rivals.is_yielding() && (!is_consuming || consumers == 0) {
            return;
        }
        let others = consumers.saturating_sub(u32::from(is_consuming));
        if !self.rivals.found(others, epoch, clock::now()) {
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
