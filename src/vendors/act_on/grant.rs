//! Act-On's tokens: the `password` and `refresh_token` grants, form-encoded, five calls an hour.
//! Source: the vendor's pages on both grants.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::{Request, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::settings::credential;
use crate::section::Section;
use crate::vendors::oauth::{self, FieldValue};
use crate::vendors::{AccessToken, Account, Calls, Grant, Reply};
use crate::verdict::Verdict;

/// "5 authentication attempts per hour"; whether a refresh counts is not said, so it does.
const CALLS: Calls = Calls { count: 5, window: Duration::from_hours(1) };

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

    /// A new token ends the one before of the same integration and user; the quota is the account's, which the user chooses.
    pub fn accounts(&self, base: &str) -> Vec<Account> {
        // Either of Act-On's hosts leads to every account.
        let host = if base.ends_with(".actonsoftware.com") { "act-on" } else { base };
        let whose = match (&self.user, &self.refresh) {
            (Some((username, _)), _) => format!("{host} {}", username.to_lowercase()),
            (None, Some(refresh)) => format!("{host} {}", refresh.expose_secret()),
            (None, None) => return Vec::new(),
        };
        let sign_in = format!("{} {whose}", self.client_id).into();
        let what = if self.user.is_some() { "Act-On username" } else { "Act-On refresh_token" };
        vec![
            Account { what: "Act-On client_id and account", id: sign_in, exclusive: true },
            Account { what, id: whose.into(), exclusive: false },
        ]
    }

    /// What a person looks at when Act-On refuses.
    fn check(&self) -> &'static str {
        match self.user {
            Some(_) => "check client_id, client_secret, username and password",
            None => {
                "check client_id and client_secret, and set a new refresh_token: each works once, and for a month at most"
            }
        }
    }
}

impl Grant for TokenGrant {
    fn request(&self, refresh: Option<&SecretString>) -> Option<Request<Bytes>> {
        let mut fields = match (refresh, &self.user) {
            (Some(refresh), _) => {
                vec![("grant_type", FieldValue::Open("refresh_token")), ("refresh_token", FieldValue::Secret(refresh))]
            }
            (None, Some((username, password))) => vec![
                ("grant_type", FieldValue::Open("password")),
                ("username", FieldValue::Open(username)),
                ("password", FieldValue::Secret(password)),
            ],
            (None, None) => return None,
        };
        fields.push(("client_id", FieldValue::Open(&self.client_id)));
        fields.push(("client_secret", FieldValue::Secret(&self.client_secret)));
        Some(oauth::form(&self.uri, &fields))
    }

    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict> {
        oauth::read("Act-On", self.check(), reply, wall)
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
