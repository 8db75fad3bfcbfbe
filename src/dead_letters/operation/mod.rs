//! Operations: many letters acted on at once, pinned, paced, with progress, pause, resume and cancel.
//!
//! First one pass counts and pins: the letters that are there and that the filter means, by their ids. Then they are acted on in
//! rounds, copy first; whoever waits to look may do so between two of them. Nothing is kept but in the broker: when the process dies, each letter
//! has either gone or is still there, and the same command does the rest.

mod counted;
mod flow;
mod outcomes;
mod pace;
mod registry;
mod rounds;
mod selection;
mod state;
mod work;
mod yielding;

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use counted::Counted;
pub(super) use flow::GateView;
pub use pace::Pace;
pub use registry::{Registry, TOLD_WITHIN};
pub use selection::Selection;
pub use state::{OperationState, Phase, seconds};

use super::acts::Act;
use super::filter::{Filter, FilterError};
use super::look::{LookError, LookStep, Progress};
use super::{DeadLetters, Pile};
use crate::audit;
use crate::clock;
use crate::control::Signal;
use work::Work;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct OperationPlan {
    /// What.
    pub act: Act,
    /// To which letters.
    pub filter: Filter,
    /// Letters a second; none: as fast as the broker takes them.
    pub rate: Option<f64>,
    /// So many go first; the others only when the vendor has taken these.
    pub canary: Option<u32>,
    /// How long the canary's outcomes are waited for.
    pub canary_wait: Duration,
    /// What was counted for the person who said yes: these letters and none that came since; nothing where they are not all there.
    pub counted: Option<Counted>,
    /// A token's name, or user@host.
    pub by: String,
}

/// Why nothing can be selected.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The letters cannot be read, or the filter takes too long on them.
    #[error(transparent)]
    Look(#[from] LookError),
}

/// An operation at work, or one that has ended.
#[derive(Debug)]
pub struct Operation {
    state: watch::Receiver<OperationState>,
    signal: watch::Sender<Signal>,
    task: Option<JoinHandle<()>>,
}

impl DeadLetters {
    /// Pins the letters that an act on them would mean: once those that were `counted` have been met, no others.
    ///
    /// # Errors
    /// [`SelectError`] when the filter is wrong or the letters cannot be read.
    pub async fn select(
        &self,
        act: Act,
        filter: &Filter,
        counted: Option<Counted>,
        patience: Duration,
        progress: Progress<'_>,
    ) -> Result<Selection, SelectError> {
        let matcher = filter.compile(clock::wall())?;
        let mut selection = Selection::default();
        let seen = self.look(Pile::of(act), &matcher, patience, progress, |shown| {
            match shown {
                LookStep::Anew => selection = Selection::default(),
                // The others came later, or mean others by now. They are read all the same: how long all of them take is told.
                LookStep::Letter(..) if counted == Some(selection.counted()) => {}
                LookStep::Letter(letter, _) => selection.extend(u64::from_str_radix(&letter.id, 16)),
            }
            ControlFlow::Continue(())
        });
        let seen = seen.await?;
        selection.seen = seen;
        Ok(selection)
    }

    /// Begins an operation. Without a `selection` it makes its own first.
    #[must_use]
    pub fn begin(&self, plan: OperationPlan, selection: Option<Selection>) -> Operation {
        let id = audit::operation_id();
        let (signal, signals) = watch::channel(Signal::Run);
        let (work, state) = Work::new(self.clone(), plan, id, signals);
        let told = work.state.clone();
        let task = tokio::spawn(ended(work.run(selection), told));
        Operation { state, signal, task: Some(task) }
    }
}

/// Does the work to its end. Where it panics the operation has failed, and is not shown as still at work.
async fn ended(work: impl Future<Output = ()>, state: watch::Sender<OperationState>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        state.send_modify(|state| {
            let outcome =
                "it broke off; this is a bug in Sluice, and its log says where. What was not done is still there";
            (state.phase, state.ended, state.outcome) = (Phase::Failed, Some(clock::wall()), Some(outcome.to_owned()));
        });
    }
}

impl Operation {
    /// How it is now.
    #[must_use]
    pub fn state(&self) -> OperationState {
        self.state.borrow().clone()
    }

    /// To follow how it is.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<OperationState> {
        self.state.clone()
    }

    /// Passes on what a person wants of it. False when it is over.
    pub fn signal(&self, signal: Signal) -> bool {
        let is_over = self.state.borrow().phase.is_over();
        // Its task may end at this moment.
        !is_over && self.signal.send(signal).is_ok()
    }

    /// Waits until it is over.
    pub async fn over(&mut self) -> OperationState {
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "an operation failed; this is a bug in Sluice");
        }
        self.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_that_panics_has_failed_and_is_over() {
        let state: OperationState = serde_json::from_value(serde_json::json!({
            "id": "1", "act": "replay", "destination": "px", "filter": "all", "by": "ann", "started": "2026-01-01T00:00:00Z",
            "phase": "working", "there": 3, "selected": 3, "moved": 1, "delivered": 0, "dead_again": 0, "retrying": 0,
            "missing": 0, "refused": 0,
        }))
        .unwrap();
        let (told, state) = watch::channel(state);
        ended(async { panic!("a bug") }, told).await;
        let state = state.borrow();
        assert_eq!((state.phase, state.moved, state.ended.is_some()), (Phase::Failed, 1, true));
        assert!(state.outcome.as_ref().is_some_and(|outcome| outcome.contains("bug in Sluice")));
    }
}
