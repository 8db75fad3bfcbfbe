//! Receipts: what becomes of each event is told, in its order, and a broker that takes none holds nothing up.

use bytes::Bytes;
use serde_json::{Value, json};
use sluice::broker::port::{Publication, Publisher};
use sluice::message::{Field, Message, Properties};
use sluice::receipts::{self, ReceiptsTask};
use sluice::supervisor::Part as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::broker::{header, replay};
use super::vendor::Answer;
use super::{Handover, Stage, message, pass, seconds};

/// A stage that tells of outcomes, what publishes them, and where that arrives.
fn telling(lines: &str) -> (Stage, ReceiptsTask, mpsc::Receiver<Publication>) {
    let mut stage = Stage::idle(lines);
    let (queue, arriving) = mpsc::channel(1);
    let counted = stage.metrics.receipts_total.clone();
    let exchange = "sluice.receipts".to_owned();
    let (receipts, task) = receipts::open(Publisher::new(queue), exchange, counted, CancellationToken::new());
    stage.receipts = Some(receipts);
    stage.start(&Handover::default());
    (stage, task, arriving)
}

fn publish(mut task: ReceiptsTask) {
    tokio::spawn(async move { task.run().await });
}

/// The next receipt, which the broker takes: its routing key, and what it says.
async fn next(arriving: &mut mpsc::Receiver<Publication>) -> (String, Value) {
    let received = tokio::time::timeout(seconds(60), arriving.recv()).await;
    let Publication { routing_key, message, outcome, .. } = received.expect("a receipt comes").unwrap();
    outcome.send(Ok(())).unwrap();
    let envelope: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(envelope["subject"], envelope["data"]["event"]["id"]);
    (routing_key, envelope["data"].clone())
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_each_event_is_told_with_its_id_and_why() {
    let (stage, task, mut arriving) = telling("limits = [\"100/s\"]");
    publish(task);
    stage.vendor.behave(|call| Answer::Status(if call.event == 1 { 422 } else { 201 }));
    stage.publish([0]);
    let (key, told) = next(&mut arriving).await;
    assert_eq!(key, "delivered.hook.shop.order");
    assert_eq!(
        (&told["outcome"], &told["event"]["id"], &told["reason"]),
        (&json!("delivered"), &json!("0"), &Value::Null)
    );
    stage.publish([1]);
    let (key, told) = next(&mut arriving).await;
    assert_eq!(key, "dead_lettered.hook.shop.order");
    assert_eq!((&told["reason"], &told["failed_attempts"]), (&json!("rejected"), &json!(1)));
    assert!(told["sentence"].as_str().unwrap().contains("422"), "{told}");
    stage.broker.put("shop.order", Message { body: "{".into(), ..message(2, true) });
    let (_, told) = next(&mut arriving).await;
    assert_eq!((&told["reason"], &told["event"]["id"]), (&json!("malformed"), &json!("2")));
}

/// A message in that form, with these `cloudEvents:` headers.
fn sent(content_type: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Message {
    let headers = headers.iter().map(|(name, value)| (format!("cloudEvents:{name}"), Field::text(*value))).collect();
    let content_type = Some(content_type.to_owned());
    Message { body: body.into(), properties: Properties { content_type, headers, ..Properties::default() } }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_named_in_receipt_and_letter_as_far_as_it_can_be_read() {
    let (stage, task, mut arriving) = telling("limits = [\"100/s\"]");
    publish(task);
    let structured = |rest: &str| {
        let body = format!(r#"{{"specversion":"1.0","id":"S-1","source":"/shop","type":"shop.paid",{rest}}}"#);
        sent("application/cloudevents+json", body, &[])
    };
    let named = [("id", "B-1"), ("source", "/shop"), ("type", "shop.paid")];
    let mut with_both = sent("application/json", "[1]", &named);
    with_both.properties.message_id = Some("m-1".into());
    for (malformed, id) in [
        (structured(r#""time":"2026-01-02 noon""#), "S-1"),
        (structured(r#""data":"str""#), "S-1"),
        (sent("application/json", "[1]", &named), "B-1"),
        (sent("application/json", vec![b' '; 300_000], &named), "B-1"),
        (with_both, "B-1"),
    ] {
        stage.broker.put("shop.x", malformed);
        let (key, told) = next(&mut arriving).await;
        assert_eq!((key.as_str(), &told["reason"]), ("dead_lettered.hook.shop.paid", &json!("malformed")));
        let event = &told["event"];
        assert_eq!(
            (&event["id"], &event["source"], &event["type"]),
            (&json!(id), &json!("/shop"), &json!("shop.paid"))
        );
        let letter = stage.broker.dead().pop().unwrap();
        let written = ["x-sluice-event-id", "x-sluice-event-type", "x-sluice-routing-key"];
        assert_eq!(written.map(|name| header(&letter, name)), [Some(id), Some("shop.paid"), Some("shop.x")]);
        let recent = stage.worker.as_ref().unwrap().handle.recent().await.unwrap();
        let shown = recent.outcomes().next().unwrap();
        assert_eq!((shown.id.as_str(), shown.kind.as_str()), (id, "shop.paid"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_told_and_then_what_became_of_it() {
    let (stage, task, mut arriving) = telling("limits = [\"100/s\"]");
    publish(task);
    stage.broker.put("sluice.hook", replay(7, message(7, true)));
    let mut keys = vec![next(&mut arriving).await.0, next(&mut arriving).await.0];
    // What the helper writes as the producer's key.
    keys.iter_mut().for_each(|key| *key = key.split('.').next().unwrap().to_owned());
    assert_eq!(keys, ["replayed", "delivered"]);
    assert_eq!(stage.metrics.replayed_total.with_label_values(&["hook"]).get(), 1);
    assert_eq!(stage.metrics.received_total.with_label_values(&["hook"]).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_parks_is_told_once() {
    let (stage, task, mut arriving) = telling("limits = [\"100/s\"]");
    publish(task);
    stage.vendor.behave(|_| Answer::Status(401));
    stage.publish(0..5);
    let (key, told) = next(&mut arriving).await;
    assert_eq!(key, "parked.hook.-");
    assert_eq!((&told["outcome"], &told["event"]), (&json!("parked"), &Value::Null));
    assert!(told["sentence"].as_str().unwrap().contains("401"), "{told}");
    pass(seconds(120)).await;
    assert!(arriving.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_no_receipts_holds_no_event_up() {
    // Nobody publishes them.
    let (stage, _task, _arriving) = telling("limits = [\"2000/s\"]");
    stage.publish(0..5_000);
    stage.drained().await;
    assert_eq!(stage.view().await.delivered, 5_000);
    assert_eq!(stage.metrics.receipts_total.with_label_values(&["dropped"]).get(), 5_000 - 4_096);
}

#[tokio::test(start_paused = true)]
async fn each_parking_is_told_also_that_which_follows_a_resume_at_once() {
    let (stage, task, mut arriving) = telling(
        "limits = [\"100/s\"]\npark_after_rejections = 2\n[[destinations.hook.map]]\ntype = \"#\"\nbody = { jq = 'error(\"never\")' }",
    );
    publish(task);
    stage.publish(0..6);
    for _ in 0..3 {
        let told = [next(&mut arriving).await, next(&mut arriving).await, next(&mut arriving).await];
        let mut outcomes = told.map(|(_, told)| told["outcome"].as_str().unwrap().to_owned());
        outcomes.sort();
        assert_eq!(outcomes, ["dead_lettered", "dead_lettered", "parked"]);
        stage.change(sluice::control::stamp::Change::Resume).await;
    }
}
