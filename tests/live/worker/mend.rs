//! Dead letters mended: would they pass now, and many of them changed by one expression.

use serde_json::{Value, json};

use super::client::{Client, plain};
use super::stage::{PX, Stage, TOKEN, until};
use crate::support::shared_url;

const MAP: &str =
    "[[destinations.px.map]]\ntype = \"#\"\nidentifyId = { jq = \".identifyId\" }\neventName = { jq = \".name\" }\n";

/// A worker, and so many letters that lack what the vendor requires; no request was spent.
async fn with_invalid(count: u32) -> (Stage, Client) {
    let stage = Stage::at_work(&shared_url().await, "park_after_rejections = 0").await;
    let client = stage.client().await;
    for number in 0..count {
        let data = json!({ "identifyId": format!("U-{number}"), "name": "Report" });
        let properties = plain().with_message_id(format!("m-{number}").as_str().into());
        client.publish("product.report", data.to_string(), properties).await;
    }
    client.holds("px.dead", count).await;
    (stage, client)
}

async fn api(stage: &Stage, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let path = format!("/api/v1/destinations/px/dead{path}");
    let (status, text) = stage.ask(method, &path, Some(TOKEN), &body.to_string()).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
}

async fn listed(stage: &Stage, arguments: &[&str]) -> Vec<Value> {
    let ran = stage.run(&[&["dead", "list", "px", "--limit", "0", "--json"], arguments].concat()).await;
    let listed: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    listed["letters"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_dry_run_tells_how_many_would_still_be_invalid_by_todays_mapping_and_moves_nothing() {
    let (stage, client) = with_invalid(12).await;
    let dry = ["dead", "replay", "px", "--all", "--dry-run"];
    let ran = stage.run(&dry).await;
    assert!(ran.code == 4 && ran.out.contains("12 of 12 would still be invalid: \"name\" is not a field"), "{ran:?}");
    // The command line goes by its own file, the worker by what is in force there.
    stage.configure(&stage.px("px", "product.#", &format!("park_after_rejections = 0\n{MAP}")));
    let ran = stage.run(&dry).await;
    assert!(ran.code == 0 && ran.out.contains("all 12 would be sent"), "{ran:?}");
    let (status, check) = api(&stage, "GET", "/check?reason=invalid&limit=5", &Value::Null).await;
    assert_eq!(
        (status, &check["meant"], &check["checked"], &check["invalid"]),
        (200, &12.into(), &5.into(), &5.into())
    );
    stage.signal("HUP").await;
    until("the mapping is in force", async || {
        api(&stage, "GET", "/check", &Value::Null).await.1["would_be_sent"] == 12
    })
    .await;
    client.holds("px.dead", 12).await;
    assert_eq!(stage.seen(PX).received, 0);
    let ran = stage.run(&["dead", "replay", "px", "--all", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.arrived(PX, 12).await;
}

#[tokio::test]
async fn many_letters_are_edited_by_one_expression_and_what_it_cannot_mend_stays() {
    let (stage, client) = with_invalid(8).await;
    // A letter that the expression fails on, and one that would still be invalid.
    for (id, data) in
        [("odd", json!({ "identifyId": 7, "name": "Report" })), ("bad", json!({ "identifyId": "U", "name": 5 }))]
    {
        client.publish("product.report", data.to_string(), plain().with_message_id(id.into())).await;
    }
    client.holds("px.dead", 10).await;
    let jq = ".identifyId |= ascii_downcase | .eventName = .name | del(.name)";
    let edit = ["dead", "edit", "px", "--reason", "invalid", "--jq", jq];
    let ran = stage.run(&[&edit[..], &["--dry-run"]].concat()).await;
    assert!(ran.code == 4 && ran.out.matches("\n+++ ").count() == 3, "three samples: {ran:?}");
    assert!(ran.out.contains("8 letters would be changed; 2 are left as they are: "), "{ran:?}");
    assert!(stage.run(&edit).await.err.contains("--yes"), "it asks");
    let (_, foretold) =
        api(&stage, "POST", "/operations", &json!({"act": "edit", "all": true, "edit": jq, "dry_run": true})).await;
    assert_eq!((&foretold["selected"], &foretold["edit"]["failed"]), (&8.into(), &1.into()), "{foretold}");
    assert_eq!((client.depth("px.dead").await, client.depth("px.trash").await), (Some(10), Some(0)));

    let before = listed(&stage, &[]).await;
    let ran = stage.run(&[&edit[..], &["--yes"]].concat()).await;
    assert!(ran.code == 4 && ran.err.contains("8 of 8 letters edited; 2 are left as they are"), "{ran:?}");
    client.holds("px.dead", 10).await;
    client.holds("px.trash", 8).await;
    let (dead, trash) = (listed(&stage, &[]).await, listed(&stage, &["--trash"]).await);
    for original in &trash {
        assert!(before.iter().any(|letter| letter["id"] == original["id"]));
        let edited = dead.iter().find(|letter| letter["id"] == original["edited_to"]).unwrap();
        assert_eq!((&edited["edited_from"], &edited["event_id"]), (&original["id"], &original["event_id"]));
    }
    let audit: Value = serde_json::from_str(&stage.run(&["audit", "px", "--json"]).await.out).unwrap();
    let entry = audit["entries"].as_array().unwrap().last().unwrap();
    assert!(entry["act"] == "edit" && entry["filter"].as_str().unwrap().contains("ascii_downcase"), "{audit}");
    let ran = stage.run(&["dead", "replay", "px", "--jq", ".eventName == \"Report\"", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.arrived(PX, 8).await;
    client.holds("px.dead", 2).await;
}

#[tokio::test]
async fn an_edit_that_is_killed_loses_no_letter_and_the_same_command_does_the_rest() {
    const MANY: u32 = 600;
    let (stage, client) = with_invalid(MANY).await;
    let edit = ["dead", "edit", "px", "--all", "--jq", ".eventName = .name | del(.name)", "--yes"];
    let mut child = stage.begin(&[], &edit);
    until("some are edited", async || client.depth("px.trash").await > Some(0)).await;
    child.kill().await.unwrap();
    drop(child.wait().await);
    let ran = stage.run(&edit).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let dead = listed(&stage, &[]).await;
    let mut ids: Vec<&str> = dead.iter().map(|letter| letter["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((dead.len(), ids.len()), (600, 600), "each is there once");
    assert!(dead.iter().all(|letter| letter["edited_from"].is_string()));
    assert!(client.depth("px.trash").await >= Some(MANY));
    assert_eq!(stage.run(&["dead", "replay", "px", "--all", "--rate", "1000/s", "--yes"]).await.code, 0);
    stage.arrived(PX, MANY.into()).await;
    assert_eq!(stage.seen(PX).duplicates, 0);
}
