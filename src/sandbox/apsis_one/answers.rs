//! The bodies that APSIS One answers with: `title`, `status` and `detail` for every error. Pure.

use http::StatusCode;
use serde_json::{Value, json};

use crate::sandbox::api::{self, Answer};

/// Any error.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    api::json(status, problem_body(status, detail).to_string())
}

/// What came of each item, in their order: taken, or what is wrong. The shape is made up: none is documented.
pub(super) fn multi_status<'a>(items: impl Iterator<Item = Option<&'a str>>) -> Answer {
    let item = |wrong: Option<&str>| match wrong {
        None => json!({ "status": StatusCode::NO_CONTENT.as_u16() }),
        Some(detail) => problem_body(StatusCode::BAD_REQUEST, detail),
    };
    let items: Vec<Value> = items.map(item).collect();
    api::json(StatusCode::MULTI_STATUS, json!({ "items": items }).to_string())
}

fn problem_body(status: StatusCode, detail: &str) -> Value {
    json!({ "title": status.canonical_reason().unwrap_or_default(), "status": status.as_u16(), "detail": detail })
}
