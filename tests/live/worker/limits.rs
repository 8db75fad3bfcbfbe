//! Limits: shown, changed with what they were, warned of above what the vendor documents, and reset to the configuration.

use serde_json::{Value, json};

use super::stage::{Stage, TOKEN, until};
use crate::support::shared_url;

#[tokio::test]
async fn limits_are_shown_changed_with_what_they_were_and_reset() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    let shown = stage.run(&["limits", "px"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.starts_with("px: open, limits 100/s; configured 100/s; the vendor documents "), "{shown:?}");
    let changed = stage.run(&["limits", "px", "40/s", "5000/day"]).await;
    assert_eq!(changed.out, "px: open, limits 100/s → 40/s, 5000/day\n", "{changed:?}");
    assert!(changed.code == 0 && changed.err.is_empty(), "{changed:?}");
    let status = stage.shown("px").await;
    assert_eq!(
        (&status["limits"], &status["configured_limits"]),
        (&json!(["40/s", "5000/day"]), &json!(["100/s"])),
        "{status}"
    );
    let above = stage.run(&["limits", "px", "900/s"]).await;
    assert!(above.code == 0 && above.err.contains("more than the vendor documents (200/s"), "{above:?}");
    let reset = stage.run(&["limits", "px", "--reset"]).await;
    assert_eq!(reset.out, "px: open, limits 900/s, 5000/day → 100/s\n", "{reset:?}");
    let both = stage.run(&["limits", "px", "5/s", "--reset"]).await;
    assert_eq!(both.code, 2, "{both:?}");
}

#[tokio::test]
async fn a_reset_over_the_api_outlives_the_worker_and_is_in_the_audit() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    let path = "/api/v1/destinations/px/limits";
    assert_eq!(stage.ask("PUT", path, Some(TOKEN), r#"{"limits":["50/s","700/day"]}"#).await.0, 200);
    let (status, text) = stage.ask("DELETE", path, Some(TOKEN), "").await;
    let reset: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &reset["limits"]), (200, &json!(["100/s"])), "{text}");
    until("the audit has it", async || {
        let (_, audit) = stage.get("/api/v1/dead/audit?destination=px").await;
        audit.contains("50/s, 700/day → 100/s, as configured")
    })
    .await;
    stage.kill().await;
    stage.start();
    stage.ready().await;
    until("it is driven again", async || stage.shown("px").await["drives"] == json!(true)).await;
    assert_eq!(stage.shown("px").await["limits"], json!(["100/s"]));
}
