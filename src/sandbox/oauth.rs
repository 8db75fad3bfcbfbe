//! What the vendors' token endpoints have in common: credentials are read from a request, and the tokens that were
//! handed out are remembered until they end. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use url::form_urlencoded;
use uuid::Uuid;

use super::api::Call;

/// Tokens remembered at once; with one more, all end.
const TOKENS: usize = 10_000;

/// The access tokens that hold. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct IssuedTokens {
    ends: HashMap<String, Duration>,
}

impl IssuedTokens {
    /// From `now` on `token` holds, until it `ends`.
    pub fn add(&mut self, token: String, now: Duration, ends: Duration) {
        self.ends.retain(|_, ends| *ends > now);
        if self.ends.len() >= TOKENS {
            self.ends.clear();
        }
        self.ends.insert(token, ends);
    }

    /// Whether the request carries a bearer token that holds at `now`.
    pub fn admit(&self, call: &Call, now: Duration) -> bool {
        authorization(call, "Bearer ").and_then(|token| self.ends.get(token)).is_some_and(|ends| *ends > now)
    }

    /// Ends all tokens.
    pub fn revoke(&mut self) {
        self.ends.clear();
    }
}

/// A token that nobody can guess.
pub(super) fn opaque() -> String {
    Uuid::new_v4().to_string()
}

/// The id and secret that the request carries by Basic authorization.
pub(super) fn basic(call: &Call) -> Option<(String, String)> {
    let decoded = STANDARD.decode(authorization(call, "Basic ")?).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn authorization<'a>(call: &'a Call, scheme: &str) -> Option<&'a str> {
    call.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix(scheme)
}

/// Whether the body is said to be of this media type.
pub(super) fn is(call: &Call, media_type: &str) -> bool {
    let content_type = call.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(media_type))
}

/// The fields of a form-encoded body; none where it is said to be something else, or names a field twice.
pub(super) fn form(call: &Call) -> Option<BTreeMap<String, String>> {
    if !is(call, "application/x-www-form-urlencoded") {
        return None;
    }
    let mut fields = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(call.body()) {
        if fields.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(fields)
}
