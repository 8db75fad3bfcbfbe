//! Every metric in one struct; its doc comment is its help text. Labels come from closed lists and configured names only.

mod destination;

use std::collections::BTreeSet;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::gate::{GateState, HeldBy};
use crate::verdict::Reason;
use destination::CLASSES;

pub use destination::DestinationMetrics;

/// Events in one request: one, or as many as an Act-On CSV holds.
const BATCH_BUCKETS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];
/// Seconds of vendor latency.
const REQUEST_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Seconds from an event's time to its delivery: a moment, or days.
const END_TO_END_BUCKETS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0];

/// The label that names a destination.
const DESTINATION: &str = "destination";
/// What all workers know alike: one of them shows it.
const SHARED: &str = "sluice_unrouted_ready";
/// Of a destination that nobody drives, one of them shows it too.
const WITHOUT_DRIVER: &str = "sluice_destination_without_driver";

/// What a worker shows: several on one broker never show the same series.
#[derive(Clone, Debug, Default)]
pub struct Shows {
    /// The destinations that it drives.
    pub destinations: BTreeSet<String>,
    /// Whether it is the one that shows what all know.
    pub shared: bool,
}

/// Makes a metric from its name and help text.
trait Make: Collector + Clone + 'static {
    fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! make {
    ($kind:ty, plain) => {
        impl Make for $kind {
            fn make(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
                Self::new(name, help)
            }
        }
    };
    ($kind:ty, labelled) => {
        impl Make for $kind {
            fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
                Self::new(Opts::new(name, help), labels)
            }
        }
    };
}

make!(IntGauge, plain);
make!(IntGaugeVec, labelled);
make!(GaugeVec, labelled);
make!(IntCounterVec, labelled);

impl Make for HistogramVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let buckets: &[f64] = match name {
            "sluice_batch_events" => &BATCH_BUCKETS,
            "sluice_request_duration_seconds" => &REQUEST_BUCKETS,
            _ => &END_TO_END_BUCKETS,
        };
        Self::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
    }
}

/// What is known of a metric without running: for the page in `docs/`.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    /// Its full name.
    pub name: &'static str,
    /// The type in the source, as `IntCounterVec`.
    kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its help text.
    pub help: &'static str,
}

impl MetricInfo {
    /// Prometheus's word for its kind: `counter`, `gauge` or `histogram`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let kinds = [("Counter", "counter"), ("Gauge", "gauge"), ("Histogram", "histogram")];
        kinds.into_iter().find_map(|(part, kind)| self.kind.contains(part).then_some(kind)).unwrap_or("untyped")
    }
}

/// The values that a label can have, as far as they are not names from the configuration.
#[must_use]
pub fn label_values(label: &str) -> Option<Vec<&'static str>> {
    match label {
        "class" => Some(CLASSES.to_vec()),
        "state" => Some(GateState::ALL.map(GateState::name).to_vec()),
        "by" => Some(HeldBy::ALL.map(HeldBy::name).to_vec()),
        "reason" => Some(Reason::ALL.map(Reason::name).to_vec()),
        "connection" => Some(vec!["consuming", "publishing", "leasing"]),
        _ => None,
    }
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ty [$($label:literal),*],)+) => {
        /// Every metric that a worker shows; each field is exposed as `sluice_<field>`.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $name: $kind,)+
        }

        /// Every metric, in the order of its life.
        pub const ENTRIES: &[MetricInfo] = &[$(MetricInfo {
            name: concat!("sluice_", stringify!($name)),
            kind: stringify!($kind),
            labels: &[$($label),*],
            help: concat!($($help),+),
        },)+];

        impl Metrics {
            /// All metrics, registered with the process's own.
            ///
            /// # Errors
            /// When a name or label is not valid for Prometheus.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new();
                $(
                    let help = concat!($($help),+).trim();
                    let $name = <$kind as Make>::make(concat!("sluice_", stringify!($name)), help, &[$($label),*])?;
                    registry.register(Box::new($name.clone()))?;
                )+
                let metrics = Self { registry, $($name,)+ };
                metrics.register_process()?;
                Ok(metrics)
            }
        }
    };
}

metrics! {
    /// Always 1; the labels say which build runs.
    build_info: IntGaugeVec ["version"],
    /// Events of producers, counted when a worker first takes them from a destination's queue; until then queue_ready counts them. An event that a stopping worker held and had not looked at may be missed.
    received_total: IntCounterVec ["destination"],
    /// Messages taken from a destination's queue, including those that come again.
    consumed_total: IntCounterVec ["destination"],
    /// Messages that the broker had sent before: each may be a duplicate at the vendor.
    redelivered_total: IntCounterVec ["destination"],
    /// Events that the vendor took.
    delivered_total: IntCounterVec ["destination"],
    /// HTTP requests by outcome: a status class, or none for no answer.
    attempts_total: IntCounterVec ["destination", "class"],
    /// HTTP status of the last request that failed; 0 where nobody answered it, absent while none has failed.
    last_failure_status: IntGaugeVec ["destination"],
    /// Events in one request.
    batch_events: HistogramVec ["destination"],
    /// Requests that the gate let through: they count towards the vendor's quota.
    requests_total: IntCounterVec ["destination"],
    /// Requests that the vendor refused with 429.
    throttled_total: IntCounterVec ["destination"],
    /// Events put into a retry queue after an attempt was spent.
    retried_total: IntCounterVec ["destination"],
    /// Events given back to the queue without spending an attempt.
    released_total: IntCounterVec ["destination"],
    /// Events that a worker made dead letters. It does not count what the broker moves there by itself (delivery_limit, unknown): those two stay at 0, and dead_letters_ready counts them.
    dead_lettered_total: IntCounterVec ["destination", "reason"],
    /// Events that were not sent since their time was over, and dropped as `expired = "drop"` says.
    dropped_total: IntCounterVec ["destination"],
    /// Dead letters that were replayed and came back to a destination.
    replayed_total: IntCounterVec ["destination"],
    /// Retries and dead letters that the broker did not confirm at once, so that they were published again.
    publish_failures_total: IntCounterVec ["destination"],
    /// Retries and dead letters that the broker does not take for now, because of an alarm or a queue without its majority; their deliveries stay unsettled.
    copies_waiting: IntGaugeVec ["destination"],
    /// Requests that were sent and not answered yet.
    in_flight: IntGaugeVec ["destination"],
    /// Requests that may be in flight at once: as many as `concurrency` says, or as the pace needs at the vendor's latency.
    concurrency_limit: IntGaugeVec ["destination"],
    /// 1 for what holds the pace now, 0 for the others.
    pace_held: IntGaugeVec ["destination", "by"],
    /// Events that wait: queue_ready, held and retrying together.
    waiting: IntGaugeVec ["destination"],
    /// Of those that wait: held in memory until the gate lets them through.
    held: IntGaugeVec ["destination"],
    /// Time from sending a request to the end of its answer.
    request_duration_seconds: HistogramVec ["destination"],
    /// Time from an event's own time to its delivery.
    delivery_latency_seconds: HistogramVec ["destination"],
    /// 1 for the state that the gate is in, 0 for the others.
    gate_state: IntGaugeVec ["destination", "state"],
    /// Time that the gate was not open.
    gate_closed_seconds_total: prometheus::CounterVec ["destination"],
    /// When the gate may open by itself, in Unix time; 0 while it is open or if only a person can open it.
    gate_until_timestamp_seconds: GaugeVec ["destination"],
    /// Requests a second that the configured limits allow; +Inf where only a day budget limits.
    quota_requests_per_second: GaugeVec ["destination"],
    /// Requests a second that the gate lets through now; 0 while it is not open, +Inf where nothing paces it.
    gate_rate: GaugeVec ["destination"],
    /// The account's rate as learned from refusals, as a share of the configured rate.
    gate_learned_ratio: GaugeVec ["destination"],
    /// Requests counted against the budget of the vendor's day (`day_starts`).
    day_budget_used: IntGaugeVec ["destination"],
    /// Requests that a day allows; 0 for no budget.
    day_budget_limit: IntGaugeVec ["destination"],
    /// When the day budget will be used up at the pace of the last minutes, in Unix time; 0 where it lasts until the vendor's day ends.
    day_budget_runs_out_timestamp_seconds: GaugeVec ["destination"],
    /// When the vendor's day ends (`day_starts`), in Unix time.
    day_ends_timestamp_seconds: GaugeVec ["destination"],
    /// Age of the access token; absent where a vendor has none.
    token_age_seconds: GaugeVec ["destination"],
    /// Of those that wait: ready in the destination's queue at the broker.
    queue_ready: IntGaugeVec ["destination"],
    /// Of those that wait: in the destination's retry queues until their next attempt.
    retrying: IntGaugeVec ["destination"],
    /// Dead letters at the broker, including those that somebody is reading.
    dead_letters_ready: IntGaugeVec ["destination"],
    /// Dead letters of causes that nobody has acknowledged or ignored; absent while the broker cannot be read.
    dead_letters_unattended: IntGaugeVec ["destination"],
    /// Discarded dead letters that can be restored.
    trash_ready: IntGaugeVec ["destination"],
    /// Age of the oldest event that waits in a destination's queue, by its own time, or since it was seen to wait where no worker has taken it; 0 where none waits. Retry queues and replays aside.
    oldest_event_seconds: GaugeVec ["destination"],
    /// Time until a destination's queue is empty, were nothing more to come: the events that wait by the rate at which events left it in the last minute, whatever became of them (delivered, to a retry queue, dead letters). In a backlog's first 15 s, or three requests where that is longer, by the gate's rate and the events a request carries. +Inf while nothing gets through.
    drain_seconds: GaugeVec ["destination"],
    /// 1 for a destination that no worker drives, as far as the workers know; 0 at the one that drives it.
    destination_without_driver: IntGaugeVec ["destination"],
    /// Destinations that this worker drives.
    destinations_driven: IntGauge [],
    /// Events that no destination subscribes to.
    unrouted_ready: IntGauge [],
    /// 1 while the connection to the broker is up.
    broker_connected: IntGaugeVec ["connection"],
    /// Connections to the broker that were opened again after a loss.
    broker_reconnects_total: IntCounterVec ["connection"],
    /// 1 while the broker takes no publications because of an alarm.
    broker_blocked: IntGauge [],
    /// Receipts by outcome; dropped if the broker did not take them.
    receipts_total: IntCounterVec ["outcome"],
    /// Steps of events' ways (`[history]`) by outcome: recorded, or dropped because the broker did not take them.
    history_steps_total: IntCounterVec ["outcome"],
    /// Notifications of `[[notify]]` by outcome; failed ones were not taken in some minutes.
    notifications_total: IntCounterVec ["outcome"],
    /// Requests with events (`[ingest]`) by token and status class; `local` where no token is set, `none` for who was not let in.
    ingest_requests_total: IntCounterVec ["token", "class"],
    /// Events that came over HTTP, by token: published, refused, or unconfirmed by the broker.
    ingest_events_total: IntCounterVec ["token", "outcome"],
    /// Reloads of the configuration, by outcome.
    config_reloads_total: IntCounterVec ["outcome"],
    /// Lines of the log that were dropped, because nobody read them and the buffer was full.
    log_lines_dropped_total: IntCounter [],
}

make!(IntCounter, plain);
make!(prometheus::CounterVec, labelled);

impl Metrics {
    /// Shows the connections to the broker.
    pub fn show_broker(&self, status: &crate::broker::BrokerStatus) {
        let blocked = status.publishing.blocked.is_some() || status.consuming.blocked.is_some();
        self.broker_blocked.set(i64::from(blocked));
        // Without destinations there are no leases.
        let leasing = Some(("leasing", &status.leasing)).filter(|(_, link)| link.epochs > 0);
        let both = [("consuming", &status.consuming), ("publishing", &status.publishing)];
        for (connection, link) in both.into_iter().chain(leasing) {
            self.broker_connected.with_label_values(&[connection]).set(i64::from(link.connected));
            let reconnects = self.broker_reconnects_total.with_label_values(&[connection]);
            reconnects.inc_by(link.epochs.saturating_sub(1).saturating_sub(reconnects.get()));
        }
    }

    /// Shows how many lines of the log have been dropped.
    pub fn show_log(&self, dropped: u64) {
        self.log_lines_dropped_total.inc_by(dropped.saturating_sub(self.log_lines_dropped_total.get()));
    }

    fn register_process(&self) -> prometheus::Result<()> {
        for outcome in ["sent", "failed"] {
            self.notifications_total.with_label_values(&[outcome]);
        }
        for outcome in ["applied", "failed", "refused"] {
            self.config_reloads_total.with_label_values(&[outcome]);
        }
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn text(&self, shows: &Shows) -> prometheus::Result<Vec<u8>> {
        let mut families = self.registry.gather();
        for family in &mut families {
            let (is_shared, may_be) = (family.name() == SHARED, shows.shared && family.name() == WITHOUT_DRIVER);
            family.mut_metric().retain(|metric| {
                match metric.get_label().iter().find(|label| label.name() == DESTINATION) {
                    _ if is_shared => shows.shared,
                    Some(label) => may_be || shows.destinations.contains(label.value()),
                    None => true,
                }
            });
        }
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }

    /// Drops the gauges of a destination that was removed; counters stay, as Prometheus expects.
    pub fn forget(&self, name: &str) {
        for gauges in [
            &self.last_failure_status,
            &self.copies_waiting,
            &self.in_flight,
            &self.concurrency_limit,
            &self.waiting,
            &self.held,
            &self.day_budget_used,
            &self.day_budget_limit,
            &self.queue_ready,
            &self.retrying,
            &self.dead_letters_ready,
            &self.dead_letters_unattended,
            &self.trash_ready,
        ] {
            drop(gauges.remove_label_values(&[name]));
        }
        for gauges in [
            &self.gate_until_timestamp_seconds,
            &self.quota_requests_per_second,
            &self.gate_rate,
            &self.gate_learned_ratio,
            &self.day_budget_runs_out_timestamp_seconds,
            &self.day_ends_timestamp_seconds,
            &self.token_age_seconds,
            &self.oldest_event_seconds,
            &self.drain_seconds,
        ] {
            drop(gauges.remove_label_values(&[name]));
        }
        for state in GateState::ALL {
            drop(self.gate_state.remove_label_values(&[name, state.name()]));
        }
        for held in HeldBy::ALL {
            drop(self.pace_held.remove_label_values(&[name, held.name()]));
        }
    }
}

/// A moment in Unix time, in seconds.
#[must_use]
pub fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
