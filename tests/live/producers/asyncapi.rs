//! `docs/asyncapi.yaml` is valid AsyncAPI, names what is at the broker, and its examples are what they say.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;
use sluice::broker::Names;
use sluice::event::{Context, Event, decode};
use sluice::message::{Field, Message, Properties};
use sluice::receipts::ReceiptKind;
use sluice::verdict::Reason;

use super::Program;

/// The document with all that it refers to, once the AsyncAPI parser has found nothing wrong with it.
async fn document() -> Value {
    let path = super::root().join("docs/asyncapi.yaml");
    let ended = Program::start_with("tests/node/asyncapi.mjs", &[path.to_str().unwrap()], &[]).end().await;
    assert!(ended.good, "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test]
async fn the_asyncapi_document_is_valid_and_names_what_is_at_the_broker() {
    let document = document().await;
    let names = Names::new("sluice");
    let exchange = |channel: &str| &document["channels"][channel]["bindings"]["amqp"]["exchange"]["name"];
    assert_eq!(exchange("events"), names.events().as_str());
    assert_eq!(exchange("receipts"), names.receipts().as_str());
    assert_eq!(document["channels"]["unrouted"]["address"], names.unrouted().as_str());
}

#[tokio::test]
async fn the_examples_of_the_asyncapi_document_are_one_event_in_three_forms() {
    let document = document().await;
    let events: Vec<Event> = ["structured", "binary", "plain"]
        .map(|form| {
            let message = example(&document["components"]["messages"][form]);
            decode(&message, Context { routing_key: "-", received: jiff::Timestamp::MIN, max_bytes: 262_144 }).unwrap()
        })
        .into();
    for event in &events {
        let told = (&event.id, &event.source, &event.kind, event.time, &event.data);
        let first = &events[0];
        assert_eq!(told, (&first.id, &first.source, &first.kind, first.time, &first.data));
    }
}

#[tokio::test]
async fn a_receipt_is_described_as_it_is() {
    let document = document().await;
    let receipt = &document["components"]["messages"]["receipt"];
    let schema = super::receipts::schema();
    let problems: Vec<_> =
        schema.iter_errors(&receipt["examples"][0]["payload"]).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let set = |values: &Value| -> BTreeSet<String> { serde_json::from_value(values.clone()).unwrap() };
    let outcomes: BTreeSet<String> = ReceiptKind::ALL.map(|outcome| outcome.name().to_owned()).into();
    assert_eq!(set(&document["channels"]["receipts"]["parameters"]["outcome"]["enum"]), outcomes);
    let data = &receipt["payload"]["properties"]["data"]["properties"];
    assert_eq!(set(&data["outcome"]["enum"]), outcomes);
    let reasons = data["reason"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert!(reasons.eq(Reason::ALL.iter().map(|reason| reason.name())));
}

/// The message that a form's example describes.
fn example(form: &Value) -> Message {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let example = &form["examples"][0];
    let own = &form["x-amqp-properties"];
    let headers = example["headers"].as_object().into_iter().flatten();
    Message {
        body: Bytes::from(example["payload"].to_string()),
        properties: Properties {
            content_type: text(&form["contentType"]),
            headers: headers.map(|(name, value)| (name.clone(), Field::text(value.as_str().unwrap()))).collect(),
            message_id: text(&own["message_id"]),
            app_id: text(&own["app_id"]),
            kind: text(&own["type"]),
            timestamp: own["timestamp"].as_u64(),
            ..Properties::default()
        },
    }
}
