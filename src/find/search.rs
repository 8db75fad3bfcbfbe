//! Reads the history for the steps of some events: from its beginning, or from a time, to its end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};

use super::{Finder, MOST_STEPS, Progress, Search};
use crate::broker::{StreamEvent, StreamMessage, StreamStart, StreamTrouble};
use crate::clock;
use crate::history::Step;
use crate::history::step::{StepKind, mark_of_id, mark_of_subject};
use crate::words;

/// What the line of a step begins with that tells how many were left out.
const LOST: &str = "\"o\":\"lost\"";
/// Nothing at all came for so long: the broker does not answer.
const SILENT: Duration = Duration::from_secs(30);

/// A step, and the worker that recorded it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recorded {
    pub step: Step<'static>,
    pub worker: String,
}

/// What the history has.
#[derive(Debug, Default)]
pub(super) struct HistorySearch {
    pub steps: Vec<Recorded>,
    pub notes: Vec<String>,
    pub searched: u64,
    pub is_complete: bool,
}

impl Finder {
    /// Reads the history, until that time at most.
    pub(super) async fn search_history(
        &self,
        search: &Search,
        until: Instant,
        progress: Progress<'_>,
    ) -> HistorySearch {
        let mut found = HistorySearch { is_complete: true, ..HistorySearch::default() };
        let Some((keep, keeps_subject)) = self.history else {
            found.notes.push(
                "no history is kept ([history] keep): only dead letters, trash and unrouted events were looked at"
                    .to_owned(),
            );
            return found;
        };
        if search.subject.is_some() && search.ids.is_empty() && !keeps_subject {
            found.notes.push("the history has no subjects ([history] subject = true): it was not searched".to_owned());
            found.is_complete = false;
            return found;
        }
        let oldest = clock::wall().checked_sub(keep).unwrap_or(Timestamp::MIN);
        let Some(marks) = Marks::of(search, oldest) else {
            found.is_complete = false;
            found.notes.push("the ids are too long to be searched for at once: ask for fewer".to_owned());
            return found;
        };
        let start = search.since.map_or(StreamStart::First, StreamStart::At);
        let stream = self.broker.names().history();
        let mut events = self.broker.read_stream(&stream, start, self.broker.publisher());
        let mut heard = clock::now();
        loop {
            let next = tokio::time::timeout_at(until.min(heard + SILENT).into(), events.recv()).await;
            heard = clock::now();
            let goes_on = match next {
                Ok(Some(event)) => found.hear(&event, &marks),
                Ok(None) => {
                    found.stop("the connection to the broker was closed before the end of the history".to_owned())
                }
                Err(_) => {
                    let searched = words::count(found.searched);
                    found.stop(format!(
                        "the end of the history was not reached in time ({searched} steps were searched)"
                    ))
                }
            };
            if goes_on.is_break() {
                break;
            }
            progress(found.searched, None);
        }
        found
    }
}

impl HistorySearch {
    /// Takes what the reader tells; breaks at the end.
    fn hear(&mut self, event: &StreamEvent, marks: &Marks<'_>) -> ControlFlow<()> {
        match event {
            StreamEvent::Message(message) => {
                marks.read(message, self);
                if self.steps.len() >= MOST_STEPS {
                    return self
                        .stop(format!("only the first {MOST_STEPS} steps are told: ask for less, or use --since"));
                }
            }
            StreamEvent::CaughtUp { is_certain } => {
                if !is_certain {
                    let said = "the broker takes no messages for now, so the latest steps may be missing";
                    self.notes.push(said.to_owned());
                }
                return ControlFlow::Break(());
            }
            StreamEvent::Renewed => *self = Self { is_complete: true, ..Self::default() },
            StreamEvent::Interrupted(trouble @ StreamTrouble::Missing(_)) => {
                return self.stop(format!("{trouble}: a worker declares it when it first runs with [history]"));
            }
            // It goes on by itself.
            StreamEvent::Interrupted(StreamTrouble::Broken { .. }) => {}
        }
        ControlFlow::Continue(())
    }

    /// It ends before its end.
    fn stop(&mut self, why: String) -> ControlFlow<()> {
        self.is_complete = false;
        self.notes.push(why);
        ControlFlow::Break(())
    }
}

/// What is looked for in the bytes of a message, before a line is read.
struct Marks<'a> {
    search: &'a Search,
    since: Timestamp,
    marks: Regex,
}

impl<'a> Marks<'a> {
    fn of(search: &'a Search, oldest: Timestamp) -> Option<Self> {
        let mut marks: Vec<String> = search.ids.iter().map(|id| mark_of_id(id)).collect();
        if marks.is_empty() {
            marks.extend(search.subject.as_deref().map(mark_of_subject));
        }
        marks.push(LOST.to_owned());
        let any: Vec<String> = marks.iter().map(|mark| regex::escape(mark)).collect();
        let marks = RegexBuilder::new(&any.join("|")).unicode(false).size_limit(64 << 20).build().ok()?;
        Some(Self { search, since: search.since.unwrap_or(oldest).max(oldest), marks })
    }

    /// Takes out of a message what is looked for.
    fn read(&self, StreamMessage { message, .. }: &StreamMessage, found: &mut HistorySearch) {
        let body = message.body.as_ref();
        found.searched += u64::try_from(body.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX);
        let worker = message.properties.app_id.as_deref().unwrap_or_default();
        let mut done = 0;
        for place in self.marks.find_iter(body) {
            if place.start() < done {
                continue;
            }
            let before = body.get(..place.start()).unwrap_or_default();
            let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let rest = body.get(begin..).unwrap_or_default();
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            done = begin + line.len();
            if let Some(step) = Step::read(line).filter(|step| step.at >= self.since) {
                self.take(step, worker, found);
            }
        }
    }

    fn take(&self, step: Step<'_>, worker: &str, found: &mut HistorySearch) {
        if step.kind == StepKind::Lost {
            let since = step.received.unwrap_or(step.at);
            found.notes.push(format!(
                "the worker {worker} could not record {} steps between {since:.0} and {:.0}: the broker did not take them in time",
                step.attempt, step.at
            ));
            return;
        }
        let subject = || step.subject.as_deref().map(str::to_owned);
        // Asked for by id, an event whose subject is not kept is meant as well.
        let is_subject_known = step.subject.is_some() || self.search.ids.is_empty();
        let search = if is_subject_known { self.search } else { &Search { subject: None, ..self.search.clone() } };
        let recorded = Recorded { step: step.clone().into_owned(), worker: worker.to_owned() };
        // A message that was published twice is there twice.
        if search.means(&step.id, &step.source, subject) && !found.steps.contains(&recorded) {
            found.steps.push(recorded);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::{Message, Properties};

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn message(steps: &[Step<'_>]) -> StreamMessage {
        let mut lines = Vec::new();
        steps.iter().for_each(|step| step.write(&mut lines));
        let properties = Properties { app_id: Some("host/1".into()), ..Properties::default() };
        StreamMessage { offset: 0, message: Message { body: Bytes::from(lines), properties } }
    }

    fn step<'a>(id: &'a str, source: &'a str, at: Timestamp) -> Step<'a> {
        Step { id: id.into(), source: source.into(), destination: "px".into(), ..Step::new(StepKind::Delivered, at) }
    }

    fn found(search: &Search, messages: &[StreamMessage]) -> HistorySearch {
        let mut found = HistorySearch::default();
        let marks = Marks::of(search, NOW - Duration::from_hours(24)).unwrap();
        messages.iter().for_each(|message| marks.read(message, &mut found));
        found
    }

    #[test]
    fn the_steps_of_an_event_are_found_among_others_whatever_its_id_looks_like() {
        let odd = "a\"b\\c\nü.*";
        let all = [step("e-1", "shop", NOW), step(odd, "shop", NOW), step("e-11", "shop", NOW), step(odd, "crm", NOW)];
        let search = Search { ids: vec![odd.to_owned()], ..Search::default() };
        let hit = found(&search, &[message(&all), message(&all[..1])]);
        assert_eq!((hit.steps.len(), hit.searched), (2, 5));
        let of_crm = Search { source: Some("crm".into()), ..search };
        assert_eq!(found(&of_crm, &[message(&all)]).steps.len(), 1);
        let one = Search { ids: vec!["e-1".into()], ..Search::default() };
        assert_eq!(found(&one, &[message(&all)]).steps[0].step.id, "e-1");
    }

    #[test]
    fn what_was_written_twice_is_told_once_and_what_is_too_old_not_at_all() {
        let search = Search { ids: vec!["e-1".into()], ..Search::default() };
        let twice = message(&[step("e-1", "shop", NOW)]);
        let old = message(&[step("e-1", "shop", NOW - Duration::from_hours(25))]);
        assert_eq!(found(&search, &[twice.clone(), twice, old]).steps.len(), 1);
    }

    #[test]
    fn a_search_says_where_steps_are_missing() {
        let search = Search { ids: vec!["e-1".into()], ..Search::default() };
        let lost = Step { attempt: 7, received: Some(NOW), ..Step::new(StepKind::Lost, NOW) };
        let notes = found(&search, &[message(&[lost])]).notes;
        assert!(notes.len() == 1 && notes[0].contains("host/1 could not record 7 steps"), "{notes:?}");
    }
}
