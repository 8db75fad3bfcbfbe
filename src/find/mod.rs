//! Where is my event: an id in, its whole way out. [`search`] reads the history, [`piles`] looks at dead letters, trash and unrouted events, and
//! [`story`] makes one account of it. Changes nothing. One implementation for the command line, the admin API and the console.

mod piles;
mod search;
pub mod story;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::clock;
use crate::routing;
use crate::section::parse_duration;

pub use story::{EventStory, Standing, State, StoryStep};

/// Ids that may be asked for at once.
pub const MOST_IDS: usize = 100;
/// Steps of all events that are told.
pub const MOST_STEPS: usize = 2_000;

/// Which events are meant: those with one of the ids, of that source, with that subject. What is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Event ids.
    pub ids: Vec<String>,
    /// The events' source.
    pub source: Option<String>,
    /// The events' subject.
    pub subject: Option<String>,
    /// Only what happened since.
    pub since: Option<Timestamp>,
}

impl Search {
    /// What is wrong with it: the field, and a sentence.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.ids.is_empty() && self.subject.is_none() {
            return Some(("id", "say which event: give its id, or a subject".to_owned()));
        }
        if self.ids.len() > MOST_IDS {
            return Some(("id", format!("at most {MOST_IDS} ids may be asked for at once, here {}", self.ids.len())));
        }
        self.ids.iter().any(|id| id.is_empty()).then(|| ("id", "an id is empty".to_owned()))
    }

    /// Whether an event is meant; the subject is asked for only where it matters.
    fn means(&self, id: &str, source: &str, subject: impl FnOnce() -> Option<String>) -> bool {
        (self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id))
            && self.source.as_deref().is_none_or(|wanted| story::shown(wanted) == story::shown(source))
            && self.subject.as_ref().is_none_or(|wanted| subject().as_ref() == Some(wanted))
    }
}

/// Where is searched.
#[derive(Clone, Debug)]
pub struct Finder {
    /// The broker.
    pub broker: Broker,
    /// The destinations whose letters are looked at, with the patterns that they subscribe to.
    pub destinations: BTreeMap<String, Vec<String>>,
    /// How long the history is kept, and whether subjects are; none where there is no history.
    pub history: Option<(Duration, bool)>,
    /// The largest event.
    pub max_event_bytes: usize,
}

/// How long a search may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long those are waited for who read the same letters.
    pub patience: Duration,
    /// All of it.
    pub within: Duration,
}

/// Told from time to time: steps searched so far, and when the last of them happened.
pub type Progress<'a> = &'a (dyn Fn(u64, Option<Timestamp>) + Send + Sync);

/// What was found.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Found {
    /// The events, in the order of their first steps.
    pub events: Vec<EventStory>,
    /// Ids of which nothing was found.
    pub not_found: Vec<String>,
    /// What may be missing, and why, a sentence each.
    pub notes: Vec<String>,
    /// Whether all was looked at that there is.
    pub is_complete: bool,
    /// Whether a history is kept.
    pub has_history: bool,
    /// Steps of the history that were searched.
    pub searched: u64,
}

/// A time, or how long ago.
///
/// # Errors
/// What to write instead.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = parse_duration(text).and_then(|ago| now.checked_sub(ago).ok());
    ago.ok_or_else(|| {
        format!("{text:?} is no time; write one such as 2026-11-30T08:00:00Z, or how long ago, such as 2h")
    })
}

/// What was said of a step, why, and what follows.
#[must_use]
pub fn said(step: &StoryStep) -> String {
    let reason = step.reason.clone();
    let again =
        step.pause_seconds.filter(|_| step.step != "scheduled").map(|seconds| format!("again within {seconds} s"));
    let letter = step.letter.as_ref().map(|letter| format!("letter {letter}"));
    let by = step.by.clone().filter(|_| step.is_by_person).map(|by| format!("by {by}"));
    let parts: Vec<String> = [reason, step.said.clone(), again, letter, by].into_iter().flatten().collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join("; ") }
}

/// The status of an answer, and how long it took.
#[must_use]
pub fn answer(step: &StoryStep) -> String {
    match (step.status, step.ms) {
        (Some(status), Some(ms)) => format!("{status} in {ms} ms"),
        (Some(status), None) => status.to_string(),
        (None, Some(ms)) => format!("none in {ms} ms"),
        (None, None) => "-".to_owned(),
    }
}

impl Finder {
    /// Searches everywhere at once.
    pub async fn find(&self, search: &Search, bounds: Bounds, progress: Progress<'_>) -> Found {
        let until: Instant = clock::now() + bounds.within;
        let (recorded, looked) =
            tokio::join!(self.search_history(search, until, progress), self.look_at_piles(search, bounds, until));
        let mut found = Found {
            has_history: self.history.is_some(),
            is_complete: recorded.is_complete && looked.is_complete,
            searched: recorded.searched,
            notes: recorded.notes,
            ..Found::default()
        };
        found.notes.extend(looked.notes);
        let is_whole = search.since.is_none() && self.history.is_some();
        let events = story::tell(recorded.steps, looked.letters, looked.unrouted, is_whole, clock::wall());
        let is_missing = |id: &&String| !events.iter().any(|event| event.id == **id);
        found.not_found = search.ids.iter().filter(is_missing).cloned().collect();
        if is_whole {
            found.notes.extend(events.iter().flat_map(|event| self.without_a_step(event)));
        }
        found.events = events;
        found
    }

    /// A sentence for each destination that should have the event and has no step of it.
    fn without_a_step(&self, event: &EventStory) -> impl Iterator<Item = String> {
        let knows = |name: &str| {
            event.steps.iter().any(|step| step.destination.as_deref() == Some(name))
                || event.now.iter().any(|now| now.destination.as_deref() == Some(name) || now.destination.is_none())
        };
        let wants = |patterns: &[String]| routing::subscribes(patterns, &event.r#type);
        self.destinations.iter().filter(move |(name, patterns)| wants(patterns) && !knows(name)).map(|(name, _)| {
            format!(
                "{name} subscribes to {} and has no step of {}: it waits in the queue of {name}, or was published before {name} subscribed",
                event.r#type, event.id
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_meant_by_all_that_is_given() {
        let search = Search { ids: vec!["a".into(), "b".into()], source: Some("shop".into()), ..Search::default() };
        let none = || None;
        assert!(search.means("a", "shop", none) && search.means("b", "shop", none));
        assert!(!search.means("c", "shop", none) && !search.means("a", "crm", none));
        let by_subject = Search { subject: Some("cust-7".into()), ..Search::default() };
        assert!(by_subject.means("x", "y", || Some("cust-7".into())) && !by_subject.means("x", "y", none));
    }

    #[test]
    fn a_search_for_nothing_or_too_much_is_refused() {
        assert_eq!(Search::default().problem().unwrap().0, "id");
        let ids = vec!["x".to_owned(); MOST_IDS + 1];
        assert!(Search { ids, ..Search::default() }.problem().unwrap().1.contains("at most 100"));
        assert_eq!(Search { subject: Some("s".into()), ..Search::default() }.problem(), None);
    }

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
        assert_eq!(since("2h", now).unwrap().to_string(), "2026-11-30T08:00:00Z");
        assert_eq!(since("2026-11-29T00:00:00Z", now).unwrap().to_string(), "2026-11-29T00:00:00Z");
        assert!(since("yesterday", now).unwrap_err().contains("such as 2h"));
    }
}
