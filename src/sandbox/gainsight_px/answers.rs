//! The bodies that Gainsight PX answers with: a Spring entity for success, `externalapierror` for most errors,
//! HTML for 403. Pure. Source: the vendor's API contract, and answers seen by public clients.

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sandbox::api::{self, Answer};

/// The event was taken.
pub(super) fn created() -> Answer {
    api::json(StatusCode::CREATED, r#"{"body":{},"statusCode":"201","statusCodeValue":201}"#)
}

/// The body breaks these rules.
pub(super) fn bad_request(broken: &[String]) -> Answer {
    let (message, sub_errors) = match broken {
        [only] => (only.clone(), Value::Array(Vec::new())),
        _ => ("Validation error".to_owned(), broken.iter().map(|message| json!({ "message": message })).collect()),
    };
    external(StatusCode::BAD_REQUEST, "BAD_REQUEST", &message, &sub_errors)
}

/// No such key.
pub(super) fn unauthorized() -> Answer {
    external(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized or bad API Key", &Value::Null)
}

/// A key without the right to write.
pub(super) fn forbidden() -> Answer {
    api::html(StatusCode::FORBIDDEN, api::error_page(StatusCode::FORBIDDEN))
}

/// Over the limit.
pub(super) fn rate_limit_exceeded() -> Answer {
    external(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Rate limit exceeded", &Value::Null)
}

/// No such path.
pub(super) fn not_found(path: &str) -> Answer {
    external(StatusCode::NOT_FOUND, "NOT_FOUND", &format!("No handler found for {path}"), &Value::Null)
}

/// No such method.
pub(super) fn method_not_allowed(method: &Method) -> Answer {
    let message = format!("Request method '{method}' is not supported");
    let mut answer = external(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", &message, &Value::Null);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    answer
}

fn external(status: StatusCode, name: &str, message: &str, sub_errors: &Value) -> Answer {
    let error = json!({ "status": name, "message": message, "debugMessage": null, "subErrors": sub_errors });
    api::json(status, json!({ "externalapierror": error }).to_string())
}
