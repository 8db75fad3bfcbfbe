//! How a vendor gives out access tokens (OAuth 2.0, RFC 6749): the request for one, and the reading of its answer.
//! Pure; `delivery/token.rs` decides when.

use std::path::Path;
use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;

use super::Reply;
use crate::verdict::Verdict;

/// A vendor's way to a token. The token goes into each request as `Authorization: Bearer …`.
pub trait Grant: Send + Sync + std::fmt::Debug {
    /// The request for a new token, with `refresh` where there is a refresh token. `None`: without one, this grant has no way.
    /// Secrets in the body go into the request's extensions as [`super::Secrets`].
    fn request(&self, refresh: Option<&SecretString>) -> Option<Request<Bytes>>;

    /// The token in an answer that came at `wall`.
    ///
    /// # Errors
    /// The verdict on an answer without one: throttled, unavailable, or unauthorized with a sentence.
    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict>;

    /// The most calls for a token, whatever becomes of them.
    fn calls(&self) -> Calls;

    /// The refresh token to begin with, where the configuration has one.
    fn first_refresh(&self) -> Option<SecretString> {
        None
    }

    /// Where the token is kept across restarts.
    fn token_file(&self) -> Option<&Path> {
        None
    }
}

/// So many calls in any stretch of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// How many, at least 2.
    pub count: usize,
    /// How long the stretch is.
    pub window: Duration,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token itself.
    pub access: SecretString,
    /// When it ends.
    pub expires: Timestamp,
    /// What the next one can be had with, where the vendor gave one.
    pub refresh: Option<SecretString>,
}
