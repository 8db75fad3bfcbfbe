//! Which event a step is about, taken down before its message goes out: a worker may have that before its confirm is here. Pure.

use jiff::Timestamp;

use super::step::{Step, StepKind};
use crate::event::{self, Event, Glance};
use crate::message::{Field, Message, header};
use crate::redact;

/// What is said of a step that is an operation's, by whoever began it and by the worker that takes what it replayed.
#[must_use]
pub fn operation_said(id: &str) -> String {
    format!("operation {id}")
}

/// An event, and when something was done with it.
#[derive(Clone, Debug)]
pub struct About {
    at: Timestamp,
    id: String,
    source: String,
    kind: String,
    subject: Option<String>,
    received: Option<Timestamp>,
}

impl About {
    /// That event, its subject where that is kept.
    #[must_use]
    pub fn event(event: &Event, message: &Message, keeps_subject: bool, at: Timestamp) -> Self {
        Self::new((&event.id, &event.source, &event.kind), message, keeps_subject, at)
    }

    /// The event of a message or of a dead letter, as far as it can be read.
    #[must_use]
    pub fn message(message: &Message, routing_key: &str, keeps_subject: bool, at: Timestamp) -> Self {
        let glance = Glance::at(message, routing_key, usize::MAX);
        let own = |name: &str| message.properties.headers.get(name).and_then(Field::as_str);
        let id = own(header::EVENT_ID).unwrap_or(&glance.id);
        let kind = own(header::EVENT_TYPE).unwrap_or(&glance.kind);
        let received = own(header::RECEIVED).and_then(|time| time.parse().ok());
        Self { received, ..Self::new((id, &glance.source, kind), message, keeps_subject, at) }
    }

    fn new((id, source, kind): (&str, &str, &str), message: &Message, keeps_subject: bool, at: Timestamp) -> Self {
        let shown = |text: &str| redact::without_addresses(text).into_owned();
        let subject = if keeps_subject { event::subject(message) } else { None };
        Self { at, id: id.to_owned(), source: shown(source), kind: shown(kind), subject, received: None }
    }

    /// That this was done.
    #[must_use]
    pub fn step(&self, kind: StepKind) -> Step<'_> {
        Step {
            id: self.id.as_str().into(),
            source: self.source.as_str().into(),
            event_type: self.kind.as_str().into(),
            subject: self.subject.as_deref().map(Into::into),
            received: self.received,
            ..Step::new(kind, self.at)
        }
    }
}
