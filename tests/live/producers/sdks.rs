//! CloudEvents as its SDKs write them, over AMQP and HTTP: every binding's event arrives as what it is, whatever it has of headers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use sluice::demo::ports::free_ports;

use super::Program;
use crate::support::shared_url;
use crate::worker::stage::Stage;

const HOOK: &str = "[destinations.hook]\nvendor = \"http\"\nurl = \"SANDBOX/hook/sdk\"\nsubscribe = [\"order.#\"]\nlimits = [\"500/s\"]\n\
     body = { jq = \"$event\" }\n";

/// Publishes with a program's SDK and waits for all of it; `events` is how many there are at least.
async fn arrives(file: &str, least: usize) {
    let mut stage = Stage::new(&shared_url().await).await;
    let [port] = free_ports().unwrap();
    stage.configure(&format!("{HOOK}[ingest]\nlisten = \"127.0.0.1:{port}\"\n"));
    stage.start();
    stage.ready().await;
    let exchange = format!("{}.events", stage.prefix);
    let (amqp, events) = (shared_url().await, format!("http://127.0.0.1:{port}/v1/events"));
    let environment = [("AMQP_URL", amqp.as_str()), ("SLUICE_EXCHANGE", &exchange), ("EVENTS_URL", &events)];
    let ended = Program::start(file, &environment).end().await;
    assert!(ended.good && ended.err.is_empty(), "{file}: {}", ended.err);
    let names: BTreeSet<&str> = ended.out.lines().collect();
    assert!(names.len() >= least, "{names:?}");
    let client = stage.client().await;
    client.holds("hook", 0).await;
    let told = stage.run(&["dead", "list", "hook"]).await;
    assert_eq!(client.depth("hook.dead").await, Some(0), "{told:?}");
    stage.arrived("/hook/sdk", u64::try_from(names.len()).unwrap()).await;
    let came: BTreeMap<String, Value> = stage
        .sandbox
        .handle()
        .events(Some("/hook/sdk"), 1_000)
        .iter()
        .map(|body| {
            let event: Value = serde_json::from_slice(body).unwrap();
            (event["id"].as_str().unwrap().to_owned(), event)
        })
        .collect();
    for name in names {
        let data =
            if name.ends_with("/empty") { json!({}) } else { json!({"order": {"number": "A-17", "total": 59.9}}) };
        let expected = json!({
            "id": name, "source": "/shop", "type": "order.paid", "time": "2026-01-02T03:04:05.5Z", "data": data,
        });
        assert_eq!(came.get(name), Some(&expected));
    }
}

#[tokio::test]
async fn every_binding_of_the_python_sdk_publishes_an_event_that_arrives_as_it_was() {
    arrives("tests/sdks/publish.py", 24).await;
}

#[tokio::test]
async fn every_binding_of_the_javascript_sdk_publishes_an_event_that_arrives_as_it_was() {
    arrives("tests/sdks/publish.mjs", 16).await;
}

#[tokio::test]
async fn the_python_sdk_publishes_over_http() {
    arrives("tests/sdks/over_http.py", 9).await;
}

#[tokio::test]
async fn the_javascript_sdk_publishes_over_http() {
    arrives("tests/sdks/over_http.mjs", 6).await;
}
