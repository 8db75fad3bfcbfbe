//! Client credentials to a token: `POST /oauth/token` with JSON. Source: the vendor's pages "Authentication" and "Limits".

use std::time::Duration;

use ::http::{Method, Request, Uri};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{address, answers};
use crate::vendors::{Calls, Grant, Reply, Secrets, Token, answer};
use crate::verdict::Verdict;

/// "10 requests per minute"
const CALLS: Calls = Calls { count: 10, window: Duration::from_mins(1) };

/// What tokens are had with.
#[derive(Debug)]
pub(super) struct ClientCredentials {
    endpoint: Uri,
    client_id: SecretString,
    client_secret: SecretString,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u32>,
}

impl ClientCredentials {
    pub fn new(endpoint: Uri, client_id: SecretString, client_secret: SecretString) -> Self {
        Self { endpoint, client_id, client_secret }
    }
}

impl Grant for ClientCredentials {
    fn request(&self, _refresh: Option<&SecretString>) -> Option<Request<Bytes>> {
        let body = json!({
            "grant_type": "client_credentials",
            "client_id": self.client_id.expose_secret(),
            "client_secret": self.client_secret.expose_secret(),
        });
        let mut request = address::json(Method::POST, self.endpoint.clone(), Bytes::from(body.to_string()));
        request.extensions_mut().insert(Secrets(vec![self.client_id.clone(), self.client_secret.clone()]));
        Some(request)
    }

    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<Token, Verdict> {
        let sentence = || answers::sentence(reply);
        match answer::by_status(reply.status, sentence) {
            Verdict::Delivered | Verdict::Accepted => {}
            // The vendor's own connector switches itself off on any of these.
            Verdict::Rejected(said) | Verdict::TooLarge(said) | Verdict::Unauthorized(said) => {
                return Err(Verdict::Unauthorized(format!("{said}; check client_id and client_secret")));
            }
            verdict @ (Verdict::Throttled | Verdict::Unavailable(_)) => return Err(verdict),
        }
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| {
            Verdict::Unavailable(format!("APSIS One answered {} without a token", reply.status.as_u16()))
        })?;
        let life = SignedDuration::from_secs(answer.expires_in.unwrap_or(3600).into());
        Ok(Token {
            access: answer.access_token.into(),
            expires: wall.saturating_add(life).unwrap_or(wall),
            refresh: None,
        })
    }

    fn calls(&self) -> Calls {
        CALLS
    }
}
