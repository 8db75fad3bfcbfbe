//! What comes out of the queue: anything that is no event costs no request.

use bytes::Bytes;
use sluice::config;
use sluice::destination::Handover;
use sluice::message::{Field, Message};

use super::broker::header;
use super::{Stage, message};

const FAST: &str = "limits = [\"100/s\"]";

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_event_is_a_dead_letter_without_a_request() {
    let stage = Stage::new(FAST);
    let nested = "[".repeat(100_000);
    let bodies: [&[u8]; 7] = [b"", b"{\"a\":", b"[]", b"null", b"\xff\xfe{}", nested.as_bytes(), b"text"];
    for body in bodies {
        stage.broker.put("shop.order", Message { body: Bytes::copy_from_slice(body), ..message(0, true) });
    }
    stage.publish([1]);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["malformed"; 7]);
    for (letter, body) in stage.broker.dead().iter().zip(bodies) {
        assert_eq!(letter.body, body, "kept byte for byte");
        assert!(!header(letter, "x-sluice-sentence").unwrap().is_empty());
    }
    assert_eq!(stage.vendor.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_the_vendors_rules_is_a_dead_letter_without_a_request() {
    let mut stage = Stage::idle(FAST);
    let text = "[broker]\nurl = \"amqp://localhost\"\n[destinations.hook]\nvendor = \"gainsight-px\"\nsubscribe = [\"#\"]\n\
                api_key = \"key-123456\"\nproperty_key = \"AP-1\"\n";
    let config = config::parse("test.toml", text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
    stage.settings = config.destinations["hook"].clone();
    stage.start(&Handover::default());
    let good = br#"{"identifyId":"u","eventName":"n"}"#;
    for body in [&br#"{"eventName":"n"}"#[..], br#"{"identifyId":17,"eventName":"n"}"#, good] {
        stage.broker.put("shop.order", Message { body: Bytes::from_static(body), ..message(0, true) });
    }
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["invalid", "invalid"]);
    assert!(header(&stage.broker.dead()[0], "x-sluice-sentence").unwrap().contains("identifyId"));
    assert_eq!(stage.vendor.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_trace_context_goes_on_to_the_vendor() {
    let stage = Stage::new(FAST);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut traced = message(0, true);
    traced.properties.headers.insert("traceparent".to_owned(), Field::text(trace));
    traced.properties.headers.insert("tracestate".to_owned(), Field::text("shop=42,other=1"));
    stage.broker.put("shop.order", traced);
    stage.publish(1..2);
    stage.drained().await;
    let headers = &stage.vendor.calls_for(0)[0].headers;
    assert_eq!(headers["traceparent"], trace);
    assert_eq!(headers["tracestate"], "shop=42,other=1");
    let untraced = &stage.vendor.calls_for(1)[0].headers;
    assert!(!untraced.contains_key("traceparent") && !untraced.contains_key("tracestate"));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_held_than_the_gate_can_use() {
    let stage = Stage::new("limits = [\"1/s\"]\nconcurrency = 1");
    stage.publish(0..1000);
    super::pass(super::seconds(120)).await;
    assert!(stage.broker.most_unsettled() <= 10, "{}", stage.broker.most_unsettled());
}
