//! Receipts as a producer gets them from a real broker, and what becomes of them when their exchange is taken away.

use serde_json::Value;

use super::client::{event, plain};
use super::stage::{PX, Stage, TOKEN, until};
use crate::support::{own_node, shared_url};

const RECEIPTS: &str = "receipts = true\n";

async fn telling() -> Stage {
    telling_at(&shared_url().await).await
}

async fn telling_at(url: &str) -> Stage {
    let mut stage = Stage::new(url).await;
    stage.broker = RECEIPTS;
    stage.configure(&stage.px("px", "product.#", "limits = [\"200/s\"]"));
    stage.start();
    stage.ready().await;
    stage
}

#[tokio::test]
async fn whoever_binds_a_queue_learns_what_became_of_each_event() {
    let stage = telling().await;
    let client = stage.client().await;
    until("the exchange is there", async || client.bind("mine", "receipts", "#").await).await;
    client.publish_all("product.good", 0..20).await;
    client.publish("product.bad", "[]", plain().with_message_id("bad-1".into())).await;
    client.holds("mine", 21).await;
    let mut told: Vec<Value> =
        client.drain("mine").await.iter().map(|found| serde_json::from_slice(&found.body).unwrap()).collect();
    told.sort_by_key(|receipt| receipt["subject"].as_str().map(str::to_owned));
    assert_eq!((&told[0]["subject"], &told[0]["type"]), (&"bad-1".into(), &"sluice.receipt.dead_lettered".into()));
    assert_eq!(told[0]["data"]["reason"], "malformed");
    assert!(told[1..].iter().all(|receipt| receipt["type"] == "sluice.receipt.delivered"), "{told:?}");
    let subjects: std::collections::BTreeSet<&str> =
        told.iter().filter_map(|receipt| receipt["subject"].as_str()).collect();
    assert_eq!(subjects.len(), 21);
    assert_eq!(stage.metric("sluice_receipts_total{outcome=\"sent\"}").await, Some(21.0));
}

#[tokio::test]
async fn the_exchange_of_receipts_may_go_and_every_event_is_delivered_all_the_same() {
    let mut stage = telling().await;
    let client = stage.client().await;
    until("the exchange is there", async || client.bind("mine", "receipts", "#").await).await;
    client.delete_exchange("receipts").await;
    stage.fault(r#"{"fault":"status","status":500,"count":2}"#);
    client.publish_all("product.good", 0..300).await;
    stage.arrived(PX, 300).await;
    client.publish("product.last", event(999).to_string(), plain().with_message_id("e-999".into())).await;
    stage.arrived(PX, 301).await;
    until("the exchange is made again", async || client.bind("mine", "receipts", "#").await).await;
    assert_eq!(stage.stop().await, Some(0));
}

#[tokio::test]
async fn a_broker_that_takes_no_receipts_holds_no_stop_up() {
    let node = own_node().await;
    let mut stage = telling_at(&node.url()).await;
    let order = async |what: &str| {
        let path = format!("/api/v1/destinations/px/{what}");
        assert_eq!(stage.ask("POST", &path, Some(TOKEN), "").await.0, 200);
    };
    order("pause").await;
    stage.client().await.publish_all("product.good", 0..50).await;
    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1000"]).await.unwrap();
    order("resume").await;
    stage.arrived(PX, 50).await;
    until("the broker takes nothing", async || stage.metric("sluice_broker_blocked").await == Some(1.0)).await;
    assert_eq!(stage.stop().await, Some(0));
    assert!(stage.log().contains("did not take every receipt in time"), "{}", stage.log());
}
