//! Gainsight PX: the documented body field by field, every rule of its pages, and the error bodies that it sends.

use serde_json::{Value, json};

use super::{Answered, Body, Fixtures, Refused, Sent, answered};

const HEADERS: &[(&str, &str)] = &[
    ("x-aptrinsic-api-key", "px-key-0123456789"),
    ("content-type", "application/json"),
    ("accept", "application/json"),
];
const URL: &str = "https://api.aptrinsic.com/v1/events/custom";

pub fn fixtures() -> Fixtures {
    Fixtures {
        vendor: "gainsight-px",
        settings: "api_key = \"px-key-0123456789\"\nproperty_key = \"AP-DEFAULT-2\"\nregion = \"us\"\nuser_type = \"LEAD\"",
        secrets: &["px-key-0123456789"],
        lookups: Vec::new(),
        grants: Vec::new(),
        requests: requests(),
        refused: refused(),
        answers: answers(),
    }
}

/// The least that an event has to have, where the destination has a property key.
fn least() -> Value {
    json!({"identifyId": "user-1", "eventName": "Report exported"})
}

/// The least, with one field set.
fn with(field: &str, value: Value) -> Value {
    let mut data = least();
    data[field] = value;
    data
}

fn sent(what: &'static str, event: Value, body: Value) -> Sent {
    Sent { what, events: vec![event], method: "POST", url: URL, headers: HEADERS, body: Body::Json(body) }
}

/// What the least becomes, with some fields set or, by null, taken away.
fn body(changes: Value) -> Value {
    let mut body = json!({
        "eventId": "event-1", "identifyId": "user-1", "propertyKey": "AP-DEFAULT-2", "date": 1_700_000_000_123_i64,
        "userType": "LEAD", "eventName": "Report exported",
    });
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

fn requests() -> Vec<Sent> {
    let documented = json!({
        "eventId": "string", "identifyId": "string", "propertyKey": "string", "date": 42, "eventType": "string",
        "sessionId": "string", "userType": "LEAD", "accountId": "string", "globalContext": {}, "eventName": "string",
        "attributes": {}, "url": "string", "referrer": "string", "remoteHost": "string",
    });
    let mut requests = vec![
        sent("the documented example, field by field", documented.clone(), documented),
        sent("id, date, property key and user type have defaults", least(), body(json!({}))),
        sent(
            "nulls are left out",
            json!({"identifyId": "user-1", "eventName": "Report exported", "accountId": null, "date": null,
                   "propertyKey": null, "attributes": {"plan": null, "seats": 3}}),
            body(json!({"attributes": {"seats": 3}})),
        ),
        sent(
            "an attribute is a string, a number or a boolean; what is nested is sent as a string",
            with("attributes", json!({"s": "é", "n": 1.5, "b": false, "o": {"a": [1]}, "l": [1, "x"]})),
            body(json!({"attributes": {"s": "é", "n": 1.5, "b": false, "o": "{\"a\":[1]}", "l": "[1,\"x\"]"}})),
        ),
        sent(
            "the longest name, in characters and not in bytes",
            with("eventName", json!("é".repeat(2000))),
            body(json!({"eventName": "é".repeat(2000)})),
        ),
        sent(
            "a date that is whole, however it is written",
            with("date", serde_json::from_str("1795000000000.0").unwrap()),
            body(json!({"date": 1_795_000_000_000_i64})),
        ),
        sent("50 attributes", with("attributes", attributes(50)), body(json!({"attributes": attributes(50)}))),
        sent(
            "the longest attribute name",
            with("attributes", json!({"k".repeat(1024): 1})),
            body(json!({"attributes": {"k".repeat(1024): 1}})),
        ),
        sent(
            "a global context of any shape",
            with("globalContext", json!({"a": {"b": [1]}})),
            body(json!({"globalContext": {"a": {"b": [1]}}})),
        ),
    ];
    for kind in ["LEAD", "USER", "VISITOR", "EMPTY_USER_TYPE"] {
        requests.push(sent("each user type", with("userType", json!(kind)), body(json!({"userType": kind}))));
    }
    requests
}

fn attributes(count: usize) -> Value {
    (0..count).map(|index| (format!("key{index}"), json!(index))).collect::<serde_json::Map<_, _>>().into()
}

fn refused() -> Vec<Refused> {
    let of = |what, event, says| Refused { what, event, says };
    let mut refused = vec![
        of("no identifyId", json!({"eventName": "n"}), &["identifyId", "required"][..]),
        of("no eventName", json!({"identifyId": "u"}), &["eventName", "required"]),
        of("an empty identifyId", with("identifyId", json!(" ")), &["identifyId", "empty"]),
        of("an empty eventName", with("eventName", json!("")), &["eventName", "empty"]),
        of("an empty propertyKey", with("propertyKey", json!("")), &["propertyKey", "property_key"]),
        of("a field that PX does not know", with("eventname", json!("n")), &["eventname", "eventName"]),
        of("a user type that PX does not know", with("userType", json!("user")), &["userType", "EMPTY_USER_TYPE"]),
        of("a name over 2000 characters", with("eventName", json!("x".repeat(2001))), &["eventName", "2001", "2000"]),
        of("51 attributes", with("attributes", attributes(51)), &["attributes", "51", "50"]),
        of("an attribute name over 1024", with("attributes", json!({"k".repeat(1025): 1})), &["1025", "1024"]),
        of("an empty attribute name", with("attributes", json!({"": 1})), &["attribute"]),
        of("names that differ by case", with("attributes", json!({"plan": 1, "Plan": 2})), &["plan", "Plan", "case"]),
        of("a date as text", with("date", json!("2023-11-14T22:13:20Z")), &["date", "a string", "milliseconds"]),
        of(
            "a date in seconds",
            with("date", json!(1_795_000_000)),
            &["date", "1795000000", "these are seconds", "milliseconds"],
        ),
        of("a date in microseconds", with("date", json!(1_795_000_000_000_000_i64)), &["date", "microseconds"]),
        of("a date of no time", with("date", json!(-62_135_596_800_000_i64)), &["date", "0001-01-01"]),
        of("a date with a fraction", with("date", json!(1.5)), &["date", "milliseconds"]),
        of("a date beyond 64 bits", with("date", json!(u64::MAX)), &["date", "milliseconds"]),
        of("attributes as a list", with("attributes", json!([1])), &["attributes", "an array", "an object"]),
        of("a context as text", with("globalContext", json!("x")), &["globalContext", "a string", "an object"]),
    ];
    for field in [
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
    ] {
        for wrong in [json!(17), json!(true), json!({}), json!([])] {
            refused.push(of("a field that is no string", with(field, wrong), &["a string"]));
        }
    }
    refused
}

fn answers() -> Vec<Answered> {
    let refused = r#"{"externalapierror":{"status":"BAD_REQUEST","message":"Validation error","debugMessage":null,
        "subErrors":[{"object":"event","field":"userType","message":"must not be null"},{"message":"no such product"}]}}"#;
    let forbidden = "<!doctype html><html><head><title>403 Forbidden</title></head><body>key px</body></html>";
    vec![
        answered(201, r#"{"body":{},"statusCode":"100","statusCodeValue":42}"#, "delivered", ""),
        answered(201, "", "delivered", ""),
        answered(200, "", "unavailable", "Gainsight PX answered 200; expected 201"),
        answered(204, "", "unavailable", "Gainsight PX answered 204; expected 201"),
        answered(301, "", "unavailable", "Gainsight PX answered 301"),
        answered(
            400,
            refused,
            "rejected",
            "Gainsight PX answered 400: Validation error; must not be null; no such product",
        ),
        answered(400, r#"{"errorMessage":"no such user"}"#, "rejected", "Gainsight PX answered 400: no such user"),
        answered(
            400,
            r#"{"externalapierror":{"message":"no","subErrors":null}}"#,
            "rejected",
            "Gainsight PX answered 400: no",
        ),
        answered(400, "{}", "rejected", "Gainsight PX answered 400: {}"),
        answered(
            400,
            r#"{"externalapierror":null}"#,
            "rejected",
            r#"Gainsight PX answered 400: {"externalapierror":null}"#,
        ),
        answered(401, r#"{"errorMessage":"bad key"}"#, "unauthorized", "Gainsight PX answered 401: bad key"),
        answered(403, forbidden, "unauthorized", "Gainsight PX answered 403: an HTML page, 403 Forbidden"),
        answered(404, "", "rejected", "Gainsight PX answered 404"),
        answered(408, "", "unavailable", "Gainsight PX answered 408"),
        answered(413, "", "too_large", "Gainsight PX answered 413"),
        answered(429, "Rate limit exceeded", "throttled", "Gainsight PX answered 429: Rate limit exceeded"),
        answered(500, "Internal error", "unavailable", "Gainsight PX answered 500: Internal error"),
        answered(503, "", "unavailable", "Gainsight PX answered 503"),
        answered(599, "", "unavailable", "Gainsight PX answered 599"),
    ]
}
