//! What becomes of a publication.

use std::collections::BTreeMap;

use bytes::Bytes;
use sluice::broker::port::PublishError;
use sluice::message::{Field, Message, Properties};

use crate::support::*;

#[tokio::test]
async fn the_unroutable_one_among_fifty_in_flight_is_the_one_reported() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    let publisher = broker.publisher();
    let queue = broker.names().queue("px");
    for round in 0..20 {
        let all = (0..50).map(|n| {
            let to = if n % 17 == round % 17 { "nowhere".to_owned() } else { queue.clone() };
            let publisher = publisher.clone();
            async move { (to.clone(), publisher.publish("", &to, message("x")).await) }
        });
        for (to, outcome) in futures_util::future::join_all(all).await {
            match to.as_str() {
                "nowhere" => assert!(
                    matches!(outcome, Err(PublishError::Unroutable { routing_key, .. }) if routing_key == "nowhere")
                ),
                _ => assert_eq!(outcome, Ok(())),
            }
        }
    }
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn properties_and_headers_survive_byte_for_byte() {
    let broker = shared().await;
    let mut inbox = open(&broker).await;
    let nested =
        BTreeMap::from([("list".to_owned(), Field::Array(vec![Field::I64(-1), Field::Void, Field::F64(0.5)]))]);
    let headers = BTreeMap::from([
        ("cloudEvents:id".to_owned(), Field::text("é-1")),
        ("bytes".to_owned(), Field::Text(Bytes::from_static(&[0, 255, 128]))),
        ("binary".to_owned(), Field::Binary(Bytes::from_static(&[1, 2, 3]))),
        ("i8".to_owned(), Field::I8(-8)),
        ("i16".to_owned(), Field::I16(-16)),
        ("i32".to_owned(), Field::I32(-32)),
        ("u16".to_owned(), Field::U16(16)),
        ("u32".to_owned(), Field::U32(32)),
        ("u8".to_owned(), Field::U8(8)),
        ("f32".to_owned(), Field::F32(1.5)),
        ("flag".to_owned(), Field::Bool(true)),
        ("when".to_owned(), Field::Timestamp(1_700_000_000)),
        ("price".to_owned(), Field::Decimal(2, 1999)),
        ("nested".to_owned(), Field::Table(nested)),
    ]);
    let text = |text: &str| Some(text.to_owned());
    let properties = Properties {
        content_type: text("application/json"),
        content_encoding: text("utf-8"),
        headers,
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: text("c"),
        reply_to: text("r"),
        expiration: text("60000"),
        message_id: text("m"),
        timestamp: Some(1_700_000_001),
        kind: text("shop.order"),
        user_id: None,
        app_id: text("app"),
    };
    let sent = Message { body: Bytes::from_static(b"\x00\xff{}"), properties };
    broker.publisher().publish(&broker.names().events(), "shop.order", sent.clone()).await.unwrap();
    consume(&inbox, 10).await;
    let taken = take(&mut inbox, 1).await.remove(0);
    assert_eq!(taken.message, sent);
    assert_eq!((taken.routing_key.as_str(), taken.redelivered, taken.returns), ("shop.order", false, 0));
    assert!(ack(taken));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_name_that_does_not_fit_is_refused_and_disturbs_nothing() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    let publisher = broker.publisher();
    let error = publisher.publish("", &"x".repeat(300), message("x")).await.unwrap_err().to_string();
    assert!(error.contains("the routing key is 300 bytes long"), "{error}");
    publish(&broker, 5).await;
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn an_event_nobody_subscribes_to_lies_in_unrouted() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    broker.publisher().publish(&broker.names().events(), "other.thing", message("x")).await.unwrap();
    depth(&broker, broker.names().unrouted(), 1).await;
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn headers_that_fill_a_frame_are_refused_and_cost_nobody_the_connection() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    let queue = broker.names().queue("px");
    let mut huge = message("x");
    huge.properties.headers.insert("huge".to_owned(), Field::text("x".repeat(130_900)));
    let outcome = broker.publisher().publish("", &queue, huge).await;
    assert!(matches!(outcome, Err(PublishError::Unsendable(_))), "{outcome:?}");
    assert_eq!(broker.publisher().publish("", &queue, message("x")).await, Ok(()));
    assert_eq!(broker.status().borrow().publishing.epochs, 1);
    assert!(broker.close(LONG).await);
}
