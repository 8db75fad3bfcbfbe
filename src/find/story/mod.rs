//! One account of an event: steps of the history and letters in, all steps in the order of time and where the event is now out. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::piles::FoundLetter;
use super::search::Recorded;
use crate::dead_letters::edit::in_its_place;
use crate::history::{Step, StepKind};
use crate::redact;
use crate::unrouted::UnroutedEvent;

/// A letter's death, as it is recorded, and as its letter tells it, lie no further apart.
const SAME_DEATH: Duration = Duration::from_secs(5);
/// How long discarded letters stay.
const IN_TRASH: Duration = Duration::from_hours(7 * 24);
/// After the time of the next attempt so long may pass until it is recorded.
const LATE: Duration = Duration::from_secs(60);
/// Of a history's attempts so many are the first ones; what is left out lies behind them.
const FIRST_ATTEMPTS: u64 = 5;

/// An event, and its way.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventStory {
    /// The event's id.
    pub id: String,
    /// Its source, addresses masked.
    pub source: String,
    /// Its type, addresses masked.
    pub r#type: String,
    /// Its steps, in the order of time.
    pub steps: Vec<StoryStep>,
    /// Where it is now: for each destination, as far as is known.
    pub now: Vec<Standing>,
    /// What is known to be missing, a sentence each.
    pub gaps: Vec<String>,
}

/// A step of an event's way.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StoryStep {
    /// When: a request's sending, else when it was found out.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened: `published`, `received`, `replayed`, `waited`, `retried`, `accepted`, `delivered`, `already_delivered`, `died`, `edited`,
    /// `discarded`, `restored`, `purged`, `scheduled`, `suppressed`, `dropped`, `unrouted`.
    pub step: &'static str,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The number of the attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// The answer's status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds that the request took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Seconds until the next attempt, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_seconds: Option<u64>,
    /// Why it is a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the vendor, the network or Sluice said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// The letter, where it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// The worker that recorded it, or the person who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip)]
    kind: StepKind,
    /// Whether a person did it, and no worker by itself.
    #[serde(skip)]
    pub(super) is_by_person: bool,
}

/// How an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The vendor has it.
    Delivered,
    /// It is a dead letter.
    Dead,
    /// Its letter is in the trash.
    Trash,
    /// It waits in a queue, or in a worker, to be sent.
    Waiting,
    /// It waits for its next attempt.
    Retrying,
    /// The vendor took it, and has not said yet whether it applied it.
    Accepted,
    /// It waits at the broker until it may be sent.
    Scheduled,
    /// Its time was over before it was sent.
    Dropped,
    /// It was not sent: its person must not be written to.
    Suppressed,
    /// No destination subscribes to it.
    Unrouted,
    /// It was a dead letter that is not there any more.
    Gone,
}

/// Where an event is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Standing {
    /// At which destination; none where no destination has part in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How it stands.
    pub state: State,
    /// The same for a person.
    pub sentence: String,
    /// The letter, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
}

/// A text as it is told: addresses masked.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    redact::without_addresses(text)
}

/// What is known of one event.
#[derive(Debug, Default)]
struct Known {
    kind: String,
    steps: Vec<Recorded>,
    letters: Vec<FoundLetter>,
    unrouted: Vec<UnroutedEvent>,
}

/// The account of each event. `is_whole`: the history was searched from its beginning, so that gaps in it can be seen.
pub(super) fn tell(
    steps: Vec<Recorded>,
    letters: Vec<FoundLetter>,
    unrouted: Vec<UnroutedEvent>,
    is_whole: bool,
    now: Timestamp,
) -> Vec<EventStory> {
    let mut events: BTreeMap<(String, String), Known> = BTreeMap::new();
    for recorded in merged(steps) {
        let step = &recorded.step;
        let known = events.entry((step.id.to_string(), step.source.to_string())).or_default();
        step.event_type.clone_into_if_empty(&mut known.kind);
        known.steps.push(recorded);
    }
    for found in letters {
        let known = events.entry((found.id.clone(), shown(&found.source).into_owned())).or_default();
        shown(&found.letter.event_type).clone_into_if_empty(&mut known.kind);
        known.letters.push(found);
    }
    for event in unrouted {
        let known = events.entry((event.id.clone(), shown(&event.source).into_owned())).or_default();
        shown(&event.r#type).clone_into_if_empty(&mut known.kind);
        known.unrouted.push(event);
    }
    let mut stories: Vec<EventStory> =
        events.into_iter().map(|((id, source), known)| known.story(id, source, is_whole, now)).collect();
    stories.sort_by_key(|story| story.steps.first().map(|step| step.at));
    stories
}

/// A replay is recorded by whoever began it, and by the worker that takes the event: one step, the person's at the worker's time, so that no
/// difference of clocks puts it behind the delivery.
fn merged(steps: Vec<Recorded>) -> Vec<Recorded> {
    let (begun, mut steps): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|it| it.step.kind == StepKind::Replayed && it.step.by.is_some());
    for replay in begun {
        let step = &replay.step;
        let is_taken = |it: &&mut Recorded| {
            let Step { kind, id, source, destination, said, by, .. } = &it.step;
            *kind == StepKind::Replayed
                && by.is_none()
                && (id, source, destination, said) == (&step.id, &step.source, &step.destination, &step.said)
        };
        match steps.iter_mut().find(is_taken) {
            Some(taken) => taken.step.by.clone_from(&step.by),
            None => steps.push(replay),
        }
    }
    steps
}

trait CloneIfEmpty {
    fn clone_into_if_empty(&self, to: &mut String);
}

impl CloneIfEmpty for Cow<'_, str> {
    fn clone_into_if_empty(&self, to: &mut String) {
        if to.is_empty() {
            to.push_str(self);
        }
    }
}

impl Known {
    fn story(self, id: String, source: String, is_whole: bool, now: Timestamp) -> EventStory {
        let mut steps: Vec<StoryStep> = self.steps.iter().map(StoryStep::of).collect();
        self.letters.iter().for_each(|found| add_letter(&mut steps, found));
        for event in &self.unrouted {
            let said = Some(format!("no destination subscribes to {}", shown(&event.routing_key)));
            let at = event.time.unwrap_or(now);
            steps.push(StoryStep { said, ..StoryStep::new(StepKind::Unrouted, at, None) });
        }
        self.add_received(&mut steps);
        steps.sort_by_key(|step| (step.at, step.kind));
        let gaps = if is_whole { gaps(&steps) } else { Vec::new() };
        let now = self.standings(&steps, now);
        EventStory { id, source, r#type: self.kind, steps, now, gaps }
    }

    /// When a worker took it first, at each destination.
    fn add_received(&self, steps: &mut Vec<StoryStep>) {
        let of_steps = self.steps.iter().map(|it| (it.step.destination.to_string(), it.step.received));
        let of_letters = self.letters.iter().map(|found| (found.letter.destination.clone(), found.received));
        let mut first: BTreeMap<String, Timestamp> = BTreeMap::new();
        for (destination, at) in of_steps.chain(of_letters).filter(|(destination, _)| !destination.is_empty()) {
            if let Some(at) = at {
                let earliest = first.entry(destination).or_insert(at);
                *earliest = at.min(*earliest);
            }
        }
        let received = |(destination, at)| StoryStep::new(StepKind::Received, at, Some(destination));
        steps.extend(first.into_iter().map(received));
    }

    fn standings(&self, steps: &[StoryStep], now: Timestamp) -> Vec<Standing> {
        let mut standings = Vec::new();
        for event in &self.unrouted {
            let key = shown(&event.routing_key);
            let sentence = format!("it is unrouted: no destination subscribes to {key}");
            standings.push(Standing { destination: None, state: State::Unrouted, sentence, letter: None });
        }
        // What was edited goes on as the letter in its place.
        standings.extend(self.letters.iter().filter(|it| it.letter.edited_to.is_none()).map(standing_of_letter));
        let places: BTreeSet<&str> = steps.iter().filter_map(|step| step.destination.as_deref()).collect();
        for place in &places {
            let of_place = |step: &&StoryStep| step.destination.as_deref() == Some(*place);
            let told = |step: &&StoryStep| step.kind != StepKind::Received;
            let Some(last) = steps.iter().filter(of_place).rfind(told) else { continue };
            // Its letter says it already.
            let is_told = last.letter.is_some()
                || last.kind.is_of_a_letter() && self.letters.iter().any(|found| found.letter.destination == *place);
            if !is_told {
                standings.push(last.standing(place, now));
            }
        }
        if standings.is_empty() && places.is_empty() && !steps.is_empty() {
            let sentence =
                "it was published, and no worker has told anything of it yet: it waits in a queue".to_owned();
            standings.push(Standing { destination: None, state: State::Waiting, sentence, letter: None });
        }
        standings
    }
}

fn standing_of_letter(found: &FoundLetter) -> Standing {
    let FoundLetter { letter, is_trash, .. } = found;
    let (destination, id) = (Some(letter.destination.clone()), Some(letter.id.clone()));
    if *is_trash {
        let until = letter.discarded_at.and_then(|at| at.checked_add(IN_TRASH).ok());
        let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
        let sentence = format!("letter {} is in the trash of {}{until}", letter.id, letter.destination);
        return Standing { destination, state: State::Trash, sentence, letter: id };
    }
    let sentence =
        format!("letter {} is among the dead letters of {}: {}", letter.id, letter.destination, letter.reason.name());
    Standing { destination, state: State::Dead, sentence, letter: id }
}

/// What a letter tells that is not told yet.
fn add_letter(steps: &mut Vec<StoryStep>, found: &FoundLetter) {
    let FoundLetter { letter, history, .. } = found;
    let place = Some(letter.destination.clone());
    for (index, attempt) in (0_u64..).zip(&history.attempts) {
        let number = if index < FIRST_ATTEMPTS { index + 1 } else { index + 1 + history.omitted };
        let is_told = |step: &StoryStep| {
            step.destination == place && step.attempt == Some(number) && millis(step.at) == millis(attempt.at)
        };
        if !steps.iter().any(is_told) {
            steps.push(StoryStep {
                attempt: Some(number),
                status: attempt.status,
                ms: Some(attempt.ms),
                said: some(shown(&attempt.excerpt)),
                ..StoryStep::new(StepKind::Waited, attempt.at, place.clone())
            });
        }
    }
    let died_at = letter.dead_lettered_at.or(letter.last_attempt).unwrap_or(Timestamp::UNIX_EPOCH);
    let is_near = |at: Timestamp| at.duration_since(died_at).unsigned_abs() <= SAME_DEATH;
    let is_its_death = |step: &&mut StoryStep| {
        let by_attempt = letter.last_attempt.is_some_and(|last| millis(last) == millis(step.at));
        step.kind == StepKind::Died
            && step.destination == place
            && step.letter.is_none()
            && (by_attempt || is_near(step.at))
    };
    // The nearest to it, of several deaths.
    match steps.iter_mut().filter(is_its_death).min_by_key(|step| step.at.duration_since(died_at).unsigned_abs()) {
        Some(death) => death.letter = Some(letter.id.clone()),
        None => steps.push(StoryStep {
            reason: Some(letter.reason.name().to_owned()),
            said: some(shown(&letter.sentence)),
            letter: Some(letter.id.clone()),
            by: letter.worker.clone(),
            ..StoryStep::new(StepKind::Died, died_at, place.clone())
        }),
    }
    if let Some(at) = letter.discarded_at {
        let (kind, said) = match &letter.edited_to {
            Some(to) => (StepKind::Edited, Some(in_its_place(to))),
            None => (StepKind::Discarded, None),
        };
        let (by, id) = (letter.discarded_by.clone(), Some(letter.id.clone()));
        let is_it = |step: &&mut StoryStep| {
            step.kind == kind && step.destination == place && step.letter.is_none() && millis(step.at) == millis(at)
        };
        match steps.iter_mut().find(is_it) {
            Some(step) => step.letter = id,
            None => steps.push(StoryStep {
                said,
                is_by_person: by.is_some(),
                by,
                letter: id,
                ..StoryStep::new(kind, at, place)
            }),
        }
    }
}

/// Attempts that must have been made, since later ones have higher numbers, and are told nowhere.
fn gaps(steps: &[StoryStep]) -> Vec<String> {
    let mut made: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for step in steps {
        if let (Some(destination), Some(attempt)) = (&step.destination, step.attempt) {
            made.entry(destination).or_default().insert(attempt);
        }
    }
    let missing = |(destination, numbers): (&str, BTreeSet<u64>)| {
        let last = numbers.last().copied().unwrap_or(0);
        let count = last.saturating_sub(u64::try_from(numbers.len()).unwrap_or(last));
        let many = if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
        let said = format!(
            "{many} at {destination} before attempt {last} left no record: its worker was killed or could not record it, or it is too long ago"
        );
        (count > 0).then_some(said)
    };
    made.into_iter().filter_map(missing).collect()
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn some(text: Cow<'_, str>) -> Option<String> {
    (!text.is_empty()).then(|| text.into_owned())
}

impl StoryStep {
    fn new(kind: StepKind, at: Timestamp, destination: Option<String>) -> Self {
        Self {
            at,
            step: kind.name(),
            destination,
            attempt: None,
            status: None,
            ms: None,
            pause_seconds: None,
            reason: None,
            said: None,
            letter: None,
            by: None,
            kind,
            is_by_person: false,
        }
    }

    fn of(recorded: &Recorded) -> Self {
        let Step { kind, at, destination, attempt, status, ms, pause, reason, said, by, .. } = &recorded.step;
        Self {
            attempt: Some(*attempt).filter(|attempt| *attempt > 0),
            status: *status,
            ms: *ms,
            pause_seconds: *pause,
            reason: reason.as_deref().map(str::to_owned),
            said: some(shown(said)),
            by: by.as_deref().map(str::to_owned).or_else(|| some(Cow::Borrowed(&recorded.worker))),
            is_by_person: by.is_some(),
            ..Self::new(*kind, *at, some(destination.clone()))
        }
    }

    /// How an event stands at a destination whose last step this is.
    fn standing(&self, place: &str, now: Timestamp) -> Standing {
        let (state, sentence) = match self.kind {
            StepKind::Delivered | StepKind::AlreadyDelivered => (State::Delivered, format!("{place} has it")),
            StepKind::Accepted => {
                (State::Accepted, format!("{place} took it, and has not said yet whether it applied it"))
            }
            StepKind::Dropped => (State::Dropped, format!("its time was over before it was sent to {place}")),
            StepKind::Suppressed => {
                (State::Suppressed, format!("it was not sent to {place}: its person must not be written to"))
            }
            StepKind::Scheduled => {
                let due = self.at.checked_add(Duration::from_secs(self.pause_seconds.unwrap_or(0)));
                let due = due.unwrap_or(Timestamp::MAX);
                if now <= due.checked_add(LATE).unwrap_or(Timestamp::MAX) {
                    (State::Scheduled, format!("it waits to be sent to {place}, not before {due:.0}"))
                } else {
                    let said = format!(
                        "its time to be sent to {place} came at {due:.0}, and nothing is recorded since: it waits in the queue or in a worker"
                    );
                    (State::Waiting, said)
                }
            }
            StepKind::Retried => {
                let took =
                    Duration::from_millis(self.ms.unwrap_or(0)) + Duration::from_secs(self.pause_seconds.unwrap_or(0));
                let due = self.at.checked_add(took).unwrap_or(Timestamp::MAX);
                if now <= due.checked_add(LATE).unwrap_or(Timestamp::MAX) {
                    (State::Retrying, format!("it waits for its next attempt at {place}, due by {due:.0}"))
                } else {
                    let said = format!(
                        "its next attempt at {place} was due by {due:.0}, and nothing is recorded since: it waits in the queue or in a worker"
                    );
                    (State::Waiting, said)
                }
            }
            StepKind::Replayed => (State::Waiting, format!("it was replayed, and waits in the queue of {place}")),
            StepKind::Died => (
                State::Gone,
                format!("it died at {place}, and its letter was not found: it was replayed a moment ago, or deleted"),
            ),
            StepKind::Edited => {
                (State::Gone, format!("its dead letter at {place} was edited, and the edited one was not found"))
            }
            StepKind::Discarded => {
                (State::Gone, format!("its dead letter at {place} was discarded, and is not in the trash any more"))
            }
            StepKind::Restored => (State::Gone, format!("its dead letter at {place} was restored, and was not found")),
            StepKind::Purged => (State::Gone, format!("its dead letter at {place} was deleted for good")),
            StepKind::Published
            | StepKind::Received
            | StepKind::Waited
            | StepKind::Unrouted
            | StepKind::Lost
            | StepKind::Unknown => (State::Waiting, format!("it waits for the gate of {place}")),
        };
        Standing { destination: Some(place.to_owned()), state, sentence, letter: None }
    }
}

#[cfg(test)]
mod tests;
