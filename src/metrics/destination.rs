//! One destination's metrics.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntGauge, IntGaugeVec};

use super::{Metrics, seconds};
use crate::gate::{GateState, HeldBy, Status};
use crate::verdict::Reason;

pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

impl Metrics {
    /// The handles of one destination, with every series present from the start.
    #[must_use]
    pub fn destination(&self, name: &str) -> DestinationMetrics {
        let reason = |reason: Reason| self.dead_lettered_total.with_label_values(&[name, reason.name()]);
        let class = |class: &str| self.attempts_total.with_label_values(&[name, class]);
        let state = |state: GateState| self.gate_state.with_label_values(&[name, state.name()]);
        DestinationMetrics {
            name: name.to_owned(),
            received: self.received_total.with_label_values(&[name]),
            consumed: self.consumed_total.with_label_values(&[name]),
            redelivered: self.redelivered_total.with_label_values(&[name]),
            delivered: self.delivered_total.with_label_values(&[name]),
            classes: CLASSES.map(class),
            batch_events: self.batch_events.with_label_values(&[name]),
            requests: self.requests_total.with_label_values(&[name]),
            throttled: self.throttled_total.with_label_values(&[name]),
            retried: self.retried_total.with_label_values(&[name]),
            scheduled: self.scheduled_total.with_label_values(&[name]),
            quiet: self.quiet.with_label_values(&[name]),
            released: self.released_total.with_label_values(&[name]),
            dead_lettered: Reason::ALL.map(reason),
            dropped: self.dropped_total.with_label_values(&[name]),
            replayed: self.replayed_total.with_label_values(&[name]),
            publish_failures: self.publish_failures_total.with_label_values(&[name]),
            copies_waiting: self.copies_waiting.with_label_values(&[name]),
            in_flight: self.in_flight.with_label_values(&[name]),
            concurrency: self.concurrency_limit.with_label_values(&[name]),
            held_by: HeldBy::ALL.map(|by| self.pace_held.with_label_values(&[name, by.name()])),
            held: self.held.with_label_values(&[name]),
            request_duration: self.request_duration_seconds.with_label_values(&[name]),
            delivery_latency: self.delivery_latency_seconds.with_label_values(&[name]),
            states: GateState::ALL.map(state),
            closed_seconds: self.gate_closed_seconds_total.with_label_values(&[name]),
            until: self.gate_until_timestamp_seconds.with_label_values(&[name]),
            quota: self.quota_requests_per_second.with_label_values(&[name]),
            rate: self.gate_rate.with_label_values(&[name]),
            learned: self.gate_learned_ratio.with_label_values(&[name]),
            day_used: self.day_budget_used.with_label_values(&[name]),
            day_limit: self.day_budget_limit.with_label_values(&[name]),
            last_failure: self.last_failure_status.clone(),
            token_age: self.token_age_seconds.clone(),
        }
    }
}

/// One destination's metrics, looked up once.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the field of the same meaning in Metrics")]
pub struct DestinationMetrics {
    name: String,
    pub received: IntCounter,
    pub consumed: IntCounter,
    pub redelivered: IntCounter,
    pub delivered: IntCounter,
    classes: [IntCounter; 6],
    pub batch_events: Histogram,
    pub requests: IntCounter,
    pub throttled: IntCounter,
    pub retried: IntCounter,
    pub scheduled: IntCounter,
    quiet: IntGauge,
    pub released: IntCounter,
    dead_lettered: [IntCounter; Reason::ALL.len()],
    pub dropped: IntCounter,
    pub replayed: IntCounter,
    pub publish_failures: IntCounter,
    pub in_flight: IntGauge,
    pub concurrency: IntGauge,
    pub held_by: [IntGauge; HeldBy::ALL.len()],
    pub held: IntGauge,
    copies_waiting: IntGauge,
    pub request_duration: Histogram,
    pub delivery_latency: Histogram,
    states: [IntGauge; 5],
    pub closed_seconds: prometheus::Counter,
    pub until: Gauge,
    pub quota: Gauge,
    pub rate: Gauge,
    pub learned: Gauge,
    pub day_used: IntGauge,
    pub day_limit: IntGauge,
    last_failure: IntGaugeVec,
    token_age: GaugeVec,
}

impl DestinationMetrics {
    /// Counts an attempt by its answer's status, or as one without an answer.
    pub fn attempt(&self, status: Option<http::StatusCode>) {
        let index = status.map_or(5, |status| usize::from(status.as_u16() / 100).clamp(1, 5) - 1);
        self.classes[index].inc();
    }

    /// Shows what a request that failed was answered with.
    pub fn failed(&self, status: Option<http::StatusCode>) {
        let status = status.map_or(0, |status| i64::from(status.as_u16()));
        self.last_failure.with_label_values(&[&self.name]).set(status);
    }

    /// Counts a dead letter.
    pub fn dead_letter(&self, reason: Reason) {
        if let Some(index) = Reason::ALL.iter().position(|other| *other == reason) {
            self.dead_lettered[index].inc();
        }
    }

    /// Dead letters by reason, where there are some.
    pub fn dead_letters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counted =
            Reason::ALL.into_iter().zip(&self.dead_lettered).map(|(reason, count)| (reason.name(), count.get()));
        counted.filter(|(_, count)| *count > 0)
    }

    /// Events that are settled for good: delivered, put into a retry queue or among the dead letters.
    pub fn left(&self) -> u64 {
        self.delivered.get()
            + self.retried.get()
            + self.dropped.get()
            + self.dead_lettered.iter().map(IntCounter::get).sum::<u64>()
    }

    /// Shows a gate, and how much is in hand.
    pub fn show(&self, gate: &Status, in_flight: usize, held: usize) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (gauge, other) in self.states.iter().zip(GateState::ALL) {
            gauge.set(i64::from(other == gate.state));
        }
        self.in_flight.set(count(in_flight));
        self.concurrency.set(count(gate.concurrency));
        for (gauge, other) in self.held_by.iter().zip(HeldBy::ALL) {
            gauge.set(i64::from(other == gate.held));
        }
        self.held.set(count(held));
        self.until.set(gate.until.map_or(0.0, |until| seconds(until.wall)));
        self.quota.set(gate.quota.unwrap_or(f64::INFINITY));
        self.rate.set(gate.rate.unwrap_or(f64::INFINITY));
        self.learned.set(gate.learned);
        self.day_used.set(whole(gate.day_used));
        self.day_limit.set(whole(gate.day_limit.unwrap_or(0)));
    }

    /// Shows whether it is in quiet hours, in which nothing gets through.
    pub fn show_quiet(&self, is_quiet: bool) {
        self.quiet.set(i64::from(is_quiet));
        if is_quiet {
            self.rate.set(0.0);
        }
    }

    /// Shows how many copies the broker does not take.
    pub fn show_copies(&self, waiting: usize) {
        self.copies_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Shows the age of the access token; none while there is none.
    pub fn show_token(&self, age: Option<Duration>) {
        match age {
            Some(age) => self.token_age.with_label_values(&[&self.name]).set(age.as_secs_f64()),
            None => drop(self.token_age.remove_label_values(&[&self.name])),
        }
    }
}
