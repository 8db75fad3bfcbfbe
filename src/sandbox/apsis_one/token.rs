//! `POST /oauth/token`: client credentials come in, a token shaped like a JWT goes out, whose `exp` says when it ends.
//! `expires_in` comes along as ever, deprecated and wrong.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::ApsisSettings;
use super::answers::problem;
use crate::sandbox::api::{self, Answer, Call};
use crate::sandbox::ledger::CallOutcome;
use crate::sandbox::limit::Limiter;
use crate::sandbox::oauth::{self, IssuedTokens};

/// What `expires_in` says, whatever `exp` says.
const EXPIRES_IN: u64 = 86_400;

/// The tokens of the account.
#[derive(Debug)]
pub(super) struct Auth {
    limiter: Limiter,
    tokens: IssuedTokens,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    grant_type: String,
    client_id: String,
    client_secret: String,
}

impl Auth {
    /// No token yet.
    pub fn new(settings: &ApsisSettings) -> Self {
        Self { limiter: Limiter::new(&settings.auth_limits, settings.enforcement), tokens: IssuedTokens::default() }
    }

    /// Whether the request carries a token that holds.
    pub fn admit(&self, call: &Call, now: Duration) -> bool {
        self.tokens.admit(call, now)
    }

    /// Ends the tokens.
    pub fn revoke(&mut self) {
        self.tokens.revoke();
    }

    /// Answers a request for a token. Every attempt counts towards the limit.
    pub fn grant(&mut self, settings: &ApsisSettings, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        if call.method() != Method::POST {
            return (CallOutcome::Unknown, problem(StatusCode::METHOD_NOT_ALLOWED, "ask by POST"));
        }
        if self.limiter.admit(now).is_err() {
            return (CallOutcome::Refused, problem(StatusCode::TOO_MANY_REQUESTS, "too many token calls"));
        }
        let bad = |detail: &str| (CallOutcome::Invalid, problem(StatusCode::BAD_REQUEST, detail));
        if !oauth::is(call, "application/json") {
            return bad("the content type must be application/json");
        }
        let grant: Grant = match serde_json::from_slice(call.body()) {
            Ok(grant) => grant,
            Err(error) => return bad(&error.to_string()),
        };
        if grant.grant_type != "client_credentials" {
            return bad("grant_type: must be client_credentials");
        }
        if (&grant.client_id, &grant.client_secret) != (&settings.client_id, &settings.client_secret) {
            return (CallOutcome::Unauthorized, problem(StatusCode::UNAUTHORIZED, "unknown client"));
        }
        let ends = now.saturating_add(settings.token_life).as_secs();
        let token = token(&settings.client_id, now, ends);
        self.tokens.add(token.clone(), now, Duration::from_secs(ends));
        let body = json!({ "access_token": token, "expires_in": EXPIRES_IN, "token_type": "Bearer" });
        (CallOutcome::Accepted(Vec::new()), api::json(StatusCode::OK, body.to_string()))
    }
}

/// A token shaped like a JWT; its signature is noise.
fn token(client: &str, now: Duration, ends: u64) -> String {
    let part = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let header = json!({ "alg": "HS256", "typ": "JWT" }).to_string();
    let claims = json!({ "sub": client, "iat": now.as_secs(), "exp": ends, "jti": oauth::opaque() }).to_string();
    let noise = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    [part(header.as_bytes()), part(claims.as_bytes()), part(&noise)].join(".")
}
