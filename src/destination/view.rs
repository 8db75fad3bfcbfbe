//! A destination as people see it, from any worker.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bulk::BulkView;
use super::{Driver, Hindrance};
use crate::clock;
use crate::gate::{Answered, GateState, HeldBy, Paused, Status};

/// The state of a destination that another worker drives, and has not told of.
const STANDBY: &str = "standby";

/// A destination as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// The routing keys that it subscribes to.
    pub subscribe: Vec<String>,
    /// The limits in force.
    pub limits: Vec<String>,
    /// Those of the configuration.
    #[serde(default)]
    pub configured: Vec<String>,
    /// Whether this worker drives it, or is about to.
    pub drives: bool,
    /// The worker that drives it elsewhere, as far as known: its host and process.
    pub driver: Option<String>,
    /// When another worker, which drives it, told of these figures; none where they are this worker's own.
    #[serde(skip, default)]
    pub as_of: Option<Timestamp>,
    /// The gate's state; none where another worker drives it and has not told of it.
    pub state: Option<GateState>,
    /// Why, as a sentence.
    pub why: String,
    /// What keeps every worker from driving it, where one of them found out.
    #[serde(default)]
    pub hindered: Option<Hindrance>,
    /// The answer of the vendor's that the sentence tells of, if it tells of one.
    #[serde(default)]
    pub answered: Option<Answered>,
    /// The pause, where an operator paused it.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// It is open, though its last request failed.
    pub fails: bool,
    /// When the gate came into that state, if that was seen.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When that may end by itself.
    pub until: Option<Timestamp>,
    /// When its quiet hours end, where it is in them.
    #[serde(default)]
    pub quiet_until: Option<Timestamp>,
    /// The same for somebody who waits for what is sent: its hours, and when it goes on.
    #[serde(default)]
    pub outside_hours: Option<String>,
    /// Requests a second that the limits allow; none where nothing paces it.
    pub quota: Option<f64>,
    /// Requests a second that it lets through now; none where nothing paces it.
    pub rate: Option<f64>,
    /// The share of the quota that is used after repeated refusals, 0.05 to 1.
    pub learned: f64,
    /// Requests in flight.
    pub in_flight: usize,
    /// How many may be in flight at once, as set or as found.
    pub concurrency: usize,
    /// What holds the pace.
    pub held: HeldBy,
    /// When the vendor's day ends.
    pub day_ends: Timestamp,
    /// When it begins, as people say it: `midnight UTC`.
    pub day_starts: String,
    /// Requests counted against the budget of the vendor's day.
    pub day_used: u64,
    /// The day budget, where there is one.
    pub day_limit: Option<u64>,
    /// Deliveries held that wait for the gate.
    #[serde(rename = "waiting")]
    pub held_here: usize,
    /// Those of them that are not read yet: the vendor has to be asked something first, or they are hard to map.
    pub unread: usize,
    /// Those that are hard to map, and those behind them: they are being mapped, or wait for it.
    #[serde(default)]
    pub being_mapped: usize,
    /// The time of the oldest event that waits, as far as it is known; replays aside.
    pub oldest: Option<Timestamp>,
    /// Deliveries whose vendor has accepted them and not yet told what became of them.
    pub unconfirmed: usize,
    /// Whether a consumer is registered at the broker.
    pub consuming: bool,
    /// Whether it consumes, or has no need to.
    pub ready: bool,
    /// What this worker lacks, as a sentence, where requests could not be sent or events not be mapped for it lately: files, threads, memory, or who must not be written to.
    pub machine: Option<String>,
    /// Events delivered since this worker started.
    pub delivered: u64,
    /// Events that have left the queue since this worker started: those that were delivered, put into a retry queue or among the dead
    /// letters, or are unconfirmed.
    pub left: u64,
    /// Requests with events since this worker started.
    pub requests: u64,
    /// Events that these carried.
    pub carried: f64,
    /// As many as one request usually carries while there are enough of them, where that can be told beforehand.
    pub together: usize,
    /// Requests refused with 429 since this worker started.
    pub throttled: u64,
    /// Events put into a retry queue since this worker started.
    pub retried: u64,
    /// Events put aside since they may not be sent yet, since this worker started.
    #[serde(default)]
    pub scheduled: u64,
    /// Events that became dead letters since this worker started, by reason; without those that none did for.
    pub dead: BTreeMap<String, u64>,
    /// When one did last, where one did.
    #[serde(default)]
    pub last_dead: Option<Timestamp>,
    /// Retries and dead letters that the broker does not take for now: their deliveries wait aside, unsettled.
    pub copies_waiting: usize,
    /// Whether so many wait that nothing more is taken from the queue.
    pub copies_full: bool,
    /// What of it concerns events that may wait.
    #[serde(default)]
    pub bulk: BulkView,
}

impl View {
    /// The state's name.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.state.map_or(STANDBY, GateState::name)
    }
}

impl Driver {
    /// As it is: where another worker drives it, as that one told last.
    pub(super) fn view(&self) -> View {
        let own = self.own_view();
        if own.drives { own } else { self.keeping.beside.borrow().shown(own, self.keeping.commanded) }
    }

    /// Events of one ordering key travel together, and how many ordering keys wait is not known.
    fn together(&self) -> usize {
        if self.settings.vendor.ordering_key_limit().is_some() { 1 } else { self.dispatch.batching.items.max(1) }
    }

    /// Whether nothing is wanted from the queue.
    fn is_idle(&self) -> bool {
        self.inbox.live.is_idle()
    }

    fn own_view(&self) -> View {
        let (now, wall) = (clock::now(), clock::wall());
        let (gate, machine) = (self.dispatch.gate.status(now, wall), self.dispatch.machine.lacks(now));
        let machine =
            machine.or(self.mapping.machine.lacks(now)).map(str::to_owned).or_else(|| self.lacks_suppressed());
        let drives = self.keeping.lease.drives();
        let quiet = self.hours.shown(wall).filter(|_| drives);
        let said = machine.as_ref().or(quiet.as_ref().map(|(_, sentence)| sentence));
        let (why, answered) = why(&gate, drives, said);
        let metrics = &self.report.metrics;
        View {
            name: self.settings.name.clone(),
            vendor: self.settings.vendor_name.to_owned(),
            subscribe: self.settings.subscribe.clone(),
            limits: self.settings.limits.iter().map(ToString::to_string).collect(),
            configured: self.configured.iter().map(ToString::to_string).collect(),
            state: (drives || gate.state == GateState::Paused).then_some(gate.state),
            drives,
            driver: None,
            as_of: None,
            hindered: None,
            paused: self.dispatch.gate.pause_set().cloned(),
            fails: gate.fails && machine.is_none() && quiet.is_none(),
            why,
            answered,
            since: self.report.recent.came_into(gate.state),
            until: gate.until.map(|until| until.wall).or(quiet.as_ref().map(|(until, _)| *until)),
            quiet_until: quiet.as_ref().map(|(until, _)| *until),
            outside_hours: self.hours.outside(wall).filter(|_| drives),
            quota: gate.quota,
            rate: if quiet.is_some() { Some(0.0) } else { gate.rate },
            learned: gate.learned,
            in_flight: gate.in_flight,
            concurrency: gate.concurrency,
            held: gate.held,
            day_ends: gate.day_ends.0,
            day_starts: gate.day_ends.1,
            day_used: gate.day_used,
            day_limit: gate.day_limit,
            held_here: self.waits(),
            unread: self.side.lookups.held() + self.mapping.held(),
            being_mapped: self.mapping.held(),
            oldest: self.oldest(),
            unconfirmed: self.side.jobs.held(),
            consuming: *self.inbox.live.consuming.borrow(),
            ready: drives && machine.is_none() && (self.is_idle() || *self.inbox.live.consuming.borrow()),
            machine,
            delivered: metrics.delivered.get(),
            left: metrics.left() + u64::try_from(self.side.jobs.held()).unwrap_or(u64::MAX),
            requests: metrics.batch_events.get_sample_count(),
            carried: metrics.batch_events.get_sample_sum(),
            together: self.together(),
            throttled: metrics.throttled.get(),
            retried: metrics.retried.get(),
            scheduled: metrics.scheduled.get(),
            dead: metrics.dead_letters().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            last_dead: self.report.recent.last_dead(),
            copies_waiting: self.settlements.copies_waiting(),
            copies_full: self.prefetch.is_full(&self.settlements.copies),
            bulk: self.bulk_view(),
        }
    }
}

/// Why nothing is sent, or not as fast as it might be; with the answer that it is about.
fn why(gate: &Status, drives: bool, said: Option<&String>) -> (String, Option<Answered>) {
    match said {
        _ if !drives && gate.state != GateState::Paused => {
            ("no worker is known to drive it; this one waits for the lease".to_owned(), None)
        }
        Some(said) if gate.state == GateState::Open => (said.clone(), None),
        Some(_) | None => (gate.why.clone(), gate.answered),
    }
}
