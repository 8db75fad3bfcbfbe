//! A vendor behind TLS, as every vendor is outside of tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Version;
use axum::routing::post;
use axum::serve::Listener;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client::plain;
use super::stage::{Stage, until};
use crate::support::shared_url;

/// A vendor whose certificate an authority of its own has signed.
struct Vendor {
    address: SocketAddr,
    /// The authority's certificate, in PEM.
    authority: String,
    /// The version of each request.
    versions: Arc<Mutex<Vec<Version>>>,
}

/// Connections whose handshake went well.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Vendor {
    async fn start() -> Self {
        Self::with(CertificateParams::new(["localhost".to_owned()]).unwrap()).await
    }

    /// One whose own certificate is as told.
    async fn with(own: CertificateParams) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let certificate = own.signed_by(&key, &issuer).unwrap();
        let mut settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let versions = Arc::<Mutex<Vec<Version>>>::default();
        let seen = Arc::clone(&versions);
        let take = async move |version: Version| seen.lock().unwrap().push(version);
        let router = Router::new().route("/events", post(take));
        let tls = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(settings)) };
        tokio::spawn(async move { axum::serve(tls, router).await });
        Self { address, authority: authority.pem(), versions }
    }

    fn versions(&self) -> Vec<Version> {
        self.versions.lock().unwrap().clone()
    }
}

/// A worker whose machine trusts `authority`, with one destination at `vendor`, which has been given an event.
async fn with_an_event(vendor: &Vendor, authority: &str, more: &str) -> Stage {
    let mut stage = Stage::new(&shared_url().await).await;
    std::fs::write(stage.file("authorities.pem"), authority).unwrap();
    stage.environment = vec![("SSL_CERT_FILE", stage.file("authorities.pem"))];
    let port = vendor.address.port();
    stage.configure(&format!(
        "[destinations.hook]\nvendor = \"http\"\nurl = \"https://localhost:{port}/events\"\nsubscribe = [\"order.#\"]\n\
         limits = [\"100/s\"]\n{more}\n"
    ));
    stage.start();
    stage.ready().await;
    stage.client().await.publish("order.paid", "{\"amount\":3}", plain().with_message_id("one".into())).await;
    stage
}

#[tokio::test]
async fn a_vendor_that_the_machine_trusts_gets_events_over_http_2() {
    let vendor = Vendor::start().await;
    let _stage = with_an_event(&vendor, &vendor.authority, "").await;
    until("the event arrived", async || !vendor.versions().is_empty()).await;
    assert_eq!(vendor.versions(), [Version::HTTP_2]);
}

#[tokio::test]
async fn a_destination_that_wants_http_1_gets_it_from_a_vendor_that_offers_both() {
    let vendor = Vendor::start().await;
    let _stage = with_an_event(&vendor, &vendor.authority, "http1_only = true").await;
    until("the event arrived", async || !vendor.versions().is_empty()).await;
    assert_eq!(vendor.versions(), [Version::HTTP_11]);
}

#[tokio::test]
async fn a_vendor_that_the_machine_does_not_trust_gets_nothing_and_the_log_says_why() {
    let (vendor, another) = (Vendor::start().await, Vendor::start().await);
    let stage = with_an_event(&vendor, &another.authority, "").await;
    let sentence = format!("cannot connect to localhost:{}: its certificate", vendor.address.port());
    until("it is told", async || stage.log().contains(&sentence)).await;
    assert_eq!(vendor.versions(), []);
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_of_another_name_is_told_in_the_log_and_the_status() {
    let mut expired = CertificateParams::new(["localhost".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2024, 1, 2);
    let another = CertificateParams::new(["api.example.com".to_owned()]).unwrap();
    for (own, said) in [
        (expired, "its certificate expired at 2024-01-02T00:00:00Z"),
        (another, "its certificate is not for the name localhost, only for api.example.com"),
    ] {
        let vendor = Vendor::with(own).await;
        let stage = with_an_event(&vendor, &vendor.authority, "").await;
        let sentence = format!("cannot connect to localhost:{}: {said}", vendor.address.port());
        until("the log tells it", async || stage.log().contains(&sentence)).await;
        let client = stage.client().await;
        for number in 2..8 {
            let id = plain().with_message_id(format!("{number}").into());
            client.publish("order.paid", "{\"amount\":3}", id).await;
        }
        stage.state("hook", "broken").await;
        let why = stage.shown("hook").await["why"].as_str().unwrap().to_owned();
        assert!(why.contains(&sentence), "{why}");
        assert_eq!(vendor.versions(), []);
    }
}
