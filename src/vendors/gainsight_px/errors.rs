//! Gainsight PX's error bodies: `externalapierror`, `errorMessage`, or a page of HTML.

use serde::Deserialize;

use crate::vendors::answer;

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    externalapierror: ApiError,
    #[serde(rename = "errorMessage")]
    error_message: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ApiError {
    message: Option<String>,
    #[serde(rename = "subErrors")]
    sub_errors: Option<Vec<SubError>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubError {
    message: Option<String>,
}

/// What the vendor says, in one line: the message with its sub-errors, else an excerpt of the body.
pub(super) fn message(body: &[u8]) -> String {
    let Ok(error) = serde_json::from_slice::<ErrorBody>(body) else { return answer::excerpt(body) };
    let sub_errors = error.externalapierror.sub_errors.unwrap_or_default().into_iter().filter_map(|sub| sub.message);
    let messages: Vec<String> = [error.externalapierror.message, error.error_message, error.message]
        .into_iter()
        .flatten()
        .chain(sub_errors)
        .collect();
    if messages.is_empty() { answer::excerpt(body) } else { answer::cut(&messages.join("; ")) }
}
