//! An event's data to the documented JSON body, every field checked before a request is spent.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize, Serializer as _};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::settings::{Settings, USER_TYPES};
use crate::event::{Event, Invalid, name_of};
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

/// A field as it is sent.
#[derive(Serialize)]
#[serde(untagged)]
enum Sent<'a> {
    Value(Cow<'a, Value>),
    /// Attributes, with the digits that the event has.
    Written(BTreeMap<String, Box<RawValue>>),
}

/// The request body. `eventId` defaults to the event's id, `date` to its time, `propertyKey` and `userType` to the destination's.
/// A null counts as left out: PX cannot take nulls.
pub(super) fn body(event: &Event, settings: &Settings) -> Result<Vec<u8>, Invalid> {
    if let Some(unknown) = event.data.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(invalid(format!(
            "{unknown:?} is not a field of a Gainsight PX custom event; known: {}",
            FIELDS.join(", ")
        )));
    }
    // Borrowed from the event, for most of it goes out as it came in.
    let mut body: Vec<(&str, Sent<'_>)> = Vec::with_capacity(FIELDS.len());
    for field in FIELDS {
        let given = event.data.get(field).filter(|value| !value.is_null());
        let value = match (field, given) {
            ("attributes", Some(value)) => {
                let attributes = attributes(value)?;
                let written = if has_exponent(value) { written(&event.raw) } else { None };
                body.push((field, written.map_or(Sent::Value(attributes), Sent::Written)));
                continue;
            }
            ("date", given) => Cow::Owned(Value::from(date(given, event)?)),
            (_, Some(value)) => Cow::Borrowed(checked(field, value)?),
            ("userType", None) => Cow::Owned(Value::from(settings.user_type)),
            ("eventId", None) => Cow::Owned(Value::from(event.id.as_str())),
            ("propertyKey", None) => match settings.property_key.as_deref() {
                Some(key) => Cow::Owned(Value::from(key)),
                None => continue,
            },
            (_, None) => continue,
        };
        body.push((field, Sent::Value(value)));
    }
    for field in REQUIRED {
        let value = body.iter().find(|(name, _)| *name == field).and_then(|(_, sent)| match sent {
            Sent::Value(value) => value.as_str(),
            Sent::Written(_) => None,
        });
        if value.is_none_or(|text| text.trim().is_empty()) {
            let mend = if field == "propertyKey" {
                "; set property_key on the destination or propertyKey in the data"
            } else {
                ""
            };
            return Err(invalid(format!("the required field {field:?} is missing or empty{mend}")));
        }
    }
    let mut written = Vec::with_capacity(event.raw.len() + 128);
    match serde_json::Serializer::new(&mut written).collect_map(body) {
        Ok(()) => Ok(written),
        Err(error) => Err(invalid(format!("the body cannot be written as JSON: {error}"))),
    }
}

/// Whether a field may be that value.
pub(super) fn check(field: &str, value: &Value) -> Result<(), Invalid> {
    match field {
        "attributes" => attributes(value).map(|_| ()),
        "date" => milliseconds(value).map(|_| ()),
        _ if REQUIRED.contains(&field) && value.as_str().is_some_and(|text| text.trim().is_empty()) => {
            Err(invalid(format!("the required field {field:?} is empty")))
        }
        _ => checked(field, value).map(|_| ()),
    }
}

/// A field that goes out as it came in, if it may.
fn checked<'a>(field: &str, value: &'a Value) -> Result<&'a Value, Invalid> {
    match field {
        "globalContext" => object(field, value).map(|_| ()),
        "userType" => text(field, value).and_then(user_type),
        "eventName" => text(field, value).and_then(event_name),
        _ => text(field, value).map(|_| ()),
    }
    .map(|()| value)
}

fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str, Invalid> {
    value.as_str().ok_or_else(|| wrong_type(field, "a string", value))
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Invalid> {
    value.as_object().ok_or_else(|| wrong_type(field, "an object", value))
}

fn date(given: Option<&Value>, event: &Event) -> Result<i64, Invalid> {
    let Some(value) = given else {
        let time = time::possible(event.time.timestamp());
        return time.map(jiff::Timestamp::as_millisecond).map_err(|why| {
            invalid(format!("\"date\" is missing, and the event's time {} is {why}; correct one of them", event.time))
        });
    };
    milliseconds(value)
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
fn attributes(value: &Value) -> Result<Cow<'_, Value>, Invalid> {
    let given = object("attributes", value)?;
    check_keys(given)?;
    let count = given.values().filter(|value| !value.is_null()).count();
    if count > MAX_ATTRIBUTES {
        return Err(invalid(format!("\"attributes\" has {count} entries; at most {MAX_ATTRIBUTES} are allowed")));
    }
    if !given.values().any(|value| value.is_null() || value.is_object() || value.is_array()) {
        return Ok(Cow::Borrowed(value));
    }
    let scalar = |value: &Value| match value {
        Value::Object(_) | Value::Array(_) => Value::from(value.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    };
    let there = given.iter().filter(|(_, value)| !value.is_null());
    Ok(Cow::Owned(Value::Object(there.map(|(key, value)| (key.clone(), scalar(value))).collect())))
}

/// Whether there is a number whose digits are not as they came: the reader of JSON writes `1E2` as `1e+2`.
fn has_exponent(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_str().contains('e'),
        Value::Array(items) => items.iter().any(has_exponent),
        Value::Object(fields) => fields.values().any(has_exponent),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// The attributes as [`attributes`] has them, each as it stands in the event's text; none where that cannot be read so.
fn written(raw: &[u8]) -> Option<BTreeMap<String, Box<RawValue>>> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        attributes: BTreeMap<String, &'a RawValue>,
    }
    let data: Data<'_> = serde_json::from_slice(raw).ok()?;
    let given = data.attributes.into_iter().filter(|(_, value)| value.get() != "null");
    let scalar = |value: &RawValue| match value.get() {
        text if text.starts_with(['{', '[']) => RawValue::from_string(Value::from(text).to_string()).ok(),
        _ => Some(value.to_owned()),
    };
    given.map(|(key, value)| Some((key, scalar(value)?))).collect()
}

fn check_keys(attributes: &Map<String, Value>) -> Result<(), Invalid> {
    let keys = || attributes.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key);
    for key in keys() {
        let length = key.chars().count();
        if key.is_empty() || length > MAX_KEY_CHARS {
            return Err(invalid(format!(
                "an attribute's name has {length} characters; 1 to {MAX_KEY_CHARS} are allowed"
            )));
        }
    }
    // Keys in small letters cannot differ by case alone, and most are.
    if keys().all(|key| key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())) {
        return Ok(());
    }
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(attributes.len());
    for key in keys() {
        // The vendor's pages disagree on whether keys are case sensitive: two that differ by case alone would be one.
        if let Some(other) = seen.insert(key.to_lowercase(), key) {
            return Err(invalid(format!(
                "the attributes {other:?} and {key:?} differ by case alone; PX may take them for one"
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
