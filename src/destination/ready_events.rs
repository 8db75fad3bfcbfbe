//! The events that wait for the gate, without the rest of a destination: so `benches/parts` times what is next and what travels with it.
//! Nothing else uses this.

use std::time::Instant;

use jiff::Timestamp;

use super::batching;
use super::check::{self, Checked, Reading};
use super::dispatch::{Dispatch, Turn};
use super::ready_queue::{Batch, Ready};
use super::turns::BulkFlow;
use crate::broker::port::Delivery;
use crate::config::Destination;
use crate::gate::Ledger;
use crate::vendors::Facts;

/// Events that wait for the gate of one destination, which lets all of them through.
pub struct ReadyEvents {
    settings: Destination,
    dispatch: Dispatch,
}

/// Events on their way to the vendor.
#[derive(Debug)]
pub struct Sent(Batch);

impl ReadyEvents {
    /// None yet.
    #[must_use]
    pub fn new(settings: Destination, now: Instant, wall: Timestamp) -> Self {
        let dispatch = Dispatch::new(&settings, &Ledger::default(), BulkFlow::default(), now, wall);
        Self { settings, dispatch }
    }

    /// A delivery comes and is checked, as far as that needs no answer of the vendor's.
    pub fn come(&mut self, delivery: Delivery, now: Instant, wall: Timestamp) {
        let reading = Reading { max_bytes: usize::MAX, keeps_subject: false };
        let checked = check::check(delivery, &self.settings, None, &Facts::blind(), reading, (now, wall));
        if let Checked::Ready(event) = checked {
            self.dispatch.push(event);
        }
    }

    /// What may go next goes out, if anything may.
    pub fn send(&mut self, now: Instant) -> Option<Sent> {
        let Turn::Events(Ready::Now(spot)) = self.dispatch.next_turn(|_| false, now) else { return None };
        let queue = self.dispatch.ready.of_mut(spot.class);
        let together = batching::together(&self.dispatch.batching, queue.len(), || 0);
        let batch = queue.take(spot.place, &self.dispatch.batching, together.then_some(now))?;
        self.dispatch.sent(&batch, now);
        Some(Sent(batch))
    }

    /// They are answered, and others like them come.
    pub fn answered(&mut self, Sent(batch): Sent) {
        self.dispatch.came_back(&batch);
        batch.events.into_iter().for_each(|event| self.dispatch.push(event));
    }
}
