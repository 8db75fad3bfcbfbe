//! An event's data to what is posted, every field checked before a request is spent.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::address;
use super::settings::Settings;
use crate::event::{Event, Invalid, Time, name_of};
use crate::vendors::{number, time};

/// Decimals of a second that are kept.
const NANOSECONDS: usize = 9;
/// The fields of an event, by the guide's words.
pub(super) const FIELDS: [&str; 7] = ["profile", "event", "data", "keyspace", "section", "version_id", "event_time"];

/// What an event says, with what its destination has for what it leaves out. A null counts as left out.
pub(super) struct Fields<'a> {
    pub keyspace: &'a str,
    /// The profile's key in the keyspace.
    pub profile: &'a str,
    pub section: &'a str,
    /// The discriminator; none only where `version_id` is there.
    pub event: Option<&'a str>,
    /// A whole number, or a string of digits.
    pub version_id: Option<Cow<'a, Value>>,
    pub data: &'a Map<String, Value>,
    /// RFC 3339, in UTC.
    pub event_time: String,
}

/// One element of `items`, in the guide's order.
#[derive(Serialize)]
struct Posted<'a> {
    event_time: &'a str,
    version_id: &'a Value,
    data: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn read(event: &'a Event, settings: &'a Settings) -> Result<Self, Invalid> {
        if let Some(unknown) = event.data.fields().keys().find(|key| !FIELDS.contains(&key.as_str())) {
            let known = FIELDS.join(", ");
            return Err(invalid(format!("{unknown:?} is not a field of an APSIS One event; known: {known}")));
        }
        let given = |field: &str| event.data.fields().get(field).filter(|value| !value.is_null());
        let name = |field: &str| given(field).map(|value| text(field, value)).transpose();
        let named = |field: &str, default: Option<&'a str>| match (name(field)?, default) {
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(missing(field)),
        };
        let version_id = given("version_id").map(version_id).transpose()?;
        let event_name = name("event")?;
        if event_name.is_none() && version_id.is_none() {
            return Err(missing("event"));
        }
        let data = match given("data") {
            Some(Value::Object(data)) => data,
            Some(other) => return Err(wrong_type("data", "an object", other)),
            None => return Err(missing("data")),
        };
        Ok(Self {
            keyspace: named("keyspace", settings.keyspace.as_deref())?,
            profile: named("profile", None)?,
            section: named("section", settings.section.as_deref())?,
            event: event_name,
            version_id,
            data,
            event_time: given("event_time").map_or_else(|| received(event), event_time)?,
        })
    }

    /// The element of `items` that this event becomes.
    pub fn item(&self, version_id: &Value, data: &Map<String, Value>) -> Result<Bytes, Invalid> {
        serde_json::to_vec(&Posted { event_time: &self.event_time, version_id, data })
            .map(Bytes::from)
            .map_err(|error| invalid(format!("the event cannot be written as JSON: {error}")))
    }
}

/// Whether a field may be that value.
pub(super) fn check(field: &str, value: &Value) -> Result<(), Invalid> {
    match field {
        "data" if value.is_object() => Ok(()),
        "data" => Err(wrong_type("data", "an object", value)),
        "version_id" => version_id(value).map(|_| ()),
        "event_time" => event_time(value).map(|_| ()),
        _ => text(field, value).map(|_| ()),
    }
}

/// A name as it is written, spaces and all.
fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str, Invalid> {
    let text = value.as_str().ok_or_else(|| wrong_type(field, "a string", value))?;
    match address::refusal(text) {
        Some(why) => Err(invalid(format!("{field:?} {why}"))),
        None => Ok(text),
    }
}

/// The guide writes it as a number, and lists it as a string: either goes as it is given.
fn version_id(value: &Value) -> Result<Cow<'_, Value>, Invalid> {
    let digits = value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    if value.is_u64() || digits {
        return Ok(Cow::Borrowed(value));
    }
    if let Some(whole) = number::whole(value).filter(|whole| *whole >= 0) {
        return Ok(Cow::Owned(whole.into()));
    }
    if number::is_whole(value) && !number::is_negative(value) {
        return Err(invalid(format!("\"version_id\" is {value}, over 64 bits; write it as a string of digits")));
    }
    let found = value.as_str().map_or_else(|| name_of(value).to_owned(), |text| format!("{text:?}"));
    Err(invalid(format!("\"version_id\" is {found}, it must be a whole number that is not negative")))
}

/// The event's own time.
fn received(event: &Event) -> Result<String, Invalid> {
    let time = time::possible(event.time.timestamp());
    time.map(|time| format!("{time:.3}")).map_err(|why| {
        invalid(format!("\"event_time\" is missing, and the event's time {} is {why}; correct one of them", event.time))
    })
}

/// The same instant in UTC, with as many decimals as it was given.
fn event_time(value: &Value) -> Result<String, Invalid> {
    let text = value.as_str().ok_or_else(|| wrong_type("event_time", "an RFC 3339 date and time", value))?;
    let time: Time = text.parse().map_err(|_| {
        invalid(format!("\"event_time\" is {text:?}, not an RFC 3339 date and time as 2020-10-14T09:43:34.471Z"))
    })?;
    time::possible(time.timestamp()).map_err(|why| {
        invalid(format!("\"event_time\" is {text:?}, {why}; leave it out, and the event's time is sent"))
    })?;
    let decimals = text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    Ok(format!("{time:.decimals$}", decimals = decimals.min(NANOSECONDS)))
}

fn missing(field: &str) -> Invalid {
    invalid(match field {
        "keyspace" | "section" => {
            format!("the required field {field:?} is missing; set {field} on the destination or in the event")
        }
        "data" => "the required field \"data\" is missing; {} is for an event type without fields".to_owned(),
        _ => format!("the required field {field:?} is missing"),
    })
}

fn wrong_type(field: &str, expected: &str, found: &Value) -> Invalid {
    invalid(format!("{field:?} is {}, it must be {expected}", name_of(found)))
}

fn invalid(sentence: impl Into<String>) -> Invalid {
    Invalid(sentence.into())
}
