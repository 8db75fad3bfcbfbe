//! Connections to vendors: a name looked up, TCP, TLS, and a proxy on the way. HTTP is spoken over them in `delivery/http.rs`.

use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::USER_AGENT;
use ::http::uri::{InvalidUri, Scheme};
use ::http::{HeaderMap, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use rustls::ClientConfig;
use tower_service::Service;
use url::Url;

use super::AGENT;

/// When a silent peer is asked whether it is still there, and how often it may stay silent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

type AnyError = Box<dyn Error + Send + Sync>;

/// Connects to where a request goes. The client clones it for each request.
#[derive(Clone, Debug)]
pub(super) struct Connector(Arc<Ways>);

#[derive(Debug)]
struct Ways {
    /// The time for all of it.
    within: Duration,
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
}

#[derive(Debug)]
struct Proxy {
    address: Uri,
    /// HTTP/1.1 is spoken to it, whatever is spoken through it.
    tls: Arc<ClientConfig>,
}

impl Connector {
    /// Connections within that time, with these settings of TLS, through `proxy` where there is one.
    ///
    /// # Errors
    /// When the proxy's address cannot be used.
    pub fn new(within: Duration, tls: ClientConfig, proxy: Option<&Url>) -> Result<Self, InvalidUri> {
        let proxy = proxy.map(|proxy| Proxy::at(proxy, &tls)).transpose()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a name.
        tcp.set_connect_timeout(Some(within));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        // So long it may leave bytes unconfirmed.
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(2 * KEEPALIVE));
        Ok(Self(Arc::new(Ways { within, tcp, tls: Arc::new(tls), proxy })))
    }
}

impl Proxy {
    fn at(address: &Url, tls: &ClientConfig) -> Result<Self, InvalidUri> {
        let mut tls = tls.clone();
        tls.alpn_protocols.clear();
        Ok(Self { address: address.as_str().parse()?, tls: Arc::new(tls) })
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, AnyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let ways = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = tokio::time::timeout(ways.within, ways.connect(to)).await;
            connected.unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut).into()))
        })
    }
}

impl Ways {
    async fn connect(&self, to: Uri) -> Result<Wire, AnyError> {
        let Some(proxy) = &self.proxy else {
            let mut direct = HttpsConnector::from((self.tcp.clone(), Arc::clone(&self.tls)));
            return Ok(Wire::new(direct.call(to).await?));
        };
        let mut to_proxy = HttpsConnector::from((self.tcp.clone(), Arc::clone(&proxy.tls)));
        if to.scheme() != Some(&Scheme::HTTPS) {
            let wire = to_proxy.call(proxy.address.clone()).await?;
            return Ok(Wire { ends_at_proxy: true, ..Wire::new(wire) });
        }
        let headers = HeaderMap::from_iter([(USER_AGENT, AGENT)]);
        let tunnel = Tunnel::new(proxy.address.clone(), to_proxy).with_headers(headers);
        let mut through = HttpsConnector::from((tunnel, Arc::clone(&self.tls)));
        Ok(Wire::new(through.call(to).await?))
    }
}

/// A connection, whatever it is made of.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// The proxy reads the requests.
    ends_at_proxy: bool,
}

trait Stream: Read + Write + Connection + Send + Unpin {}

impl<T: Read + Write + Connection + Send + Unpin> Stream for T {}

impl Wire {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), ends_at_proxy: false }
    }
}

impl Connection for Wire {
    /// Without the addresses, which the client would put into each answer.
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.ends_at_proxy);
        if self.stream.connected().is_negotiated_h2() { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, room)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }
}
