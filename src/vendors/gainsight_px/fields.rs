//! An event's data to the documented JSON body, every field checked before a request is spent.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::settings::{Settings, USER_TYPES};
use crate::event::{Event, Invalid, Name, name_of, quoted};
use crate::vendors::time;

/// Longest `eventName`, in characters ("Use Custom Event API").
const MAX_NAME_CHARS: usize = 2000;
/// Most attributes of one event (same page).
const MAX_ATTRIBUTES: usize = 50;
/// Longest attribute key, in characters (same page).
const MAX_KEY_CHARS: usize = 1024;

/// What every event must have.
const REQUIRED: [&str; 3] = ["identifyId", "propertyKey", "eventName"];
/// The documented fields, in the reference's order.
pub(super) const FIELDS: [&str; 14] = [
    "eventId",
    "identifyId",
    "propertyKey",
    "date",
    "eventType",
    "sessionId",
    "userType",
    "accountId",
    "globalContext",
    "eventName",
    "attributes",
    "url",
    "referrer",
    "remoteHost",
];

/// The request body. `eventId` defaults to the event's id, `date` to its time, `propertyKey` and `userType` to the destination's.
/// A null counts as left out: PX cannot take nulls. All else goes out as the event has it, digit for digit.
pub(super) fn body(event: &Event, settings: &Settings) -> Result<Vec<u8>, Invalid> {
    let Given { fields, attributes, unknown } = Given::of(event)?;
    if let Some(unknown) = unknown {
        return Err(invalid(format!(
            "{:?} is not a field of a Gainsight PX custom event; known: {}",
            &*unknown,
            FIELDS.join(", ")
        )));
    }
    let mut body = Vec::with_capacity(event.data.raw().len() + 128);
    body.push(b'{');
    let mut missing = REQUIRED.to_vec();
    for (field, given) in FIELDS.into_iter().zip(fields) {
        let value = match (field, given.filter(|value| value.get() != "null")) {
            ("attributes", _) => {
                if let Some(attributes) = &attributes {
                    push(&mut body, field, sendable(attributes)?)?;
                }
                continue;
            }
            ("date", given) => Cow::Owned(date(given, event)?.to_string()),
            (_, Some(value)) if is_blank(value, field)? => continue,
            (_, Some(value)) => Cow::Borrowed(value.get()),
            ("userType", None) => Cow::Owned(quoted(settings.user_type)),
            ("eventId", None) => Cow::Owned(quoted(&event.id)),
            ("propertyKey", None) => match settings.property_key.as_deref() {
                Some(key) => Cow::Owned(quoted(key)),
                None => continue,
            },
            (_, None) => continue,
        };
        missing.retain(|name| *name != field);
        push(&mut body, field, value.as_bytes())?;
    }
    if let [field, ..] = missing[..] {
        let mend = if field == "propertyKey" {
            "; set property_key on the destination or propertyKey in the data"
        } else {
            ""
        };
        return Err(invalid(format!("the required field {field:?} is missing or empty{mend}")));
    }
    body.push(b'}');
    Ok(body)
}

/// Each of an event's attributes as it was written.
type Attributes<'a> = BTreeMap<Name<'a>, &'a RawValue>;

/// An event's fields as they were written. The attributes are most of a body, so they are taken apart in the same reading.
#[derive(Default)]
struct Given<'a> {
    /// In the order of [`FIELDS`].
    fields: [Option<&'a RawValue>; FIELDS.len()],
    attributes: Option<Attributes<'a>>,
    /// A field that PX does not know.
    unknown: Option<Name<'a>>,
}

impl<'a> Given<'a> {
    fn of(event: &'a Event) -> Result<Self, Invalid> {
        event.data.written().map_err(|error| match event.data.fields().get("attributes") {
            Some(value) if !value.is_object() => wrong_type("attributes", "an object", value),
            Some(_) | None => invalid(error.to_string()),
        })
    }
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Given<'de>, A::Error> {
        let mut given = Given::default();
        while let Some(name) = object.next_key::<Name<'de>>()? {
            match FIELDS.iter().position(|field| *field == &*name) {
                Some(_) if &*name == "attributes" => given.attributes = object.next_value()?,
                Some(at) => given.fields[at] = Some(object.next_value()?),
                None => {
                    object.next_value::<IgnoredAny>()?;
                    given.unknown.get_or_insert(name);
                }
            }
        }
        Ok(given)
    }
}

/// One more field of an object.
fn push(object: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) -> Result<(), Invalid> {
    if object.len() > 1 {
        object.push(b',');
    }
    serde_json::to_writer(&mut *object, name).map_err(|error| invalid(error.to_string()))?;
    object.push(b':');
    object.extend_from_slice(value.as_ref());
    Ok(())
}

/// Whether a field may be that value.
pub(super) fn check(field: &str, value: &Value) -> Result<(), Invalid> {
    let written = to_raw_value(value).map_err(|error| invalid(error.to_string()))?;
    match field {
        "attributes" if !value.is_object() => Err(wrong_type(field, "an object", value)),
        "attributes" => sendable(&read(&written)?).map(|_| ()),
        "date" => milliseconds(value).map(|_| ()),
        _ if is_blank(&written, field)? => Err(invalid(format!("the required field {field:?} is empty"))),
        _ => Ok(()),
    }
}

/// Whether a field that is required says nothing. It has to be of its field's type.
fn is_blank(value: &RawValue, field: &str) -> Result<bool, Invalid> {
    if field == "globalContext" {
        return if value.get().starts_with('{') {
            Ok(false)
        } else {
            Err(wrong_type(field, "an object", &read(value)?))
        };
    }
    let Some(inner) = value.get().strip_prefix('"') else { return Err(wrong_type(field, "a string", &read(value)?)) };
    // Most are written without escapes.
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let text = if inner.contains('\\') { read(value)? } else { Cow::Borrowed(inner) };
    match field {
        "userType" => user_type(&text)?,
        "eventName" => event_name(&text)?,
        _ => {}
    }
    Ok(REQUIRED.contains(&field) && text.trim().is_empty())
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Invalid> {
    serde_json::from_str(value.get()).map_err(|error| invalid(error.to_string()))
}

fn date(given: Option<&RawValue>, event: &Event) -> Result<i64, Invalid> {
    let Some(value) = given else {
        let time = time::possible(event.time.timestamp());
        return time.map(jiff::Timestamp::as_millisecond).map_err(|why| {
            invalid(format!("\"date\" is missing, and the event's time {} is {why}; correct one of them", event.time))
        });
    };
    milliseconds(&read(value)?)
}

fn milliseconds(value: &Value) -> Result<i64, Invalid> {
    time::milliseconds(value).map_err(|wrong| invalid(format!("\"date\" {wrong}")))
}

fn user_type(given: &str) -> Result<(), Invalid> {
    if USER_TYPES.contains(&given) {
        return Ok(());
    }
    Err(invalid(format!("\"userType\" is {given:?}; it must be one of {}", USER_TYPES.join(", "))))
}

fn event_name(name: &str) -> Result<(), Invalid> {
    let length = name.chars().count();
    if length > MAX_NAME_CHARS {
        return Err(invalid(format!("\"eventName\" has {length} characters; at most {MAX_NAME_CHARS} are allowed")));
    }
    Ok(())
}

/// String, number and boolean values pass; objects and arrays are saved by PX as a string, so they are sent as one.
fn sendable(attributes: &Attributes<'_>) -> Result<Vec<u8>, Invalid> {
    let there = || attributes.iter().map(|(name, value)| (&**name, value.get())).filter(|(_, value)| *value != "null");
    check_names(there().map(|(name, _)| name))?;
    let count = there().count();
    if count > MAX_ATTRIBUTES {
        return Err(invalid(format!("\"attributes\" has {count} entries; at most {MAX_ATTRIBUTES} are allowed")));
    }
    let mut object = Vec::with_capacity(there().map(|(name, value)| name.len() + value.len() + 8).sum());
    object.push(b'{');
    for (name, value) in there() {
        let is_nested = value.starts_with(['{', '[']);
        let value = if is_nested { Cow::Owned(quoted(value)) } else { Cow::Borrowed(value) };
        push(&mut object, name, value.as_bytes())?;
    }
    object.push(b'}');
    Ok(object)
}

fn check_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<(), Invalid> {
    for name in names.clone() {
        let length = name.chars().count();
        if name.is_empty() || length > MAX_KEY_CHARS {
            return Err(invalid(format!(
                "an attribute's name has {length} characters; 1 to {MAX_KEY_CHARS} are allowed"
            )));
        }
    }
    // Names in small letters cannot differ by case alone, and most are.
    if names.clone().all(|name| name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())) {
        return Ok(());
    }
    let mut seen = HashMap::new();
    for name in names {
        // The vendor's pages disagree on whether names are case sensitive: two that differ by case alone would be one.
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            return Err(invalid(format!(
                "the attributes {other:?} and {name:?} differ by case alone; PX may take them for one"
            )));
        }
    }
    Ok(())
}

fn wrong_type(field: &str, expected: &str, found: &Value) -> Invalid {
    invalid(format!("{field:?} is {}, it must be {expected}", name_of(found)))
}

fn invalid(sentence: impl Into<String>) -> Invalid {
    Invalid(sentence.into())
}
