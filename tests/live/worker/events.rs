//! What becomes of an event, or of what is none.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::client::{event, plain};
use super::stage::{PX, Stage};
use crate::support::shared_url;

async fn at_work() -> Stage {
    Stage::at_work(&shared_url().await, "limits = [\"500/s\"]").await
}

fn table(fields: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

fn structured() -> BasicProperties {
    BasicProperties::default().with_content_type("application/cloudevents+json".into())
}

#[tokio::test]
async fn an_event_in_each_of_the_three_forms_is_delivered_once() {
    let stage = at_work().await;
    let client = stage.client().await;
    let data = json!({ "identifyId": "u-1", "eventName": "Report exported" });
    let envelope = json!({ "specversion": "1.0", "id": "one", "source": "/shop", "type": "product.report",
        "time": "2026-01-02T03:04:05Z", "data": data });
    client.publish("product.report", envelope.to_string(), structured()).await;
    let attributes = [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", "two"),
        ("cloudEvents:source", "/shop"),
        ("cloudEvents:type", "product.report"),
        ("cloudEvents:time", "2026-01-02T03:04:05Z"),
    ];
    client.publish("product.report", data.to_string(), plain().with_headers(table(&attributes))).await;
    let properties =
        plain().with_message_id("three".into()).with_app_id("shop".into()).with_type("product.report".into());
    client.publish("product.report", data.to_string(), properties.with_timestamp(1_767_323_045)).await;
    stage.arrived(PX, 3).await;
    let mut seen: Vec<_> = stage
        .sandbox
        .handle()
        .events(Some(PX), 10)
        .iter()
        .map(|body| serde_json::from_slice::<serde_json::Value>(body).unwrap())
        .map(|body| {
            (body["eventId"].as_str().unwrap().to_owned(), body["date"].as_i64().unwrap(), body["eventName"].clone())
        })
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = ["one", "three", "two"].map(|id| (id.to_owned(), 1_767_323_045_000, json!("Report exported")));
    assert_eq!(seen, expected);
    client.holds("px", 0).await;
    assert_eq!((stage.seen(PX).received, client.depth("px.dead").await), (3, Some(0)));
}

/// Not events: name, body, properties, and a part of the sentence.
fn malformed() -> Vec<(&'static str, Vec<u8>, BasicProperties, &'static str)> {
    let no_id = json!({ "specversion": "1.0", "source": "/s", "type": "product.x", "data": {} }).to_string();
    let no_time =
        json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "product.x", "time": "noon", "data": {} })
            .to_string();
    let nested = [b"{\"attributes\":".to_vec(), vec![b'['; 100_000], vec![b']'; 100_000], b"}".to_vec()].concat();
    vec![
        ("empty", vec![], plain(), "the body is empty"),
        ("truncated", b"{\"eventName\": \"Rep".to_vec(), plain(), "not JSON"),
        ("an array", b"[{}]".to_vec(), plain(), "an array, not a JSON object"),
        ("a number", b"7".to_vec(), plain(), "a number, not a JSON object"),
        ("not UTF-8", b"{\"a\":\"\xff\"}".to_vec(), plain(), "not UTF-8: invalid byte at offset 6"),
        ("brackets", vec![b'['; 100_000], plain(), "nested too deeply"),
        ("closed brackets", nested, plain(), "nested too deeply"),
        ("too big", vec![b' '; 300_000], plain(), "300000 bytes; at most 262144"),
        ("no id", no_id.into_bytes(), structured(), "\"id\" is missing"),
        ("no time", no_time.into_bytes(), structured(), "\"time\" is \"noon\""),
        ("XML", b"<a/>".to_vec(), BasicProperties::default().with_content_type("text/xml".into()), "text/xml"),
        ("packed", b"{}".to_vec(), plain().with_content_encoding("gzip".into()), "gzip"),
    ]
}

/// Events that Gainsight PX would refuse: name, what is wrong, and a part of the sentence.
fn invalid() -> Vec<(&'static str, serde_json::Value, &'static str)> {
    let attributes: serde_json::Map<_, _> = (0..51).map(|n| (format!("a{n}"), json!(n))).collect();
    vec![
        ("no name", json!({ "eventName": null }), "\"eventName\" is missing"),
        ("no user", json!({ "identifyId": "" }), "\"identifyId\" is missing"),
        ("name of wrong type", json!({ "eventName": 5 }), "\"eventName\" is a number"),
        ("date of wrong type", json!({ "date": "now" }), "\"date\" is a string"),
        ("unknown user type", json!({ "userType": "KING" }), "KING"),
        ("over-long name", json!({ "eventName": "x".repeat(2001) }), "2001 characters"),
        ("51 attributes", json!({ "attributes": attributes }), "51 entries"),
        ("unknown field", json!({ "colour": "red" }), "\"colour\""),
    ]
}

#[tokio::test]
async fn junk_becomes_dead_letters_that_say_why_and_costs_no_request() {
    let stage = at_work().await;
    let client = stage.client().await;
    let junk =
        malformed().into_iter().map(|(name, body, properties, part)| (name, body, properties, "malformed", part));
    let wrong = invalid().into_iter().map(|(name, fields, part)| {
        let mut data = event(1);
        data.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        (name, data.to_string().into_bytes(), plain(), "invalid", part)
    });
    let all: Vec<_> = junk.chain(wrong).collect();
    for (name, body, properties, ..) in &all {
        let own = properties.clone().with_message_id((*name).into()).with_priority(3).with_app_id("shop".into());
        client.publish("product.x", body, own.with_headers(table(&[("x-own", name)]))).await;
    }
    client.holds("px.dead", u32::try_from(all.len()).unwrap()).await;
    let letters = client.drain("px.dead").await;
    for (name, body, properties, reason, part) in &all {
        let letter =
            letters.iter().find(|letter| letter.id() == *name).unwrap_or_else(|| panic!("{name} is not there"));
        let sentence = letter.header("x-sluice-sentence").unwrap_or_default();
        assert!(sentence.contains(part), "{name}: {sentence}");
        assert_eq!(letter.header("x-sluice-reason").as_deref(), Some(*reason), "{name}");
        assert_eq!(letter.header("x-sluice-destination").as_deref(), Some("px"));
        assert_eq!(letter.header("x-sluice-routing-key").as_deref(), Some("product.x"));
        assert_eq!(letter.header("x-sluice-fingerprint").map(|print| print.len()), Some(16));
        assert_eq!(letter.header("x-own").as_deref(), Some(*name));
        assert_eq!(&letter.body, body, "{name}");
        let kept = &letter.properties;
        assert_eq!(
            (kept.content_type(), kept.content_encoding()),
            (properties.content_type(), properties.content_encoding())
        );
        assert_eq!(
            (*kept.priority(), kept.app_id().as_ref().map(ToString::to_string)),
            (None, Some("shop".to_owned()))
        );
        let headers = kept.headers().as_ref().unwrap().inner();
        assert!(headers.keys().any(|name| name.as_str() == "x-sluice-property-priority"), "kept for a replay");
    }
    assert_eq!(stage.seen(PX).received, 0, "no request was made");
}

#[tokio::test]
async fn an_event_that_no_destination_wants_lies_in_unrouted() {
    let stage = at_work().await;
    let client = stage.client().await;
    client.publish_all("nobody.wants.it", [1]).await;
    client.holds("unrouted", 1).await;
    assert_eq!(stage.seen(PX).received, 0);
}

#[tokio::test]
async fn an_event_that_the_vendor_refuses_is_a_dead_letter_with_its_attempt() {
    let stage = at_work().await;
    let client = stage.client().await;
    stage.fault(
        r#"{"fault":"status","status":422,"body":"{\"message\":\"no such property of ann@example.com\"}","count":1}"#,
    );
    client.publish_all("product.x", [1, 2]).await;
    client.holds("px.dead", 1).await;
    let letter = client.drain("px.dead").await.remove(0);
    assert_eq!(letter.header("x-sluice-reason").as_deref(), Some("rejected"));
    let sentence = letter.header("x-sluice-sentence").unwrap();
    assert!(
        sentence.contains("422") && sentence.contains("no such property") && !sentence.contains("ann@"),
        "{sentence}"
    );
    let attempts = letter.header("x-sluice-attempts").unwrap();
    assert!(attempts.contains("\"status\":422"), "{attempts}");
    stage.arrived(PX, 1).await;
}

#[tokio::test]
async fn a_message_that_crashes_every_worker_ends_among_the_dead_letters() {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.broker = "delivery_limit = 5";
    stage.configure(&stage.px("px", "product.#", "limits = [\"500/s\"]"));
    stage.start();
    stage.ready().await;
    assert_eq!(stage.stop().await, Some(0));
    stage.client().await.publish_all("product.x", [1]).await;
    for _ in 0..6 {
        // Each of these plays a worker that dies over the message.
        let victim = stage.client().await;
        super::stage::until("the message is there", async || victim.take("px", false).await.is_some()).await;
        victim.leave().await;
    }
    let client = stage.client().await;
    client.holds("px.dead", 1).await;
    assert_eq!(client.depth("px").await, Some(0));
    assert_eq!(client.drain("px.dead").await.remove(0).body, event(1).to_string().into_bytes());
    stage.start();
    client.publish_all("product.x", [2]).await;
    stage.arrived(PX, 1).await;
}
