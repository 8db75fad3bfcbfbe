//! A JSON API of no vendor in particular: any JSON to `/hook/<anything>` is taken and answered with 200.
//! Each path is an endpoint with limits of its own.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;

use super::announce::{self, RetryAfterForm};
use super::api::{self, Answer, Api, Call};
use super::ledger::{EventId, Outcome};
use super::limit::{Enforcement, Limit, Limiter};
use super::lock;

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
}

/// The played API.
pub(super) struct Hook {
    settings: HookSettings,
    limiters: Mutex<HashMap<String, Limiter>>,
}

impl Hook {
    /// A hook that has seen no request.
    pub fn new(settings: HookSettings) -> Self {
        Self { settings, limiters: Mutex::default() }
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
}

impl Api for Hook {
    fn owns(&self, path: &str) -> bool {
        path.starts_with("/hook/")
    }

    fn endpoint<'a>(&'a self, call: &'a Call) -> &'a str {
        call.uri().path()
    }

    fn limits(&self) -> &[Limit] {
        &self.settings.limits
    }

    fn endpoints(&self) -> Vec<&str> {
        Vec::new()
    }

    fn answer(&self, call: &Call, now: Duration) -> (Outcome, Answer) {
        if ![Method::POST, Method::PUT, Method::PATCH].contains(call.method()) {
            let mut answer = api::error(StatusCode::METHOD_NOT_ALLOWED, "a hook takes POST, PUT and PATCH");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT, PATCH"));
            return (Outcome::Unknown, answer);
        }
        if let Err(wait) = self.admit(call.uri().path(), now) {
            let mut answer = api::error(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded");
            announce::retry_after(answer.headers_mut(), self.settings.retry_after, now, wait);
            return (Outcome::Refused, answer);
        }
        match serde_json::from_slice::<Value>(call.body()) {
            Ok(body) => {
                let id = ID_FIELDS.iter().find_map(|field| body.get(field).and_then(Value::as_str));
                let id = EventId::of(id.map_or(call.body(), str::as_bytes));
                (Outcome::Accepted(vec![id]), api::json(StatusCode::OK, r#"{"status":"ok"}"#))
            }
            Err(error) => (Outcome::Invalid, api::error(StatusCode::BAD_REQUEST, &format!("not JSON: {error}"))),
        }
    }
}
