//! What is done every second: gauges are shown, and what was held too long is given back.

use std::time::Instant;

use super::check::Pending;
use super::outcome::Telling;
use super::recent::Recent;
use super::{Driver, demand};
use crate::clock;
use crate::gate::GateState;
use crate::history::Recorder;
use crate::metrics::DestinationMetrics;
use crate::verdict::Settlement;

/// What a destination reports: metrics, recent events, and changes of its gate.
pub(super) struct Report {
    pub recent: Recent,
    pub metrics: DestinationMetrics,
    /// Where each step of an event's way is recorded, if that is wanted.
    pub history: Option<Recorder>,
    /// The last state of the gate that was reported.
    pub last_state: GateState,
    /// When gauges were last shown.
    swept: Instant,
}

impl Report {
    pub fn new(
        recent: Recent,
        (metrics, history): (DestinationMetrics, Option<Recorder>),
        last_state: GateState,
        now: Instant,
    ) -> Self {
        Self { recent, metrics, history, last_state, swept: now }
    }

    /// Where an outcome at that destination is told.
    pub fn telling<'a>(&'a mut self, destination: &'a str) -> Telling<'a> {
        Telling { recent: &mut self.recent, history: self.history.as_ref(), destination }
    }
}

impl Driver {
    /// Shows gauges, and gives back what was held too long.
    pub(super) fn keep_house(&mut self) {
        self.end_pause();
        self.show();
        self.note_ledger();
        self.book();
        let now = clock::now();
        let too_long = |event: &Pending| now.saturating_duration_since(event.taken) > demand::LONGEST_HOLD;
        let held_long = self.dispatch.ready.remove_if(too_long);
        let mut went = !held_long.is_empty();
        held_long.into_iter().for_each(|event| self.settlements.settle(*event, Settlement::Release));
        let mut unread = self.side.lookups.sweep(now);
        unread.extend(self.intake.invalids.sweep(now));
        went |= !unread.is_empty();
        unread.extend(self.mapping.sweep(now, went));
        unread.sort_by_key(|delivery| delivery.ticket.tag());
        unread.into_iter().for_each(|delivery| self.settlements.give_back(delivery));
        self.check_invalid_again();
        let unsettled = |event: &Pending| now.saturating_duration_since(event.taken) > demand::LONGEST_UNSETTLED;
        let overdue = self.side.jobs.overdue(|event| unsettled(event) || !event.delivery.ticket.is_live());
        self.ask_later(overdue);
        self.dispatch.ordering_keys.sweep(now);
    }

    fn show(&mut self) {
        let (now, wall) = (clock::now(), clock::wall());
        let status = self.dispatch.gate.status(now, wall);
        let (in_flight, waits) = (self.sender.in_flight(), self.waits());
        let Report { recent, metrics, swept, .. } = &mut self.report;
        if status.state != GateState::Open {
            metrics.closed_seconds.inc_by(now.saturating_duration_since(*swept).as_secs_f64());
        }
        *swept = now;
        recent.see(&status, wall);
        recent.sample(&status, metrics.delivered.get(), now, wall);
        metrics.show(&status, in_flight, waits);
        metrics.show_quiet(self.hours.quiet(now, wall).is_some());
        metrics.show_copies(self.settlements.copies_waiting());
        if self.dispatch.ready.len() == 0 || status.state != GateState::Open {
            self.inbox.proof.want(None);
        }
        metrics.show_token(self.side.tokens.get().and_then(|tokens| tokens.age(wall)));
    }
}
