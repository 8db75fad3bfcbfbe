//! What waits is one figure, whoever is asked.

use serde_json::{Value, json};

use super::stage::{PX, Stage, TOKEN, until};
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

#[tokio::test]
async fn the_events_that_are_sent_next_can_be_looked_at_as_often_as_somebody_likes() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]\nretry = { delays = [\"15s\"] }").await;
    let pause = "/api/v1/destinations/px/pause";
    let (status, text) = stage.ask("POST", pause, Some(TOKEN), "").await;
    assert_eq!(status, 200, "{text}");
    stage.state("px", "paused").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..70).await;
    client.holds("px", 70).await;
    let look = "/api/v1/destinations/px/waiting";
    let (status, text) = stage.ask("POST", look, Some(TOKEN), r#"{"limit":5}"#).await;
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    let ids = |list: &Value| -> Vec<String> {
        list["events"].as_array().unwrap().iter().map(|event| event["id"].to_string()).collect()
    };
    let first = ids(&list);
    assert_eq!(
        (first.len(), &list["events"][0]["type"], &list["events"][0]["returns"]),
        (5, &json!("product.x"), &json!(0))
    );
    client.holds("px", 70).await;
    let ran = stage.run(&["waiting", "px", "--limit", "50", "--json"]).await;
    let again: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&ids(&again)[..5], ids(&again).len()), (&first[..], 50), "they are at its head again");
    // Before RabbitMQ 4.3 a look counts as a return.
    let looks = if std::env::var("SLUICE_TEST_RABBITMQ").is_ok_and(|release| release == "4.3") { 0 } else { 1 };
    assert_eq!(again["events"][0]["returns"], json!(looks));
    client.holds("px", 70).await;
    // However often somebody looks, no event becomes a dead letter by that.
    for _ in 0..25 {
        let (status, text) = stage.ask("POST", look, Some(TOKEN), r#"{"limit":2}"#).await;
        assert_eq!(status, 200, "{text}");
    }
    client.holds("px", 70).await;
    client.holds("px.dead", 0).await;
    stage.fault(r#"{"fault":"status","status":500,"body":"try later","count":1}"#);
    let (status, text) = stage.ask("POST", "/api/v1/destinations/px/resume", Some(TOKEN), "").await;
    assert_eq!(status, 200, "{text}");
    until("one waits for its next attempt", async || {
        let ran = stage.run(&["waiting", "px", "--retrying"]).await;
        ran.out.contains("try later")
    })
    .await;
    stage.arrived(PX, 70).await;
}
