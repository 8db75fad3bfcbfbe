//! A handle to a destination's task: calls to it, and what it shows of itself.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use uuid::Uuid;

use super::Driver;
use super::recent::{Recent, Sample};
use crate::broker::port::Prefetch;
use crate::clock;
use crate::control::stamp::{self, Change, Placement, Stamp};
use crate::gate::{GateState, HeldBy};

/// A call to the destination's task.
#[derive(Debug)]
pub enum DestinationCall {
    /// Carry out an operator's command.
    Change {
        /// What to change.
        change: Change,
        /// Its stamp; none where it is given now.
        stamp: Option<Stamp>,
        /// Gets what became of it.
        answer: oneshot::Sender<Applied>,
    },
    /// Show the destination as it is now.
    View(oneshot::Sender<View>),
    /// Show what happened lately.
    Recent(oneshot::Sender<Recent>),
    /// Show the figures of the last half hour.
    Samples(oneshot::Sender<Vec<Sample>>),
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was carried out, now or before.
    Holds {
        /// Its stamp.
        stamp: Stamp,
        /// For a part of it a later command holds: its time.
        later: Option<i64>,
    },
    /// A later command holds: its time.
    Superseded(i64),
}

/// Reaches the task of a destination. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: mpsc::Sender<DestinationCall>,
    /// Held while a command that was given here is sent to the other workers.
    telling: Arc<Mutex<()>>,
}

/// The destination has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the destination is not at work here")]
pub struct Gone;

impl Handle {
    /// A handle, and the receiver for the destination's task.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<DestinationCall>) {
        let (calls, receiver) = mpsc::channel(16);
        (Self { calls, telling: Arc::default() }, receiver)
    }

    /// Sends a call.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn call(&self, call: DestinationCall) -> Result<(), Gone> {
        self.calls.send(call).await.map_err(|_| Gone)
    }

    /// Carries out an operator's command: one that is given now, or the one of that `stamp`.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn change(&self, change: Change, stamp: Option<Stamp>) -> Result<Applied, Gone> {
        let (answer, applied) = oneshot::channel();
        self.call(DestinationCall::Change { change, stamp, answer }).await?;
        applied.await.map_err(|_| Gone)
    }

    /// Waits until the commands before were sent to the other workers. While the guard is held, the next ones wait.
    pub async fn turn_to_tell(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.telling).lock_owned().await
    }

    /// How the destination is right now.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn view(&self) -> Result<View, Gone> {
        let (answer, view) = oneshot::channel();
        self.call(DestinationCall::View(answer)).await?;
        view.await.map_err(|_| Gone)
    }

    /// What happened lately.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn recent(&self) -> Result<Recent, Gone> {
        let (answer, recent) = oneshot::channel();
        self.call(DestinationCall::Recent(answer)).await?;
        recent.await.map_err(|_| Gone)
    }

    /// The figures of the last half hour, the oldest first.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn samples(&self) -> Result<Vec<Sample>, Gone> {
        let (answer, samples) = oneshot::channel();
        self.call(DestinationCall::Samples(answer)).await?;
        samples.await.map_err(|_| Gone)
    }
}

/// The state of a destination that another worker drives.
pub const STANDBY: &str = "standby";

/// A destination as people see it.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// The routing keys that it subscribes to.
    pub subscribe: Vec<String>,
    /// The limits in force.
    pub limits: Vec<String>,
    /// Whether this worker drives it, or is about to.
    pub drives: bool,
    /// The worker that drives it elsewhere, as far as known: its host and process.
    pub driver: Option<String>,
    /// The gate's state; or `standby`, where another worker drives it and no operator paused it.
    pub state: &'static str,
    /// Why, as a sentence.
    pub why: String,
    /// It is open, though its last request failed.
    pub fails: bool,
    /// When that may end by itself.
    pub until: Option<Timestamp>,
    /// Requests a second that the limits allow; none where nothing paces it.
    pub quota: Option<f64>,
    /// Requests a second that it lets through now; none where nothing paces it.
    pub rate: Option<f64>,
    /// The share of the quota that is used after repeated refusals, 0.05 to 1.
    pub learned: f64,
    /// Requests on their way.
    pub in_flight: usize,
    /// How many may be on their way at once, as set or as found.
    pub concurrency: usize,
    /// What holds the pace.
    pub held: HeldBy,
    /// Requests counted against today's budget (UTC).
    pub day_used: u64,
    /// The day budget, where there is one.
    pub day_limit: Option<u64>,
    /// Deliveries held that wait for the gate.
    pub waiting: usize,
    /// Those of them that cannot be read before the vendor has been asked.
    pub unread: usize,
    /// The time of the oldest event that waits, as far as it is known; replays aside.
    pub oldest: Option<Timestamp>,
    /// Deliveries whose vendor has accepted them and not yet told what became of them.
    pub unconfirmed: usize,
    /// Whether a consumer is registered at the broker.
    pub consuming: bool,
    /// Whether it consumes, or has no need to.
    pub ready: bool,
    /// What this machine lacks, as a sentence, where requests could not be sent for it lately.
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
    /// Retries and dead letters that the broker does not take for now: their deliveries wait aside, unsettled.
    pub copies_waiting: usize,
    /// Whether so many wait that nothing more is taken from the queue.
    pub copies_full: bool,
}

impl Driver {
    pub(super) fn answer(&mut self, call: DestinationCall) {
        // Nobody waiting for the answer is no failure.
        match call {
            DestinationCall::Change { change, stamp, answer } => drop(answer.send(self.apply(change, stamp))),
            DestinationCall::View(answer) => drop(answer.send(self.view())),
            DestinationCall::Recent(answer) => drop(answer.send(self.report.recent.clone())),
            DestinationCall::Samples(answer) => drop(answer.send(self.report.recent.samples())),
        }
    }

    fn apply(&mut self, change: Change, stamp: Option<Stamp>) -> Applied {
        let wall = clock::wall();
        let stamp = stamp.unwrap_or_else(|| self.commands.stamp(wall, Uuid::new_v4()));
        match self.commands.place(change, stamp) {
            Placement::Due { change, later } => {
                self.change(change);
                Applied::Holds { stamp, later }
            }
            Placement::Repeated => Applied::Holds { stamp, later: None },
            Placement::Superseded(at) => Applied::Superseded(at),
        }
    }

    fn change(&mut self, change: Change) {
        let (now, wall) = (clock::now(), clock::wall());
        let destination = self.settings.name.as_str();
        match change {
            Change::Pause => {
                self.dispatch.gate.pause();
                tracing::warn!(destination, "paused by an operator");
            }
            Change::Resume => {
                self.dispatch.gate.resume(now);
                if let Some(tokens) = self.side.tokens.get_mut() {
                    tokens.retry_now();
                }
                tracing::warn!(destination, "resumed by an operator");
                self.report.last_state = self.dispatch.gate.state(now);
                self.noting_gate(Self::check_invalid_again);
            }
            Change::Limits(limits) => {
                let limits = stamp::changed(&self.settings.limits, &limits);
                let shown = limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                tracing::warn!(destination, limits = shown, "limits changed by an operator");
                self.dispatch.gate.set_limits(&limits, now, wall);
                self.settings.limits = limits;
            }
        }
        // It must outlive this worker.
        drop(self.record_ledger());
        // It may let something through at once.
        self.report.last_state = self.dispatch.gate.state(now);
        self.report.recent.see(&self.dispatch.gate.status(now, wall), wall);
        self.dispatch.look_now();
        self.prefetch.look_now();
    }

    fn view(&self) -> View {
        let now = clock::now();
        let (gate, machine) =
            (self.dispatch.gate.status(now, clock::wall()), self.dispatch.machine.lacks(now).map(str::to_owned));
        let (drives, driver) = (self.keeping.lease.drives(), self.keeping.lease.driver_elsewhere());
        let idle = *self.inbox.prefetch.borrow() == Prefetch::None;
        View {
            name: self.settings.name.clone(),
            vendor: self.settings.vendor_name.to_owned(),
            subscribe: self.settings.subscribe.clone(),
            limits: self.settings.limits.iter().map(ToString::to_string).collect(),
            state: if drives || gate.state == GateState::Paused { gate.state.name() } else { STANDBY },
            drives,
            fails: gate.fails && machine.is_none(),
            why: match (drives, &driver) {
                (true, _) => machine.clone().filter(|_| gate.state == GateState::Open).unwrap_or(gate.why),
                (false, Some(driver)) => format!("{driver} drives it; this worker stands by"),
                (false, None) => "no worker is known to drive it; this one waits for the lease".to_owned(),
            },
            until: gate.until.map(|until| until.wall),
            quota: gate.quota,
            rate: gate.rate,
            learned: gate.learned,
            in_flight: gate.in_flight,
            concurrency: gate.concurrency,
            held: gate.held,
            day_used: gate.day_used,
            day_limit: gate.day_limit,
            waiting: self.waits(),
            unread: self.side.lookups.held(),
            oldest: self.oldest(),
            unconfirmed: self.side.jobs.held(),
            consuming: *self.inbox.consuming.borrow(),
            ready: machine.is_none() && if drives { idle || *self.inbox.consuming.borrow() } else { driver.is_some() },
            driver,
            machine,
            delivered: self.report.metrics.delivered.get(),
            left: self.report.metrics.left() + u64::try_from(self.side.jobs.held()).unwrap_or(u64::MAX),
            requests: self.report.metrics.batch_events.get_sample_count(),
            carried: self.report.metrics.batch_events.get_sample_sum(),
            // Events of one ordering key travel together, and how many ordering keys wait is not known.
            together: if self.settings.vendor.ordering_key_limit().is_some() {
                1
            } else {
                self.dispatch.batching.items.max(1)
            },
            throttled: self.report.metrics.throttled.get(),
            retried: self.report.metrics.retried.get(),
            copies_waiting: self.settlements.copies_waiting(),
            copies_full: self.prefetch.is_full(&self.settlements.copies),
        }
    }
}
