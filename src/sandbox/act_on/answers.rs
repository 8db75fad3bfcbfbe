//! The bodies that Act-On answers with: one shape each for the application, the gateway and the token endpoint. Pure.
//! Source: the vendor's contract and answers seen from its gateway. Of the numeric codes few are known; 10054 stands
//! for what has no known one.

use http::StatusCode;
use serde_json::json;

use crate::sandbox::api::{self, Answer};

/// What is wrong with an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A required field is missing or empty.
    Missing(&'static str),
    /// The file is missing.
    NoFile,
    /// Anything else, as a sentence.
    Rule(String),
}

impl From<String> for Broken {
    fn from(sentence: String) -> Self {
        Self::Rule(sentence)
    }
}

impl From<&str> for Broken {
    fn from(sentence: &str) -> Self {
        Self::Rule(sentence.to_owned())
    }
}

/// The upload was accepted.
pub(super) fn accepted(job: &str) -> Answer {
    api::json(StatusCode::OK, json!({ "jobId": job, "status": "success" }).to_string())
}

/// The upload breaks a rule.
pub(super) fn broken(broken: &Broken) -> Answer {
    match broken {
        Broken::Missing(name) => {
            application(StatusCode::UNPROCESSABLE_ENTITY, 10121, &format!("Missing required parameter: {name}"))
        }
        Broken::NoFile => application(StatusCode::BAD_REQUEST, 10003, "Input file is missing"),
        Broken::Rule(sentence) => application(StatusCode::BAD_REQUEST, 10054, sentence),
    }
}

/// No such job, or one too old.
pub(super) fn unknown_job() -> Answer {
    application(StatusCode::BAD_REQUEST, 10017, "Invalid or expired Job Id")
}

fn application(status: StatusCode, code: u32, message: &str) -> Answer {
    api::json(status, json!({ "errorCode": code, "message": message }).to_string())
}

/// The gateway's own answer: no such path, no token that holds, over the limit.
pub(super) fn gateway(status: StatusCode, more: &str) -> Answer {
    let body = json!({
        "httpCode": status.as_str(),
        "httpMessage": status.canonical_reason().unwrap_or_default(),
        "moreInformation": more,
    });
    api::json(status, body.to_string())
}

/// The token endpoint refuses.
pub(super) fn token_error(status: StatusCode, error: &str, description: &str) -> Answer {
    api::json(status, json!({ "error": error, "error_description": description }).to_string())
}
