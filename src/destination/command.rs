//! What can be asked of a destination at work, and what it shows of itself.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Driver;
use super::recent::{Recent, Sample};
use crate::broker::port::Appetite;
use crate::clock;
use crate::gate::Limit;

/// Something to do, now.
#[derive(Debug)]
pub enum Command {
    /// Send nothing until resumed.
    Pause,
    /// Go on; a parked destination probes at once.
    Resume,
    /// Hold to these limits from now on, until the next reload or restart.
    Limits(Vec<Limit>),
    /// Tell how things are.
    View(oneshot::Sender<View>),
    /// Tell what happened lately.
    Recent(oneshot::Sender<Recent>),
    /// Tell the figures of the last half hour.
    Samples(oneshot::Sender<Vec<Sample>>),
}

/// A way to reach a destination at work. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// The destination is not at work any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the destination is not at work here")]
pub struct Gone;

impl Handle {
    /// A handle, and the end that the destination reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(16);
        (Self { commands }, receiver)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn ask(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }

    /// How the destination is right now.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn view(&self) -> Result<View, Gone> {
        let (answer, view) = oneshot::channel();
        self.ask(Command::View(answer)).await?;
        view.await.map_err(|_| Gone)
    }

    /// What happened lately.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn recent(&self) -> Result<Recent, Gone> {
        let (answer, recent) = oneshot::channel();
        self.ask(Command::Recent(answer)).await?;
        recent.await.map_err(|_| Gone)
    }

    /// The figures of the last half hour, the oldest first.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn samples(&self) -> Result<Vec<Sample>, Gone> {
        let (answer, samples) = oneshot::channel();
        self.ask(Command::Samples(answer)).await?;
        samples.await.map_err(|_| Gone)
    }
}

/// A destination as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// The routing keys that it subscribes to.
    pub subscribe: Vec<String>,
    /// The limits in force.
    pub limits: Vec<String>,
    /// The gate's state.
    pub state: &'static str,
    /// Why, as a sentence.
    pub why: String,
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
    /// Events delivered since this worker started.
    pub delivered: u64,
    /// Requests refused with 429 since this worker started.
    pub throttled: u64,
    /// Events put into a retry queue since this worker started.
    pub retried: u64,
}

impl Driver {
    pub(super) fn obey(&mut self, command: Command) {
        let (now, wall) = (clock::now(), clock::wall());
        let destination = self.settings.name.as_str();
        match command {
            Command::Pause => {
                self.gate.pause();
                tracing::warn!(destination, "paused by an operator");
            }
            Command::Resume => {
                self.gate.resume(now);
                if let Some(tokens) = &mut self.tokens {
                    tokens.retry_now();
                }
                tracing::warn!(destination, "resumed by an operator");
            }
            Command::Limits(limits) => {
                let shown = limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                tracing::warn!(destination, limits = shown, "limits changed");
                self.gate.set_limits(&limits, now, wall);
                self.settings.limits = limits;
            }
            // Nobody waiting for the answer is no failure.
            Command::View(answer) => return drop(answer.send(self.view())),
            Command::Recent(answer) => return drop(answer.send(self.recent.clone())),
            Command::Samples(answer) => return drop(answer.send(self.recent.samples())),
        }
        // What was asked for may let something through at once; looking must change nothing.
        self.recent.see(&self.gate.status(now, wall), wall);
        (self.next_place, self.next_turn, self.resting_until) = (None, None, None);
    }

    fn view(&self) -> View {
        let gate = self.gate.status(clock::now(), clock::wall());
        let idle = *self.inbox.appetite.borrow() == Appetite::None;
        View {
            name: self.settings.name.clone(),
            vendor: self.settings.vendor_name.to_owned(),
            subscribe: self.settings.subscribe.clone(),
            limits: self.settings.limits.iter().map(ToString::to_string).collect(),
            state: gate.state.name(),
            why: gate.why,
            until: gate.until.map(|until| until.wall),
            quota: gate.quota,
            rate: gate.rate,
            learned: gate.learned,
            in_flight: gate.in_flight,
            day_used: gate.day_used,
            day_limit: gate.day_limit,
            waiting: self.line.len() + self.lookups.held(),
            unread: self.lookups.held(),
            oldest: self.oldest(),
            unconfirmed: self.jobs.held(),
            consuming: *self.inbox.consuming.borrow(),
            ready: idle || *self.inbox.consuming.borrow(),
            delivered: self.metrics.delivered.get(),
            throttled: self.metrics.throttled.get(),
            retried: self.metrics.retried.get(),
        }
    }
}
