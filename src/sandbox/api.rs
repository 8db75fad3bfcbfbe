//! What the server asks of a played vendor: whose request it is, what came of it, and what to answer.
//! A vendor is one file or folder beside this one, made and listed in `Sandbox::start`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::latency::Latency;
use super::ledger::CallOutcome;
use super::limit::Limit;

/// A request, read whole.
pub(super) type Call = Request<Bytes>;

/// What goes back.
pub(super) type Answer = Response<Full<Bytes>>;

/// One played vendor API. Times are since the Unix epoch.
pub(super) trait Api: Send + Sync {
    /// The vendor's name.
    fn name(&self) -> &'static str;

    /// Whether requests for `path` are this API's.
    fn owns(&self, path: &str) -> bool;

    /// The name under which the request is counted: a vendor account, or a hook.
    fn endpoint<'a>(&'a self, call: &'a Call) -> &'a str;

    /// The limits that an endpoint is held to.
    fn limits(&self, endpoint: &str) -> &[Limit];

    /// The endpoints that are there before any request.
    fn endpoints(&self) -> Vec<&str>;

    /// How long its answers may well take. No vendor documents it: an assumption.
    fn typical_latency(&self) -> Latency;

    /// Checks a request that arrived at `now`, takes it or not, and answers.
    fn answer(&self, call: &Call, now: Duration) -> (CallOutcome, Answer);

    /// What only this vendor counts: the endpoint that it belongs to, its name and its figure.
    fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }

    /// Forgets what it counted. Limits, tokens and jobs stay.
    fn forget(&self) {}

    /// Ends the tokens handed out so far.
    fn revoke(&self, _tokens: Revoked) {}
}

/// Which tokens are ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Access tokens; refresh tokens hold.
    Access,
    /// Access and refresh tokens.
    All,
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, HeaderValue::from_static("application/json"), body)
}

/// An answer with an HTML body.
pub(super) fn html(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, HeaderValue::from_static("text/html; charset=utf-8"), body)
}

/// The sandbox's own answer that something was asked wrongly.
pub(super) fn error(status: StatusCode, sentence: &str) -> Answer {
    json(status, serde_json::json!({ "error": sentence }).to_string())
}

/// The page that a gateway shows.
pub(super) fn error_page(status: StatusCode) -> String {
    format!("<!doctype html><html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>")
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
