//! A pause tells who set it, why and until when, at every worker and to the next driver; and what operators do is in the audit.

use serde_json::{Value, json};

use super::stage::{PX, Stage, TOKEN, until};
use crate::support::shared_url;

const LIMITS: &str = "limits = [\"100/s\"]";

async fn pause(stage: &Stage, body: &Value) {
    let (status, text) = stage.ask("POST", "/api/v1/destinations/px/pause", Some(TOKEN), &body.to_string()).await;
    assert_eq!(status, 200, "{text}");
}

/// The audit's entries about a destination, or about all.
async fn audit(stage: &Stage) -> Vec<Value> {
    let (_, text) = stage.get("/api/v1/dead/audit").await;
    let audit: Value = serde_json::from_str(&text).unwrap_or_default();
    audit["entries"].as_array().cloned().unwrap_or_default()
}

async fn in_audit(stage: &Stage, act: &str) -> Value {
    let found = async || audit(stage).await.into_iter().find(|entry| entry["act"] == act);
    until(&format!("{act} is in the audit"), async || found().await.is_some()).await;
    found().await.unwrap()
}

/// A second worker beside the stage's.
pub async fn another(stage: &Stage) -> Stage {
    let mut other = Stage::new(&shared_url().await).await;
    other.prefix.clone_from(&stage.prefix);
    other.configure(&other.px("px", "product.#", LIMITS));
    other.start();
    other.ready().await;
    other
}

#[tokio::test]
async fn a_pause_with_a_reason_and_an_end_is_known_at_each_worker_and_to_the_next_driver() {
    let mut stage = Stage::at_work(&shared_url().await, LIMITS).await;
    let other = another(&stage).await;
    pause(&other, &json!({ "reason": "vendor maintenance", "for": "2h" })).await;
    for worker in [&stage, &other] {
        until("both know why", async || {
            let shown = worker.shown("px").await;
            let why = shown["why"].as_str().unwrap_or_default();
            why.starts_with("paused by admin, ")
                && why.contains(", until ")
                && why.ends_with(" UTC: vendor maintenance")
        })
        .await;
        let shown = worker.shown("px").await;
        assert_eq!((&shown["paused_by"], &shown["pause_reason"]), (&json!("admin"), &json!("vendor maintenance")));
        assert_eq!(shown["until"], shown["paused_until"], "{shown}");
    }
    let (before, driver) = (stage.shown("px").await, stage.shown("px").await["drives"] == json!(true));
    assert!(driver, "the first worker drives: {before}");
    stage.kill().await;
    until("the other drives", async || other.shown("px").await["drives"] == json!(true)).await;
    let after = other.shown("px").await;
    assert_eq!((&after["paused_until"], &after["why"]), (&before["paused_until"], &before["why"]));
}

#[tokio::test]
async fn a_pause_ends_by_itself_after_its_time_also_where_nobody_drove_meanwhile() {
    let mut stage = Stage::at_work(&shared_url().await, LIMITS).await;
    let client = stage.client().await;
    pause(&stage, &json!({ "for": "3s" })).await;
    client.publish_all("product.x", 0..5).await;
    assert_eq!(stage.shown("px").await["state"], "paused");
    stage.arrived(PX, 5).await;
    assert_eq!(
        (&stage.shown("px").await["state"], &stage.shown("px").await["paused_at"]),
        (&json!("open"), &Value::Null)
    );
    until("the log says so", async || stage.log().contains("the pause ended by itself")).await;
    pause(&stage, &json!({ "for": "2s" })).await;
    stage.kill().await;
    client.publish_all("product.x", 5..10).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    stage.start();
    stage.arrived(PX, 10).await;
}

#[tokio::test]
async fn what_operators_do_is_in_the_audit_with_name_and_place() {
    let mut stage = Stage::at_work(&shared_url().await, LIMITS).await;
    stage.environment.push(("USER", "ann".to_owned()));
    pause(&stage, &json!({ "reason": "a test" })).await;
    let entry = in_audit(&stage, "pause").await;
    assert_eq!((&entry["by"], &entry["place"], &entry["destination"]), (&json!("admin"), &json!("api"), &json!("px")));
    assert_eq!((&entry["filter"], &entry["outcome"]), (&json!("a test"), &json!("paused")));
    let resumed = stage.run(&["resume", "px"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let entry = in_audit(&stage, "resume").await;
    assert!(entry["by"].as_str().unwrap().starts_with("ann@") && entry["place"] == "command line", "{entry}");
    let limited = stage.run(&["limits", "px", "40/s"]).await;
    assert!(limited.code == 0 && limited.out.contains("limits 100/s → 40/s"), "{limited:?}");
    assert_eq!(in_audit(&stage, "limits").await["filter"], "100/s → 40/s");
    stage.signal("HUP").await;
    let entry = in_audit(&stage, "reload").await;
    assert_eq!((&entry["by"], &entry["outcome"]), (&json!("SIGHUP"), &json!("applied")));
    assert_eq!(stage.stop().await, Some(0));
    let reset = stage.run(&["lease", "reset", "px", "--yes"]).await;
    assert_eq!(reset.code, 0, "{reset:?}");
    let told = stage.run(&["audit", "px"]).await;
    assert!(told.code == 0 && told.out.contains("lease_reset"), "{told:?}");
    let until = stage.run(&["pause", "px", "--for", "soon"]).await;
    assert!(until.code == 2 && until.err.contains("90m, 2h or 1d"), "{until:?}");
}

#[tokio::test]
async fn a_pause_that_makes_no_sense_is_refused_with_what_to_write() {
    let stage = Stage::at_work(&shared_url().await, LIMITS).await;
    for (body, status) in [
        (r#"{"for":"soon"}"#, 422),
        (r#"{"for":"0s"}"#, 422),
        (r#"{"until":"x"}"#, 422),
        ("{", 400),
        ("[null,null]", 422),
        ("null", 200),
        (r#"{"for":"2h"}"#, 200),
        ("{}", 200),
        ("", 200),
    ] {
        let (answered, text) = stage.ask("POST", "/api/v1/destinations/px/pause", Some(TOKEN), body).await;
        assert_eq!(answered, status, "{body}: {text}");
    }
}
