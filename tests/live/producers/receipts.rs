//! The examples that read receipts learn what became of events, and receipts are as their schema says.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use serde_json::{Value, json};
use sluice::receipts::ReceiptKind;

use super::Program;
use crate::support::shared_url;
use crate::worker::client::{Client, event, plain};
use crate::worker::stage::{PX, Stage, until};

/// `docs/receipt.schema.json`, formats checked.
pub fn schema() -> jsonschema::Validator {
    let text = std::fs::read_to_string(super::root().join("docs/receipt.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

async fn at_work() -> Stage {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.broker = "receipts = true";
    let px = stage.px("px", "product.#", "limits = [\"500/s\"]\npark_after_rejections = 2\nexpired = \"drop\"");
    stage.configure(&format!("[suppression]\nkey = \"a secret of thirty-two bytes, or more\"\n{px}"));
    stage.start();
    stage.ready().await;
    stage
}

/// Starts an example that reads receipts, and waits until it does.
async fn reader(file: &str, stage: &Stage, client: &Client) -> Program {
    let url = shared_url().await;
    let (exchange, queue) = (format!("{}.receipts", stage.prefix), format!("{}.reader", stage.prefix));
    let program = Program::start(file, &[("AMQP_URL", &url), ("SLUICE_RECEIPTS", &exchange), ("QUEUE", &queue)]);
    until("the example consumes", async || client.consumers("reader").await == Some(1)).await;
    program
}

async fn publish(client: &Client, id: &str, data: Value) {
    let properties: BasicProperties = plain().with_message_id(id.into()).with_app_id("/shop".into());
    client.publish("product.report.exported", data.to_string(), properties.with_timestamp(1_767_323_045)).await;
}

#[tokio::test]
async fn the_python_example_learns_which_events_died_and_why() {
    let stage = at_work().await;
    let client = stage.client().await;
    let mut reader = reader("docs/examples/receipts.py", &stage, &client).await;
    publish(&client, "good", event(1)).await;
    publish(&client, "bad", json!({ "eventName": "Report exported" })).await;
    let line = reader.line().await;
    assert!(line.starts_with("bad px invalid ") && line.contains("\"identifyId\" is missing"), "{line}");
}

#[tokio::test]
async fn the_node_example_learns_what_became_of_each_event_of_a_destination() {
    let stage = at_work().await;
    let client = stage.client().await;
    let mut reader = reader("docs/examples/receipts.mjs", &stage, &client).await;
    publish(&client, "good", event(1)).await;
    assert_eq!(reader.line().await, "delivered good -");
    publish(&client, "bad", json!({})).await;
    assert_eq!(reader.line().await, "dead_lettered bad invalid");
}

/// One event of each outcome, and a message that is none.
async fn all_outcomes(stage: &Stage, client: &Client) {
    publish(client, "good", event(1)).await;
    publish(client, "bad", json!({})).await;
    client.publish("product.junk", "[]", plain()).await;
    let late = json!({ "specversion": "1.0", "id": "late", "source": "/shop", "type": "product.x",
        "expirytime": "2020-01-01T00:00:00Z", "data": {} });
    let structured = plain().with_content_type("application/cloudevents+json".into());
    client.publish("product.x", late.to_string(), structured).await;
    stage.arrived(PX, 1).await;
    let suppressed = stage.run(&["suppress", "add", "u-gone"]).await;
    assert_eq!(suppressed.code, 0, "{suppressed:?}");
    publish(client, "gone", json!({ "identifyId": "u-gone", "eventName": "Report exported" })).await;
    client.holds("px.dead", 2).await;
    let replayed = stage.run(&["dead", "replay", "px", "--reason", "invalid", "--yes"]).await;
    assert_eq!(replayed.code, 4, "it dies again: {replayed:?}");
    stage.fault(r#"{"fault":"status","status":400,"body":"{}"}"#);
    for n in 2..6 {
        publish(client, &format!("refused-{n}"), event(n)).await;
    }
    stage.state("px", "parked").await;
}

#[tokio::test]
async fn a_receipt_of_each_outcome_keeps_to_the_schema() {
    let stage = at_work().await;
    let client = stage.client().await;
    until("the exchange is there", async || client.bind("all", "receipts", "#").await).await;
    client.bind("parked", "receipts", "parked.px.-").await;
    all_outcomes(&stage, &client).await;
    client.holds("parked", 1).await;
    until("the others are told", async || client.depth("all").await >= Some(8)).await;
    let (schema, mut outcomes) = (schema(), BTreeSet::new());
    for found in client.drain("all").await {
        let receipt: Value = serde_json::from_slice(&found.body).unwrap();
        let problems: Vec<_> = schema.iter_errors(&receipt).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}\n{receipt}");
        let content_type = found.properties.content_type().as_ref().map(ToString::to_string);
        assert_eq!(content_type.as_deref(), Some("application/cloudevents+json"));
        outcomes.insert(receipt["data"]["outcome"].as_str().unwrap().to_owned());
    }
    assert_eq!(outcomes, ReceiptKind::ALL.map(|outcome| outcome.name().to_owned()).into());
}
