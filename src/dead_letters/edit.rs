//! One letter changed by hand: found, checked as `explain` does, and replaced by one that tells where it comes from.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use similar::TextDiff;

use super::acts::{discarded, put, restored};
use super::filter::Filter;
use super::letter::{self, Letter};
use super::look::{LookError, LookStep, no_progress};
use super::{DeadLetters, Pile};
use crate::audit::{Entry, operation_id};
use crate::broker::{ReadError, ReadPurpose, Reader};
use crate::config::Destination;
use crate::event::{self, Context};
use crate::explain;
use crate::history::{About, StepKind};
use crate::mapping::{self, Hard};
use crate::message::{Message, header};
use crate::record::copy::original;
use crate::threads::{self, NoThread};
use crate::words::pretty;

/// The time for a good diff.
const DIFF_WITHIN: Duration = Duration::from_millis(250);
/// Letters made from one that are told.
const MADE_FROM: usize = 10;
/// Lines shown around a change.
const AROUND: usize = 3;

/// Why a letter could not be replaced. It is still there as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The letters cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is not there any more.
    #[error("the letter {0} is not there any more: somebody replayed, discarded or edited it meanwhile")]
    Gone(String),
    /// The broker did not take a copy.
    #[error("the broker did not take {what}: {why}; {now}")]
    Publish {
        /// Which copy.
        what: &'static str,
        /// How things are.
        now: &'static str,
        /// What the broker said.
        why: String,
    },
}

/// What is said of a letter that was edited to that one.
#[must_use]
pub fn in_its_place(to: &str) -> String {
    format!("letter {to} is in its place")
}

/// What a pass found of a letter.
#[derive(Debug, Default)]
pub struct Trace {
    /// The letter itself; or up to two of an event of that id.
    pub found: Vec<Message>,
    /// Letters that were made from it.
    pub made_from: Vec<Letter>,
}

/// A letter with another body, not yet put in its place.
#[derive(Debug)]
pub struct Edit {
    /// The letter that it is made from.
    pub from: Letter,
    /// The letter that it makes.
    pub to: Letter,
    /// What changes, as a unified diff of the JSON laid out.
    pub diff: String,
    /// What the destination makes of it: its exact request, or a `problem`.
    pub explained: Value,
    original: Message,
    edited: Message,
}

impl Edit {
    /// What the letter is with `body` instead of its own.
    #[must_use]
    pub fn new(
        letter: &Message,
        body: Bytes,
        destination: &Destination,
        max_event_bytes: usize,
        now: Timestamp,
    ) -> Self {
        let mut edit = Self::unshown(letter, body, &destination.name);
        let (before, after) = (String::from_utf8_lossy(&letter.body), String::from_utf8_lossy(&edit.edited.body));
        edit.diff = diff_laid_out(&before, &after, &edit.from.id, &edit.to.id);
        edit.explained = explained(&edit.edited, destination, max_event_bytes, now);
        edit
    }

    /// The same, without holding up a thread of the runtime where an expression is hard.
    ///
    /// # Errors
    /// [`NoThread`]: the machine gives none for that.
    pub async fn beside(
        letter: &Message,
        body: Bytes,
        destination: &Destination,
        max_event_bytes: usize,
        now: Timestamp,
    ) -> Result<Self, NoThread> {
        match mapping::easily(|| Self::new(letter, body.clone(), destination, max_event_bytes, now)) {
            Ok(edit) => Ok(edit),
            Err(Hard) => {
                let (name, unshown) = (destination.name.clone(), (letter.clone(), body.clone()));
                let (letter, destination) = (letter.clone(), destination.clone());
                let made = move || Self::new(&letter, body, &destination, max_event_bytes, now);
                Ok(threads::beside(made).await?.unwrap_or_else(|| Self::unshown(&unshown.0, unshown.1, &name)))
            }
        }
    }

    /// The same with nothing for a person to see.
    pub(super) fn unshown(letter: &Message, body: Bytes, name: &str) -> Self {
        let from = Letter::read(letter, name);
        let mut edited = restored(letter);
        edited.body = body;
        put(&mut edited, header::EDITED_FROM, &from.id);
        edited.properties.headers.remove(header::EDITED_BY);
        let to = Letter::read(&edited, name);
        Self { from, to, diff: String::new(), explained: Value::Null, original: letter.clone(), edited }
    }

    /// Says which expression made it.
    pub(super) fn mark(&mut self, expression: &str) {
        put(&mut self.edited, header::EDITED_BY, expression);
    }

    /// The letter with its new body.
    pub(super) fn edited(&self) -> &Message {
        &self.edited
    }

    /// What replaces the letter, each for its pile, in this order: whoever breaks off between them leaves the letter where it is.
    pub(super) fn copies(&self, by: &str, now: Timestamp) -> [(Pile, Message); 2] {
        let mut original = discarded(&self.original, by, now);
        put(&mut original, header::EDITED_TO, &self.to.id);
        [(Pile::Trash, original), (Pile::Dead, self.edited.clone())]
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.original.body == self.edited.body
    }

    /// Why it would be a dead letter again before any request, where it would.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.explained.get("problem").and_then(Value::as_str)
    }
}

/// The same of JSON, laid out for the eye: a body is mostly one line. Where only its layout changes, as it is.
pub(super) fn diff_laid_out(before: &str, after: &str, from: &str, to: &str) -> String {
    // Laid out, it ends as a line does.
    let laid = |text: &str| pretty(text).map_or_else(|| text.to_owned(), |laid| laid + "\n");
    let (laid_before, laid_after) = (laid(before), laid(after));
    if laid_before == laid_after {
        return diff(before, after, from, to);
    }
    diff(&laid_before, &laid_after, from, to)
}

/// What changes between two texts of these names, as a unified diff; a rough one where a good one takes long.
fn diff(before: &str, after: &str, from: &str, to: &str) -> String {
    let diff = TextDiff::configure().timeout(DIFF_WITHIN).diff_lines(before, after);
    diff.unified_diff().context_radius(AROUND).header(from, to).to_string()
}

/// What the destination would send, or a `problem`.
fn explained(letter: &Message, destination: &Destination, max_bytes: usize, now: Timestamp) -> Value {
    let routing_key = letter::routing_key(letter).unwrap_or_default();
    let context = Context { routing_key: &routing_key, received: now, max_bytes };
    match event::decode(&original(letter), context) {
        Ok(event) => explain::explain(destination, &event),
        Err(malformed) => explain::malformed(destination, &format!("not an event: {malformed}")),
    }
}

impl DeadLetters {
    /// The letters of that id: the one whose own it is, or up to two whose event's it is.
    ///
    /// # Errors
    /// [`LookError`] when the letters cannot be read.
    pub async fn find(&self, pile: Pile, id: &str, patience: Duration) -> Result<Vec<Message>, LookError> {
        Ok(self.trace(pile, id, patience).await?.found)
    }

    /// The same with the letters that were made from one of that id: by an edit, or as its event died again.
    ///
    /// # Errors
    /// [`LookError`] when the letters cannot be read.
    pub async fn trace(&self, pile: Pile, id: &str, patience: Duration) -> Result<Trace, LookError> {
        let everything = Filter::default().compile(Timestamp::UNIX_EPOCH);
        // A filter of nothing has nothing wrong in it.
        let Ok(everything) = everything else { return Ok(Trace::default()) };
        let (mut found, mut made_from): (Vec<Message>, Vec<Letter>) = (Vec::new(), Vec::new());
        let is_id = |given: &Option<String>| given.as_deref() == Some(id);
        let look = self.look(pile, &everything, patience, &no_progress, |shown| {
            match shown {
                LookStep::Anew => (found, made_from) = (Vec::new(), Vec::new()),
                LookStep::Letter(letter, message) if letter.id == id => {
                    found = vec![message.clone()];
                    return ControlFlow::Break(());
                }
                LookStep::Letter(letter, message) if letter.event_id.as_deref() == Some(id) && found.len() < 2 => {
                    found.push(message.clone());
                }
                LookStep::Letter(letter, _)
                    if made_from.len() < MADE_FROM && (is_id(&letter.edited_from) || is_id(&letter.replayed_from)) =>
                {
                    made_from.push(letter.clone());
                }
                LookStep::Letter(..) => {}
            }
            ControlFlow::Continue(())
        });
        look.await?;
        Ok(Trace { found, made_from })
    }

    /// Puts the edited letter among the dead ones and the original in the trash, each with a link to the other.
    ///
    /// # Errors
    /// [`EditError`]; the letter is then still there.
    pub async fn replace(&self, edit: &Edit, by: &str, patience: Duration, now: Timestamp) -> Result<(), EditError> {
        let mut reader = self.broker.reader().await.map_err(ReadError::from)?;
        let replaced = self.replace_with(&mut reader, edit, by, patience, now).await;
        reader.close().await;
        if replaced.is_ok() {
            self.tell_edited(self.about(&edit.original, now).as_ref(), &edit.to.id, by);
        }
        let entry = Entry {
            at: now,
            operation: operation_id(),
            by: by.to_owned(),
            place: None,
            destination: self.destination.clone(),
            act: "edit".to_owned(),
            filter: format!("letter={}", edit.from.id),
            count: 1,
            outcome: Some(match &replaced {
                Ok(()) => format!("edited to {}", edit.to.id),
                Err(error) => format!("failed: {error}"),
            }),
            mark: None,
        };
        if let Err(error) = self.record(&entry).await {
            tracing::warn!(%error, letter = edit.from.id, "an edit is not in the audit");
        }
        replaced
    }

    /// Tells that a letter was edited, and which one is in its place.
    pub(super) fn tell_edited(&self, about: Option<&About>, to: &str, by: &str) {
        self.tell(about, StepKind::Edited, by, &in_its_place(to));
    }

    async fn replace_with(
        &self,
        reader: &mut Reader,
        edit: &Edit,
        by: &str,
        patience: Duration,
        now: Timestamp,
    ) -> Result<(), EditError> {
        let wanted = letter::identity(&edit.original);
        let mut locked = reader.lock(&self.queue(Pile::Dead), ReadPurpose::Act, patience).await?;
        let mut found = None;
        while let Some(delivery) = locked.next().await? {
            if letter::identity(&delivery.message) == wanted {
                found = Some(delivery);
                break;
            }
            locked.keep(delivery);
        }
        let replaced = match found {
            None => Err(EditError::Gone(edit.from.id.clone())),
            Some(letter) => match self.copies(edit, by, now).await {
                Ok(()) => {
                    locked.remove(letter);
                    Ok(())
                }
                Err(error) => {
                    locked.keep(letter);
                    Err(error)
                }
            },
        };
        locked.end().await?;
        replaced
    }

    async fn copies(&self, edit: &Edit, by: &str, now: Timestamp) -> Result<(), EditError> {
        for (pile, copy) in edit.copies(by, now) {
            let (what, now) = match pile {
                Pile::Trash => ("the original for the trash", "the letter is as it was"),
                Pile::Dead => ("the edited letter", "the letter is as it was, and a copy of it is in the trash"),
            };
            let published = self.broker.publisher().publish("", &self.queue(pile), copy).await;
            published.map_err(|error| EditError::Publish { what, now, why: error.to_string() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_the_changed_line_of_the_laid_out_body() {
        let shown = diff_laid_out(r#"{"a":1,"b":{"c":"x"}}"#, r#"{"a":1,"b":{"c":"y"}}"#, "old", "new");
        assert!(shown.contains("-    \"c\": \"x\"\n+    \"c\": \"y\"\n"), "{shown}");
        assert!(shown.starts_with("--- old\n+++ new\n") && shown.contains("   \"b\": {\n"), "{shown}");
        let layout = diff_laid_out("{\"a\":1}", "{ \"a\": 1 }", "old", "new");
        assert!(layout.contains("-{\"a\":1}"), "where only the layout changes that is shown: {layout}");
        assert!(diff_laid_out("no json", "{}", "old", "new").contains("-no json"));
    }
}
