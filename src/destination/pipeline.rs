//! The path of an event through a destination:
//!
//! a delivery is taken in ([`super::intake`]) and checked ([`super::check`], or [`super::mapping`] where that is hard); its event waits for the gate ([`super::dispatch`]), is
//! sent ([`super::send`]), its answer is judged ([`super::judge`]), and the event is settled ([`super::settlements`]) or waits again.
//!
//! One task moves all events, so that no part needs a lock. Requests and publications run beside each other inside it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Interval;

use super::attempt::Attempted;
use super::mapping::Mapped;
use super::suppressing::Suppressing;
use super::{DestinationCall, Driver, outcome};
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::gate::GateState;

/// Deliveries that are taken, and answers that are judged, before anything else is looked at.
const AT_ONCE: usize = 32;
/// The same of deliveries that may wait: a live one is not to wait until many of them are checked.
const BULK_AT_ONCE: usize = 4;
/// How often gauges are set and old deliveries looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Destinations keep house at common times, which are so far apart: each at a time of its own would wake the worker for each.
const TOGETHER: Duration = Duration::from_millis(50);

/// What happens next.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and a box would cost each answer more")]
enum Step {
    Delivered(Box<Delivery>),
    Answered(Attempted),
    Mapped(Mapped),
    /// Something may be sent or taken now that could not be before: a time has come, a copy is confirmed, the broker was heard.
    LookAgain,
    Called(DestinationCall),
    /// Somebody must not be written to any more, or may be again.
    Suppressed,
    Housekeeping,
    Stop,
}

impl Driver {
    /// Moves events on until the destination is stopped.
    pub(super) async fn run(&mut self) {
        let mut housekeeping = tokio::time::interval_at(first_of_many(), HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut stopped = std::pin::pin!(self.stop.clone().cancelled_owned());
        loop {
            self.noting_gate(Self::send_ready);
            self.adjust_prefetch();
            match self.step(&mut housekeeping, stopped.as_mut()).await {
                Step::Delivered(delivery) => self.take_with_others(*delivery),
                Step::Answered(attempted) => self.judge_with_others(attempted),
                Step::Mapped(mapped) => self.noting_gate(|driver| driver.mapped(mapped)),
                Step::LookAgain => {}
                Step::Called(call) => self.answer(call),
                Step::Suppressed => self.end_held_suppressed(),
                Step::Housekeeping => self.noting_gate(Self::keep_house),
                Step::Stop => return,
            }
        }
    }

    /// Waits for what happens next. What frees places comes first.
    async fn step(&mut self, housekeeping: &mut Interval, stopped: Pin<&mut impl Future<Output = ()>>) -> Step {
        let next = self.dispatch.next_at();
        tokio::select! {
            biased;
            () = stopped => Step::Stop,
            attempted = self.sender.answered() => Step::Answered(attempted),
            () = self.settlements.progress() => Step::LookAgain,
            () = self.side.tokens.progress() => Step::LookAgain,
            mapped = self.mapping.progress(), if self.mapping.is_busy() => Step::Mapped(mapped),
            () = wait_until(next) => {
                self.dispatch.look_now();
                Step::LookAgain
            }
            _ = housekeeping.tick() => Step::Housekeeping,
            Ok(()) = self.inbox.live.consuming.changed() => Step::LookAgain,
            Ok(()) = self.inbox.bulk.consuming.changed() => Step::LookAgain,
            booked = self.keeping.progress() => {
                if let Some(booked) = booked {
                    self.booked(booked);
                }
                Step::LookAgain
            }
            () = self.inbox.proof.renewed(), if self.dispatch.is_unproven => Step::LookAgain,
            () = Suppressing::changed(&mut self.suppressing), if self.suppressing.is_some() => Step::Suppressed,
            call = self.calls.recv() => call.map_or(Step::Stop, Step::Called),
            delivery = self.inbox.deliveries.recv() => delivery.map_or(Step::Stop, Step::Delivered),
            Some(delivery) = self.inbox.bulk_deliveries.recv() => Step::Delivered(delivery),
        }
    }

    /// A delivery, and those that came with it: what follows them all is done once.
    fn take_with_others(&mut self, delivery: Delivery) {
        let class = delivery.class;
        let at_once = match class {
            Class::Live => AT_ONCE,
            Class::Bulk => BULK_AT_ONCE,
        };
        self.noting_gate(|driver| {
            driver.take(delivery);
            for _ in 1..at_once {
                let Ok(delivery) = driver.inbox.deliveries_of(class).try_recv() else { return };
                driver.take(*delivery);
            }
        });
    }

    /// An answer, and those that came with it.
    fn judge_with_others(&mut self, attempted: Attempted) {
        self.noting_gate(|driver| driver.judge(attempted));
        for _ in 1..AT_ONCE {
            let Some(attempted) = self.sender.answered_too() else { return };
            self.noting_gate(|driver| driver.judge(attempted));
        }
    }

    /// Does something, and reports if the gate has changed.
    pub(super) fn noting_gate(&mut self, act: impl FnOnce(&mut Self)) {
        act(self);
        let now = clock::now();
        let after = self.dispatch.gate.state(now);
        let before = std::mem::replace(&mut self.report.last_state, after);
        if after == before {
            return;
        }
        let wall = clock::wall();
        if matches!(before, GateState::Throttled | GateState::Broken) && after == GateState::Open {
            self.dispatch.rest_few(&self.settings.retry.delays);
        }
        let status = self.dispatch.gate.status(now, wall);
        outcome::gate_changed(&self.settings.name, before, &status);
        if status.state == GateState::Parked {
            self.settlements.parked(&status.why);
        }
        self.report.recent.see(&status, wall);
    }
}

/// The last of the times at which destinations keep house.
fn first_of_many() -> tokio::time::Instant {
    let (now, wall) = (clock::now(), clock::wall());
    let since = wall.subsec_nanosecond().unsigned_abs() % TOGETHER.subsec_nanos();
    now.checked_sub(Duration::from_nanos(since.into())).unwrap_or(now).into()
}

/// Returns then; never where there is no time.
pub(super) async fn wait_until(until: Option<Instant>) {
    match until {
        Some(until) => clock::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
