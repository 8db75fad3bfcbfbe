//! The vendor's own words, wherever a person looks.

use serde_json::Value;

use super::stage::{Stage, until};
use crate::support::shared_url;

#[tokio::test]
async fn a_revoked_key_is_told_in_the_vendors_words_by_status_api_log_and_page() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    stage.fault(r#"{"fault":"status","status":401,"body":"API key revoked"}"#);
    let client = stage.client().await;
    client.publish_all("product.x", 0..20).await;
    stage.state("px", "parked").await;
    let words = "Gainsight PX answered 401: API key revoked";
    let shown = stage.shown("px").await;
    let why = shown["why"].as_str().unwrap();
    assert!(why.starts_with(words) && why.contains(" s ago)") && why.contains("; check the key"), "{why}");
    assert!(shown["answered_at"].is_string(), "{shown}");
    let status = stage.run(&["status"]).await;
    assert!(status.out.contains(words), "{status:?}");
    let parked = "the destination is parked";
    let told = |line: &str| line.contains(parked) && line.contains(words);
    until("the log says why it is parked", async || stage.log().lines().any(told)).await;
    assert_eq!(stage.metric("sluice_last_failure_status{destination=\"px\"}").await, Some(401.0));
    // The first probe comes after 15 s.
    until("a probe was answered", async || {
        let shown: Value = stage.shown("px").await;
        shown["why"].as_str().is_some_and(|why| why.contains("1st probe)"))
    })
    .await;
    let told = |line: &str| line.contains("\"outcome\":\"probe\"") && line.contains(words);
    until("the log tells of the probe", async || stage.log().lines().any(told)).await;
}
