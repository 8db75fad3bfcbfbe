//! The HTTP client against servers on this machine that do not answer as they should: what is told of it, and how little is read.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use sluice::clock;
use sluice::delivery::http::HttpTransport;
use sluice::delivery::{Keep, Transport as _, Trouble};
use sluice::gate::WrittenAt;
use sluice::lease::Fence;
use sluice::vendors::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

const KEPT: usize = 16 * 1024;

/// A server that does `answer` with each connection and the request that came over it.
async fn server_of<F: Future<Output = ()> + Send>(
    answer: impl Fn(TcpStream, String) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let count = stream.read(&mut head).await.unwrap_or(0);
            answer(stream, String::from_utf8_lossy(&head[..count]).into_owned()).await;
        }
    });
    address
}

/// The same where it does not matter what came.
async fn server<F: Future<Output = ()> + Send>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr {
    server_of(move |stream, _| answer(stream)).await
}

/// A server that says `answer` to each request, and what came over its first connection.
async fn says(answer: impl Into<Vec<u8>>) -> (SocketAddr, oneshot::Receiver<String>) {
    let (answer, (seen, came)) = (answer.into(), oneshot::channel());
    let seen = Mutex::new(Some(seen));
    let address = server_of(move |mut stream, request| {
        if let Some(seen) = seen.lock().unwrap().take() {
            // Not every test asks.
            drop(seen.send(request));
        }
        let answer = answer.clone();
        async move { stream.write_all(&answer).await.unwrap() }
    })
    .await;
    (address, came)
}

async fn send(url: &str, timeout: Duration) -> Result<Reply, Trouble> {
    let mut request = Request::post(url).body(Bytes::from_static(b"{}")).unwrap();
    request.extensions_mut().insert(Keep(KEPT));
    HttpTransport::new(timeout, None, false).unwrap().send(&request, &WrittenAt::default()).await
}

async fn told(url: &str) -> String {
    match send(url, Duration::from_secs(10)).await {
        Err(trouble) => trouble.to_string(),
        Ok(reply) => panic!("an answer: {reply:?}"),
    }
}

#[tokio::test]
async fn who_is_not_there_or_hangs_up_is_told_as_that() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(told(&format!("http://{closed}/")).await, format!("cannot connect to {closed}: connection refused"));
    let name = told("http://no-such-host.invalid/").await;
    assert!(name.starts_with("cannot connect to no-such-host.invalid: its name "), "{name}");
    let resets = server(async |stream| {
        stream.set_zero_linger().unwrap();
    })
    .await;
    let reset = told(&format!("http://{resets}/")).await;
    assert_eq!(reset, format!("the connection to {resets} broke: connection reset"));
    let closes = server(async |_| ()).await;
    let closed = told(&format!("http://{closes}/")).await;
    assert!(closed.starts_with(&format!("the connection to {closes} broke: ")), "{closed}");
}

#[tokio::test]
async fn who_does_not_answer_is_told_apart_from_who_does_not_connect() {
    let hangs = server(async |_stream| std::future::pending::<()>().await).await;
    let trouble = send(&format!("http://{hangs}/"), Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(trouble.to_string(), format!("no answer from {hangs} within 300ms"));
    // Nobody shakes hands here.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let trouble = send(&format!("https://{address}/"), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(trouble.to_string(), format!("cannot connect to {address}: timed out after 4.5s while connecting"));
}

#[tokio::test]
async fn a_server_without_tls_or_with_a_bad_certificate_is_told_as_that() {
    let plain = server(async |mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await)).await;
    let said = told(&format!("https://localhost:{}/", plain.port())).await;
    assert!(said.contains("does not speak TLS"), "{said}");
    let mut expired = CertificateParams::new(["localhost".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2024, 1, 2);
    let said = told(&format!("https://localhost:{}/", behind_tls(expired).await.port())).await;
    assert!(said.contains(": its certificate expired at 2024-01-02T00:00:00Z"), "{said}");
    let mut early = CertificateParams::new(["localhost".to_owned()]).unwrap();
    early.not_before = rcgen::date_time_ymd(2090, 1, 2);
    let said = told(&format!("https://localhost:{}/", behind_tls(early).await.port())).await;
    assert!(said.contains(": its certificate is not valid before 2090-01-02T00:00:00Z"), "{said}");
    let unknown = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let said = told(&format!("https://localhost:{}/", behind_tls(unknown).await.port())).await;
    assert!(said.contains(": its certificate is not trusted"), "{said}");
}

/// A server with a certificate that it signed itself.
async fn behind_tls(params: CertificateParams) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(acceptor.accept(stream).await);
        }
    });
    address
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = format!("http://user:s3cret@{closed}").parse().unwrap();
    let transport = HttpTransport::new(Duration::from_secs(10), Some(&proxy), false).unwrap();
    let request = Request::post("https://api.example.com/v1").body(Bytes::new()).unwrap();
    let said = transport.send(&request, &WrittenAt::default()).await.unwrap_err().to_string();
    assert_eq!(said, format!("cannot connect to api.example.com through the proxy {closed}: connection refused"));
}

#[tokio::test]
async fn of_an_answer_without_an_end_no_more_is_read_than_is_kept() {
    for head in ["HTTP/1.1 201 Created\r\n\r\n", "HTTP/1.1 400 Bad Request\r\ncontent-length: 1000000000\r\n\r\n"] {
        let sent = Arc::new(AtomicUsize::new(0));
        let (counted, ended) = (Arc::clone(&sent), Arc::new(tokio::sync::Notify::new()));
        let end = Arc::clone(&ended);
        let address = server(move |mut stream| {
            let (counted, end) = (Arc::clone(&counted), Arc::clone(&end));
            async move {
                stream.write_all(head.as_bytes()).await.unwrap();
                while let Ok(bytes) = stream.write(&[b'x'; 65_536]).await
                    && counted.fetch_add(bytes, Ordering::Relaxed) < 1_000_000_000
                {}
                end.notify_one();
            }
        })
        .await;
        let reply = send(&format!("http://{address}/"), Duration::from_secs(60)).await.unwrap();
        assert_eq!(reply.body.len(), KEPT);
        ended.notified().await;
        let sent = sent.load(Ordering::Relaxed);
        // What the system holds on the way is not ours.
        assert!(sent < 50_000_000, "{sent} bytes were taken");
    }
}

#[tokio::test]
async fn a_request_says_whose_it_is_and_what_the_vendor_wants_said() {
    let (address, came) = says("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    let request =
        Request::post(format!("http://{address}/a/b?c=d")).header("x-api-key", "k").header("accept", "text/csv");
    let transport = HttpTransport::new(Duration::from_secs(10), None, false).unwrap();
    let written = WrittenAt::default();
    transport.send(&request.body(Bytes::from_static(b"{}")).unwrap(), &written).await.unwrap();
    let came = came.await.unwrap();
    let (head, body) = came.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines.sort_unstable();
    let (agent, host) = (format!("user-agent: sluice/{}", env!("CARGO_PKG_VERSION")), format!("host: {address}"));
    let wanted = [
        "POST /a/b?c=d HTTP/1.1",
        "accept-encoding: gzip",
        "accept: text/csv",
        "content-length: 2",
        &host,
        &agent,
        "x-api-key: k",
    ];
    assert_eq!(lines, wanted);
    assert_eq!(body, "{}");
    assert!(written.at().is_some());
}

#[tokio::test]
async fn without_the_lease_nothing_of_the_body_is_written() {
    let (address, came) = says("").await;
    let mut request = Request::post(format!("http://{address}/")).body(Bytes::from_static(b"{}")).unwrap();
    request.extensions_mut().insert(Fence::new(clock::now()));
    let (transport, written) =
        (HttpTransport::new(Duration::from_secs(10), None, false).unwrap(), WrittenAt::default());
    let said = transport.send(&request, &written).await.unwrap_err().to_string();
    assert!(said.ends_with("broke: the lease ran out before the request was written"), "{said}");
    assert!(written.at().is_none());
    assert!(!came.await.unwrap().contains("{}"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (elsewhere, mut came) = says("").await;
    let moved =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let (address, _) = says(moved).await;
    let reply = send(&format!("http://{address}/"), Duration::from_secs(10)).await.unwrap();
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    assert!(came.try_recv().is_err());
}

#[tokio::test]
async fn of_an_answer_that_breaks_off_or_stalls_the_status_and_what_came_count() {
    let part = "HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\npart";
    let (breaks_off, _) = says(part).await;
    let stalls = server(async move |mut stream| {
        stream.write_all(part.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    for address in [breaks_off, stalls] {
        let reply = send(&format!("http://{address}/"), Duration::from_millis(500)).await.unwrap();
        assert_eq!((reply.status, reply.body), (StatusCode::CREATED, Bytes::from_static(b"part")));
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_address_or_for_a_way_through() {
    let send = async |proxy: SocketAddr, url: &str| {
        let proxy = format!("http://{proxy}").parse().unwrap();
        let transport = HttpTransport::new(Duration::from_secs(10), Some(&proxy), false).unwrap();
        let request = Request::post(url).body(Bytes::from_static(b"{}")).unwrap();
        transport.send(&request, &WrittenAt::default()).await.map_err(|trouble| trouble.to_string())
    };
    let (proxy, came) = says("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    let reply = send(proxy, "http://api.example.com/v1?a=b").await.unwrap();
    assert_eq!(reply.status, StatusCode::CREATED);
    let came = came.await.unwrap();
    assert!(came.starts_with("POST http://api.example.com/v1?a=b HTTP/1.1\r\n"), "{came}");
    assert!(came.contains("\r\nhost: api.example.com\r\n"), "{came}");

    let (proxy, came) = says("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let said = send(proxy, "https://api.example.com/v1").await.unwrap_err();
    let wanted = format!("cannot connect to api.example.com through the proxy {proxy}: tunnel error: unsuccessful");
    assert_eq!(said, wanted);
    let came = came.await.unwrap();
    assert!(came.starts_with("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n"), "{came}");
    assert!(came.contains("\r\nuser-agent: sluice/"), "{came}");

    let vendor = behind_tls(CertificateParams::new(["localhost".to_owned()]).unwrap()).await;
    let proxy = server(move |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut onward = TcpStream::connect(vendor).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
    })
    .await;
    let said = send(proxy, &format!("https://localhost:{}/", vendor.port())).await.unwrap_err();
    assert!(said.contains(&format!("through the proxy {proxy}: its certificate is not trusted")), "{said}");
}

#[tokio::test]
async fn a_packed_answer_is_read_as_far_as_it_came() {
    let text = "{\"error\":\"unknown profile\"}".repeat(40);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let head =
        format!("HTTP/1.1 400 Bad Request\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
    for (came, whole) in [(packed.as_slice(), true), (&packed[..packed.len() - 12], false)] {
        let (address, _) = says([head.as_bytes(), came].concat()).await;
        let reply = send(&format!("http://{address}/"), Duration::from_secs(10)).await.unwrap();
        let read = str::from_utf8(&reply.body).unwrap();
        assert_eq!(read == text, whole, "{read}");
        assert!(text.starts_with(read) && !read.is_empty(), "{read}");
    }
}

/// One of a million zeros, 1,003 bytes.
const BOMB: &[u8] = include_bytes!("zeros.gz");

#[tokio::test]
async fn a_small_answer_that_unpacks_to_a_large_one_is_cut_too() {
    let address = server(async |mut stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", BOMB.len());
        stream.write_all(&[head.as_bytes(), BOMB].concat()).await.unwrap();
    })
    .await;
    let reply = send(&format!("http://{address}/"), Duration::from_secs(60)).await.unwrap();
    assert_eq!(reply.body.len(), KEPT);
}

#[tokio::test]
async fn a_short_answer_leaves_the_connection_for_the_next_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = server(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut head = [0; 4096];
            loop {
                stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                if stream.read(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        }
    })
    .await;
    let transport = HttpTransport::new(Duration::from_secs(10), None, false).unwrap();
    for _ in 0..20 {
        let mut request = Request::post(format!("http://{address}/")).body(Bytes::from_static(b"{}")).unwrap();
        request.extensions_mut().insert(Keep(KEPT));
        assert_eq!(transport.send(&request, &WrittenAt::default()).await.unwrap().body, "{}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
