//! HTTP by hyper's client: every time-out set, no redirects, nothing sent twice, the body capped.

use std::future::Future;
use std::io::Read as _;
use std::pin::{Pin, pin};
use std::time::Duration;

use ::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, USER_AGENT};
use ::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::Marked;
use super::cause::{self, Cause};
use super::connect::Connector;
use super::{AGENT, Keep, Transport, Trouble, machine, tls};
use crate::clock;
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
/// What answers may be, where the vendor does not say,
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
/// and how they may be packed.
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// One destination's HTTP client: its own pool, time-outs and proxy.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client<Connector, Marked>,
    timeout: Duration,
    connect_timeout: Duration,
    /// Host and port of the proxy.
    proxy: Option<String>,
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
    /// A client whose requests take `timeout` at most, through `proxy` where there is one: the configuration has no credentials in it.
    ///
    /// # Errors
    /// [`SetupError`] when the proxy or the system's certificates cannot be used.
    pub fn new(timeout: Duration, proxy: Option<&url::Url>, http1_only: bool) -> Result<Self, SetupError> {
        // Whoever does not get a connection is told so, and not that there was no answer.
        let connect_timeout = CONNECT_TIMEOUT.min(timeout.mul_f64(0.9));
        let tls = tls::settings(http1_only).map_err(|e| SetupError(e.to_string()))?;
        let connector = Connector::new(connect_timeout, tls, proxy).map_err(|e| SetupError(e.to_string()))?;
        // What the other side has closed before anything of a request was written is tried on another connection: it was not sent.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .http2_initial_stream_window_size(WINDOWS.0)
            .http2_initial_connection_window_size(WINDOWS.1)
            .build(connector);
        let proxy = proxy.map(|proxy| place(proxy.host_str().unwrap_or_default(), proxy.port_or_known_default()));
        Ok(Self { client, timeout, connect_timeout, proxy })
    }

    async fn exchange(&self, request: &::http::Request<Bytes>, written: &WrittenAt) -> Result<Reply, Trouble> {
        let mut late = pin!(clock::sleep(self.timeout));
        let answer = tokio::select! {
            biased;
            answer = self.client.request(outgoing(request, written)) => answer,
            () = &mut late => return Err(Trouble::Timeout { host: self.host(request), timeout: self.timeout }),
        };
        let (parts, mut incoming) = answer.map_err(|error| self.trouble(&error, request))?.into_parts();
        let Keep(most) = request.extensions().get().copied().unwrap_or(Keep::TOKEN);
        let most = if parts.status.is_success() { most } else { most.min(MAX_ERROR_BYTES) };
        let mut body = BytesMut::new();
        // The status has the verdict: a body that breaks off must not make a taken event be sent again. Of one that is longer than
        // anybody reads the rest is left, and the connection with it.
        while body.len() < most {
            let frame = tokio::select! {
                biased;
                frame = incoming.frame() => frame,
                () = &mut late => None,
            };
            let Some(Ok(frame)) = frame else { break };
            if let Some(bytes) = frame.data_ref() {
                let room = most - body.len();
                body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        let body = unpacked(&parts.headers, body.freeze(), most);
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    fn trouble(&self, error: &legacy::Error, request: &::http::Request<Bytes>) -> Trouble {
        let host = self.host(request);
        let cause = match cause::of(error) {
            Cause::Machine(cause) => return Trouble::Machine { host, cause },
            Cause::Outside(cause) => cause,
        };
        if !error.is_connect() {
            return Trouble::Broken { host, cause };
        }
        let cause = if cause::is_late(error) {
            format!("timed out after {:?} while connecting", self.connect_timeout)
        } else {
            cause
        };
        Trouble::Connect { host, cause }
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
            self.exchange(request, written).await
        })
    }

    fn has_room(&self) -> bool {
        machine::has_place()
    }
}

/// The request as it is sent, with what this worker says of itself.
fn outgoing(request: &::http::Request<Bytes>, written: &WrittenAt) -> ::http::Request<Marked> {
    let fence = request.extensions().get::<Fence>().cloned();
    let mut outgoing = ::http::Request::new(Marked::new(request.body().clone(), written.clone(), fence));
    *outgoing.method_mut() = request.method().clone();
    *outgoing.uri_mut() = request.uri().clone();
    let headers = outgoing.headers_mut();
    headers.clone_from(request.headers());
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.entry(ACCEPT).or_insert(ANYTHING);
    headers.insert(ACCEPT_ENCODING, GZIP);
    outgoing
}

/// What an answer says, at most so many bytes of it, as far as it is whole.
fn unpacked(headers: &HeaderMap, body: Bytes, most: usize) -> Bytes {
    if headers.get(CONTENT_ENCODING) != Some(&GZIP) {
        return body;
    }
    let mut unpacked = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    match MultiGzDecoder::new(body.as_ref()).take(most).read_to_end(&mut unpacked) {
        Ok(_) | Err(_) => unpacked.into(),
    }
}
