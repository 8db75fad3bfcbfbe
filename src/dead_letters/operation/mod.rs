//! Operations: many letters acted on at once, pinned, paced, with progress, pause, resume and cancel.
//!
//! First one pass counts and pins: the letters that are there and that the filter means, by their ids. Then they are acted on in
//! rounds, copy first; whoever waits to look may do so between two of them. Nothing is kept but in the broker: when the process dies, each letter
//! has either gone or is still there, and the same command does the rest.

mod counted;
mod fates;
mod flow;
mod outcomes;
mod pace;
mod registry;
mod rounds;
mod selection;
mod state;
mod work;
mod yielding;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use counted::Counted;
pub use fates::LetterFate;
pub(super) use flow::GateView;
pub use pace::Pace;
pub use registry::{Registry, TOLD_WITHIN};
pub use selection::Selection;
pub use state::{OperationState, Phase, seconds};

use super::acts::Act;
use super::filter::{Filter, FilterError};
use super::letter::Letter;
use super::look::{LookError, LookStep, Progress, Visit};
use super::recheck::{Recheck, Rechecked};
use super::rewrite::{self, Rewrite, Rewriting, Rewritten};
use super::{DeadLetters, Pile};
use crate::audit;
use crate::clock;
use crate::control::Signal;
use crate::message::Message;
use crate::threads::Job;
use fates::Fates;
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
    /// Of a replay: so many go first, then so many, and so on; each step and the others only when the vendor has taken the one before.
    pub steps: Vec<u32>,
    /// How long the outcomes of each are waited for.
    pub canary_wait: Duration,
    /// Of an edit: what is changed.
    pub rewrite: Option<Arc<Rewrite>>,
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
    /// The expression of an edit takes too long on them.
    #[error(transparent)]
    Rewrite(#[from] rewrite::TooSlow),
}

/// What is found out of the letters while they are counted.
#[derive(Debug)]
pub enum Foresight {
    /// Nothing more.
    Count,
    /// Whether they would pass now.
    Recheck(Box<Recheck>),
    /// What an edit makes of them: those that it cannot change are not selected.
    Rewrite(Rewriting),
}

impl Foresight {
    /// Of that act: what cannot be left out.
    fn of(plan: &OperationPlan) -> Self {
        plan.rewrite.as_ref().map_or(Self::Count, |rewrite| Self::Rewrite(Rewriting::new(Arc::clone(rewrite))))
    }

    fn anew(&mut self) {
        match self {
            Self::Count => {}
            Self::Recheck(recheck) => recheck.anew(),
            Self::Rewrite(rewriting) => rewriting.anew(),
        }
    }

    /// Whether a letter is to be acted on.
    fn selects(&mut self, letter: &Letter, message: &Message) -> Result<Result<bool, rewrite::TooSlow>, Job> {
        match self {
            Self::Count => Ok(Ok(true)),
            Self::Recheck(recheck) => recheck.add(letter, message).map(|()| Ok(true)),
            Self::Rewrite(rewriting) => rewriting.add(letter, message),
        }
    }

    /// What would come of an edit.
    #[must_use]
    pub fn rewritten(&self) -> Option<Rewritten> {
        if let Self::Rewrite(rewriting) = self { Some(rewriting.finish()) } else { None }
    }

    /// Whether the letters would pass now.
    #[must_use]
    pub fn rechecked(&self) -> Option<Rechecked> {
        if let Self::Recheck(recheck) = self { Some(recheck.finish()) } else { None }
    }
}

/// Those that go first unless told otherwise.
pub const CANARY: u32 = 5;
/// The steps of a replay that goes up slowly; then come the others.
pub const RAMP: [u32; 4] = [1, 5, 20, 100];

/// An operation at work, or one that has ended.
#[derive(Debug)]
pub struct Operation {
    state: watch::Receiver<OperationState>,
    signal: watch::Sender<Signal>,
    fates: Fates,
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
        foresight: &mut Foresight,
        patience: Duration,
        progress: Progress<'_>,
    ) -> Result<Selection, SelectError> {
        let matcher = filter.compile(clock::wall())?;
        let (mut selection, mut too_slow) = (Selection::default(), None);
        let seen = self.look_and_ask(Pile::of(act), &matcher, patience, progress, |shown| {
            match shown {
                LookStep::Anew => {
                    selection = Selection::default();
                    foresight.anew();
                }
                LookStep::Letter(letter, message) => {
                    selection.has_edit_of(letter);
                    // The others came later, or mean others by now. They are read all the same: how long all of them take is told.
                    if counted == Some(selection.counted()) {
                        return Visit::On;
                    }
                    match foresight.selects(letter, message) {
                        Ok(Ok(true)) => selection.extend(u64::from_str_radix(&letter.id, 16)),
                        Ok(Ok(false)) => {}
                        Ok(Err(error)) => {
                            too_slow = Some(error);
                            return Visit::Enough;
                        }
                        Err(job) => return Visit::Aside(job),
                    }
                }
            }
            Visit::On
        });
        selection.seen = seen.await?;
        too_slow.map_or(Ok(()), Err)?;
        Ok(selection)
    }

    /// Begins an operation. Without a `selection` it makes its own first.
    #[must_use]
    pub fn begin(&self, plan: OperationPlan, selection: Option<Selection>) -> Operation {
        let id = audit::operation_id();
        let (signal, signals) = watch::channel(Signal::Run);
        let (work, state) = Work::new(self.clone(), plan, id, signals);
        let (told, fates) = (work.state.clone(), work.fates.clone());
        let task = tokio::spawn(ended(work.run(selection), told));
        Operation { state, signal, fates, task: Some(task) }
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

    /// What became of a letter, where it acted on that.
    #[must_use]
    pub fn fate(&self, letter: u64) -> Option<LetterFate> {
        self.fates.of(letter, &self.state())
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
