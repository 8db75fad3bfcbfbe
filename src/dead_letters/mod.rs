//! Dead letters: events that will not be delivered without a person. One implementation for the command line, the admin API and the
//! console: [`look`] shows them, [`operation`] acts on many, [`edit`] changes one; [`crate::audit`] tells who did what.

pub mod acts;
mod aside;
pub mod causes;
pub mod edit;
pub mod everywhere;
pub mod export;
mod fields;
pub mod filter;
pub mod groups;
pub mod letter;
pub mod look;
pub mod operation;
pub mod page;
pub mod recheck;
pub mod rewrite;
pub mod x_death;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::audit;
use crate::broker::Broker;
use crate::control::{self, Command, CommandReply};
use crate::gate::{Limit, Window};
use crate::history::{About, Recorder, Step, StepKind};
use crate::message::Message;

use acts::Act;
use operation::GateView;

/// How long a worker has to tell how a gate is.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// What a replay takes of the gate's pace, unless told otherwise.
const SHARE: f64 = 0.2;

/// The dead letters, or the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pile {
    /// Those that wait for a person.
    #[default]
    Dead,
    /// Those that were discarded and can be restored for a week.
    Trash,
}

impl Pile {
    /// Where an act finds its letters.
    #[must_use]
    pub fn of(act: Act) -> Self {
        match act {
            Act::Replay | Act::Edit | Act::Discard => Self::Dead,
            Act::Restore | Act::Purge => Self::Trash,
        }
    }
}

/// One destination's dead letters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// Where they are.
    pub broker: Broker,
    /// Whose they are.
    pub destination: String,
    /// Where what is done with them is told, as steps of their events' ways; nowhere where no history is kept, or nothing is done.
    pub history: Option<Recorder>,
}

impl DeadLetters {
    /// The queue that a pile is.
    #[must_use]
    pub fn queue(&self, pile: Pile) -> String {
        match pile {
            Pile::Dead => self.broker.names().dead(&self.destination),
            Pile::Trash => self.broker.names().trash(&self.destination),
        }
    }

    /// The pace of an act, in letters a second: as `given`, of a replay else a fifth of the gate's, as a worker tells it or as `limits`
    /// have it.
    pub async fn rate(&self, act: Act, given: Option<f64>, limits: &[Limit]) -> Option<f64> {
        if act != Act::Replay || given.is_some() {
            return given;
        }
        let told = self.ask_worker().await.and_then(|answer| answer.rate);
        Some(told.filter(|rate| *rate > 0.0).unwrap_or_else(|| slowest(limits)) * SHARE)
    }

    /// How the gate is, as the worker says that drives it.
    async fn ask_gate(&self) -> GateView {
        let answer = self.ask_worker().await;
        let outside = answer.as_ref().and_then(|answer| answer.outside_hours.clone());
        match (answer.and_then(|answer| answer.state), outside) {
            (None, _) => GateView::Nobody,
            (Some(state), _) if state == crate::gate::GateState::Paused.name() => GateView::Paused,
            (Some(_), Some(outside)) => GateView::Quiet(outside),
            (Some(state), None) => GateView::Other(state),
        }
    }

    async fn ask_worker(&self) -> Option<CommandReply> {
        let command = Command::Tell { destination: self.destination.clone() };
        // A broker that is away has no worker to ask either.
        let answers: Vec<CommandReply> = control::ask(&self.broker, &command, ANSWER_WITHIN).await.ok()?;
        answers.into_iter().find(|answer| answer.error.is_none())
    }

    /// Whether nothing is ready in the destination's own queue.
    async fn is_drained(&self) -> bool {
        self.broker
            .depths(&[self.broker.names().queue(&self.destination)])
            .await
            .is_ok_and(|depths| depths == [Some(0)])
    }

    /// Which event a letter is of, for a step that is told once it is done; nothing where no history is kept.
    fn about(&self, letter: &Message, at: Timestamp) -> Option<About> {
        let recorder = self.history.as_ref()?;
        let key = letter::routing_key(letter).unwrap_or_default();
        Some(About::message(letter, &key, recorder.keeps_subject(), at))
    }

    /// Tells what that person did with a letter.
    fn tell(&self, about: Option<&About>, kind: StepKind, by: &str, said: &str) {
        if let (Some(recorder), Some(about)) = (&self.history, about) {
            let place = self.destination.as_str().into();
            let step = about.step(kind);
            recorder.tell(&Step { destination: place, by: Some(by.into()), said: said.into(), ..step });
        }
    }

    /// Writes to the audit, and to the log of every worker.
    ///
    /// # Errors
    /// Why the audit may not have it.
    pub async fn record(&self, entry: &audit::Entry) -> Result<(), crate::broker::port::PublishError> {
        control::record(&self.broker, entry).await
    }
}

/// The pace of the slowest of some limits, a second. A day's is a budget: it counts only where there is no other.
fn slowest(limits: &[Limit]) -> f64 {
    let pace = |limit: &Limit| f64::from(limit.count) / limit.window.length().as_secs_f64();
    let of =
        |days: bool| limits.iter().filter(|limit| (limit.window == Window::Day) == days).map(pace).reduce(f64::min);
    of(false).or_else(|| of(true)).unwrap_or(1.0)
}
