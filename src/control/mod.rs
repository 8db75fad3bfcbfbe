//! Operators' commands: what they are, and how they are sent to every process through the fanout exchange `sluice.control`. They go to a
//! destination, to an operation on dead letters, or to every worker's log. `operator` carries them out.

pub mod reload;
pub mod stamp;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use self::stamp::{BulkChange, Change, Stamp};
use crate::audit::{self, Entry};
use crate::broker::port::PublishError;
use crate::broker::{Broker, ControlError};
use crate::clock;
use crate::gate::{Limit, Paused, Window};
use crate::lease::Owner;
use crate::message::{Message, Properties};

/// Time for the workers to answer a command.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often a command is sent with a new stamp because clocks of other machines are ahead.
const TRIES: u32 = 3;

/// A command of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Send nothing until resumed, or until the pause ends by itself.
    Pause {
        /// Which destination.
        destination: String,
        /// By whom, until when and why.
        #[serde(default)]
        how: Paused,
    },
    /// Go on.
    Resume {
        /// Which destination.
        destination: String,
    },
    /// Keep these limits until the limits in its configuration change, and to those of other windows as before.
    Limits {
        /// Which destination.
        destination: String,
        /// Such as `100/s`.
        limits: Vec<String>,
    },
    /// Keep to the limits of the configuration again.
    ResetLimits {
        /// Which destination.
        destination: String,
    },
    /// The same for bulk events alone: a command of its own, which an earlier version passes over instead of pausing all.
    Bulk {
        /// Which destination.
        destination: String,
        /// What to change.
        change: BulkChange,
    },
    /// Report the gate's state.
    Tell {
        /// Which destination.
        destination: String,
    },
    /// Report what an operator wants of bulk events.
    TellBulk {
        /// Which destination.
        destination: String,
    },
    /// Report the operations on dead letters, of one destination or of all.
    Operations {
        /// Which destination.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        destination: Option<String>,
    },
    /// Report what operations did with a dead letter.
    Fates {
        /// Whose.
        destination: String,
        /// Its id.
        letter: String,
    },
    /// Report what happened lately at destinations.
    Recent {
        /// Which.
        destinations: BTreeSet<String>,
    },
    /// What an operation should do.
    Operation {
        /// Its id.
        id: String,
        /// What.
        #[serde(rename = "wish")]
        signal: Signal,
    },
    /// A command to a destination with its stamp.
    Stamped {
        /// Its stamp.
        stamp: Stamp,
        /// What.
        #[serde(rename = "order")]
        command: Box<Command>,
    },
    /// Read the configuration file again.
    Reload {
        /// Which worker; all where none is named.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        worker: Option<String>,
        /// Who asks for it.
        by: String,
        /// From where.
        place: String,
    },
    /// Report outcomes at a destination as they happen, for a few seconds; it is sent again for as long as somebody watches.
    Tap {
        /// Which destination.
        destination: String,
        /// Who watches: the same each time.
        tap: Uuid,
    },
    /// Know what a worker tells of itself.
    Announce {
        /// That.
        announcement: Announcement,
    },
    /// Log what was done.
    Audit {
        /// What was done.
        entry: Box<Entry>,
    },
}

/// What a worker tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Who.
    pub worker: Owner,
    /// The destinations that it drives.
    pub drives: BTreeSet<String>,
    /// How many it could drive.
    pub destinations: usize,
    /// How those are that it drives, as it shows them; what has not changed may be left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<String, Value>,
    /// The destinations that it cannot drive though nobody else does, each with why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hindered: BTreeMap<String, String>,
    /// Those of them that need a person.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stuck: BTreeSet<String>,
    /// It is about to stop.
    #[serde(default)]
    pub leaves: bool,
}

/// What a person wants of an operation on dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Go on.
    #[default]
    Run,
    /// Stop acting for now.
    Pause,
    /// End; what has been acted on stays so.
    Cancel,
}

/// What the worker that drives the destination answers to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandReply {
    /// Which destination.
    pub destination: String,
    /// The worker that answers: its host and process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worker: Option<String>,
    /// Whether whoever answers drives the destination, or is about to.
    #[serde(default = "yes")]
    pub drives: bool,
    /// The gate's state after the command, where it was carried out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// What keeps every worker from driving it, where one of them found out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hindered: Option<String>,
    /// Requests a second that the gate lets through.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f64>,
    /// That it is outside of its hours, with these and when it goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outside_hours: Option<String>,
    /// The limits in force before and after the command.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub limits_before: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[expect(missing_docs, reason = "said above")]
    pub limits: Vec<String>,
    /// Where a later command holds instead, for all or a part of it: the time of that one, in Unix microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub later: Option<i64>,
    /// Why it was not carried out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// This worker drives no such destination.
    #[error("no destination {0:?} is at work here")]
    Unknown(String),
    /// The command itself is wrong.
    #[error("{0}")]
    Invalid(String),
}

/// Bounds of the pace of bulk events.
fn check_bulk_limits(limits: &[String]) -> Result<(), CommandError> {
    let wrong = limits.iter().find_map(|text| text.parse::<Limit>().err());
    wrong.map_or(Ok(()), |error| Err(CommandError::Invalid(error.to_string())))
}

/// Of an answer that does not say.
fn yes() -> bool {
    true
}

impl Command {
    /// The destination that it is for, and what it changes there. None where it is for no destination.
    pub(crate) fn parts(&self) -> Result<Option<(&str, Option<Change>)>, CommandError> {
        Ok(Some(match self {
            Self::Pause { destination, how } => (destination, Some(Change::Pause(how.clone()))),
            Self::Resume { destination } => (destination, Some(Change::Resume)),
            Self::Bulk { destination, change } => {
                if let BulkChange::Limits { limits } = change {
                    check_bulk_limits(limits)?;
                }
                (destination, Some(Change::Bulk(change.clone())))
            }
            Self::Tell { destination } | Self::TellBulk { destination } => (destination, None),
            Self::ResetLimits { destination } => (destination, Some(Change::ResetLimits(Window::ALL.to_vec()))),
            Self::Limits { limits, .. } if limits.is_empty() => {
                return Err(CommandError::Invalid("limits is empty; write at least one, such as \"100/s\"".into()));
            }
            Self::Limits { destination, limits } => {
                let limits: Result<Vec<Limit>, _> = limits.iter().map(|limit| limit.parse()).collect();
                let limits = limits.map_err(|error| CommandError::Invalid(error.to_string()))?;
                (destination, Some(Change::Limits(limits)))
            }
            Self::Operations { .. }
            | Self::Fates { .. }
            | Self::Operation { .. }
            | Self::Recent { .. }
            | Self::Reload { .. }
            | Self::Tap { .. }
            | Self::Stamped { .. }
            | Self::Audit { .. }
            | Self::Announce { .. } => {
                return Ok(None);
            }
        }))
    }

    fn stamped(&self, stamp: Stamp) -> Self {
        Self::Stamped { stamp, command: Box::new(self.clone()) }
    }
}

/// Sends a command with that stamp to every worker by `call`, and returns their answers. A worker may know a later command. If all of those are
/// from the future by this clock, another clock is ahead: the command is sent again with a stamp later than theirs. If one is from the past, it was
/// given after this one and wins.
///
/// # Errors
/// Why it could not be sent.
pub async fn send<Answers: Future<Output = Result<Vec<Bytes>, ControlError>>>(
    call: impl Fn(Bytes) -> Answers,
    command: &Command,
    mut stamp: Stamp,
) -> Result<Vec<CommandReply>, ControlError> {
    let mut answers = Vec::new();
    for _ in 0..TRIES {
        answers = read::<CommandReply>(&call(written(&command.stamped(stamp))?).await?);
        let wall = clock::wall();
        let later: Vec<i64> = answers.iter().filter_map(|answer| answer.later).collect();
        let Some(latest) = later.iter().max().filter(|_| later.iter().all(|at| *at > wall.as_microsecond())) else {
            break;
        };
        stamp = Stamp::after(Some(*latest), wall, Uuid::new_v4());
    }
    Ok(answers)
}

/// Sends a command to every process, and returns the answers that come within `timeout` and can be read.
///
/// # Errors
/// Why it could not be sent.
pub async fn ask<T: DeserializeOwned>(
    broker: &Broker,
    command: &Command,
    timeout: Duration,
) -> Result<Vec<T>, ControlError> {
    Ok(read(&broker.call(written(command)?, timeout).await?))
}

fn written(command: &Command) -> Result<Bytes, ControlError> {
    serde_json::to_vec(command).map(Bytes::from).map_err(|error| ControlError::Broken(error.to_string()))
}

/// The answers that can be read.
fn read<T: DeserializeOwned>(answers: &[Bytes]) -> Vec<T> {
    answers.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect()
}

/// Writes to the audit, and to the log of every worker.
///
/// # Errors
/// Why the audit may not have it.
pub async fn record(broker: &Broker, entry: &Entry) -> Result<(), PublishError> {
    audit::write(broker, entry).await?;
    announce(broker, &Command::Audit { entry: Box::new(entry.clone()) }).await;
    Ok(())
}

/// Tries again for this long to write to the audit what was done already.
const RECORD_TRIES: u32 = 30;
/// Between two tries.
const RECORD_PAUSE: Duration = Duration::from_secs(2);

/// Writes to the audit what was done already, as soon as the broker takes it. An operator's act does not wait for that.
pub async fn record_when_possible(broker: Broker, entry: Entry) {
    let mut why = String::new();
    for _ in 0..RECORD_TRIES {
        match record(&broker, &entry).await {
            Ok(()) => return,
            Err(error) => why = error.to_string(),
        }
        clock::sleep(RECORD_PAUSE).await;
    }
    let Entry { act, by, destination, filter, outcome, .. } = &entry;
    tracing::warn!(act, by, destination, given = filter, outcome, why, "what was done is not in the audit");
}

/// Sends a command to every process and waits for no answer. False if it may not have been sent; that nobody listens is no failure.
pub async fn announce(broker: &Broker, command: &Command) -> bool {
    let Ok(body) = serde_json::to_vec(command) else { return false };
    let message = Message { body: body.into(), properties: Properties::default() };
    match broker.publisher().publish(&broker.names().control(), "", message).await {
        Ok(()) | Err(PublishError::Unroutable { .. }) => true,
        Err(error) => {
            tracing::debug!(%error, "an announcement may not have gone out");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Gives a pause to workers that each time answer with these; returns the stamps it was given with.
    async fn given(laters: &[&[Option<i64>]]) -> (Vec<Stamp>, Vec<CommandReply>) {
        let stamps = Mutex::new(Vec::new());
        let command = Command::Pause { destination: "px".into(), how: Paused::default() };
        let call = |body: Bytes| {
            let Ok(Command::Stamped { stamp, .. }) = serde_json::from_slice(&body) else {
                panic!("no place in {body:?}")
            };
            let Ok(mut stamps) = stamps.lock() else { panic!() };
            let laters = laters.get(stamps.len()).copied().unwrap_or_default();
            stamps.push(stamp);
            let answer = |later| CommandReply {
                destination: "px".into(),
                worker: None,
                drives: true,
                state: None,
                hindered: None,
                rate: None,
                outside_hours: None,
                limits_before: Vec::new(),
                limits: Vec::new(),
                later,
                error: None,
            };
            let answers = laters.iter().map(|later| serde_json::to_vec(&answer(*later)).unwrap_or_default().into());
            std::future::ready(Ok(answers.collect()))
        };
        let stamp = Stamp::after(None, clock::wall(), Uuid::new_v4());
        let answers = send(call, &command, stamp).await.unwrap_or_else(|error| panic!("{error}"));
        (stamps.into_inner().unwrap_or_default(), answers)
    }

    #[tokio::test]
    async fn a_command_is_given_again_as_the_later_one_where_a_workers_clock_is_ahead() {
        let ahead = clock::wall().as_microsecond() + 3_600_000_000;
        let (stamps, answers) = given(&[&[None, Some(ahead)], &[None, None]]).await;
        assert_eq!(stamps.iter().map(|stamp| stamp.at > ahead).collect::<Vec<_>>(), [false, true]);
        assert_eq!(answers.first().and_then(|answer| answer.later), None);
    }

    #[tokio::test]
    async fn a_command_that_came_second_stays_so() {
        let before = clock::wall().as_microsecond();
        let (stamps, answers) = given(&[&[Some(before)]]).await;
        assert_eq!((stamps.len(), answers.first().and_then(|answer| answer.later)), (1, Some(before)));
        let ahead = before + 3_600_000_000;
        let (stamps, _) = given(&[&[Some(before), Some(ahead)]]).await;
        assert_eq!(stamps.len(), 1, "whoever gave the second one has to do with the clock that is ahead");
    }
}
