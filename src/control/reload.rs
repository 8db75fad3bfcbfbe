//! Reloads on command: every worker reads its own configuration file again, and says what became of it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::{ANSWER_WITHIN, Command, read, written};
use crate::broker::ControlError;

/// Time for a worker that has heard the command: a changed destination first finishes what is in flight.
const DONE_WITHIN: Duration = Duration::from_secs(90);
/// After all have answered that are known, time for one that nobody knows yet.
const OTHERS: Duration = Duration::from_millis(300);
/// Reloads that wait for the one at work.
const WAITING: usize = 16;

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReloadOutcome)]
pub enum Outcome {
    /// The file is in force.
    Applied,
    /// The file is in force, but a destination could not be set up, or the worker stops.
    Failed,
    /// The file has problems: nothing changed.
    Refused,
    /// The worker did not answer in time.
    NoAnswer,
}

impl Outcome {
    /// Its name in JSON, metrics and the audit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// What is wrong with a worker's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileProblem {
    /// The line; 0 where the whole file is meant.
    pub line: usize,
    /// The key, such as `destinations.px.limits`.
    pub key: String,
    /// What is wrong and what to write.
    pub message: String,
}

/// What became of a reload in one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The worker: its host and process.
    #[schema(example = "sluice-1/4711")]
    pub worker: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The worker's configuration file; empty where it did not answer.
    pub file: String,
    /// Destinations that are new.
    pub added: Vec<String>,
    /// Destinations that are gone.
    pub removed: Vec<String>,
    /// Destinations that are written differently.
    pub changed: Vec<String>,
    /// How many destinations go on as before.
    pub unchanged: usize,
    /// What differs beside destinations, such as `notify`, and holds from now on.
    #[serde(default)]
    #[schema(required)]
    pub also_changed: Vec<String>,
    /// Sections that differ and take effect only at a restart.
    pub restart_needed: Vec<String>,
    /// Of a refused file: everything that is wrong with it.
    pub problems: Vec<FileProblem>,
    /// Why it failed, or was not answered.
    #[serde(default)]
    #[schema(required)]
    pub error: Option<String>,
}

impl Reloaded {
    /// A reload of which nothing more is known than how it ended.
    #[must_use]
    pub fn ended(worker: &str, outcome: Outcome, error: Option<String>) -> Self {
        Self {
            worker: worker.to_owned(),
            outcome,
            file: String::new(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            unchanged: 0,
            also_changed: Vec::new(),
            restart_needed: Vec::new(),
            problems: Vec::new(),
            error,
        }
    }

    /// What it came to, as sentences: one where the file is in force, one a problem where not.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        match self.outcome {
            Outcome::Applied => vec![self.changes()],
            Outcome::Failed => {
                let error = self.error.as_deref().unwrap_or("not known");
                if self.file.is_empty() { vec![error.to_owned()] } else { vec![self.changes(), error.to_owned()] }
            }
            Outcome::NoAnswer => self.error.iter().cloned().collect(),
            Outcome::Refused => self
                .problems
                .iter()
                .map(|FileProblem { line, key, message }| {
                    let separator = if key.is_empty() { "" } else { ": " };
                    format!("{}:{line}: {key}{separator}{message}", self.file)
                })
                .collect(),
        }
    }

    fn changes(&self) -> String {
        let named = [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)];
        let mut parts: Vec<String> = named
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} {}", names.join(", ")))
            .collect();
        if parts.is_empty() {
            parts.push("no destination changed".to_owned());
        }
        parts.push(format!("{} as before", self.unchanged));
        if !self.also_changed.is_empty() {
            parts.push(format!("also changed: {}", self.also_changed.join(", ")));
        }
        if !self.restart_needed.is_empty() {
            parts.push(format!("a restart is needed for {}", self.restart_needed.join(", ")));
        }
        parts.join("; ")
    }
}

/// What a worker answers to [`Command::Reload`]: that it heard it, and then what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadReply {
    /// It was heard.
    Heard {
        /// By whom.
        worker: String,
        /// Whether that one is meant.
        reloads: bool,
        /// All workers that it knows of, itself too.
        workers: BTreeSet<String>,
    },
    /// It is over.
    Done(Reloaded),
}

/// A reload of this worker that somebody asked for.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who: a token's name, or user@host of a command line.
    pub by: String,
    /// From where: `api`, `console` or `command line`.
    pub place: String,
    /// Gets what became of it.
    pub answer: oneshot::Sender<Reloaded>,
}

/// Has this worker reload, one time after another. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: mpsc::Sender<ReloadRequest>,
}

impl Reloader {
    /// One, and the receiver for whoever reloads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (requests, receiver) = mpsc::channel(WAITING);
        (Self { requests }, receiver)
    }

    /// Reloads; waits for the one that is at work. None where the worker stops meanwhile.
    pub async fn reload(&self, by: String, place: String) -> Option<Reloaded> {
        let (answer, reloaded) = oneshot::channel();
        self.requests.send(ReloadRequest { by, place, answer }).await.ok()?;
        reloaded.await.ok()
    }
}

/// Why nothing was reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The command could not be sent.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// No worker heard it.
    #[error("no worker answered within {ANSWER_WITHIN:?}: none runs, or none reaches the broker")]
    Nobody,
    /// No worker has that name.
    #[error("no worker {worker:?} answers; there are: {there}")]
    Unknown {
        /// The name.
        worker: String,
        /// Those that do.
        there: String,
    },
}

/// Sends the command by `gather`, and returns what became of it in each worker, by name.
///
/// # Errors
/// [`ReloadError`] where no worker reloads.
pub async fn everywhere<Answers: Future<Output = Result<Vec<Bytes>, ControlError>>>(
    gather: impl FnOnce(Bytes, Duration) -> Answers,
    worker: Option<&str>,
    (by, place): (&str, &str),
) -> Result<Vec<Reloaded>, ReloadError> {
    let command = Command::Reload { worker: worker.map(str::to_owned), by: by.to_owned(), place: place.to_owned() };
    let answers = gather(written(&command)?, ANSWER_WITHIN).await?;
    concluded(&read(&answers), worker)
}

/// How long the next answer is waited for after these.
#[must_use]
pub fn patience(answers: &[Bytes]) -> Duration {
    let said = Said::of(&read(answers));
    match () {
        () if !said.at_work.is_empty() => DONE_WITHIN,
        () if !said.silent.is_empty() => ANSWER_WITHIN,
        () => OTHERS,
    }
}

/// Which workers said what.
#[derive(Default)]
struct Said {
    /// Those that have heard it.
    heard: BTreeSet<String>,
    /// Those that are meant and have not ended.
    at_work: BTreeSet<String>,
    /// Those that others know and that have not answered.
    silent: BTreeSet<String>,
    done: Vec<Reloaded>,
}

impl Said {
    fn of(replies: &[ReloadReply]) -> Self {
        let mut said = Self::default();
        for reply in replies {
            match reply {
                ReloadReply::Heard { worker, reloads, workers } => {
                    said.heard.insert(worker.clone());
                    if *reloads {
                        said.at_work.insert(worker.clone());
                    }
                    said.silent.extend(workers.iter().cloned());
                }
                ReloadReply::Done(reloaded) => said.done.push(reloaded.clone()),
            }
        }
        said.done.sort_by(|one, other| one.worker.cmp(&other.worker));
        let done: BTreeSet<&String> = said.done.iter().map(|reloaded| &reloaded.worker).collect();
        said.at_work.retain(|worker| !done.contains(worker));
        said.silent.retain(|worker| !said.heard.contains(worker) && !done.contains(worker));
        said
    }
}

fn concluded(replies: &[ReloadReply], worker: Option<&str>) -> Result<Vec<Reloaded>, ReloadError> {
    let said = Said::of(replies);
    if said.heard.is_empty() && said.done.is_empty() {
        return Err(ReloadError::Nobody);
    }
    let is_meant = |name: &String| worker.is_none_or(|worker| worker == name);
    let late = |name: &String| {
        let why = format!("it still waits for requests in flight, or for another reload, after {DONE_WITHIN:?}");
        Reloaded::ended(name, Outcome::NoAnswer, Some(why))
    };
    let silent = |name: &String| {
        let why = "it did not answer: it may have ended a moment ago, does not reach the broker, or is of a version \
                   without this command";
        Reloaded::ended(name, Outcome::NoAnswer, Some(why.to_owned()))
    };
    let mut all = said.done;
    all.extend(said.at_work.iter().map(late));
    all.extend(said.silent.iter().filter(|name| is_meant(name)).map(silent));
    all.sort_by(|one, other| one.worker.cmp(&other.worker));
    match worker {
        Some(worker) if all.is_empty() => {
            let there = said.heard.into_iter().collect::<Vec<_>>().join(", ");
            Err(ReloadError::Unknown { worker: worker.to_owned(), there })
        }
        Some(_) | None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(worker: &str, reloads: bool, all: &[&str]) -> ReloadReply {
        let workers = all.iter().map(ToString::to_string).collect();
        ReloadReply::Heard { worker: worker.to_owned(), reloads, workers }
    }

    fn done(worker: &str) -> ReloadReply {
        ReloadReply::Done(Reloaded { unchanged: 3, ..Reloaded::ended(worker, Outcome::Applied, None) })
    }

    fn bytes(replies: &[ReloadReply]) -> Vec<Bytes> {
        replies.iter().map(|reply| serde_json::to_vec(reply).unwrap_or_default().into()).collect()
    }

    #[test]
    fn each_worker_that_is_known_is_waited_for_and_one_that_says_nothing_is_named() {
        let both = ["a/1", "b/2"];
        let mut replies = vec![heard("a/1", true, &both)];
        assert_eq!(patience(&bytes(&replies)), DONE_WITHIN);
        replies.push(done("a/1"));
        assert_eq!(patience(&bytes(&replies)), ANSWER_WITHIN, "the other has not answered yet");
        let outcomes = concluded(&replies, None).unwrap();
        let told: Vec<_> = outcomes.iter().map(|one| (one.worker.as_str(), one.outcome)).collect();
        assert_eq!(told, [("a/1", Outcome::Applied), ("b/2", Outcome::NoAnswer)]);
        replies.extend([heard("b/2", true, &both), done("b/2")]);
        assert_eq!(patience(&bytes(&replies)), OTHERS);
        assert!(concluded(&replies, None).unwrap().iter().all(|one| one.outcome == Outcome::Applied));
    }

    #[test]
    fn a_worker_that_is_not_there_is_an_error_that_names_those_that_are() {
        let replies = [heard("a/1", false, &["a/1", "b/2"]), heard("b/2", false, &["a/1", "b/2"])];
        let error = concluded(&replies, Some("c/3")).unwrap_err().to_string();
        assert_eq!(error, "no worker \"c/3\" answers; there are: a/1, b/2");
        let one = concluded(&[heard("a/1", true, &["a/1", "b/2"]), done("a/1")], Some("a/1")).unwrap();
        assert_eq!(one.len(), 1, "the other was not asked to");
        assert!(matches!(concluded(&[], None), Err(ReloadError::Nobody)));
    }

    #[test]
    fn what_it_came_to_is_told_in_sentences() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ended = |outcome| Reloaded::ended("a/1", outcome, None);
        let applied = Reloaded {
            added: names(&["px"]),
            changed: names(&["acton", "one"]),
            restart_needed: names(&["broker"]),
            unchanged: 2,
            ..ended(Outcome::Applied)
        };
        assert_eq!(applied.sentences(), ["added px; changed acton, one; 2 as before; a restart is needed for broker"]);
        assert_eq!(ended(Outcome::Applied).sentences(), ["no destination changed; 0 as before"]);
        let told = Reloaded { also_changed: names(&["notify", "ingest.tokens"]), ..ended(Outcome::Applied) };
        assert_eq!(told.sentences(), ["no destination changed; 0 as before; also changed: notify, ingest.tokens"]);
        let problem = FileProblem { line: 7, key: "destinations.px.limit".into(), message: "unknown key".into() };
        let refused = Reloaded { file: "s.toml".into(), problems: vec![problem], ..ended(Outcome::Refused) };
        assert_eq!(refused.sentences(), ["s.toml:7: destinations.px.limit: unknown key"]);
    }
}
