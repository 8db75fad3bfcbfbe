//! Where `sluice status`, `sluice top` and `sluice issues` get what they show: the admin API of a worker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::Error;
use crate::config::Admin;
use crate::delivery::cause;

/// Time for the worker to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What paths are appended to, for an address given by hand.
pub(super) fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The same for what `[admin]` listens on: a worker that listens on every address is reached on this machine's own.
pub(super) fn at(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => listen.ip(),
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// Why there is no answer: of a time-out the innermost error would say nothing.
pub(super) fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".to_owned() } else { cause::sentence(error) }
}

/// A worker's admin API.
pub(super) struct Source {
    /// Its address.
    pub base: String,
    client: reqwest::Client,
    token: Option<SecretString>,
}

impl Source {
    /// That of `[admin]`, or at another address.
    pub(super) fn new(url: Option<&Url>, admin: &Admin) -> Result<Self, Error> {
        let base = url.map_or_else(|| at(admin.listen), base);
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build();
        let client = client.map_err(|error| no_answer(&base, &error))?;
        // Any may read.
        let token = admin.tokens.first().map(|token| token.secret.clone());
        Ok(Self { base, client, token })
    }

    /// All destinations, as `/api/v1/destinations` has them.
    pub(super) async fn destinations(&self) -> Result<Value, Error> {
        self.ask("/api/v1/destinations").await
    }

    /// All issues, as `/api/v1/issues` has them.
    pub(super) async fn issues(&self) -> Result<Value, Error> {
        self.ask("/api/v1/issues").await
    }

    async fn ask(&self, path: &str) -> Result<Value, Error> {
        let base = &self.base;
        let failed = |error: reqwest::Error| no_answer(base, &error);
        let mut request = self.client.get(format!("{base}{path}"));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let reply = request.send().await.map_err(failed)?;
        if !reply.status().is_success() {
            let (status, text) = (reply.status(), reply.text().await.unwrap_or_default());
            return Err(Error::Failed(format!("{base} answered {status}: {text}")));
        }
        reply.json().await.map_err(failed)
    }
}

fn no_answer(base: &str, error: &reqwest::Error) -> Error {
    let cause = cause_of(error);
    Error::Failed(format!("no worker answers at {base} ({cause}); is it running? name another with --url"))
}
