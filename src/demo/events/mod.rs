//! What the demo's producers publish: good events for each destination, and every kind of wrong one, each with how it
//! should end. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::Ending;
use crate::message::{Message, Properties};

pub mod orders;
pub mod purchases;
pub mod reports;
pub mod webinars;

/// The destination whose vendor will be in trouble.
pub const TROUBLED: &str = "px";
/// The destination that gets far more events at once than its vendor allows calls.
pub const BACKLOGGED: &str = "acton";
/// The destination whose events have to arrive in the order of each profile.
pub const ORDERED: &str = "apsis";
/// The destination beside them, which must not notice.
pub const BYSTANDER: &str = "hook";
/// All of them, as they are shown.
pub const DESTINATIONS: [&str; 4] = [TROUBLED, BACKLOGGED, ORDERED, BYSTANDER];

/// An event about to be published.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id, also where it is no event that anyone could read.
    pub id: String,
    /// Its type, which is also its routing key.
    pub kind: &'static str,
    /// How it should end.
    pub expected: Ending,
    content: Content,
}

/// What the message holds.
#[derive(Clone, Debug)]
enum Content {
    /// The data of a CloudEvents envelope.
    Data(Value),
    /// Anything else, with its content type.
    Raw(&'static str, &'static [u8]),
}

/// All events.
pub fn all() -> impl Iterator<Item = Planned> {
    let purchases = (0..purchases::PROFILES.len()).flat_map(purchases::of_profile);
    reports::all().chain(webinars::first()).chain(webinars::backlog()).chain(purchases).chain(orders::all())
}

impl Planned {
    fn good(id: String, kind: &'static str, destination: &str, data: Value) -> Self {
        Self { id, kind, expected: Ending::Delivered(destination.to_owned()), content: Content::Data(data) }
    }

    fn wrong(id: String, kind: &'static str, reason: &str, content: Content) -> Self {
        Self { id, kind, expected: Ending::Dead(reason.to_owned()), content }
    }

    /// The message, for an event that happened at `time`.
    #[must_use]
    pub fn message(&self, time: Timestamp) -> Message {
        let (content_type, body) = match &self.content {
            Content::Raw(content_type, body) => (*content_type, Bytes::from_static(body)),
            Content::Data(data) => {
                let envelope = json!({
                    "specversion": "1.0", "id": self.id, "source": "demo", "type": self.kind, "time": time.to_string(),
                    "data": data,
                });
                ("application/cloudevents+json", envelope.to_string().into())
            }
        };
        let properties = Properties {
            content_type: Some(content_type.to_owned()),
            message_id: Some(self.id.clone()),
            app_id: Some("demo".to_owned()),
            ..Properties::default()
        };
        Message { body, properties }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::event::{self, Context};

    #[test]
    fn each_has_an_id_of_its_own() {
        let all: Vec<Planned> = all().collect();
        let ids: BTreeSet<_> = all.iter().map(|planned| &planned.id).collect();
        assert_eq!((ids.len(), all.len()), (7_828, 7_828));
    }

    #[test]
    fn every_ending_is_shown() {
        let mut endings = BTreeMap::<String, usize>::new();
        for planned in all() {
            *endings.entry(planned.expected.to_string()).or_default() += 1;
        }
        let counts: Vec<_> = endings.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        assert_eq!(
            counts,
            [
                "24 a dead letter (invalid)",
                "12 a dead letter (malformed)",
                "12 a dead letter (rejected)",
                "5020 delivered to acton",
                "800 delivered to apsis",
                "390 delivered to hook",
                "1560 delivered to px",
                "10 unrouted",
            ]
        );
    }

    #[test]
    fn only_the_malformed_cannot_be_read() {
        let received = Timestamp::constant(1_700_000_000, 0);
        for planned in all() {
            let context = Context { routing_key: planned.kind, received, max_bytes: 10_000 };
            let decoded = event::decode(&planned.message(received), context);
            let malformed = planned.expected == Ending::Dead("malformed".to_owned());
            assert_eq!(decoded.is_err(), malformed, "{planned:?}: {decoded:?}");
            assert!(decoded.is_err() || decoded.is_ok_and(|event| event.id == planned.id));
        }
    }
}
