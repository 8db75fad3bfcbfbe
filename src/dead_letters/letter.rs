//! A dead letter as it lies in its queue: a message in; what people want to know of it out. Pure.
//!
//! Most letters are written by Sluice. Some the broker makes by itself, and anybody can put anything into the queue: such
//! letters are read as well as they can be.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields;
use super::x_death::XDeath;
use crate::broker::Names;
use crate::class::Class;
use crate::event::{self, Context, Malformed};
use crate::message::{Field, Headers, Message, header};
use crate::record::copy::original;
use crate::record::fingerprint::{cause, fingerprint};
use crate::record::history::Attempt;
use crate::redact;
use crate::verdict::Reason;

const LETTERS: Uuid = Uuid::from_u128(0x5d0f_3c6e_7a41_5b92_9c18_e6a4_20bd_71f3);

/// Headers that tell a letter from others, together with what its producer published, when it died and its routing key.
const MARKS: [&str; 4] = [header::EVENT_ID, header::RECEIVED, header::REPLAYS, header::EDITED_FROM];

/// A dead letter, read.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Letter {
    /// This very letter: 16 hex digits, the same at every look and in the trash.
    pub id: String,
    /// Why it is here.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// The same for a person.
    pub sentence: String,
    /// Whose it is.
    pub destination: String,
    /// The event's id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The event's type, else its routing key, else "unknown".
    #[serde(rename = "type")]
    pub event_type: String,
    /// Whether its event was published to go first (`live`) or behind others (`bulk`); none where nobody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub class: Option<Class>,
    /// Equal for equal causes: 16 hex digits.
    pub group: String,
    /// The sentence without ids, numbers and addresses.
    pub cause: String,
    /// When it became a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub dead_lettered_at: Option<Timestamp>,
    /// When its first request was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_attempt: Option<Timestamp>,
    /// When its last request was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_attempt: Option<Timestamp>,
    /// Name and version of the worker that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// How often it was replayed.
    pub replays: u32,
    /// The operation that replayed it, before it died again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed_by: Option<String>,
    /// The letter that it was before it died again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed_from: Option<String>,
    /// The letter that it was made from by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_from: Option<String>,
    /// The letter that was made from it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_to: Option<String>,
    /// When it went to the trash.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub discarded_at: Option<Timestamp>,
    /// Who put it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded_by: Option<String>,
}

/// Everything about a letter, for a person who looks at this one.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Details {
    /// What it says of itself.
    #[serde(flatten)]
    pub letter: Letter,
    /// The first and the last requests that were made for it.
    pub attempts: Vec<Attempt>,
    /// How many between them were left out.
    pub attempts_omitted: u64,
    /// When Sluice first received the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub received: Option<Timestamp>,
    /// The routing key that the producer used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// The producer's properties under AMQP's names.
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
    /// The producer's headers, each with its AMQP type where JSON has none like it; `***` where a name tells of a secret, such as
    /// `authorization`, `x-api-key`, `cookie` or `token`. The message keeps them.
    #[schema(value_type = Object)]
    pub headers: Map<String, Value>,
    /// The body, where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// Sluice's own headers of a message.
#[derive(Clone, Copy)]
struct Own<'a>(&'a Headers);

impl<'a> Own<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Field::as_str)
    }

    fn owned(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    fn time(self, name: &str) -> Option<Timestamp> {
        self.text(name)?.parse().ok()
    }

    fn number(self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    fn attempts(self) -> Vec<Attempt> {
        self.text(header::ATTEMPTS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// A message that the broker moved still carries it under the name that deliveries have.
    fn replayed_by(self) -> Option<&'a str> {
        self.text(header::REPLAYED_BY).or_else(|| self.text(header::REPLAY))
    }
}

/// When it died, and how the broker tells it where Sluice did not.
struct Death<'a> {
    at: Option<Timestamp>,
    x_death: Option<XDeath<'a>>,
}

impl<'a> Death<'a> {
    fn of(headers: &'a Headers) -> Self {
        match Own(headers).time(header::DEAD_LETTERED_AT) {
            Some(at) => Self { at: Some(at), x_death: None },
            None => {
                let x_death = XDeath::read(headers);
                Self { at: x_death.as_ref().and_then(|death| death.at), x_death }
            }
        }
    }
}

impl Letter {
    /// The letter that `message` is; `destination` is the owner of the queue that it lies in.
    #[must_use]
    pub fn read(message: &Message, destination: &str) -> Self {
        let headers = &message.properties.headers;
        let own = Own(headers);
        let death = Death::of(headers);
        let (reason, sentence) = reason(own, &death);
        let (event_id, event_type) = event(message, own, &death);
        let cause = own.owned(header::CAUSE).unwrap_or_else(|| cause(&sentence, message));
        let (first_attempt, last_attempt) = attempted(own);
        Self {
            id: format!("{:016x}", identified(message, &death)),
            reason,
            destination: own.text(header::DESTINATION).unwrap_or(destination).to_owned(),
            event_id,
            event_type,
            class: class(own, &death),
            group: own
                .owned(header::FINGERPRINT)
                .filter(|group| is_id(group))
                .unwrap_or_else(|| fingerprint(reason, &cause)),
            cause,
            sentence,
            dead_lettered_at: death.at,
            first_attempt,
            last_attempt,
            worker: own.owned(header::WORKER),
            replays: own.number(header::REPLAYS).and_then(|replays| u32::try_from(replays).ok()).unwrap_or(0),
            replayed_by: own.replayed_by().map(str::to_owned),
            replayed_from: own.text(header::REPLAYED_FROM).or_else(|| own.text(header::REPLAY_OF)).map(str::to_owned),
            edited_from: own.owned(header::EDITED_FROM),
            edited_to: own.owned(header::EDITED_TO),
            discarded_at: own.time(header::DISCARDED_AT),
            discarded_by: own.owned(header::DISCARDED_BY),
        }
    }
}

impl Details {
    /// Everything about the letter that `message` is; `destination` is the owner of the queue that it lies in.
    #[must_use]
    pub fn read(message: &Message, destination: &str) -> Self {
        let own = Own(&message.properties.headers);
        let original = original(message);
        let (body, body_base64) = fields::body(&original.body);
        Self {
            letter: Letter::read(message, destination),
            attempts: own.attempts(),
            attempts_omitted: own.number(header::ATTEMPTS_OMITTED).and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            received: own.time(header::RECEIVED),
            routing_key: routing_key(message),
            properties: fields::properties(&original.properties),
            headers: redact::shown(fields::headers(&original.properties.headers)),
            body,
            body_base64,
        }
    }
}

/// Whether a text is the id of a letter or of a group.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// This very letter: the same at every look, in the trash, and in every build of Sluice; another one once its event has died
/// again. What the broker adds when it gives a message again does not count. Copies that are alike in all that counts
/// are one letter: only the broker can make such, of equal messages that reach its delivery limit within a second.
#[must_use]
pub fn identity(message: &Message) -> u64 {
    identified(message, &Death::of(&message.properties.headers))
}

// Not std's hasher: what it gives may change with the compiler, and ids stand in headers and in the audit log.
fn identified(message: &Message, death: &Death<'_>) -> u64 {
    let own = Own(&message.properties.headers);
    let mut content = Vec::with_capacity(message.body.len() + 320);
    let mut add = |part: Option<&[u8]>| {
        // Each with its length, so that no two lists of parts run together to the same.
        content.extend_from_slice(&part.map_or(u64::MAX, |part| u64::try_from(part.len()).unwrap_or(0)).to_be_bytes());
        content.extend_from_slice(part.unwrap_or_default());
    };
    let produced = original(message);
    add(Some(produced.body.as_ref()));
    for part in [fields::properties(&produced.properties), fields::headers(&produced.properties.headers)] {
        add(Some(Value::Object(part).to_string().as_bytes()));
    }
    add(death.at.map(|at| at.as_nanosecond().to_be_bytes()).as_ref().map(<[u8; 16]>::as_slice));
    add(key(own, death.x_death.as_ref()).map(str::as_bytes));
    add(own.replayed_by().map(str::as_bytes));
    for mark in MARKS {
        let number = own.number(mark).map(i64::to_be_bytes);
        add(own.text(mark).map(str::as_bytes).or(number.as_ref().map(<[u8; 8]>::as_slice)));
    }
    let (high, low) = Uuid::new_v5(&LETTERS, &content).as_u64_pair();
    high ^ low
}

/// The routing key that the producer used, where it is known.
#[must_use]
pub fn routing_key(message: &Message) -> Option<String> {
    let headers = &message.properties.headers;
    key(Own(headers), XDeath::read(headers).as_ref()).map(str::to_owned)
}

fn key<'a>(own: Own<'a>, death: Option<&XDeath<'a>>) -> Option<&'a str> {
    own.text(header::ROUTING_KEY).or_else(|| death?.routing_key)
}

fn reason(own: Own<'_>, death: &Death<'_>) -> (Reason, String) {
    let sentence = own.owned(header::SENTENCE);
    if let Some(name) = own.text(header::REASON) {
        // A later version may know more of them.
        let reason = Reason::by_name(name).unwrap_or(Reason::Unknown);
        return (reason, sentence.unwrap_or_else(|| format!("its reason is {name:?}; nothing more is known")));
    }
    let Some(moved) = &death.x_death else {
        let unknown = || "it was put here by something other than Sluice, without a reason".to_owned();
        return (Reason::Unknown, sentence.unwrap_or_else(unknown));
    };
    let from = moved.queue.map(|queue| format!(" from the queue {queue:?}")).unwrap_or_default();
    if moved.is_by_delivery_limit() {
        let said = format!(
            "it was taken{from} and never settled more often than the broker's delivery limit allows: it may crash workers"
        );
        return (Reason::DeliveryLimit, said);
    }
    if moved.is_by_expiration() {
        let said =
            format!("not sent: the `expiration` that its producer gave it was over{}", from.replace(" from", " in"));
        return (Reason::TooOld, said);
    }
    let why = moved.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    (Reason::Unknown, format!("the broker moved it here{from}{why}, which Sluice did not ask for"))
}

/// Id and type: from the headers, else from the message itself, as far as they can be read.
fn event(message: &Message, own: Own<'_>, death: &Death<'_>) -> (Option<String>, String) {
    if let Some(kind) = own.owned(header::EVENT_TYPE) {
        return (own.owned(header::EVENT_ID), kind);
    }
    let routing_key = key(own, death.x_death.as_ref());
    let kind = routing_key.unwrap_or("unknown");
    let received = own.time(header::RECEIVED).or(death.at).unwrap_or(Timestamp::UNIX_EPOCH);
    match event::decode(message, Context { routing_key: kind, received, max_bytes: usize::MAX }) {
        // A derived id depends on the routing key.
        Ok(event) if event.id_derived && routing_key.is_none() => (None, event.kind),
        Ok(event) => (Some(event.id), event.kind),
        Err(Malformed { identity, .. }) => (identity.id, identity.kind),
    }
}

/// As Sluice wrote it, else by the queue that the broker took it from; what Sluice writes nothing of went first.
fn class(own: Own<'_>, death: &Death<'_>) -> Option<Class> {
    let written = own.text(header::CLASS).and_then(|name| name.parse().ok());
    let moved = || Some(Names::class_of(death.x_death.as_ref()?.queue?));
    written.or_else(moved).or_else(|| own.text(header::REASON).map(|_| Class::Live))
}

/// The class of the event in a letter, where that is known.
#[must_use]
pub fn class_of(letter: &Message) -> Option<Class> {
    let headers = &letter.properties.headers;
    class(Own(headers), &Death::of(headers))
}

fn attempted(own: Own<'_>) -> (Option<Timestamp>, Option<Timestamp>) {
    let (first, last) = (own.time(header::FIRST_ATTEMPT), own.time(header::LAST_ATTEMPT));
    if first.is_some() && last.is_some() {
        return (first, last);
    }
    let attempts = own.attempts();
    (first.or(attempts.first().map(|attempt| attempt.at)), last.or(attempts.last().map(|attempt| attempt.at)))
}

/// Puts into headers of our own what the broker wrote of a letter that it made: its own ones may not survive another
/// publication. Whoever moves a letter does this first; nothing else of it changes, nor its id.
pub fn keep_death(message: &mut Message) {
    let headers = &message.properties.headers;
    let own = Own(headers);
    let death = Death::of(headers);
    if death.x_death.is_none() || own.text(header::REASON).is_some() {
        return;
    }
    let (reason, sentence) = reason(own, &death);
    let kept = [
        (header::REASON, Some(reason.name().to_owned())),
        (header::SENTENCE, Some(sentence)),
        (header::DEAD_LETTERED_AT, death.at.map(|at| at.to_string())),
        (header::ROUTING_KEY, key(own, death.x_death.as_ref()).map(str::to_owned)),
        (header::CLASS, class(own, &death).filter(|class| *class == Class::Bulk).map(|class| class.name().to_owned())),
    ];
    for (name, value) in kept {
        message.properties.headers.extend(value.map(|value| (name.to_owned(), Field::text(value))));
    }
}
