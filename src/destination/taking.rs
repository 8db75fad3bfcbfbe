//! Deliveries from the queue: counted, decoded and checked; then they wait for the gate, for an answer of the vendor's, or are dead letters.

use super::hold::Mood;
use super::intake::{self, Pending, Taken};
use super::settle::Tag;
use super::{Driver, TAKEN_AT_ONCE, judge, outcome};
use crate::broker::port::Delivery;
use crate::clock;
use crate::event;
use crate::receipts;
use crate::record::history::History;
use crate::record::origin::{self, Origin};
use crate::verdict::{Reason, Settlement};

impl Driver {
    /// A delivery, and those that came with it: what follows them all is done once.
    pub(super) fn take_with_others(&mut self, delivery: Delivery) {
        self.take(delivery);
        for _ in 1..TAKEN_AT_ONCE {
            match self.inbox.deliveries.try_recv() {
                Ok(delivery) => self.take(delivery),
                Err(_) => return,
            }
        }
    }

    /// A delivery from the queue.
    fn take(&mut self, delivery: Delivery) {
        self.count(&delivery);
        if self.mood == Mood::Open {
            self.left_behind = None;
        }
        if self.batching.items > 1 {
            self.room.note(delivery.message.body.len());
        }
        self.check(delivery);
    }

    fn count(&self, delivery: &Delivery) {
        self.metrics.received.inc();
        if delivery.redelivered {
            self.metrics.redelivered.inc();
            return;
        }
        match origin::of(&delivery.message) {
            Origin::Producer => self.metrics.published.inc(),
            Origin::Replay => {
                self.metrics.replayed.inc();
                self.tell_replayed(delivery);
            }
            Origin::Worker => {}
        }
    }

    fn tell_replayed(&self, delivery: &Delivery) {
        let history = History::read(&delivery.message, &delivery.routing_key, clock::wall());
        let (routing_key, received) = (history.routing_key.as_str(), history.received);
        let context = event::Context { routing_key, received, max_bytes: self.max_event_bytes };
        let event = event::decode(&delivery.message, context);
        let tag = event.map_or_else(|malformed| malformed.identity.into(), |event| Tag::of(&event));
        self.desk.receipt(receipts::Outcome::Replayed, tag, &history, None);
    }

    /// Decodes and checks a delivery: it then waits for the gate, for an answer of the vendor's, or is a dead letter.
    pub(super) fn check(&mut self, delivery: Delivery) {
        let (now, wall) = (clock::now(), clock::wall());
        let vendor = self.settings.vendor.as_ref();
        let (map, facts) = (&self.settings.map, self.lookups.consult());
        match intake::take(delivery, vendor, map, facts, self.max_event_bytes, now, wall) {
            Taken::Ready(pending) if self.was_delivered(&pending) => self.acknowledge(*pending),
            Taken::Ready(pending) => match &pending.item.lookup {
                // What waits for a new lookup is before it.
                Some(name) if self.lookups.awaits(name) => {
                    self.lookups.need(name.clone(), judge::carrying_history(*pending), now);
                }
                Some(_) | None => {
                    self.invalids.went_well();
                    self.line.push(self.recalled(pending));
                }
            },
            Taken::Sent(job, pending) => self.watch(&job, vec![pending], false),
            Taken::Needs(name, delivery) => self.lookups.need(name, *delivery, now),
            Taken::Dead { delivery, history, tag, reason, sentence } => {
                self.refuse(*delivery, *history, tag, reason, sentence);
            }
        }
    }

    /// Makes a dead letter of what cannot be sent.
    pub(super) fn bury(&mut self, delivery: Delivery, history: History, tag: Tag, reason: Reason, sentence: String) {
        outcome::undeliverable(&mut self.recent, &self.settings.name, &tag, reason, &sentence);
        self.settle_later(delivery, history, tag, Settlement::DeadLetter(reason, sentence));
    }

    /// Acks what the broker sent again although it had been delivered.
    pub(super) fn acknowledge(&mut self, pending: Pending) {
        outcome::known(&mut self.recent, &self.settings.name, &pending.tag);
        self.settle(pending, Settlement::Ack);
    }
}
