//! Any other JSON API: the data as it was written, and what the destination says of statuses.

use serde_json::json;

use super::{Body, Fixtures, Sent, answered};

pub fn fixtures() -> Fixtures {
    let data = json!({"order": 17, "lines": [{"sku": "a", "count": 2}], "note": null});
    Fixtures {
        vendor: "http",
        settings: "method = \"PUT\"\nurl = \"https://api.example.com/v1/track?src=q\"\n\
                   headers = { authorization = \"Bearer tok-123456789\", x-team = \"key-987654321\", accept = \"application/json\" }\n\
                   success = [200, 202, 409]\nretry_statuses = [404]\nreject = [500]",
        secrets: &["tok-123456789", "key-987654321"],
        lookups: Vec::new(),
        grants: Vec::new(),
        requests: vec![Sent {
            what: "any data goes as it is",
            events: vec![data.clone()],
            method: "PUT",
            url: "https://api.example.com/v1/track?src=q",
            headers: &[
                ("content-type", "application/json"),
                ("accept", "application/json"),
                ("authorization", "Bearer tok-123456789"),
                ("x-team", "key-987654321"),
            ],
            body: Body::Json(data),
        }],
        refused: Vec::new(),
        answers: vec![
            answered(200, "", "delivered", ""),
            answered(409, "exists", "delivered", ""),
            answered(204, "", "rejected", "api.example.com answered 204; not in this destination's success statuses"),
            answered(404, "no such thing", "unavailable", "api.example.com answered 404: no such thing"),
            answered(500, "no\n  more", "rejected", "api.example.com answered 500: no more"),
            answered(503, "", "unavailable", "api.example.com answered 503"),
            answered(429, "slow down", "throttled", ""),
            answered(401, "who?", "unauthorized", "api.example.com answered 401: who?"),
            answered(413, "", "too_large", "api.example.com answered 413"),
            answered(301, "", "unavailable", "api.example.com answered 301"),
        ],
    }
}
