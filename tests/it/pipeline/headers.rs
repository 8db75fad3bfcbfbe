//! Events with much in their headers: each stays the event that it is, over retries, letters and replays.

use bytes::Bytes;
use sluice::message::{Field, Headers, MAX_HEADER_BYTES, MOST_HEADER_BYTES, Message, wire_bytes};
use sluice::record::copy::original;

use super::broker::header;
use super::vendor::Answer;
use super::{Stage, message, pass, seconds};

const LINES: &str = "limits = [\"100/s\"]\nidempotency_key = true\nheaders = { x-source = { jq = \"$event.source\" }, \
    x-type = { jq = \"$event.type\" }, x-time = { jq = \"$event.time\" } }\n[destinations.hook.retry]\ndelays = [\"5s\"]\nmax_age = \"10m\"";

/// A binary event of that number whose other headers take about so many bytes.
fn laden(prefix: &str, number: u64, bytes: usize) -> Message {
    let attributes = [("id", "the-one"), ("source", "/shop"), ("type", "order.paid"), ("time", "2026-01-02T03:04:05Z")];
    let mut headers: Headers = attributes.map(|(name, value)| (format!("{prefix}{name}"), Field::text(value))).into();
    for part in 0..10 {
        headers.insert(format!("blob-{part}"), Field::Binary(Bytes::from(vec![7; bytes / 10])));
    }
    let mut message = message(number, false);
    message.properties.headers = headers;
    message
}

/// What a request says of the event that it is for.
fn said(headers: &http::HeaderMap) -> [&str; 4] {
    ["idempotency-key", "x-source", "x-type", "x-time"].map(|name| headers[name].to_str().unwrap())
}

const THE_ONE: [&str; 4] = ["\"the-one\"", "/shop", "order.paid", "2026-01-02T03:04:05Z"];

#[tokio::test(start_paused = true)]
async fn an_event_with_all_the_headers_allowed_is_the_same_event_at_every_attempt() {
    for (number, prefix) in ["cloudEvents:", "cloudEvents_", "ce-", "ce_"].into_iter().enumerate() {
        let stage = Stage::new(LINES);
        stage.vendor.behave(|call| Answer::Status(if call.event < 10 { 500 } else { 201 }));
        stage.publish(10..11);
        pass(seconds(1)).await;
        let number = u64::try_from(number).unwrap();
        let published = laden(prefix, number, MAX_HEADER_BYTES - 500);
        stage.broker.put("shop.order", published.clone());
        for event in 100..200 {
            // It is not the vendor that is in trouble.
            stage.publish([event]);
            pass(seconds(1)).await;
        }
        let calls = stage.vendor.calls_for(number);
        assert!(calls.len() > 5, "{}", calls.len());
        calls.iter().for_each(|call| assert_eq!(said(&call.headers), THE_ONE, "{prefix}"));
        for copy in stage.broker.published() {
            assert!(wire_bytes(&copy.message.properties.headers) <= MOST_HEADER_BYTES);
            assert_eq!(original(&copy.message).properties.headers, published.properties.headers, "nothing is left out");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_headers_no_copy_could_carry_is_a_letter_before_anything_is_sent_and_replays_as_itself() {
    let stage = Stage::new(LINES);
    stage.broker.put("shop.order", laden("ce-", 1, 125_000));
    stage.drained().await;
    assert_eq!((stage.broker.reasons(), stage.vendor.count()), (vec!["malformed".to_owned()], 0));
    let letter = stage.broker.dead().remove(0);
    assert_eq!(header(&letter, "x-sluice-event-id"), Some("the-one"));
    let sentence = header(&letter, "x-sluice-sentence").unwrap();
    assert!(sentence.ends_with("at most 100000 are allowed, since every copy carries them"), "{sentence}");
    assert!(wire_bytes(&letter.properties.headers) <= MOST_HEADER_BYTES);
    let kept = original(&letter).properties.headers;
    assert_eq!(kept.keys().filter(|name| name.starts_with("blob")).count(), 9, "as much as fits");
    // As a replay puts it back.
    stage.broker.put("shop.order", super::broker::replay(1, letter));
    stage.drained().await;
    let [call] = &stage.vendor.calls_for(1)[..] else { panic!("one request") };
    assert_eq!(said(&call.headers), THE_ONE);
}
