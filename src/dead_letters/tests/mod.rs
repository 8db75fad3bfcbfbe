mod cause;
mod export;
mod filter;
mod letter;
mod mend;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::letter::Letter;
use crate::message::{Field, Headers, Message, Properties};
use crate::record::death::Death;
use crate::record::history::{Attempt, History};
use crate::verdict::Reason;

const DIED: Timestamp = Timestamp::constant(1_700_000_100, 0);

/// An entry as a broker writes it.
pub fn entry(reason: &str, queue: &str, time: u64, routing_key: &str) -> Field {
    let parts = [
        ("count", Field::I64(1)),
        ("reason", Field::text(reason)),
        ("queue", Field::text(queue)),
        ("time", Field::Timestamp(time)),
        ("exchange", Field::text("sluice.events")),
        ("routing-keys", Field::Array(vec![Field::text(routing_key)])),
    ];
    Field::Table(parts.into_iter().map(|(name, field)| (name.to_owned(), field)).collect())
}

pub fn deaths(entries: Vec<Field>) -> Headers {
    Headers::from([("x-death".to_owned(), Field::Array(entries))])
}

/// A plain event.
fn event(data: &Value) -> Message {
    let properties =
        Properties { message_id: Some("e-1".into()), kind: Some("order.paid".into()), ..Properties::default() };
    Message { body: data.to_string().into(), properties }
}

fn history() -> History {
    let mut history = History::new("order.paid", Timestamp::constant(1_700_000_000, 0));
    for second in [10, 20, 90] {
        let at = Timestamp::constant(1_700_000_000 + second, 0);
        history.add(Attempt { at, status: Some(400), ms: 7, verdict: "rejected".into(), excerpt: "no".into() });
    }
    history
}

/// A letter as Sluice writes it.
fn written(original: &Message, sentence: &str, at: Timestamp) -> Message {
    let death = Death {
        reason: Reason::Rejected,
        sentence,
        destination: "px",
        event_id: Some("e-1"),
        event_type: "order.paid",
        at,
    };
    death.write(original, &history())
}

fn sample() -> Message {
    written(&event(&json!({"user": "u-17", "amount": 5})), "PX answered 400: no user u-17", DIED)
}

/// An event that the broker moved to the dead letters.
fn moved(reason: &str) -> Message {
    let mut message = event(&json!({"user": "u-17"}));
    message.properties.headers = deaths(vec![entry(reason, "sluice.px", 1_700_000_100, "order.paid")]);
    message
}

fn read(message: &Message) -> Letter {
    Letter::read(message, "px")
}

fn with(mut message: Message, name: &str, value: &str) -> Message {
    message.properties.headers.insert(name.to_owned(), Field::text(value));
    message
}
