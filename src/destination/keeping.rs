//! The lease, as the driver sees it: whether it may send, and what its successor would have to know.

use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::civil::Date;
use tokio::sync::watch;

use super::ledger::Sealer;
use super::{Beside, Driver, Handover, ledger};
use crate::clock;
use crate::gate::Ledger;
use crate::lease::port::{DriverEnd, Recorded};
use crate::seal::Seal;

/// The driver's lease, and what is kept in it.
pub(super) struct Keeping {
    pub lease: DriverEnd,
    /// Who drives it elsewhere, or why nobody does.
    pub beside: watch::Receiver<Beside>,
    /// When an operator's command was last heard here.
    pub commanded: Option<Instant>,
    sealer: Sealer,
    /// Something is to be sent and there is no proof.
    pub is_waiting: bool,
    /// A booking on its way to the broker: the day, and up to where.
    booking: FuturesUnordered<BoxFuture<'static, (Date, u64, Recorded)>>,
}

impl Keeping {
    pub fn new(lease: DriverEnd, beside: watch::Receiver<Beside>, seal: Option<Seal>) -> Self {
        Self {
            lease,
            beside,
            commanded: None,
            sealer: Sealer::new(seal),
            is_waiting: false,
            booking: FuturesUnordered::new(),
        }
    }

    /// Returns the next booking that the broker has; or nothing, where a proof came that was waited for.
    pub async fn progress(&mut self) -> Option<(Date, u64, Recorded)> {
        let Self { lease, booking, is_waiting, .. } = self;
        tokio::select! {
            Some(booked) = booking.next(), if !booking.is_empty() => Some(booked),
            () = lease.renewed(), if *is_waiting => None,
            else => std::future::pending().await,
        }
    }
}

impl Driver {
    /// Whether requests may be sent as far as the lease goes.
    pub(super) fn may_send(&mut self) -> bool {
        let may = self.keeping.lease.may_send(clock::now());
        self.keeping.is_waiting = !may;
        may
    }

    /// Books more of the day's budget where that is due.
    pub(super) fn book(&mut self) {
        let is_due = self.keeping.booking.is_empty() && self.keeping.lease.is_kept();
        // Most destinations have no day's budget, and then no clock is read.
        if !is_due || self.dispatch.gate.day_limit().is_none() {
            return;
        }
        let (now, wall) = (clock::now(), clock::wall());
        let Some(booked) = self.dispatch.gate.to_book(now, wall) else { return };
        let (day, used) = (booked.day, booked.used);
        let recorded = self.keeping.lease.record(self.ledger(Some(booked)));
        self.keeping.booking.push(Box::pin(async move {
            let recorded = recorded.await;
            (day, used, recorded)
        }));
    }

    /// What was to be booked is, or cannot be while the broker takes no messages: then as much may be used as the next driver would take
    /// for used, which is what the time of day says.
    pub(super) fn booked(&mut self, (day, used, recorded): (Date, u64, Recorded)) {
        let used = match recorded {
            Recorded::Yes => used,
            Recorded::NotNow => {
                let limit = self.dispatch.gate.day_limit().unwrap_or(0);
                let spent = Ledger::spent_by(limit, &self.settings.day_starts, clock::wall());
                if spent.day == day { used.min(spent.used) } else { 0 }
            }
        };
        self.dispatch.gate.booked(day, used);
    }

    /// Has the ledger kept within a moment.
    pub(super) fn note_ledger(&self) {
        if self.keeping.lease.is_kept() {
            let (now, wall) = (clock::now(), clock::wall());
            self.keeping.lease.note(self.ledger(self.dispatch.gate.booked_ledger(now, wall)));
        }
    }

    /// Has the ledger kept at once; returns when it is. None where it is kept nowhere.
    pub(super) fn record_ledger(&self) -> Option<BoxFuture<'static, ()>> {
        let (now, wall) = (clock::now(), clock::wall());
        let ledger = || self.ledger(self.dispatch.gate.booked_ledger(now, wall));
        self.keeping.lease.is_kept().then(|| self.keeping.lease.record(ledger()).map(|_| ()).boxed())
    }

    /// What the lease's note carries, with that of the gate's.
    fn ledger(&self, gate: Option<Ledger>) -> serde_json::Value {
        let handover = self.handover();
        let ledger = gate.unwrap_or(handover.ledger);
        ledger::write(&Handover { ledger, ..handover }, &self.keeping.sealer)
    }

    /// What a successor has to know, but for what happened lately.
    fn handover(&self) -> Handover {
        let (now, wall) = (clock::now(), clock::wall());
        Handover {
            ledger: self.dispatch.gate.ledger(now, wall),
            tokens: self.side.tokens.get().map(|tokens| tokens.stored(now, wall)),
            commands: self.commands.clone(),
            limits: ledger::Limits::of(&self.configured, &self.settings.limits),
            bulk: self.bulk_orders(),
            ..Handover::default()
        }
    }

    pub(super) fn into_handover(self) -> Handover {
        let handover = self.handover();
        Handover { recent: self.report.recent, ..handover }
    }
}
