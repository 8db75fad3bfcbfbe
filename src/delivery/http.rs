//! HTTP by reqwest: every time-out set, no redirects, no hidden retries, the body capped.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Url, redirect};

use super::body::Marked;
use super::cause::{self, Cause};
use super::{Keep, Transport, Trouble, machine, tls};
use crate::gate::WrittenAt;
use crate::lease::Fence;
use crate::vendors::Reply;

/// Most that is read of an answer that is no success, in bytes: a sentence is made of it.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// What the other side may send ahead of being read, over HTTP/2: in one answer, and in all of a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Shorter than the keep-alive of common servers and balancers (5 s upwards), so that a request is seldom sent into
/// a connection that the other side is closing.
const POOL_IDLE: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One destination's HTTP client: its own pool, time-outs and proxy.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client,
    timeout: Duration,
    connect_timeout: Duration,
    /// Host and port of the proxy.
    proxy: Option<String>,
    /// The last request's address, as it was given and as the client wants it.
    last: Arc<Mutex<Option<(::http::Uri, Url)>>>,
}

/// The client cannot be built: the sentence says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP: {0}")]
pub struct SetupError(String);

#[cfg(test)]
impl SetupError {
    /// One for a test.
    pub(crate) fn because(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl HttpTransport {
    /// A client whose requests take `timeout` at most, through `proxy` where there is one.
    ///
    /// # Errors
    /// [`SetupError`] when the proxy or the system's certificates cannot be used.
    pub fn new(timeout: Duration, proxy: Option<&url::Url>, http1_only: bool) -> Result<Self, SetupError> {
        // Whoever does not get a connection is told so, and not that there was no answer.
        let connect_timeout = CONNECT_TIMEOUT.min(timeout.mul_f64(0.9));
        let mut builder = Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .http2_initial_stream_window_size(WINDOWS.0)
            .http2_initial_connection_window_size(WINDOWS.1)
            .tls_backend_preconfigured(tls::settings(http1_only).map_err(|e| SetupError(e.to_string()))?)
            .no_proxy();
        if let Some(proxy) = proxy {
            let proxy = reqwest::Proxy::all(proxy.clone()).map_err(|e| SetupError(plain(&e)))?;
            builder = builder.proxy(proxy);
        }
        if http1_only {
            builder = builder.http1_only();
        }
        let client = builder.build().map_err(|e| SetupError(plain(&e)))?;
        let proxy = proxy.map(|proxy| place(proxy.host_str().unwrap_or_default(), proxy.port_or_known_default()));
        Ok(Self { client, timeout, connect_timeout, proxy, last: Arc::default() })
    }

    async fn exchange(&self, request: &::http::Request<Bytes>, written: &WrittenAt) -> Result<Reply, reqwest::Error> {
        let mut outgoing = reqwest::Request::new(request.method().clone(), self.address(request.uri())?);
        outgoing.headers_mut().clone_from(request.headers());
        *outgoing.body_mut() = Some(reqwest::Body::wrap(Marked::new(
            request.body().clone(),
            written.clone(),
            request.extensions().get::<Fence>().cloned(),
        )));
        let mut response = self.client.execute(outgoing).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let Keep(most) = request.extensions().get().copied().unwrap_or(Keep::TOKEN);
        let most = if status.is_success() { most } else { most.min(MAX_ERROR_BYTES) };
        let mut body = BytesMut::new();
        // The status has the verdict: a body that breaks off must not make a taken event be sent again. Of one that is longer than
        // anybody reads the rest is left, and the connection with it.
        while body.len() < most
            && let Ok(Some(chunk)) = response.chunk().await
        {
            let room = most - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(Reply { status, headers, body: body.freeze() })
    }

    /// An address as the client wants it. Reading one costs more than all else here, and most are the same as the last.
    fn address(&self, uri: &::http::Uri) -> Result<Url, reqwest::Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, url)) = &*last
            && known == uri
        {
            return Ok(url.clone());
        }
        let url = self.client.get(uri.to_string()).build()?.url().clone();
        *last = Some((uri.clone(), url.clone()));
        Ok(url)
    }

    fn trouble(&self, error: &reqwest::Error, request: &::http::Request<Bytes>) -> Trouble {
        let host = self.host(request);
        let cause = match cause::of(error) {
            Cause::Machine(cause) => return Trouble::Machine { host, cause },
            Cause::Outside(cause) => cause,
        };
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => {
                Trouble::Connect { host, cause: format!("timed out after {:?} while connecting", self.connect_timeout) }
            }
            (true, false) => Trouble::Connect { host, cause },
            (false, true) => Trouble::Timeout { host, timeout: self.timeout },
            (false, false) => Trouble::Broken { host, cause },
        }
    }

    /// Where a request goes, as people are told.
    fn host(&self, request: &::http::Request<Bytes>) -> String {
        let host = place(request.uri().host().unwrap_or_default(), request.uri().port_u16());
        match &self.proxy {
            Some(proxy) => format!("{host} through the proxy {proxy}"),
            None => host,
        }
    }
}

fn place(host: &str, port: Option<u16>) -> String {
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Transport for HttpTransport {
    fn send<'a>(
        &'a self,
        request: &'a ::http::Request<Bytes>,
        written: &'a WrittenAt,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Trouble>> + Send + 'a>> {
        Box::pin(async move {
            let _place = machine::place().map_err(|cause| Trouble::Machine { host: self.host(request), cause })?;
            self.exchange(request, written).await.map_err(|error| self.trouble(&error, request))
        })
    }

    fn has_room(&self) -> bool {
        machine::has_place()
    }
}

/// The innermost cause, which says what happened; the outer ones repeat the address.
fn plain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut source = error.source();
    while let Some(inner) = source {
        cause = inner;
        source = inner.source();
    }
    cause.to_string()
}
