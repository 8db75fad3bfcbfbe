//! An event's data to the documented JSON body, every field checked before a request is spent.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::settings::{Settings, USER_TYPES};
use crate::event::{Event, name_of};
use crate::vendors::Invalid;

/// Longest `eventName`, in characters ("Use Custom Event API").
const MAX_NAME_CHARS: usize = 2000;
/// Most attributes of one event (same page).
const MAX_ATTRIBUTES: usize = 50;
/// Longest attribute key, in characters (same page).
const MAX_KEY_CHARS: usize = 1024;

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
/// A null counts as left out: PX cannot take nulls.
pub(super) fn body(event: &Event, settings: &Settings) -> Result<Vec<u8>, Invalid> {
    if let Some(unknown) = event.data.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(invalid(format!(
            "{unknown:?} is not a field of a Gainsight PX custom event; known: {}",
            FIELDS.join(", ")
        )));
    }
    let mut body = Map::new();
    for field in FIELDS {
        let given = event.data.get(field).filter(|value| !value.is_null());
        let value = match (field, given) {
            ("date", Some(value)) => Some(milliseconds(value)?),
            ("date", None) => Some(Value::from(event.time.as_millisecond())),
            ("attributes", Some(value)) => Some(attributes(value)?),
            ("globalContext", Some(value)) => Some(Value::Object(object(field, value)?.clone())),
            ("userType", Some(value)) => Some(Value::from(user_type(text(field, value)?)?)),
            ("userType", None) => Some(Value::from(settings.user_type)),
            ("eventName", Some(value)) => Some(Value::from(event_name(text(field, value)?)?)),
            ("eventId", None) => Some(Value::from(event.id.as_str())),
            ("propertyKey", None) => settings.property_key.as_deref().map(Value::from),
            (_, Some(value)) => Some(Value::from(text(field, value)?)),
            (_, None) => None,
        };
        if let Some(value) = value {
            body.insert(field.to_owned(), value);
        }
    }
    for field in ["identifyId", "propertyKey", "eventName"] {
        if body.get(field).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
            let mend = if field == "propertyKey" {
                "; set property_key on the destination or propertyKey in the data"
            } else {
                ""
            };
            return Err(invalid(format!("the required field {field:?} is missing or empty{mend}")));
        }
    }
    serde_json::to_vec(&body).map_err(|error| invalid(format!("the body cannot be written as JSON: {error}")))
}

fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str, Invalid> {
    value.as_str().ok_or_else(|| wrong_type(field, "a string", value))
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Invalid> {
    value.as_object().ok_or_else(|| wrong_type(field, "an object", value))
}

fn milliseconds(value: &Value) -> Result<Value, Invalid> {
    match value.as_i64() {
        Some(_) => Ok(value.clone()),
        None => Err(wrong_type("date", "a whole number of milliseconds since 1970", value)),
    }
}

fn user_type(given: &str) -> Result<&str, Invalid> {
    if USER_TYPES.contains(&given) {
        return Ok(given);
    }
    Err(invalid(format!("\"userType\" is {given:?}; it must be one of {}", USER_TYPES.join(", "))))
}

fn event_name(name: &str) -> Result<&str, Invalid> {
    let length = name.chars().count();
    if length > MAX_NAME_CHARS {
        return Err(invalid(format!("\"eventName\" has {length} characters; at most {MAX_NAME_CHARS} are allowed")));
    }
    Ok(name)
}

/// String, number and boolean values pass; objects and arrays are saved by PX as a string, so they are sent as one.
fn attributes(value: &Value) -> Result<Value, Invalid> {
    let given = object("attributes", value)?;
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(given.len());
    let mut attributes = Map::new();
    for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let length = key.chars().count();
        if key.is_empty() || length > MAX_KEY_CHARS {
            return Err(invalid(format!(
                "an attribute's name has {length} characters; 1 to {MAX_KEY_CHARS} are allowed"
            )));
        }
        // The vendor's pages disagree on whether keys are case sensitive: two that differ by case alone would be one.
        if let Some(other) = seen.insert(key.to_lowercase(), key) {
            return Err(invalid(format!(
                "the attributes {other:?} and {key:?} differ by case alone; PX may take them for one"
            )));
        }
        let value = match value {
            Value::Object(_) | Value::Array(_) => Value::from(value.to_string()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        };
        attributes.insert(key.clone(), value);
    }
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(invalid(format!(
            "\"attributes\" has {} entries; at most {MAX_ATTRIBUTES} are allowed",
            attributes.len()
        )));
    }
    Ok(Value::Object(attributes))
}

fn wrong_type(field: &str, expected: &str, found: &Value) -> Invalid {
    invalid(format!("{field:?} is {}, it must be {expected}", name_of(found)))
}

fn invalid(sentence: impl Into<String>) -> Invalid {
    Invalid(sentence.into())
}
