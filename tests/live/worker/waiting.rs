//! What waits is one figure, whoever is asked.

use serde_json::json;

use super::stage::{Stage, until};
use crate::support::shared_url;

#[tokio::test]
async fn command_api_console_and_metric_tell_the_same_number_of_waiting_events() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    stage.fault(r#"{"fault":"status","status":503}"#);
    let client = stage.client().await;
    client.publish_all("product.x", 0..48).await;
    stage.state("px", "broken").await;
    until("all are counted", async || stage.shown("px").await["waiting"] == json!(48)).await;
    let shown = stage.shown("px").await;
    let part = |name: &str| shown[name].as_u64().unwrap();
    assert_eq!(part("queue_ready") + part("held") + part("retrying"), 48, "{shown}");
    assert!(part("held") > 0, "{shown}");
    assert_eq!(stage.metric("sluice_waiting{destination=\"px\"}").await, Some(48.0));
    let status = stage.run(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["destinations"][0]["waiting"], json!(48));
    let table = stage.run(&["status"]).await;
    let words: Vec<&str> = table.out.lines().last().unwrap().split_whitespace().collect();
    assert!(words.contains(&"48"), "{table:?}");
}
