//! What the demo's producer publishes: good events, and every kind of wrong one, each with how it should end. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::Ending;
use crate::message::{Message, Properties};

/// The destination whose vendor will be in trouble.
pub const TROUBLED: &str = "px";
/// The destination beside it, which must not notice.
pub const BYSTANDER: &str = "hook";
/// The name of the events that the vendor refuses.
pub const REFUSED_NAME: &str = "Legacy export";

/// Events for the troubled destination.
const FOR_TROUBLED: usize = 1_600;
/// Of those, each so-many-th is wrong: 12 malformed, 16 invalid, 12 rejected.
const MALFORMED: usize = 12;
const INVALID: usize = 16;
const REJECTED: usize = 12;
/// Events for the one beside it.
const FOR_BYSTANDER: usize = 390;
/// Events that nobody subscribes to.
const UNWANTED: usize = 10;

/// How an event is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipe {
    Good,
    Malformed(usize),
    Invalid(usize),
    Rejected,
    Order,
    Unwanted,
}

/// An event about to be published.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id, also where it is no event that anyone could read.
    pub id: String,
    recipe: Recipe,
}

/// Those that are published all at once: the troubled destination's, in a mixed order, and those nobody wants.
#[must_use]
pub fn burst() -> Vec<Planned> {
    let wrong: [(usize, fn(usize) -> Recipe, usize); 3] = [
        (MALFORMED, Recipe::Malformed, 17),
        (INVALID, Recipe::Invalid, 41),
        (REJECTED, |_| Recipe::Rejected, 73),
    ];
    let mut recipes = vec![Recipe::Good; FOR_TROUBLED];
    for (many, recipe, first) in wrong {
        // Evenly over the stream: many in a row would park the destination, as they should.
        for (n, place) in (first..FOR_TROUBLED).step_by(FOR_TROUBLED / many).enumerate() {
            recipes[place] = recipe(n);
        }
    }
    recipes.extend([Recipe::Unwanted; UNWANTED]);
    planned("event", recipes)
}

/// Those that come evenly all the while, for the destination beside.
#[must_use]
pub fn trickle() -> Vec<Planned> {
    planned("order", vec![Recipe::Order; FOR_BYSTANDER])
}

/// Events that should be delivered to `destination`.
#[must_use]
pub fn deliverable(destination: &str) -> u64 {
    let expected = if destination == TROUBLED { FOR_TROUBLED - MALFORMED - INVALID - REJECTED } else { FOR_BYSTANDER };
    u64::try_from(expected).unwrap_or(u64::MAX)
}

fn planned(what: &str, recipes: Vec<Recipe>) -> Vec<Planned> {
    (1..).zip(recipes).map(|(n, recipe)| Planned { id: format!("{what}-{n:04}"), recipe }).collect()
}

impl Planned {
    /// How it should end.
    #[must_use]
    pub fn expected(&self) -> Ending {
        match self.recipe {
            Recipe::Good => Ending::Delivered(TROUBLED.to_owned()),
            Recipe::Order => Ending::Delivered(BYSTANDER.to_owned()),
            Recipe::Malformed(_) => Ending::Dead("malformed".to_owned()),
            Recipe::Invalid(_) => Ending::Dead("invalid".to_owned()),
            Recipe::Rejected => Ending::Dead("rejected".to_owned()),
            Recipe::Unwanted => Ending::Unrouted,
        }
    }

    /// Its type, which is also its routing key.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.recipe {
            Recipe::Good | Recipe::Malformed(_) | Recipe::Invalid(_) | Recipe::Rejected => "product.report.exported",
            Recipe::Order => "order.paid",
            Recipe::Unwanted => "weather.changed",
        }
    }

    /// The message, for an event that happened at `time`.
    #[must_use]
    pub fn message(&self, time: Timestamp) -> Message {
        let report = json!({
            "identifyId": "u-17", "eventName": "Report exported", "attributes": { "plan": "gold", "seats": 12 },
        });
        match self.recipe {
            Recipe::Good => self.envelope(&report, time),
            Recipe::Rejected => self.envelope(&with(report, "eventName", json!(REFUSED_NAME)), time),
            Recipe::Invalid(n) => self.envelope(&invalid(report, n), time),
            Recipe::Malformed(n) => self.malformed(n),
            Recipe::Order => self.envelope(&json!({ "id": self.id, "total": 49.9, "currency": "EUR" }), time),
            Recipe::Unwanted => self.envelope(&json!({ "sky": "clear" }), time),
        }
    }

    /// A CloudEvents envelope.
    fn envelope(&self, content: &Value, time: Timestamp) -> Message {
        let envelope = json!({
            "specversion": "1.0", "id": self.id, "source": "demo", "type": self.kind(), "time": time.to_string(),
            "data": content,
        });
        self.plain("application/cloudevents+json", envelope.to_string())
    }

    fn malformed(&self, n: usize) -> Message {
        let (json, envelope) = ("application/json", "application/cloudevents+json");
        match n % 6 {
            0 => self.plain(envelope, r#"{"specversion":"1.0","id":"event","data":{"eventNa"#),
            1 => self.plain(json, &b"{\"eventName\":\"\xff\xfe\"}"[..]),
            2 => self.plain(json, r#"["not","an","object"]"#),
            3 => self.plain(json, ""),
            4 => self.plain(envelope, r#"{"specversion":"1.0","type":"product.report.exported","data":{}}"#),
            _ => self.plain("text/csv", "report,exported"),
        }
    }

    fn plain(&self, content_type: &str, body: impl Into<Bytes>) -> Message {
        let properties = Properties {
            content_type: Some(content_type.to_owned()),
            message_id: Some(self.id.clone()),
            app_id: Some("demo".to_owned()),
            ..Properties::default()
        };
        Message { body: body.into(), properties }
    }
}

/// What breaks a rule of the vendor that can be checked before a request is spent.
fn invalid(report: Value, n: usize) -> Value {
    match n % 4 {
        0 => with(report, "identifyId", Value::Null),
        1 => with(report, "date", json!("yesterday")),
        2 => with(report, "colour", json!("blue")),
        _ => with(report, "attributes", (0..51).map(|n| (format!("a{n}"), json!(n))).collect()),
    }
}

fn with(mut report: Value, field: &str, value: Value) -> Value {
    report[field] = value;
    report
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::event::{self, Context};

    fn all() -> Vec<Planned> {
        [burst(), trickle()].concat()
    }

    #[test]
    fn there_are_2000_with_an_id_each() {
        assert_eq!(all().into_iter().map(|planned| planned.id).collect::<BTreeSet<_>>().len(), 2_000);
    }

    #[test]
    fn every_ending_is_shown() {
        let mut endings = BTreeMap::<String, usize>::new();
        for planned in all() {
            *endings.entry(planned.expected().to_string()).or_default() += 1;
        }
        let counts: Vec<_> = endings.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        assert_eq!(
            counts,
            [
                "16 a dead letter (invalid)",
                "12 a dead letter (malformed)",
                "12 a dead letter (rejected)",
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
            let context = Context { routing_key: planned.kind(), received, max_bytes: 10_000 };
            let decoded = event::decode(&planned.message(received), context);
            assert_eq!(decoded.is_err(), matches!(planned.recipe, Recipe::Malformed(_)), "{planned:?}: {decoded:?}");
            assert!(decoded.is_err() || decoded.is_ok_and(|event| event.id == planned.id));
        }
    }
}
