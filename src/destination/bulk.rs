//! Events that may wait: when they are taken from their queue, and how many are held. They have a consumer of their own, so that they never
//! hold a place that a live event could have.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Driver;
use super::demand::CopiesWaiting;
use super::handover::BulkOrders;
use super::prefetch::{Holding, PrefetchControl};
use super::turns::BulkFlow;
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::config::Share;
use crate::control::stamp::{BulkChange, Stamp};
use crate::gate::{self, Limit, Paused};
use crate::message::Field;
use crate::message::header::{JOB, REPLAY, ROUTING_KEY};
use crate::routing;
use crate::vendors::Batching;

/// If nobody has told by then whether something waits, it is looked.
const UNTOLD: Duration = Duration::from_secs(30);

/// When bulk events are taken.
pub(super) struct Bulk {
    pub prefetch: PrefetchControl,
    since: Instant,
    /// Whether their queue was seen to hold something: from then on it has a consumer. Most never do, and need none.
    is_used: bool,
    /// Whether anybody has told.
    is_told: bool,
    /// Requests on their way.
    pub in_flight: usize,
}

/// What became of bulk events since this worker drives; they are part of the destination's own figures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BulkCounts {
    pub delivered: u64,
    pub left: u64,
    pub requests: u64,
    pub carried: u64,
}

impl BulkCounts {
    /// A request with so many goes out.
    pub fn sent(&mut self, events: usize) {
        self.requests += 1;
        self.carried = self.carried.saturating_add(u64::try_from(events).unwrap_or(u64::MAX));
    }
}

impl Bulk {
    pub fn new(batching: Batching, now: Instant) -> Self {
        Self { prefetch: PrefetchControl::new(batching), since: now, is_used: false, is_told: false, in_flight: 0 }
    }

    /// Somebody looked whether something waits.
    pub fn told(&mut self, waits: bool) {
        self.is_told = true;
        self.is_used |= waits;
    }

    /// Whether there has to be a consumer, as far as the queue goes.
    fn is_wanted(&mut self, now: Instant) -> bool {
        self.is_used |= !self.is_told && now.saturating_duration_since(self.since) >= UNTOLD;
        self.is_used
    }
}

/// What is told of bulk events; the figures of the destination include theirs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkView {
    /// The types that go there although they were published as live.
    pub types: Vec<String>,
    /// What is left to them at least, as `5%`.
    pub share: String,
    /// The pause, where an operator paused them.
    pub paused: Option<Paused>,
    /// An operator's bounds of their pace.
    pub limits: Vec<String>,
    /// The lowest of these, in requests a second.
    pub rate: Option<f64>,
    /// Deliveries held that wait for the gate.
    pub held_here: usize,
    /// The time of the oldest that waits, as far as it is known.
    pub oldest: Option<Timestamp>,
    /// Deliveries whose vendor has accepted them and not yet told what became of them.
    pub unconfirmed: usize,
    /// Whether a consumer is registered at the broker.
    pub consuming: bool,
    /// Delivered since this worker drives.
    pub delivered: u64,
    /// Those that have left their queue since.
    pub left: u64,
    /// Requests with them since.
    pub requests: u64,
    /// Events that these carried.
    pub carried: u64,
}

impl Driver {
    /// Whether a delivery of the queue of live events is of a type that goes behind them. What is replayed is behind them already, and what the
    /// vendor has accepted is only asked about.
    pub(super) fn goes_behind(&self, delivery: &Delivery) -> bool {
        if self.settings.bulk.is_empty() || delivery.class == Class::Bulk {
            return false;
        }
        let headers = &delivery.message.properties.headers;
        if headers.contains_key(REPLAY) || headers.contains_key(JOB) {
            return false;
        }
        let published = headers.get(ROUTING_KEY).and_then(Field::as_str).unwrap_or(&delivery.routing_key);
        routing::subscribes(&self.settings.bulk, published)
    }

    /// Takes as many bulk events as the gate could use, if it has any places for them.
    pub(super) fn adjust_bulk(&mut self) {
        let now = clock::now();
        let is_wanted = self.bulk.is_wanted(now);
        let held = self.dispatch.ready.of(Class::Bulk).len() + self.mapping.held_of(Class::Bulk);
        if !is_wanted && self.inbox.bulk.is_idle() && held == 0 {
            return;
        }
        let flow = &self.dispatch.bulk_flow;
        let (next_place, rate) = (self.dispatch.next_place().max(flow.due(now)), flow.rate());
        let takes = is_wanted && flow.paused.is_none() && self.keeping.lease.drives() && self.knows_suppressed();
        let opens = self.hours.quiet_by_clock(now).map(|quiet| quiet.at);
        self.bulk.prefetch.look(&self.dispatch.gate, takes, [next_place, opens], now);
        if let Some(keeps) = self.bulk.prefetch.keeps()
            && !*self.inbox.bulk.consuming.borrow()
            && !self.dispatch.ordering_keys.is_busy()
            && held > keeps
        {
            let oldest = self.oldest_bulk();
            self.bulk.prefetch.leaves(oldest);
            self.release_beyond(Class::Bulk, keeps);
        }
        let line = self.dispatch.ready.of(Class::Bulk);
        let holding = Holding {
            waiting: line.len() + self.mapping.held_of(Class::Bulk) + self.bulk.in_flight,
            unconfirmed: self.side.jobs.held_of(Class::Bulk),
            refused: if self.bulk.prefetch.is_closed() { line.refused() } else { 0 },
        };
        let consumes = !self.inbox.bulk.is_idle();
        // Copies have their places among the live ones: bulk can wait until they are confirmed.
        let copies = &mut CopiesWaiting::default();
        if let Some(wanted) = self.bulk.prefetch.wanted(&self.dispatch.gate, rate, holding, copies, consumes) {
            self.inbox.bulk.want(wanted);
        }
    }

    /// An operator wants something else of bulk events.
    pub(super) fn change_bulk(&mut self, change: BulkChange, stamp: Stamp) {
        let (now, destination) = (clock::now(), self.settings.name.as_str());
        let flow = &mut self.dispatch.bulk_flow;
        match change {
            BulkChange::Pause { how } => {
                let how = how.given_at(stamp.time());
                let (by, reason) = (how.by.as_deref(), how.reason.as_deref());
                let until = how.until.map(|until| until.to_string());
                tracing::warn!(destination, by, until, reason, "its bulk events were paused by an operator");
                flow.paused = Some(how);
            }
            BulkChange::Resume => {
                tracing::warn!(destination, "its bulk events were resumed by an operator");
                flow.paused = None;
            }
            BulkChange::Limits { limits } => {
                let limits: Vec<Limit> = limits.iter().filter_map(|limit| limit.parse().ok()).collect();
                let shown = gate::listed(&limits);
                tracing::warn!(destination, limits = shown, "the pace of its bulk events was changed by an operator");
                flow.set_limits(limits, now);
            }
        }
        self.bulk.prefetch.look_now();
    }

    /// Ends a pause of bulk events whose time is over; whether it did.
    pub(super) fn end_bulk_pause(&mut self, wall: Timestamp) -> bool {
        let is_over = self.dispatch.bulk_flow.paused.as_ref().is_some_and(|pause| pause.is_over(wall));
        if is_over {
            self.dispatch.bulk_flow.paused = None;
            tracing::warn!(
                destination = self.settings.name,
                "the pause of its bulk events ended by itself, at the time that was set"
            );
        }
        is_over
    }

    /// What an operator wants of bulk events, for the next driver.
    pub(super) fn bulk_orders(&self) -> BulkOrders {
        let BulkFlow { paused, limits, .. } = self.dispatch.bulk_flow.clone();
        BulkOrders { paused, limits }
    }

    /// The time of the oldest bulk event that waits, as far as it is known.
    pub(super) fn oldest_bulk(&self) -> Option<Timestamp> {
        self.oldest_of(Class::Bulk, self.bulk.prefetch.left_behind())
    }

    pub(super) fn bulk_view(&self) -> BulkView {
        let (flow, counts, unconfirmed) =
            (&self.dispatch.bulk_flow, self.settlements.bulk, self.side.jobs.held_of(Class::Bulk));
        let share: Share = self.settings.bulk_share;
        BulkView {
            types: self.settings.bulk.clone(),
            share: share.to_string(),
            paused: flow.paused.clone(),
            limits: flow.limits.iter().map(ToString::to_string).collect(),
            rate: flow.rate(),
            held_here: self.dispatch.ready.of(Class::Bulk).len(),
            oldest: self.oldest_bulk(),
            unconfirmed,
            consuming: *self.inbox.bulk.consuming.borrow(),
            delivered: counts.delivered,
            left: counts.left + u64::try_from(unconfirmed).unwrap_or(u64::MAX),
            requests: counts.requests,
            carried: counts.carried,
        }
    }
}
