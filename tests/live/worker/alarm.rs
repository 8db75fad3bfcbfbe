//! A broker that takes no messages for now: deliveries go on, and what waits is told.

use super::client::{event, plain};
use super::stage::{PX, Stage, until};
use crate::support::own_node;

/// More than are held at once.
const BAD: u64 = 400;

#[tokio::test]
async fn while_the_broker_takes_no_messages_events_are_delivered_and_copies_wait_and_it_is_told() {
    let node = own_node().await;
    let stage = Stage::at_work(&node.url(), "limits = [\"500/s\"]").await;
    let client = stage.client().await;
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    for number in 0..BAD {
        client.publish("product.x", "{", plain()).await;
        client
            .publish("product.x", event(number).to_string(), plain().with_message_id(format!("{number}").into()))
            .await;
    }
    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1000"]).await.unwrap();
    let resumed = stage.ask("POST", "/api/v1/destinations/px/resume", Some(super::stage::TOKEN), "").await;
    assert_eq!(resumed.0 / 100, 2, "{resumed:?}");
    stage.arrived(PX, BAD).await;
    until("the copies are told", async || {
        stage.metric("sluice_copies_waiting{destination=\"px\"}").await == Some(400.0)
    })
    .await;
    let (status, ready) = stage.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    assert!(ready.contains("resource alarm") && ready.contains("400 retries or dead letters"), "{ready}");
    let shown = stage.run(&["status"]).await;
    assert!(shown.out.contains("400 retries or dead letters that the broker does not take"), "{shown:?}");
    let said = || stage.log().matches("a copy could not be published").count();
    until("the log says it", async || said() > 0).await;
    assert_eq!(said(), 1, "said once");
    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.unwrap();
    until("nothing waits", async || stage.metric("sluice_copies_waiting{destination=\"px\"}").await == Some(0.0)).await;
    // Those that were on their way when the alarm came may be there twice.
    assert!(client.drain("px.dead").await.len() >= usize::try_from(BAD).unwrap());
    assert_eq!(stage.seen(PX).duplicates, 0);
}
