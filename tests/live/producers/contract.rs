//! What `docs/producers.md` says of an ordinary client's messages, where no example shows it.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::support::shared_url;
use crate::worker::client::{event, plain};
use crate::worker::stage::{PX, Stage, until};

async fn at_work() -> Stage {
    Stage::at_work(&shared_url().await, "limits = [\"500/s\"]").await
}

/// Publishes mandatory, as a producer should, and tells what the broker said.
async fn said(stage: &Stage, key: &str, body: &Value, properties: BasicProperties) -> Confirmation {
    let connection = Connection::connect(&shared_url().await, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (exchange, body) = (format!("{}.events", stage.prefix), body.to_string());
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish(exchange.as_str().into(), key.into(), options, body.as_bytes(), properties).await;
    sent.unwrap().await.unwrap()
}

#[tokio::test]
async fn an_event_that_nobody_subscribes_to_is_confirmed_and_not_returned() {
    let stage = at_work().await;
    assert_eq!(said(&stage, "nobody.wants.it", &event(1), plain()).await, Confirmation::Ack(None));
    stage.client().await.holds("unrouted", 1).await;
}

#[tokio::test]
async fn an_event_that_is_published_twice_is_delivered_twice_under_its_id() {
    let stage = at_work().await;
    let mut data = event(1);
    data.as_object_mut().unwrap().remove("eventId");
    for _ in 0..2 {
        let properties = plain().with_message_id("again".into());
        assert_eq!(said(&stage, "product.x", &data, properties).await, Confirmation::Ack(None));
    }
    until("both arrived", async || stage.seen(PX).received == 2).await;
    for body in stage.sandbox.handle().events(Some(PX), 10) {
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["eventId"], "again");
    }
}

#[tokio::test]
async fn an_event_that_expires_while_its_destination_waits_is_a_dead_letter() {
    let stage = at_work().await;
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    stage.state("px", "paused").await;
    let properties = plain().with_message_id("late".into()).with_expiration("100".into());
    said(&stage, "product.x", &event(1), properties).await;
    stage.client().await.holds("px.dead", 1).await;
    let listed = stage.run(&["dead", "list", "px", "--json"]).await;
    assert!(listed.out.contains("\"too_old\"") && listed.out.contains("`expiration`"), "{listed:?}");
}

#[tokio::test]
async fn a_type_is_mapped_by_and_a_routing_key_is_subscribed_to() {
    let mut stage = Stage::new(&shared_url().await).await;
    let map = "[[destinations.px.map]]\ntype = \"order.paid\"\neventName = \"Paid\"\nidentifyId = \"u-1\"";
    stage.configure(&stage.px("px", "product.#", map));
    stage.start();
    stage.ready().await;
    said(&stage, "product.x", &json!({}), plain().with_message_id("one".into()).with_type("order.paid".into())).await;
    stage.arrived(PX, 1).await;
    said(&stage, "order.paid", &json!({}), plain().with_type("product.x".into())).await;
    stage.client().await.holds("unrouted", 1).await;
}
