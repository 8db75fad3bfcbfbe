//! A lease that an operator begins anew.

use std::time::Instant;

use super::Machine;
use crate::lease::act::Act;
use crate::lease::note::{Note, Says};
use crate::lease::place::Place;

impl Machine {
    /// An operator's note counts more than any other.
    pub(super) fn begin_anew(&mut self, note: Note, now: Instant) {
        let term = self.best.as_ref().map_or(0, |best| best.term).max(self.term);
        self.stop();
        self.why_stuck = None;
        self.is_mine = false;
        self.acts.extend(self.in_hand.take_unreadable().into_iter().map(Act::Ack));
        let note = Note { term, version: u64::MAX, ..note };
        self.in_hand.rename_last(note.id());
        self.best = None;
        self.first_note = Some(now);
        self.consider(note, now);
        self.tick(now);
    }

    /// Whether an operator's note counts, and nobody drives by it yet.
    pub(super) fn waits_after_reset(&self) -> bool {
        matches!(self.place, Place::Waiting(_)) && self.best.as_ref().is_some_and(|best| best.says == Says::Reset)
    }

    /// A note that lay in the queue before the reset, and comes after it since the consumer before had it: its owner may have sent.
    pub(super) fn outdate(&mut self, tag: u64, note: &Note, now: Instant) {
        if let Some(reset) = &mut self.best {
            let before = reset.id();
            reset.term = reset.term.max(note.term);
            self.in_hand.rename(before, reset.id());
        }
        if let Place::Waiting(until) = self.place {
            self.place = Place::Waiting(until.max(now + self.outlasting(note)));
        }
        self.ack(tag);
    }
}
