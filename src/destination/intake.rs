//! Takes deliveries from the queue, counts and checks them. Then they are ready, wait for a lookup or to be mapped, or are dead letters.

use std::time::Instant;

use jiff::Timestamp;

use super::check::{self, Checked, Pending, Reading};
use super::invalid::Invalids;
use super::settler::Tag;
use super::{Driver, judge, outcome};
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::event;
use crate::message::Field;
use crate::message::header::REPLAY;
use crate::record::history::History;
use crate::record::origin::{self, Origin};
use crate::verdict::{Reason, Settlement};

/// What takes deliveries in.
pub(super) struct Intake {
    /// The largest body accepted, in bytes.
    pub max_event_bytes: usize,
    /// Whether events' subjects are recorded.
    pub keeps_subject: bool,
    pub invalids: Invalids,
}

impl Intake {
    /// What of a message is read.
    pub fn reading(&self) -> Reading {
        Reading { max_bytes: self.max_event_bytes, keeps_subject: self.keeps_subject }
    }

    /// Which event a delivery has, as far as that can be told without mapping it.
    pub fn identify(&self, delivery: &Delivery) -> (History, Tag) {
        let history = History::read(&delivery.message, &delivery.routing_key, clock::wall());
        let (routing_key, received) = (history.routing_key.as_str(), history.received);
        let context = event::Context { routing_key, received, max_bytes: self.max_event_bytes };
        let event = event::decode(&delivery.message, context);
        let tag = event.map_or_else(|malformed| malformed.identity.into(), Tag::of);
        (history, tag)
    }
}

impl Driver {
    /// Takes a delivery from the queue.
    pub(super) fn take(&mut self, delivery: Delivery) {
        self.count(&delivery);
        if self.goes_behind(&delivery) {
            return self.settlements.move_to_bulk(delivery);
        }
        let prefetch = match delivery.class {
            Class::Live => &mut self.prefetch,
            Class::Bulk => &mut self.bulk.prefetch,
        };
        prefetch.took(delivery.message.body.len());
        self.check(delivery);
    }

    fn count(&self, delivery: &Delivery) {
        let metrics = &self.report.metrics;
        metrics.consumed.inc();
        if delivery.redelivered {
            metrics.redelivered.inc();
            return;
        }
        match origin::of(&delivery.message) {
            Origin::Producer => metrics.received.inc(),
            Origin::Replay => {
                metrics.replayed.inc();
                self.tell_replayed(delivery);
            }
            Origin::Worker => {}
        }
    }

    fn tell_replayed(&self, delivery: &Delivery) {
        let (history, mut tag) = self.intake.identify(delivery);
        if self.intake.keeps_subject {
            tag.subject = event::subject(&delivery.message);
        }
        let operation = delivery.message.properties.headers.get(REPLAY).and_then(Field::as_str).unwrap_or_default();
        outcome::replayed(self.report.history.as_ref(), &self.settings.name, &tag, operation);
        self.settlements.replayed(tag, &history);
    }

    /// Decodes and checks a delivery that was taken then: its event is ready, it waits for an answer of the vendor's or to be mapped, or is a
    /// dead letter.
    pub(super) fn check_now(&mut self, delivery: Delivery, taken: Instant) {
        let (facts, read) = (self.side.lookups.consult(), self.intake.reading());
        let suppressing = self.suppressing.as_ref();
        let checked = check::check(delivery, &self.settings, suppressing, facts, read, (taken, clock::wall()));
        self.checked(checked, taken);
    }

    /// What a delivery that was taken then turned out to be.
    pub(super) fn checked(&mut self, checked: Checked, taken: Instant) {
        let lookups = &mut self.side.lookups;
        match checked {
            Checked::Ready(pending) if self.settlements.was_delivered(&pending) => self.acknowledge(*pending),
            Checked::Ready(pending) => match &pending.item.lookup {
                // What waits for a new lookup is before it.
                Some(name) if lookups.awaits(name) => {
                    lookups.need(name.clone(), judge::carrying_history(*pending), clock::now())
                }
                Some(_) | None => {
                    self.intake.invalids.went_well();
                    self.dispatch.push(pending);
                }
            },
            Checked::Hard(delivery) => self.map_aside(*delivery, taken),
            Checked::Sent(job, pending) => self.watch(&job, vec![pending], false),
            Checked::Later { delivery, history, tag, due } => self.put_aside(*delivery, *history, tag, due),
            Checked::Needs(name, delivery) => lookups.need(name, *delivery, clock::now()),
            Checked::Suppressed { delivery, history, tag } => self.end_suppressed(*delivery, *history, tag),
            Checked::Dead { delivery, history, tag, reason: Reason::TooOld, sentence } => {
                let replay = delivery.message.properties.headers.contains_key(REPLAY);
                self.end_too_old((*delivery, *history, tag), replay, sentence);
            }
            Checked::Dead { delivery, history, tag, reason, sentence } => {
                self.refuse(*delivery, *history, tag, reason, sentence);
            }
        }
    }

    /// Makes a dead letter of what cannot be sent.
    pub(super) fn dead_letter(
        &mut self,
        delivery: Delivery,
        history: History,
        tag: Tag,
        reason: Reason,
        sentence: String,
    ) {
        outcome::undeliverable(self.report.telling(&self.settings.name), &tag, reason, &sentence);
        self.settlements.settle_delivery(delivery, history, tag, Settlement::DeadLetter(reason, sentence));
    }

    /// Its time is over before it was sent: a dead letter, or dropped where the configuration says so. A letter that somebody replayed is never
    /// dropped.
    pub(super) fn end_too_old(
        &mut self,
        (delivery, history, tag): (Delivery, History, Tag),
        replay: bool,
        sentence: String,
    ) {
        if replay || !self.settings.drops_expired {
            return self.dead_letter(delivery, history, tag, Reason::TooOld, sentence);
        }
        outcome::dropped(self.report.telling(&self.settings.name), &tag, &sentence);
        self.settlements.settle_delivery(delivery, history, tag, Settlement::Drop(sentence));
    }

    /// It waits at the broker until it may be sent. That is told once, however often it comes back meanwhile.
    fn put_aside(&mut self, delivery: Delivery, mut history: History, tag: Tag, due: Timestamp) {
        if history.due != Some(due) {
            history.due = Some(due);
            self.report.metrics.scheduled.inc();
            outcome::scheduled(self.report.telling(&self.settings.name), &tag, due);
        }
        self.settlements.settle_delivery(delivery, history, tag, Settlement::Later(due));
    }

    /// Acks what the broker sent again although it had been delivered.
    pub(super) fn acknowledge(&mut self, pending: Pending) {
        outcome::known(self.report.telling(&self.settings.name), &pending.tag);
        self.settlements.settle(pending, Settlement::Ack);
    }
}
