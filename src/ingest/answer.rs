//! What a request is answered: what became of each of its events, or why none was looked at.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::forms::field_of;

/// When whoever could not be served may come again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Why a request was not looked into.
#[derive(Debug)]
pub(super) struct Stop {
    pub status: StatusCode,
    pub detail: String,
    pub again_after: Option<Duration>,
}

impl Stop {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), again_after: None }
    }

    /// For now: it may be sent again after a while.
    pub fn for_now(status: StatusCode, detail: impl Into<String>, again_after: Duration) -> Self {
        Self { status, detail: detail.into(), again_after: Some(again_after) }
    }
}

/// What became of one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The broker has it.
    Published,
    /// It is wrong, or not the token's to publish: sent again it ends the same way.
    Refused { status: StatusCode, problem: String, field: Option<&'static str> },
    /// It may or may not be at the broker: sent again with the same id it is known by that.
    Unconfirmed(String),
}

impl Outcome {
    /// Of an event that is none: its field is in the sentence.
    pub fn wrong(status: StatusCode, problem: String) -> Self {
        let field = field_of(&problem);
        Self::Refused { status, problem, field }
    }

    /// The word in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Refused { .. } => "refused",
            Self::Unconfirmed(_) => "unconfirmed",
        }
    }
}

/// One event of a request.
#[derive(Debug)]
pub(super) struct Told {
    pub id: Option<String>,
    pub outcome: Outcome,
}

#[derive(Serialize)]
struct ResultOf<'a> {
    index: usize,
    id: Option<&'a str>,
    published: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

/// RFC 9457, with what became of each event.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    results: Vec<ResultOf<'a>>,
}

#[derive(Serialize)]
struct Accepted<'a> {
    results: Vec<ResultOf<'a>>,
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        problem(self.status, &self.detail, Vec::new(), self.again_after)
    }
}

/// The answer to a request whose events were looked at: 202 only where the broker has all of them, so that whoever looks at the status alone
/// takes no refused event for published.
pub(super) fn answer(told: &[Told]) -> Response {
    let results: Vec<ResultOf<'_>> = told.iter().enumerate().map(result).collect();
    let count = |name| told.iter().filter(|one| one.outcome.name() == name).count();
    let (refused, unconfirmed) = (count("refused"), count("unconfirmed"));
    if refused + unconfirmed == 0 {
        let body = serde_json::to_string(&Accepted { results }).unwrap_or_default();
        return (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let rest = told.len() - refused - unconfirmed;
    if unconfirmed > 0 {
        let detail = format!(
            "not known to be at the broker: {unconfirmed} of {} ({}); send them again with the same ids",
            told.len(),
            first(told, "unconfirmed")
        );
        return problem(StatusCode::SERVICE_UNAVAILABLE, &detail, results, Some(AGAIN_AFTER));
    }
    let (status, detail) = match told {
        [Told { outcome: Outcome::Refused { status, problem, .. }, .. }] => (*status, problem.clone()),
        _ => {
            let detail =
                format!("refused: {refused} of {} ({}); published: {rest}", told.len(), first(told, "refused"));
            (StatusCode::BAD_REQUEST, detail)
        }
    };
    problem(status, &detail, results, None)
}

/// The first of that outcome, in words.
fn first(told: &[Told], name: &str) -> String {
    let found = told.iter().enumerate().find(|(_, one)| one.outcome.name() == name);
    let said = found.and_then(|(index, one)| match &one.outcome {
        Outcome::Published => None,
        Outcome::Refused { problem, .. } | Outcome::Unconfirmed(problem) => {
            Some(format!("the one at index {index}: {problem}"))
        }
    });
    said.unwrap_or_default()
}

fn result((index, told): (usize, &Told)) -> ResultOf<'_> {
    let (published, problem, field) = match &told.outcome {
        Outcome::Published => (true, None, None),
        Outcome::Refused { problem, field, .. } => (false, Some(problem.as_str()), *field),
        Outcome::Unconfirmed(problem) => (false, Some(problem.as_str()), None),
    };
    ResultOf { index, id: told.id.as_deref(), published, problem, field }
}

fn problem(status: StatusCode, detail: &str, results: Vec<ResultOf<'_>>, again_after: Option<Duration>) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), detail, results };
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
    let headers = response.headers_mut();
    if let Some(after) = again_after {
        // Whole seconds, and never too few.
        headers.insert(header::RETRY_AFTER, (after.as_secs() + u64::from(after.subsec_nanos() > 0)).into());
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}
