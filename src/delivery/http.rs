//! HTTP by reqwest: every time-out set, no redirects, no hidden retries, the body capped.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Url, redirect};

use super::body::Marked;
use super::{Transport, Trouble, tls};
use crate::gate::Written;
use crate::vendors::Reply;

/// Most of an answer's body that is read; the rest is left and the connection closed. A success may be a long list that was looked
/// up; of anything else a sentence is made.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Shorter than the keep-alive of common servers and balancers (5 s upwards), so that a request is seldom sent into
/// a connection that the other side is closing.
const POOL_IDLE: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One destination's HTTP client: its own pool, time-outs and proxy.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client,
    timeout: Duration,
    /// The last request's address, as it was given and as the client wants it.
    last: Arc<Mutex<Option<(::http::Uri, Url)>>>,
}

/// The client cannot be built: the sentence says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP: {0}")]
pub struct SetupError(String);

impl HttpTransport {
    /// A client whose requests take `timeout` at most, through `proxy` where there is one.
    ///
    /// # Errors
    /// [`SetupError`] when the proxy or the system's certificates cannot be used.
    pub fn new(timeout: Duration, proxy: Option<&url::Url>, http1_only: bool) -> Result<Self, SetupError> {
        let mut builder = Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .pool_idle_timeout(POOL_IDLE)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
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
        Ok(Self { client, timeout, last: Arc::default() })
    }

    async fn exchange(&self, request: &::http::Request<Bytes>, written: &Written) -> Result<Reply, reqwest::Error> {
        let mut outgoing = reqwest::Request::new(request.method().clone(), self.address(request.uri())?);
        outgoing.headers_mut().clone_from(request.headers());
        *outgoing.body_mut() = Some(reqwest::Body::wrap(Marked::new(request.body().clone(), written.clone())));
        let mut response = self.client.execute(outgoing).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let most = if status.is_success() { MAX_BODY_BYTES } else { MAX_ERROR_BYTES };
        let mut body = BytesMut::new();
        // The status has the verdict: a body that breaks off must not make a taken event be sent again.
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = most - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == most {
                break;
            }
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
        let host = request.uri().authority().map(|authority| authority.host().to_owned()).unwrap_or_default();
        let host = request.uri().port_u16().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        if error.is_connect() {
            Trouble::Connect { host, cause: plain(error) }
        } else if error.is_timeout() {
            Trouble::Timeout { host, timeout: self.timeout }
        } else {
            Trouble::Broken { host, cause: plain(error) }
        }
    }
}

impl Transport for HttpTransport {
    fn send<'a>(
        &'a self,
        request: &'a ::http::Request<Bytes>,
        written: &'a Written,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Trouble>> + Send + 'a>> {
        Box::pin(async move { self.exchange(request, written).await.map_err(|error| self.trouble(&error, request)) })
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
