//! A handle to a destination's task: calls to it, and what it shows of itself.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use uuid::Uuid;

use super::recent::{Recent, Sample};
use super::tap::Outcomes;
use super::{Driver, View};
use crate::clock;
use crate::control::stamp::{Change, Placement, Stamp};
use crate::gate;

/// A call to the destination's task.
#[derive(Debug)]
pub enum DestinationCall {
    /// Carry out an operator's command.
    Change {
        /// What to change.
        change: Box<Change>,
        /// Its stamp; none where it is given now.
        stamp: Option<Stamp>,
        /// Gets what became of it.
        answer: oneshot::Sender<Applied>,
    },
    /// Take note whether something waits in its queue of bulk events.
    BulkWaits(bool),
    /// Show the destination as it is now.
    View(oneshot::Sender<View>),
    /// Show what happened lately.
    Recent(oneshot::Sender<Recent>),
    /// Show the figures of the last half hour.
    Samples(oneshot::Sender<Vec<Sample>>),
    /// Show the outcomes since an earlier look, or from now on.
    Tap {
        /// Where the earlier look ended.
        since: Option<u64>,
        /// Gets them.
        answer: oneshot::Sender<Outcomes>,
    },
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
        self.call(DestinationCall::Change { change: Box::new(change), stamp, answer }).await?;
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

impl Handle {
    /// The outcomes since an earlier look, or from now on.
    ///
    /// # Errors
    /// [`Gone`] when the destination has stopped.
    pub async fn tap(&self, since: Option<u64>) -> Result<Outcomes, Gone> {
        let (answer, outcomes) = oneshot::channel();
        self.call(DestinationCall::Tap { since, answer }).await?;
        outcomes.await.map_err(|_| Gone)
    }
}

impl Driver {
    pub(super) fn answer(&mut self, call: DestinationCall) {
        // Nobody waiting for the answer is no failure.
        match call {
            DestinationCall::Change { change, stamp, answer } => drop(answer.send(self.apply(*change, stamp))),
            DestinationCall::BulkWaits(waits) => self.bulk.told(waits),
            DestinationCall::View(answer) => drop(answer.send(self.view())),
            DestinationCall::Recent(answer) => drop(answer.send(self.report.recent.clone())),
            DestinationCall::Samples(answer) => drop(answer.send(self.report.recent.samples())),
            DestinationCall::Tap { since, answer } => drop(answer.send(self.report.recent.tap(since, clock::now()))),
        }
    }

    fn apply(&mut self, change: Change, stamp: Option<Stamp>) -> Applied {
        let wall = clock::wall();
        let stamp = stamp.unwrap_or_else(|| self.commands.stamp(wall, Uuid::new_v4()));
        match self.commands.place(change, stamp) {
            Placement::Due { change, later } => {
                self.change(change, stamp);
                Applied::Holds { stamp, later }
            }
            Placement::Repeated => Applied::Holds { stamp, later: None },
            Placement::Superseded(at) => Applied::Superseded(at),
        }
    }

    fn change(&mut self, change: Change, stamp: Stamp) {
        let (now, wall) = (clock::now(), clock::wall());
        let destination = self.settings.name.as_str();
        match change {
            Change::Pause(how) => {
                let how = how.given_at(stamp.time());
                let (by, reason) = (how.by.as_deref(), how.reason.as_deref());
                let until = how.until.map(|until| until.to_string());
                tracing::warn!(destination, by, until, reason, "paused by an operator");
                self.dispatch.gate.pause(how);
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
            Change::Bulk(change) => self.change_bulk(change, stamp),
            Change::Limits(_) | Change::ResetLimits(_) => {
                let limits = change.limits_after(&self.settings.limits, &self.configured);
                let shown = gate::listed(&limits);
                tracing::warn!(destination, limits = shown, "limits changed by an operator");
                self.dispatch.gate.set_limits(&limits, now, wall);
                Arc::make_mut(&mut self.settings).limits = limits;
            }
        }
        self.keeping.commanded = Some(now);
        self.report.last_state = self.dispatch.gate.state(now);
        self.report.recent.see(&self.dispatch.gate.status(now, wall), wall);
        self.heed_operator();
    }

    /// What an operator wants of the gate has changed: it must outlive this worker, and may let something through at once.
    fn heed_operator(&mut self) {
        drop(self.record_ledger());
        self.dispatch.look_now();
        self.prefetch.look_now();
    }

    /// Ends an operator's pause whose time is over.
    pub(super) fn end_pause(&mut self) {
        if self.dispatch.gate.end_pause(clock::now(), clock::wall()) {
            tracing::warn!(destination = self.settings.name, "the pause ended by itself, at the time that was set");
            self.heed_operator();
        }
        if self.end_bulk_pause(clock::wall()) {
            self.heed_operator();
        }
    }
}
