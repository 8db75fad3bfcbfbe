//! A JSON API of no vendor in particular: any JSON to `/hook/<anything>` is taken and answered with 200.
//! Each path is an endpoint with limits of its own. A token of `/hook-oauth/token` can be asked for.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::announce::{self, RetryAfterForm};
use super::api::{self, Answer, Api, Call, Revoked};
use super::latency::Latency;
use super::ledger::{CallOutcome, Taken};
use super::limit::{Enforcement, Limit, Limiter};
use super::lock;
use super::oauth::{self, IssuedTokens};

/// The token endpoint (OAuth 2.0, client credentials).
const TOKEN: &str = "/hook-oauth/token";

/// Paths with a limiter of their own; what comes after shares one.
const PATHS: usize = 1_000;
/// Where an event's id is looked for in the body; else the whole body is its id.
const ID_FIELDS: [&str; 3] = ["id", "eventId", "event_id"];

/// How the JSON API is played.
#[derive(Clone, Debug, Default)]
pub struct HookSettings {
    /// The limits of each path; none by default.
    pub limits: Vec<Limit>,
    /// How they are counted.
    pub enforcement: Enforcement,
    /// `Retry-After` on a refusal.
    pub retry_after: RetryAfterForm,
    /// Hooks ask for a bearer token of this client; none: they are open to all.
    pub oauth: Option<HookClient>,
}

/// The client that the token endpoint knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// How long a token holds.
    pub token_life: Duration,
}

impl HookClient {
    /// A client whose tokens hold for an hour.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into(), token_life: Duration::from_hours(1) }
    }
}

/// The played API.
pub(super) struct Hook {
    settings: HookSettings,
    limiters: Mutex<HashMap<String, Limiter>>,
    tokens: Mutex<IssuedTokens>,
}

impl Hook {
    /// A hook that has seen no request.
    pub fn new(settings: HookSettings) -> Self {
        Self { settings, limiters: Mutex::default(), tokens: Mutex::default() }
    }

    fn admit(&self, path: &str, now: Duration) -> Result<(), Duration> {
        if self.settings.limits.is_empty() {
            return Ok(());
        }
        let mut limiters = lock(&self.limiters);
        if let Some(limiter) = limiters.get_mut(path) {
            return limiter.admit(now);
        }
        let path = if limiters.len() < PATHS { path } else { "" };
        let new = || Limiter::new(&self.settings.limits, self.settings.enforcement);
        limiters.entry(path.to_owned()).or_insert_with(new).admit(now)
    }

    /// The token endpoint: credentials by Basic authorization or in the form (RFC 6749, sections 2.3.1 and 4.4).
    fn grant(&self, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        let wrong = |status, outcome, error: &str| (outcome, api::json(status, json!({ "error": error }).to_string()));
        if call.method() != Method::POST {
            return wrong(StatusCode::METHOD_NOT_ALLOWED, CallOutcome::Unknown, "invalid_request");
        }
        let Some(form) = oauth::form(call) else {
            return wrong(StatusCode::BAD_REQUEST, CallOutcome::Invalid, "invalid_request");
        };
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return wrong(StatusCode::BAD_REQUEST, CallOutcome::Invalid, "unsupported_grant_type");
        }
        let by_basic = oauth::basic(call);
        if by_basic.is_some() && form.contains_key("client_secret") {
            return wrong(StatusCode::BAD_REQUEST, CallOutcome::Invalid, "invalid_request");
        }
        let in_form = || Some((form.get("client_id")?.clone(), form.get("client_secret")?.clone()));
        let credentials = by_basic.or_else(in_form);
        let known = |client: &&HookClient| credentials == Some((client.id.clone(), client.secret.clone()));
        let Some(client) = self.settings.oauth.as_ref().filter(known) else {
            return wrong(StatusCode::UNAUTHORIZED, CallOutcome::Unauthorized, "invalid_client");
        };
        let token = oauth::opaque();
        lock(&self.tokens).add(token.clone(), now, now + client.token_life);
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": client.token_life.as_secs() });
        (CallOutcome::Accepted(Vec::new()), api::json(StatusCode::OK, body.to_string()))
    }
}

/// The events of a body: the elements of an array, or the body itself.
fn events(body: &[u8]) -> Result<Vec<Taken>, serde_json::Error> {
    let body: &RawValue = serde_json::from_slice(body)?;
    let several = if body.get().starts_with('[') { serde_json::from_str(body.get())? } else { vec![body] };
    several.into_iter().map(event).collect()
}

fn event(body: &RawValue) -> Result<Taken, serde_json::Error> {
    let fields: Value = serde_json::from_str(body.get())?;
    let id = ID_FIELDS.iter().find_map(|field| fields.get(field).and_then(Value::as_str));
    Ok(Taken::new(id.unwrap_or(body.get()).as_bytes(), body.get().to_owned()))
}

impl Api for Hook {
    fn name(&self) -> &'static str {
        "hook"
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/hook/") || path == TOKEN
    }

    fn endpoint<'a>(&'a self, call: &'a Call) -> &'a str {
        call.uri().path()
    }

    fn limits(&self, _endpoint: &str) -> &[Limit] {
        &self.settings.limits
    }

    fn endpoints(&self) -> Vec<&str> {
        Vec::new()
    }

    fn revoke(&self, _tokens: Revoked) {
        lock(&self.tokens).revoke();
    }

    fn typical_latency(&self) -> Latency {
        Latency::exponential(Duration::from_millis(100))
    }

    fn answer(&self, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        if call.uri().path() == TOKEN {
            return self.grant(call, now);
        }
        if ![Method::POST, Method::PUT, Method::PATCH].contains(call.method()) {
            let mut answer = api::error(StatusCode::METHOD_NOT_ALLOWED, "a hook takes POST, PUT and PATCH");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT, PATCH"));
            return (CallOutcome::Unknown, answer);
        }
        if self.settings.oauth.is_some() && !lock(&self.tokens).admit(call, now) {
            return (
                CallOutcome::Unauthorized,
                api::error(StatusCode::UNAUTHORIZED, "no bearer token, or one that ended"),
            );
        }
        if let Err(wait) = self.admit(call.uri().path(), now) {
            let mut answer = api::error(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded");
            announce::retry_after(answer.headers_mut(), self.settings.retry_after, now, wait);
            return (CallOutcome::Refused, answer);
        }
        match events(call.body()) {
            Ok(events) => (CallOutcome::Accepted(events), api::json(StatusCode::OK, r#"{"status":"ok"}"#)),
            Err(error) => (CallOutcome::Invalid, api::error(StatusCode::BAD_REQUEST, &format!("not JSON: {error}"))),
        }
    }
}
