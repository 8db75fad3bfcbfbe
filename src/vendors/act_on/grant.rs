//! Act-On's tokens: the `password` and `refresh_token` grants, form-encoded, five calls an hour.
//! Source: the vendor's pages on both grants.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::{HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use super::replies;
use super::settings::credential;
use crate::config::Section;
use crate::vendors::{Calls, Grant, Reply, Secrets, Token, answer};
use crate::verdict::Verdict;

/// "5 authentication attempts per hour"; whether a refresh counts is not said, so it does.
const CALLS: Calls = Calls { count: 5, window: Duration::from_hours(1) };
/// "Expires after 3600 seconds": where an answer does not say.
const LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Longest life that is believed.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// One integration's credentials, and those of the user whose account it works on.
#[derive(Debug)]
pub(super) struct TokenGrant {
    uri: Uri,
    client_id: String,
    client_secret: SecretString,
    user: Option<(String, SecretString)>,
    refresh: Option<SecretString>,
    token_file: Option<PathBuf>,
}

impl TokenGrant {
    /// Reads the keys that are about tokens; `base` is the API's address.
    pub fn read(section: &mut Section<'_>, base: &str) -> Option<Self> {
        let client_id = section.required_text("client_id");
        let has_secret = section.has("client_secret");
        let client_secret =
            if has_secret { credential(section, "client_secret") } else { section.required_secret("client_secret") };
        let has_username = section.has("username");
        let has_password = section.has("password");
        let username = section.text("username").filter(|name| !name.is_empty());
        let password = credential(section, "password");
        let refresh = credential(section, "refresh_token");
        let token_file = section.text("token_file").filter(|path| !path.is_empty()).map(PathBuf::from);
        if has_username != has_password {
            let missing = if has_username { "password" } else { "username" };
            section.problem(missing, "missing; the password grant needs both username and password");
        } else if !has_username && refresh.is_none() && !section.failed() {
            section.problem("username", "missing; set username and password, or a refresh_token");
        } else if has_username && username.is_none() && !section.failed() {
            section.problem("username", "is empty");
        }
        let uri = format!("{base}/token").parse().ok();
        Some(Self {
            uri: uri?,
            client_id: client_id?,
            client_secret: client_secret?,
            user: username.zip(password),
            refresh,
            token_file,
        })
    }

    fn form(&self, grant: &str, own: &[(&str, &str)]) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", grant)
            .extend_pairs(own)
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.client_secret.expose_secret())
            .finish()
    }
}

impl Grant for TokenGrant {
    fn request(&self, refresh: Option<&SecretString>) -> Option<Request<Bytes>> {
        let (form, secret) = match (refresh, &self.user) {
            (Some(refresh), _) => {
                (self.form("refresh_token", &[("refresh_token", refresh.expose_secret())]), refresh.clone())
            }
            (None, Some((username, password))) => (
                self.form("password", &[("username", username), ("password", password.expose_secret())]),
                password.clone(),
            ),
            (None, None) => return None,
        };
        let mut request = Request::new(Bytes::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.extensions_mut().insert(Secrets(vec![self.client_secret.clone(), secret]));
        Some(request)
    }

    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<Token, Verdict> {
        let said = || replies::message(&reply.body);
        if !reply.status.is_success() {
            return Err(match replies::refusal(reply, &said()) {
                Verdict::Rejected(sentence) | Verdict::TooLarge(sentence) | Verdict::Unauthorized(sentence) => {
                    Verdict::Unauthorized(format!("no token: {sentence}; {}", self.mend(&said())))
                }
                Verdict::Unavailable(sentence) => Verdict::Unavailable(format!("no token: {sentence}")),
                other @ (Verdict::Throttled | Verdict::Delivered | Verdict::Accepted) => other,
            });
        }
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let member = |name: &str| replies::text(&body, name).map(SecretString::from);
        // A token that no header can carry is none.
        let access = member("access_token").filter(|token| HeaderValue::from_str(token.expose_secret()).is_ok());
        let Some(access) = access else {
            let sentence = answer::sentence("Act-On", reply.status, "");
            return Err(Verdict::Unavailable(format!("no token: {sentence} without an access_token")));
        };
        let seconds = replies::text(&body, "expires_in").and_then(|text| text.parse().ok());
        let life = seconds.map_or(LIFE, SignedDuration::from_secs).clamp(SignedDuration::ZERO, LONGEST_LIFE);
        let expires = wall.checked_add(life).unwrap_or(Timestamp::MAX);
        Ok(Token { access, expires, refresh: member("refresh_token") })
    }

    fn calls(&self) -> Calls {
        CALLS
    }

    fn first_refresh(&self) -> Option<SecretString> {
        self.refresh.clone()
    }

    fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }
}

impl TokenGrant {
    /// What to check when a grant is refused.
    fn mend(&self, said: &str) -> &'static str {
        match (said.contains("invalid_grant"), &self.user) {
            (true, Some(_)) => "check username and password",
            (true, None) => {
                "the refresh token is used up or a month old: set a new refresh_token, or username and password"
            }
            (false, _) => "check client_id and client_secret",
        }
    }
}
