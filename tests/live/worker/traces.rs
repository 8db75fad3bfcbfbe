//! A trace from the producer over the worker to the vendor, with a collector that takes OTLP over HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use lapin::types::{AMQPValue, FieldTable};

use super::client::plain;
use super::stage::{Stage, until};
use crate::support::shared_url;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";

/// A vendor and a collector: the `traceparent`s of the one, the bodies that came to the other.
#[derive(Clone, Default)]
struct Seen {
    traceparents: Arc<Mutex<Vec<String>>>,
    exported: Arc<Mutex<Vec<u8>>>,
}

impl Seen {
    async fn serve(&self) -> String {
        let (vendor, collector) = (self.clone(), self.clone());
        let track = async move |headers: HeaderMap| {
            let value = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
            vendor.traceparents.lock().unwrap().extend(value);
            "ok"
        };
        let export = async move |body: Bytes| {
            collector.exported.lock().unwrap().extend_from_slice(&body);
            // An empty answer in protobuf.
            Bytes::new()
        };
        let router = Router::new().route("/track", post(track)).route("/v1/traces", post(export));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// Whether the collector was sent these bytes.
    fn has(&self, part: &[u8]) -> bool {
        self.exported.lock().unwrap().windows(part.len()).any(|window| window == part)
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A worker with one destination at `seen`, which has been given an event of a trace.
async fn with_a_traced_event(seen: &Seen, export: bool) -> Stage {
    let address = seen.serve().await;
    let mut stage = Stage::new(&shared_url().await).await;
    if export {
        stage.environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", address.clone())];
    }
    stage.configure(&format!(
        "[destinations.hook]\nvendor = \"http\"\nurl = \"{address}/track\"\nsubscribe = [\"order.#\"]\nlimits = [\"100/s\"]\n"
    ));
    stage.start();
    stage.ready().await;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(format!("00-{TRACE}-{PRODUCER}-01").into()));
    let properties = plain().with_message_id("ann@example.com".into()).with_headers(headers);
    stage.client().await.publish("order.paid", "{\"amount\":3}", properties).await;
    until("it is delivered", async || !seen.traceparents.lock().unwrap().is_empty()).await;
    stage
}

#[tokio::test]
async fn without_a_collector_the_vendor_gets_the_producers_own_traceparent() {
    let seen = Seen::default();
    let _stage = with_a_traced_event(&seen, false).await;
    assert_eq!(*seen.traceparents.lock().unwrap(), [format!("00-{TRACE}-{PRODUCER}-01")]);
}

#[tokio::test]
async fn the_logs_line_of_a_delivery_names_its_trace() {
    let stage = with_a_traced_event(&Seen::default(), false).await;
    let named =
        |line: &str| line.contains("\"outcome\":\"delivered\"") && line.contains(&format!("\"trace_id\":\"{TRACE}\""));
    until("the log tells of it", async || stage.log().lines().any(named)).await;
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn the_producers_trace_goes_on_over_the_workers_spans_to_the_vendor() {
    let seen = Seen::default();
    let mut stage = with_a_traced_event(&seen, true).await;
    let traceparent = seen.traceparents.lock().unwrap()[0].clone();
    let parts: Vec<&str> = traceparent.split('-').collect();
    assert_eq!((parts[1], parts[3]), (TRACE, "01"), "{traceparent}");
    assert_ne!(parts[2], PRODUCER, "the request is a span of the worker's");
    assert_eq!(stage.stop().await, Some(0));
    for part in [&bytes(TRACE)[..], &bytes(PRODUCER), &bytes(parts[2])] {
        assert!(seen.has(part), "the collector has not heard of {part:?}");
    }
    for word in ["process hook", "POST", "order.paid", "http.response.status_code", "sluice"] {
        assert!(seen.has(word.as_bytes()), "the collector has not heard of {word}");
    }
    assert!(!seen.has(b"ann@example.com"), "an address is masked");
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn a_collector_that_is_away_costs_no_delivery_and_no_stop() {
    let seen = Seen::default();
    let address = seen.serve().await;
    let mut stage = Stage::new(&shared_url().await).await;
    stage.environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9".to_owned())];
    stage.configure(&format!(
        "[destinations.hook]\nvendor = \"http\"\nurl = \"{address}/track\"\nsubscribe = [\"order.#\"]\nlimits = [\"100/s\"]\n"
    ));
    stage.start();
    stage.ready().await;
    stage.client().await.publish_all("order.paid", 0..50).await;
    until("all are delivered", async || seen.traceparents.lock().unwrap().len() == 50).await;
    assert_eq!(stage.stop().await, Some(0));
}
