//! Act-On's answers: to a verdict, and to a short sentence. Each layer of the vendor has an error shape of its own.

use serde_json::Value;

use crate::vendors::{Reply, answer};
use crate::verdict::Verdict;

/// Headers that name a request to the vendor's support.
const TRACES: [&str; 2] = ["x-request-id", "x-global-transaction-id"];
/// Longest trace that is shown, in characters.
const TRACE_CHARS: usize = 80;
/// The account is not allowed to use the API.
const API_OFF: &str = "PUBLIC_API_FEATURE_NOT_ENABLED";

/// What an answer to an upload, or to a question about a job, means. An upload succeeds with 200, status `success` and a job.
/// A job's state is a success too: `jobs` reads it. Any other JSON in a 2xx is the vendor's refusal; what is not
/// JSON did not come from this API.
pub(super) fn judge(reply: &Reply) -> Verdict {
    let said = message(&reply.body);
    let sentence = || sentence(reply, &said);
    if !reply.status.is_success() || said.contains(API_OFF) {
        return refusal(reply, &said);
    }
    let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&reply.body) else {
        return Verdict::Unavailable(format!("{}; expected JSON with a jobId", sentence()));
    };
    let status = text(&body, "status");
    if super::jobs::is_state(&body) {
        Verdict::Delivered
    } else if status.as_deref() != Some("success") && (status.is_some() || is_error(&body)) {
        Verdict::Rejected(sentence())
    } else if status.is_some() && text(&body, "jobId").is_some() {
        Verdict::Accepted
    } else {
        Verdict::Unavailable(format!("{}; expected status \"success\" and a jobId", sentence()))
    }
}

/// What a refusal means, of whichever endpoint.
fn refusal(reply: &Reply, said: &str) -> Verdict {
    let sentence = || sentence(reply, said);
    if said.contains(API_OFF) {
        return Verdict::Unauthorized(format!(
            "{}; ask Act-On's support to enable the API for this account",
            sentence()
        ));
    }
    answer::by_status(reply.status, sentence)
}

/// "Act-On answered 400: WHAT IT SAID (x-request-id …)".
pub(super) fn sentence(reply: &Reply, said: &str) -> String {
    let mut sentence = answer::of_reply("Act-On", reply, said);
    let traces: Vec<String> = TRACES
        .iter()
        .filter_map(|name| {
            let trace = reply.headers.get(*name)?.to_str().ok()?;
            Some(format!("{name} {}", trace.chars().take(TRACE_CHARS).collect::<String>()))
        })
        .collect();
    if !traces.is_empty() {
        sentence.push_str(&format!(" ({})", traces.join(", ")));
    }
    sentence
}

/// What the body says, in one line, whichever layer wrote it.
pub(super) fn message(body: &[u8]) -> String {
    let Ok(error) = serde_json::from_slice::<Value>(body) else { return answer::excerpt(body) };
    let with = |text: Option<String>, more: Option<String>, between: &str| match (text, more) {
        (Some(text), Some(more)) => Some(format!("{text}{between}{more}")),
        (text, more) => text.or(more),
    };
    let said = if let Some(code) = text(&error, "errorCode") {
        with(text(&error, "message"), Some(format!("errorCode {code}")), ", ")
    } else if error.get("httpCode").is_some() {
        with(text(&error, "httpMessage"), text(&error, "moreInformation"), ": ")
    } else if error.get("error").is_some() {
        with(text(&error, "error"), text(&error, "error_description"), ": ")
    } else if error.get("errorMessage").is_some() {
        with(text(&error, "errorMessage"), list(&error, "errorList"), ": ")
    } else {
        text(&error, "message")
    };
    said.map_or_else(|| answer::excerpt(body), |said| answer::cut(&said))
}

/// The vendor's numeric code for what went wrong.
pub(super) fn error_code(body: &Value) -> Option<String> {
    text(body, "errorCode")
}

/// A member that is a text, or a number as one; an empty one counts as absent.
pub(super) fn text(body: &Value, name: &str) -> Option<String> {
    let value = body.get(name)?;
    let text = value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))?;
    (!text.trim().is_empty()).then_some(text)
}

fn list(body: &Value, name: &str) -> Option<String> {
    let entries = body.get(name)?.as_array()?.iter();
    let texts: Vec<String> =
        entries.map(|entry| entry.as_str().map_or_else(|| entry.to_string(), str::to_owned)).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn is_error(body: &Value) -> bool {
    ["errorCode", "httpCode", "error", "errorMessage"].iter().any(|name| body.get(name).is_some())
}
