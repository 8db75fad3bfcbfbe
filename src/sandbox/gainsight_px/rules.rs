//! The rules that Gainsight PX documents for a custom event: a body comes in, the event goes out.
//! Pure. Sources: the vendor's page on `POST /v1/events/custom` and its page on using the Custom Event API.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::sandbox::ledger::Taken;

const REQUIRED: [&str; 4] = ["identifyId", "propertyKey", "eventName", "userType"];
const STRINGS: [&str; 11] = [
    "eventId",
    "identifyId",
    "propertyKey",
    "eventType",
    "sessionId",
    "userType",
    "accountId",
    "eventName",
    "url",
    "referrer",
    "remoteHost",
];
const USER_TYPES: [&str; 4] = ["LEAD", "USER", "VISITOR", "EMPTY_USER_TYPE"];
const EVENT_NAME_CHARS: usize = 2_000;
const ATTRIBUTES: usize = 50;
const ATTRIBUTE_KEY_CHARS: usize = 1_024;

/// Checks a body by every rule. The event is known by its id, or by the whole body where it has none.
///
/// # Errors
/// A sentence for each rule that it breaks.
pub(super) fn check(body: &Bytes, reject_names: &[String]) -> Result<Taken, Vec<String>> {
    let event: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(Value::Object(event)) => event,
        Ok(_) => return Err(vec!["the body must be a JSON object".to_owned()]),
        Err(error) => return Err(vec![format!("JSON parse error: {error}")]),
    };
    let mut broken = Vec::new();
    check_required(&event, &mut broken);
    for (name, value) in &event {
        check_field(name, value, &mut broken);
    }
    let name = event.get("eventName").and_then(Value::as_str).unwrap_or_default();
    if reject_names.iter().any(|rejected| rejected == name) {
        broken.push(format!("eventName: {name:?} is not known to this subscription"));
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let id = event.get("eventId").and_then(Value::as_str).map_or(&body[..], str::as_bytes);
    Ok(Taken::new(id, body.clone()))
}

fn check_required(event: &Map<String, Value>, broken: &mut Vec<String>) {
    let missing = |name: &&str| event.get(*name).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
    broken.extend(REQUIRED.iter().filter(|name| missing(name)).map(|name| format!("{name}: must not be empty")));
}

fn check_field(name: &str, value: &Value, broken: &mut Vec<String>) {
    let mut unless = |fine: bool, rule: &str| {
        if !fine {
            broken.push(format!("{name}: {rule}"));
        }
    };
    match name {
        "date" => unless(value.is_i64(), "must be an integer, milliseconds since 1970"),
        "globalContext" => unless(value.is_object(), "must be an object"),
        "attributes" => match value {
            Value::Object(attributes) => check_attributes(attributes, broken),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                unless(false, "must be an object");
            }
        },
        name if STRINGS.contains(&name) => match value.as_str() {
            None => unless(false, "must be a string"),
            Some(text) if name == "userType" && !text.is_empty() => {
                unless(USER_TYPES.contains(&text), "must be LEAD, USER, VISITOR or EMPTY_USER_TYPE");
            }
            Some(text) if name == "eventName" => {
                unless(text.chars().count() <= EVENT_NAME_CHARS, "must have at most 2000 characters");
            }
            Some(_) => {}
        },
        _ => unless(false, "is not a known field"),
    }
}

fn check_attributes(attributes: &Map<String, Value>, broken: &mut Vec<String>) {
    if attributes.len() > ATTRIBUTES {
        broken.push(format!("attributes: must have at most 50 properties, has {}", attributes.len()));
    }
    for (key, value) in attributes {
        if key.chars().count() > ATTRIBUTE_KEY_CHARS {
            broken.push("attributes: a key must have at most 1024 characters".to_owned());
        } else if !(value.is_string() || value.is_number() || value.is_boolean()) {
            broken.push(format!("attributes.{key}: must be a string, a number or a boolean"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "eventId": "e-1", "identifyId": "u-1", "propertyKey": "AP-XXXXXXXXXX-2", "date": 1_700_000_000_000_i64,
            "eventType": "CUSTOM", "sessionId": "s", "userType": "USER", "accountId": "a", "globalContext": {"x": {}},
            "eventName": "Report exported", "attributes": {"plan": "gold", "seats": 3, "trial": false},
            "url": "u", "referrer": "r", "remoteHost": "h"
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut event = event();
        event[name] = value;
        event
    }

    fn broken(event: &Value) -> Vec<String> {
        check(&event.to_string().into(), &["Rejected".to_owned()]).err().unwrap_or_default()
    }

    #[test]
    fn an_event_with_every_documented_field_is_taken() {
        assert_eq!(broken(&event()), Vec::<String>::new());
    }

    #[test]
    fn an_event_with_only_the_required_fields_is_taken() {
        for user_type in USER_TYPES {
            let event = json!({"identifyId": "u", "propertyKey": "k", "eventName": "n", "userType": user_type});
            assert_eq!(broken(&event), Vec::<String>::new());
        }
    }

    #[test]
    fn each_required_field_is_missed() {
        for name in REQUIRED {
            let mut event = event();
            event.as_object_mut().unwrap().remove(name);
            assert_eq!(broken(&event), [format!("{name}: must not be empty")]);
            assert_eq!(broken(&with(name, json!(""))), [format!("{name}: must not be empty")]);
        }
    }

    #[test]
    fn each_field_of_the_wrong_type_is_refused() {
        for name in STRINGS {
            assert_eq!(broken(&with(name, json!(7))), [format!("{name}: must be a string")]);
        }
        for (name, value) in [
            ("date", json!("1700000000000")),
            ("date", json!(1.5)),
            ("date", json!(null)),
            ("globalContext", json!("x")),
            ("attributes", json!([])),
            ("userType", json!("user")),
            ("colour", json!("red")),
            ("eventName", json!("Rejected")),
        ] {
            let broken = broken(&with(name, value));
            assert_eq!(broken.len(), 1, "{name}: {broken:?}");
            assert!(broken[0].starts_with(name), "{broken:?}");
        }
    }

    #[test]
    fn lengths_and_counts_are_limited_as_documented() {
        let attributes = |count: usize| -> Value { (0..count).map(|n| (n.to_string(), json!(n))).collect() };
        let keyed = |chars: usize| json!({ "é".repeat(chars): 1 });
        for (name, fine, over) in [
            ("eventName", json!("é".repeat(2_000)), json!("é".repeat(2_001))),
            ("attributes", attributes(50), attributes(51)),
            ("attributes", keyed(1_024), keyed(1_025)),
        ] {
            assert_eq!(broken(&with(name, fine)), Vec::<String>::new());
            assert_eq!(broken(&with(name, over)).len(), 1, "{name}");
        }
    }

    #[test]
    fn an_attribute_is_a_string_a_number_or_a_boolean() {
        for value in [json!({}), json!([]), json!(null)] {
            assert_eq!(broken(&with("attributes", json!({ "a": value }))).len(), 1);
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for body in ["", "{", "[]", "null", "\"x\"", &"[".repeat(100_000), "{\"a\":\"\u{fffd}"] {
            assert_eq!(check(&body.to_owned().into(), &[]).unwrap_err().len(), 1);
        }
        assert!(check(&Bytes::from_static(b"{\"identifyId\":\"\xff\"}"), &[]).is_err());
    }

    #[test]
    fn events_are_told_apart_by_id_and_else_by_body() {
        let id = |event: &Value| check(&event.to_string().into(), &[]).unwrap().id;
        assert_eq!(id(&event()), id(&with("url", json!("other"))));
        let mut anonymous = event();
        anonymous.as_object_mut().unwrap().remove("eventId");
        let mut other = anonymous.clone();
        other["url"] = json!("other");
        assert_ne!(id(&anonymous), id(&other));
        assert_eq!(id(&anonymous), id(&anonymous));
    }
}
