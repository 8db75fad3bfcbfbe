//! OAuth 2.0 client credentials (RFC 6749, section 4.4) as the destination's `oauth` table sets them.

use std::time::Duration;

use ::http::{Request, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::section::Section;
use crate::vendors::oauth::{self, FieldValue};
use crate::vendors::{AccessToken, Calls, Grant, Reply};
use crate::verdict::Verdict;

/// Calls for a token: far more than an hour's tokens need, few enough for any server.
const CALLS: Calls = Calls { count: 10, window: Duration::from_mins(1) };

#[derive(Debug)]
pub(super) struct ClientCredentials {
    token_url: Uri,
    client_id: String,
    client_secret: SecretString,
    scope: Option<String>,
    audience: Option<String>,
    /// The credentials go in the header and not in the body.
    basic: bool,
}

impl ClientCredentials {
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let given = section.has("token_url");
        let token_url = section.url("token_url").and_then(|url| {
            url.as_str()
                .parse()
                .map_err(|error: ::http::uri::InvalidUri| section.problem("token_url", error.to_string()))
                .ok()
        });
        if !given {
            section.problem("token_url", "missing; add token_url = \"https://login.example.com/oauth/token\"");
        }
        let client_id = section.required_text("client_id");
        let client_secret = section.required_secret("client_secret");
        let (scope, audience) = (section.text("scope"), section.text("audience"));
        let basic = section.choice("auth", &[("basic", true), ("body", false)]).unwrap_or(true);
        Some(Self {
            token_url: token_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            scope,
            audience,
            basic,
        })
    }
}

impl Grant for ClientCredentials {
    fn request(&self, _refresh: Option<&SecretString>) -> Option<Request<Bytes>> {
        let mut fields = vec![("grant_type", FieldValue::Open("client_credentials"))];
        if !self.basic {
            fields.push(("client_id", FieldValue::Open(&self.client_id)));
            fields.push(("client_secret", FieldValue::Secret(&self.client_secret)));
        }
        fields.extend(self.scope.as_deref().map(|scope| ("scope", FieldValue::Open(scope))));
        fields.extend(self.audience.as_deref().map(|audience| ("audience", FieldValue::Open(audience))));
        Some(if self.basic {
            oauth::basic(&self.token_url, &self.client_id, &self.client_secret, &fields)
        } else {
            oauth::form(&self.token_url, &fields)
        })
    }

    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict> {
        let name = self.token_url.host().unwrap_or("the token server");
        let token = oauth::read(name, "check `client_id` and `client_secret` under `oauth`", reply, wall)?;
        // The grant is repeated instead: RFC 6749 advises against refresh tokens here.
        Ok(AccessToken { refresh: None, ..token })
    }

    fn calls(&self) -> Calls {
        CALLS
    }
}
