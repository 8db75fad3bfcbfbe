//! Carries out operators' commands: those given to this process, and those that reach it through the broker.

mod reload;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Marks, OperatorAct};
use crate::broker::{Broker, ControlError, ControlMessage};
use crate::clock;
use crate::control::reload::Reloader;
use crate::control::stamp::{BulkChange, Change, Stamp};
use crate::control::{ANSWER_WITHIN, Command, CommandError, CommandReply, send};
use crate::dead_letters::operation::Registry;
use crate::destination::recent::Recent;
use crate::destination::{Applied, Handle};
use crate::fleet::Roster;
use crate::gate::{Limit, Paused};
use crate::supervisor::Part;

/// Between tries to tell the other workers of a command …
const PAUSE: Duration = Duration::from_secs(2);
/// … and how many more there are.
const SENT_AGAIN: u32 = 30;

/// Carries out a command to a destination in this worker; returns the state of its gate after it.
///
/// # Errors
/// [`CommandError`] when the destination is not here or the command is wrong.
pub async fn apply(roster: &Roster, command: &Command) -> Result<CommandReply, CommandError> {
    Ok(carry_out(roster, command).await?.0)
}

/// As [`apply`]; returns the destination and the stamp too, where the command changed something.
async fn carry_out(
    roster: &Roster,
    command: &Command,
) -> Result<(CommandReply, Option<(Handle, Stamp)>), CommandError> {
    let (command, stamp) =
        if let Command::Stamped { stamp, command } = command { (&**command, Some(*stamp)) } else { (command, None) };
    let Some((destination, change)) = command.parts()? else {
        return Err(CommandError::Invalid("this command is not for a destination".into()));
    };
    let unknown = || CommandError::Unknown(destination.to_owned());
    let handle = roster.get(destination).ok_or_else(unknown)?;
    let before = match change {
        Some(_) => Some(handle.view().await.map_err(|_| unknown())?),
        None => None,
    };
    // A driver elsewhere tells of them in a moment only.
    let is_bulk = matches!(command, Command::Bulk { .. } | Command::TellBulk { .. });
    let expected = change
        .as_ref()
        .zip(before.as_ref())
        .map(|(change, before)| limits_after(change, &before.limits, &before.configured));
    let limits_before = before.map_or_else(Vec::new, |before| if is_bulk { before.bulk.limits } else { before.limits });
    let applied = match change {
        Some(change) => Some(handle.change(change, stamp).await.map_err(|_| unknown())?),
        None => None,
    };
    let mut view = handle.view().await.map_err(|_| unknown())?;
    if let Some(limits) = expected.filter(|_| !view.drives && matches!(applied, Some(Applied::Holds { .. }))) {
        view.limits = limits;
    }
    let is_paused = is_bulk && view.bulk.paused.is_some();
    let state = if is_paused { "paused" } else { view.state_name() };
    let (state, rate) = (Some(state.to_owned()), view.rate.filter(|rate| rate.is_finite()));
    let (holds, later) = match applied {
        Some(Applied::Holds { stamp, later }) => (Some((handle, stamp)), later),
        Some(Applied::Superseded(at)) => (None, Some(at)),
        None => (None, None),
    };
    let limits = if is_bulk { view.bulk.limits } else { view.limits };
    let reply = CommandReply {
        destination: destination.to_owned(),
        worker: None,
        drives: view.drives,
        state,
        hindered: view.hindered.map(|hindrance| hindrance.why),
        rate,
        outside_hours: view.outside_hours,
        limits_before,
        limits,
        later,
        error: None,
    };
    Ok((reply, holds))
}

/// The limits in force once a change is carried out where `before` were, and `configured` are the configuration's.
fn limits_after(change: &Change, before: &[String], configured: &[String]) -> Vec<String> {
    let read = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<Limit>>();
    let limits = change.limits_after(&read(before), &read(configured));
    limits.iter().map(ToString::to_string).collect()
}

fn until_and_why(pause: &Paused) -> String {
    let until = pause.until.map(|until| format!("until {}", until.strftime("%F %T UTC")));
    until.into_iter().chain(pause.reason.clone()).collect::<Vec<_>>().join(": ")
}

/// What the audit says of a command that was answered so: none where it changes nothing. `by`: who gave it, and from where.
#[must_use]
pub fn audited(command: &Command, answer: &CommandReply, by: (&str, &str)) -> Option<audit::Entry> {
    let (act, given) = match command {
        Command::Pause { how, .. } => (OperatorAct::Pause, until_and_why(how)),
        Command::Resume { .. } => (OperatorAct::Resume, String::new()),
        Command::Bulk { change, .. } => match change {
            BulkChange::Pause { how } => (OperatorAct::PauseBulk, until_and_why(how)),
            BulkChange::Resume => (OperatorAct::ResumeBulk, String::new()),
            BulkChange::Limits { .. } => {
                let listed = |limits: &[String]| if limits.is_empty() { "none".to_owned() } else { limits.join(", ") };
                (OperatorAct::LimitsBulk, format!("{} → {}", listed(&answer.limits_before), listed(&answer.limits)))
            }
        },
        Command::Limits { .. } | Command::ResetLimits { .. } => {
            let as_configured = matches!(command, Command::ResetLimits { .. });
            let note = if as_configured { ", as configured" } else { "" };
            (OperatorAct::Limits, format!("{} → {}{note}", answer.limits_before.join(", "), answer.limits.join(", ")))
        }
        Command::Tell { .. }
        | Command::TellBulk { .. }
        | Command::Operations { .. }
        | Command::Fates { .. }
        | Command::Recent { .. }
        | Command::Operation { .. }
        | Command::Stamped { .. }
        | Command::Reload { .. }
        | Command::Tap { .. }
        | Command::Announce { .. }
        | Command::Audit { .. } => return None,
    };
    let outcome = match (&answer.error, answer.later) {
        (Some(error), _) => format!("refused: {error}"),
        (None, Some(_)) => "a later command holds".to_owned(),
        (None, None) => answer.state.clone().unwrap_or_else(|| "done".to_owned()),
    };
    Some(audit::Entry::done(by, &answer.destination, act, given, &outcome))
}

/// Carries out a command to a destination in this worker, and sends it to the other workers.
///
/// # Errors
/// As [`apply`]; then no other worker hears of it.
pub async fn apply_everywhere(
    broker: &Broker,
    roster: &Roster,
    command: &Command,
) -> Result<CommandReply, CommandError> {
    let (answer, held) = carry_out(roster, command).await?;
    if let Some((handle, stamp)) = held {
        let (broker, command) = (broker.clone(), command.clone());
        let call = move |body| {
            let broker = broker.clone();
            async move { broker.call(body, ANSWER_WITHIN).await }
        };
        // The operator must not wait for a broker that is away.
        tokio::spawn(spread(handle, call, command, stamp));
    }
    Ok(answer)
}

/// Sends a command that was carried out here to every worker by `call`. It may arrive late: it changes nothing where a later command is known.
async fn spread<Answers: Future<Output = Result<Vec<Bytes>, ControlError>>>(
    handle: Handle,
    call: impl Fn(Bytes) -> Answers,
    command: Command,
    stamp: Stamp,
) {
    // One after another: a command that is sent again with a later stamp would win over commands given meanwhile.
    let _turn = handle.turn_to_tell().await;
    // As it is sent.
    let shown = serde_json::to_string(&command).unwrap_or_default();
    for tried in 0..=SENT_AGAIN {
        let why = match send(&call, &command, stamp).await {
            Ok(answers) if !answers.is_empty() => return,
            Ok(_) => "no worker answered".to_owned(),
            Err(error) => error.to_string(),
        };
        match tried {
            0 => tracing::warn!(
                command = shown,
                why,
                "carried out here; the other workers get it as soon as they can be reached"
            ),
            SENT_AGAIN => tracing::warn!(command = shown, why, "carried out here; the other workers did not get it"),
            _ => {}
        }
        clock::sleep(PAUSE).await;
    }
}

/// What carries out the commands from the broker.
#[derive(Clone)]
pub struct Listener {
    broker: Broker,
    roster: Roster,
    operations: Registry,
    /// What is said of issues.
    marks: Marks,
    /// None in a process that is no worker.
    reloader: Option<Reloader>,
    taps: tap::Taps,
}

/// What goes on beside the commands after it.
type Later = Option<BoxFuture<'static, ()>>;

impl Listener {
    /// That of a process with those destinations and operations; only a worker has a `reloader`.
    #[must_use]
    pub fn new(broker: Broker, roster: Roster, operations: Registry, marks: Marks, reloader: Option<Reloader>) -> Self {
        Self { broker, roster, operations, marks, reloader, taps: tap::Taps::default() }
    }

    /// The part that carries out the commands, until `ending`.
    pub fn part(self, ending: CancellationToken) -> impl Part {
        // Who watched before asks again within seconds.
        move || Self { taps: tap::Taps::default(), ..self.clone() }.listen(ending.clone()).map(Ok)
    }

    /// Carries out the commands, until `ending`.
    pub async fn listen(self, ending: CancellationToken) {
        let (_sender, mut commands) = self.broker.control();
        // The command in work is dropped too: its answer may wait long for a broker that takes nothing.
        let applying = async {
            let mut going_on = FuturesUnordered::new();
            loop {
                tokio::select! {
                    message = commands.recv() => {
                        let Some(message) = message else { return };
                        going_on.extend(self.apply_message(&message).await);
                    }
                    Some(()) = going_on.next() => {}
                }
            }
        };
        ending.run_until_cancelled(applying).await;
    }

    async fn apply_message(&self, message: &ControlMessage) -> Later {
        let Self { roster, operations, .. } = self;
        let command: Command = match serde_json::from_slice(&message.body) {
            Ok(command) => command,
            Err(error) => {
                tracing::warn!(%error, "a command on the control exchange cannot be read; ignored");
                return None;
            }
        };
        let answer = match command {
            Command::Audit { entry } => {
                audit::log(&entry);
                entry.mark.iter().for_each(|mark| self.marks.heard(mark));
                None
            }
            Command::Announce { announcement } => {
                roster.peers().heard(announcement, clock::now(), clock::wall());
                None
            }
            Command::Reload { worker, by, place } => {
                let reloader = self.reloader.clone()?;
                return reload::answer(roster, reloader, message, worker, (by, place)).await;
            }
            Command::Tap { destination, tap } => {
                return self.taps.answer(roster, message, destination, tap).await;
            }
            Command::Recent { destinations } => recent(roster, &destinations).await,
            Command::Operations { destination } => {
                let mut states = operations.states();
                states.retain(|state| destination.as_ref().is_none_or(|name| *name == state.destination));
                serde_json::to_vec(&states).ok()
            }
            // Only a process that knows something answers.
            Command::Fates { destination, letter } => {
                let fates = operations.fates(&destination, &letter);
                (!fates.is_empty()).then(|| serde_json::to_vec(&fates).ok()).flatten()
            }
            // Only the process that runs the operation answers.
            Command::Operation { id, signal } => {
                operations.signal(&id, signal).and_then(|_| serde_json::to_vec(&operations.state(&id)).ok())
            }
            Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Limits { .. }
            | Command::ResetLimits { .. }
            | Command::Tell { .. }
            | Command::Bulk { .. }
            | Command::TellBulk { .. }
            | Command::Stamped { .. } => answer(roster, &command).await,
        };
        if let Some(body) = answer {
            // An error means that the sender has gone.
            drop(message.reply(body.into()).await);
        }
        None
    }
}

/// What happened lately at those of `destinations` that are driven here; nothing where none is. Of several, figures alone.
async fn recent(roster: &Roster, destinations: &BTreeSet<String>) -> Option<Vec<u8>> {
    let mut known: BTreeMap<&String, Recent> = BTreeMap::new();
    for name in destinations {
        let Some(handle) = roster.get(name).filter(|_| roster.peers().drives_here(name)) else { continue };
        let Ok(recent) = handle.recent().await else { continue };
        known.insert(name, if destinations.len() > 1 { recent.only_samples() } else { recent });
    }
    if known.is_empty() { None } else { serde_json::to_vec(&known).ok() }
}

async fn answer(roster: &Roster, command: &Command) -> Option<Vec<u8>> {
    let answer = match apply(roster, command).await {
        // Only the worker that drives the destination answers, as long as there is one.
        Ok(answer) if !answer.drives && roster.peers().is_driven_elsewhere(&answer.destination, clock::now()) => {
            return None;
        }
        Ok(answer) => CommandReply { worker: Some(roster.peers().me().name.clone()), ..answer },
        Err(CommandError::Unknown(_)) => return None,
        Err(error @ CommandError::Invalid(_)) => CommandReply {
            destination: String::new(),
            worker: None,
            drives: true,
            state: None,
            hindered: None,
            rate: None,
            outside_hours: None,
            limits_before: Vec::new(),
            limits: Vec::new(),
            later: None,
            error: Some(error.to_string()),
        },
    };
    serde_json::to_vec(&answer).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_worker_that_stands_by_knows_the_limits_that_follow_from_a_command() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (before, configured) = (texts(&["200/s", "1000/day"]), texts(&["100/s", "1000/day"]));
        let after = |change: &Change| limits_after(change, &before, &configured);
        assert_eq!(after(&Change::Limits(vec!["50/s".parse().unwrap()])), ["50/s", "1000/day"]);
        assert_eq!(after(&Change::ResetLimits(crate::gate::Window::ALL.to_vec())), ["100/s", "1000/day"]);
        assert_eq!(after(&Change::Resume), before);
    }

    #[tokio::test]
    async fn a_command_is_told_when_the_one_before_has_been_told() {
        let (handle, _commands) = Handle::new();
        let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
        let slow = Arc::new(tokio::sync::Semaphore::new(0));
        let tell = |command: Command| {
            let (told, slow) = (told.clone(), Arc::clone(&slow));
            let call = move |body: Bytes| {
                drop(told.send(body));
                let slow = Arc::clone(&slow);
                async move {
                    slow.acquire().await.map_err(|error| ControlError::Broken(error.to_string()))?.forget();
                    Ok(vec![Bytes::from_static(br#"{"destination":"px"}"#)])
                }
            };
            spread(handle.clone(), call, command, Stamp::after(None, clock::wall(), Uuid::new_v4()))
        };
        let pause =
            tokio::spawn(tell(Command::Pause { destination: "px".into(), how: crate::gate::Paused::default() }));
        let first = telling.recv().await.unwrap_or_default();
        let resume = tokio::spawn(tell(Command::Resume { destination: "px".into() }));
        tokio::task::yield_now().await;
        assert!(telling.try_recv().is_err(), "the first has not been told yet");
        slow.add_permits(2);
        let second = telling.recv().await.unwrap_or_default();
        assert!(first.windows(5).any(|part| part == b"pause") && second.windows(6).any(|part| part == b"resume"));
        assert!(tokio::join!(pause, resume).0.is_ok());
    }
}
