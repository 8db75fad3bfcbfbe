//! `POST /token`: a grant comes in, an access token and a refresh token go out.
//! A refresh token is good for one use, and each new grant of any kind ends the one before.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::ActOnSettings;
use super::answers::{gateway, token_error};
use crate::sandbox::api::{self, Answer, Call, Revoked};
use crate::sandbox::ledger::CallOutcome;
use crate::sandbox::limit::Limiter;
use crate::sandbox::oauth::{self, IssuedTokens};

/// How long a refresh token holds: "after one month".
const REFRESH_LIFE: Duration = Duration::from_hours(30 * 24);

/// The tokens of the account.
#[derive(Debug)]
pub(super) struct Auth {
    limiter: Limiter,
    tokens: IssuedTokens,
    refresh: Option<(String, Duration)>,
    by_password: u64,
    by_refresh: u64,
}

impl Auth {
    /// No token yet.
    pub fn new(settings: &ActOnSettings) -> Self {
        let limiter = Limiter::new(&settings.auth_limits, settings.enforcement);
        Self { limiter, tokens: IssuedTokens::default(), refresh: None, by_password: 0, by_refresh: 0 }
    }

    /// Whether the request carries an access token that holds.
    pub fn admit(&self, call: &Call, now: Duration) -> bool {
        self.tokens.admit(call, now)
    }

    /// Ends the tokens.
    pub fn revoke(&mut self, tokens: Revoked) {
        self.tokens.revoke();
        if tokens == Revoked::All {
            self.refresh = None;
        }
    }

    /// What is counted here: grants by their kind.
    pub fn figures(&self) -> [(&'static str, u64); 2] {
        [("password_grants", self.by_password), ("refresh_grants", self.by_refresh)]
    }

    /// Forgets what is counted.
    pub fn forget(&mut self) {
        (self.by_password, self.by_refresh) = (0, 0);
    }

    /// Answers a request for a token. Every attempt counts towards the limit, whatever comes of it.
    pub fn grant(&mut self, settings: &ActOnSettings, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        if call.method() != Method::POST {
            return (CallOutcome::Unknown, gateway(StatusCode::METHOD_NOT_ALLOWED, ""));
        }
        if self.limiter.admit(now).is_err() {
            let answer = gateway(StatusCode::TOO_MANY_REQUESTS, "too many authentication calls");
            return (CallOutcome::Refused, answer);
        }
        let invalid = |error, text| (CallOutcome::Invalid, token_error(StatusCode::BAD_REQUEST, error, text));
        let Some(form) = oauth::form(call) else {
            return invalid("invalid_request", "The body must be form-encoded, each parameter once.");
        };
        let field = |name: &str| form.get(name).map(String::as_str);
        let wanted = match field("grant_type") {
            Some("password") => ["grant_type", "client_id", "client_secret", "username", "password"].as_slice(),
            Some("refresh_token") => ["grant_type", "client_id", "client_secret", "refresh_token"].as_slice(),
            Some(_) => return invalid("unsupported_grant_type", "The grant type must be password or refresh_token."),
            None => return invalid("invalid_request", "Missing parameter: grant_type"),
        };
        if wanted.len() != form.len() || !wanted.iter().all(|name| form.contains_key(*name)) {
            return invalid("invalid_request", &format!("The parameters must be {}.", wanted.join(", ")));
        }
        let client = [field("client_id"), field("client_secret")];
        if client != [Some(settings.client_id.as_str()), Some(settings.client_secret.as_str())] {
            return (CallOutcome::Unauthorized, token_error(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized"));
        }
        if let Err(description) = self.check_grant(settings, &form, now) {
            return (CallOutcome::Unauthorized, token_error(StatusCode::FORBIDDEN, "invalid_grant", description));
        }
        (CallOutcome::Accepted(Vec::new()), self.issue(settings.token_life, now))
    }

    /// Checks the password or the refresh token, and counts the grant.
    fn check_grant(
        &mut self,
        settings: &ActOnSettings,
        form: &BTreeMap<String, String>,
        now: Duration,
    ) -> Result<(), &'static str> {
        if let Some(token) = form.get("refresh_token") {
            let holds = self.refresh.as_ref().is_some_and(|(known, ends)| known == token && *ends > now);
            self.by_refresh += u64::from(holds);
            return if holds { Ok(()) } else { Err("Unknown or invalid refresh token.") };
        }
        let known =
            form.get("username") == Some(&settings.username) && form.get("password") == Some(&settings.password);
        self.by_password += u64::from(known);
        if known { Ok(()) } else { Err("Wrong email or password.") }
    }

    fn issue(&mut self, life: Duration, now: Duration) -> Answer {
        let (access, refresh) = (oauth::opaque(), oauth::opaque());
        self.tokens.add(access.clone(), now, now + life);
        self.refresh = Some((refresh.clone(), now + REFRESH_LIFE));
        let body = json!({
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": life.as_secs(),
        });
        api::json(StatusCode::OK, body.to_string())
    }
}
