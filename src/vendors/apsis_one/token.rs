//! Client credentials to a token: `POST /oauth/token` with JSON. Source: the vendor's pages "Authentication" and "Limits".

use std::time::Duration;

use ::http::{Request, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::vendors::oauth::{self, FieldValue};
use crate::vendors::{AccessToken, Calls, Grant, Reply};
use crate::verdict::Verdict;

/// "10 requests per minute"
const CALLS: Calls = Calls { count: 10, window: Duration::from_mins(1) };

/// What tokens are had with.
#[derive(Debug)]
pub(super) struct ClientCredentials {
    pub endpoint: Uri,
    pub client_id: SecretString,
    pub client_secret: SecretString,
}

impl Grant for ClientCredentials {
    fn request(&self, _refresh: Option<&SecretString>) -> Option<Request<Bytes>> {
        let fields = [
            ("grant_type", FieldValue::Open("client_credentials")),
            ("client_id", FieldValue::Secret(&self.client_id)),
            ("client_secret", FieldValue::Secret(&self.client_secret)),
        ];
        Some(oauth::json(&self.endpoint, &fields))
    }

    /// "retrieve the expiration time from the `exp` claim": `expires_in` is deprecated, and serves where the claim is absent or
    /// over, as by a clock that is wrong.
    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict> {
        let token = oauth::read("APSIS One", "check client_id and client_secret", reply, wall)?;
        let expires = oauth::jwt_expiry(&token.access).filter(|expiry| *expiry > wall).unwrap_or(token.expires);
        Ok(AccessToken { expires, ..token })
    }

    fn calls(&self) -> Calls {
        CALLS
    }
}
