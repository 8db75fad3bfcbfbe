//! Any other JSON API: the data as it was written or made by jq, alone or as an array, and what the destination says of statuses.

use serde_json::{Value, json};

use super::{Body, Fixtures, Refused, Sent, answered};

const SETTINGS: &str = r#"
method = { jq = "if .how == null then \"PUT\" else .how end" }
url = { jq = "\"https://api.example.com/v1/\\(.list // \"all\" | @uri)?src=q\"" }
headers = { x-team = "key-987654321", accept = "application/json", x-source = { jq = "$event.source" }, x-tenant = { jq = ".tenant" } }
body = { jq = "{order, lines: (.lines // []), at: $event.time}" }
idempotency_key = true
batch_max = 2
success = [200, 202, 409]
retry_statuses = [404]
reject = [500]
[destinations.account.oauth]
token_url = "https://login.example.com/oauth/token"
client_id = "client-1"
client_secret = "oauth-123456789"
scope = "events:write"
audience = "https://api.example.com"
auth = "body""#;

const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("x-team", "key-987654321"),
    ("x-source", "shop"),
    ("idempotency-key", "\"event-1\""),
];

fn order(number: u64) -> Value {
    json!({"order": number, "lines": [{"sku": "a", "count": 2}], "note": null})
}

fn made(number: u64) -> Value {
    json!({"order": number, "lines": [{"sku": "a", "count": 2}], "at": "2023-11-14T22:13:20.123Z"})
}

fn requests() -> Vec<Sent> {
    let all = "https://api.example.com/v1/all?src=q";
    vec![
        Sent {
            what: "one event is an array too, its numbers exact",
            events: vec![order(u64::MAX)],
            method: "PUT",
            url: all,
            headers: HEADERS,
            body: Body::Json(json!([made(u64::MAX)])),
        },
        Sent {
            what: "method, address and headers made of the event",
            events: vec![json!({"how": "POST", "list": "a/b ü", "tenant": 7})],
            method: "POST",
            url: "https://api.example.com/v1/a%2Fb%20%C3%BC?src=q",
            headers: &[
                ("content-type", "application/json"),
                ("accept", "application/json"),
                ("x-team", "key-987654321"),
                ("x-source", "shop"),
                ("x-tenant", "7"),
                ("idempotency-key", "\"event-1\""),
            ],
            body: Body::Json(json!([{"order": null, "lines": [], "at": "2023-11-14T22:13:20.123Z"}])),
        },
        Sent {
            what: "several events travel as an array, with a key of their own",
            events: vec![order(1), order(2)],
            method: "PUT",
            url: all,
            headers: &[
                ("content-type", "application/json"),
                ("accept", "application/json"),
                ("x-team", "key-987654321"),
                ("x-source", "shop"),
                ("idempotency-key", "\"8e9d0ece-586f-593a-b240-a7091af73f5f\""),
            ],
            body: Body::Json(json!([made(1), made(2)])),
        },
    ]
}

fn token() -> Sent {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Sent {
        what: "client credentials",
        events: Vec::new(),
        method: "POST",
        url: "https://login.example.com/oauth/token",
        headers: &[("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")],
        body: Body::Form(vec![
            field("grant_type", "client_credentials"),
            field("client_id", "client-1"),
            field("client_secret", "oauth-123456789"),
            field("scope", "events:write"),
            field("audience", "https://api.example.com"),
        ]),
    }
}

fn refused() -> Vec<Refused> {
    vec![
        Refused { what: "a method that is none", event: json!({"how": "GET"}), says: &["method", "GET", "POST"] },
        Refused { what: "a header with a line break", event: json!({"tenant": "a\nb"}), says: &["x-tenant"] },
        Refused { what: "a list that means a directory", event: json!({"list": ".."}), says: &["url", "directory"] },
        Refused { what: "a list that is empty", event: json!({"list": ""}), says: &["url", "empty"] },
        Refused { what: "a header that is no text", event: json!({"tenant": {}}), says: &["x-tenant", "an object"] },
    ]
}

pub fn fixtures() -> Fixtures {
    Fixtures {
        vendor: "http",
        settings: SETTINGS,
        secrets: &["key-987654321", "oauth-123456789"],
        lookups: Vec::new(),
        grants: vec![(None, token())],
        requests: requests(),
        refused: refused(),
        answers: vec![
            answered(200, "", "delivered", ""),
            answered(409, "exists", "delivered", ""),
            answered(204, "", "rejected", "the API answered 204; not in this destination's success statuses"),
            answered(404, "no such thing", "unavailable", "the API answered 404: no such thing"),
            answered(500, "no\n  more", "rejected", "the API answered 500: no more"),
            answered(503, "", "unavailable", "the API answered 503"),
            answered(429, "slow down", "throttled", "the API answered 429: slow down"),
            answered(401, "who?", "unauthorized", "the API answered 401: who?"),
            answered(413, "", "too_large", "the API answered 413"),
            answered(301, "", "unavailable", "the API answered 301"),
        ],
    }
}
