//! Dead letters from the command line: looked at, replayed, changed, thrown away and brought back.

use serde_json::Value;

use super::client::{Client, event, plain};
use super::stage::{PX, Stage, send, until};
use crate::support::{own_node, shared_url};

const MANY: u32 = 120;

/// A worker, and so many letters of which each was rejected for a reason that names its own user.
pub async fn with_letters(url: &str, count: u32, more: &str) -> (Stage, Client) {
    let stage = Stage::at_work(url, &format!("limits = [\"1000/s\"]\npark_after_rejections = 0\n{more}")).await;
    let client = stage.client().await;
    for number in 0..count {
        let said = format!(r#"{{"error":"user jane.doe{number}@example.com is unknown"}}"#);
        let rule = serde_json::json!({ "fault": "status", "status": 400, "count": 1, "body": said });
        stage.fault(&rule.to_string());
    }
    for number in 0..u64::from(count) {
        let properties = plain().with_message_id(format!("m-{number}").as_str().into()).with_priority(3);
        client.publish("product.report", event(number).to_string(), properties).await;
    }
    client.holds("px.dead", count).await;
    (stage, client)
}

/// The vendor rejects whatever comes.
fn reject_all(stage: &Stage) {
    stage.fault(r#"{"fault":"status","status":400,"body":"{\"error\":\"still unknown\"}"}"#);
}

async fn json(stage: &Stage, arguments: &[&str]) -> Value {
    let ran = stage.run(&[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Every letter with everything, a line each.
async fn exported(stage: &Stage) -> Vec<String> {
    let ran = stage.run(&["dead", "export", "px", "--all"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.out.lines().map(str::to_owned).collect()
}

fn mended(stage: &Stage) {
    stage.sandbox.handle().clear_faults();
}

#[tokio::test]
async fn a_rejected_batch_is_one_group_without_an_address_and_a_canary_stops_its_replay() {
    let (stage, client) = with_letters(&shared_url().await, MANY, "").await;
    let groups = json(&stage, &["dead", "groups", "px"]).await;
    assert_eq!(groups["groups"].as_array().unwrap().len(), 1, "{groups}");
    assert_eq!(groups["groups"][0]["count"], MANY);
    assert!(!groups.to_string().contains("jane"), "{groups}");
    reject_all(&stage);
    let before = stage.seen(PX).received;
    // Five go first without being told; of a ramp a single one.
    for (arguments, sent) in [(&[][..], 5), (&["--ramp"], 6)] {
        let ran = stage.run(&[&["dead", "replay", "px", "--all", "--yes"], arguments].concat()).await;
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.err.contains("stopped") && ran.err.contains("died again with: "), "{ran:?}");
        client.holds("px.dead", MANY).await;
        assert_eq!(stage.seen(PX).received - before, sent, "these and no others were sent");
    }
    let died_again = json(&stage, &["dead", "list", "px", "--limit", "0"]).await;
    let replays = died_again["letters"].as_array().unwrap().iter().filter(|letter| letter["replays"] == 1).count();
    assert!((5..=6).contains(&replays), "{replays}");
    mended(&stage);
    let ramp = json(&stage, &["dead", "replay", "px", "--all", "--ramp", "--rate", "500/s", "--yes"]).await;
    assert_eq!((&ramp["phase"], &ramp["delivered"]), (&"done".into(), &MANY.into()), "{ramp}");
    assert_eq!(ramp["ramp"], serde_json::json!([1, 5, 20, 100]));
    stage.arrived(PX, u64::from(MANY)).await;
    assert_eq!(stage.seen(PX).duplicates, 0);
    client.holds("px.dead", 0).await;
}

#[tokio::test]
async fn a_letter_that_dies_again_keeps_its_history_and_starts_afresh() {
    let (stage, client) = with_letters(&shared_url().await, 1, "").await;
    let before = json(&stage, &["dead", "show", "px", "m-0"]).await;
    reject_all(&stage);
    let ran = stage.run(&["dead", "replay", "px", "--id", "m-0", "--yes"]).await;
    assert!(ran.code == 4 && ran.err.contains("1 died again") && ran.err.contains("still unknown"), "{ran:?}");
    let ran = stage.run(&["dead", "replay", "px", "--all", "--canary", "0", "--yes"]).await;
    assert!(ran.code == 4 && ran.err.contains("died again with: ") && !ran.err.contains("stopped"), "{ran:?}");
    until("it is back", async || client.depth("px.dead").await == Some(1)).await;
    let after = json(&stage, &["dead", "show", "px", "m-0"]).await;
    assert_eq!((after["replays"].as_u64(), after["attempts"].as_array().unwrap().len()), (Some(2), 3));
    assert_eq!(after["attempts"][0], before["attempts"][0]);
    assert_eq!((&after["body"], &after["properties"]), (&before["body"], &before["properties"]));
    assert!(after["replayed_by"].is_string(), "{after}");
    assert_ne!(after["id"], before["id"]);
}

#[tokio::test]
async fn looking_changes_nothing_and_shows_no_address_in_the_list() {
    let (stage, client) = with_letters(&shared_url().await, 30, "").await;
    let before = exported(&stage).await;
    let (list, groups) =
        tokio::join!(stage.run(&["dead", "list", "px"]), stage.run(&["dead", "groups", "px", "--reason", "rejected"]));
    assert_eq!((list.code, groups.code), (0, 0), "{list:?} {groups:?}");
    assert!(!list.out.contains("jane") && list.out.contains("m-7"), "{}", list.out);
    let some = json(&stage, &["dead", "list", "px", "--jq", ".eventId == \"e-7\""]).await;
    assert_eq!((some["shown"].as_u64(), &some["letters"][0]["event_id"]), (Some(1), &Value::from("m-7")));
    let none = json(&stage, &["dead", "list", "px", "--older-than", "1h"]).await;
    assert_eq!((none["there"].as_u64(), none["shown"].as_u64()), (Some(30), Some(0)));
    assert_eq!(exported(&stage).await, before);
    client.holds("px.dead", 30).await;
}

#[tokio::test]
async fn discarded_letters_come_back_as_they_were() {
    let (stage, client) = with_letters(&shared_url().await, 10, "").await;
    let before = exported(&stage).await;
    let ran = stage.run(&["dead", "discard", "px", "--reason", "rejected", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!((client.depth("px.dead").await, client.depth("px.trash").await), (Some(0), Some(10)));
    let trash = json(&stage, &["dead", "list", "px", "--trash"]).await;
    assert!(trash["letters"][0]["discarded_by"].as_str().unwrap().contains('@'), "{trash}");
    let ran = stage.run(&["dead", "restore", "px", "--all", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(exported(&stage).await, before);
    assert_eq!(client.depth("px.trash").await, Some(0));
    stage.run(&["dead", "discard", "px", "--all", "--yes"]).await;
    assert_eq!(stage.run(&["dead", "purge", "px", "--all", "--yes"]).await.code, 0);
    assert_eq!(client.depth("px.trash").await, Some(0));
}

#[tokio::test]
async fn exported_letters_are_put_back_as_they_were_or_published_anew() {
    let (stage, client) = with_letters(&shared_url().await, 10, "").await;
    let file = stage.file("letters.ndjson");
    assert_eq!(stage.run(&["dead", "export", "px", "--all", "--to", &file]).await.code, 0);
    let before = exported(&stage).await;
    client.drain("px.dead").await;
    let ran = stage.run(&["publish", &file]).await;
    assert!(ran.code == 0 && ran.out.contains("among the dead letters of px again"), "{ran:?}");
    assert_eq!(exported(&stage).await, before);
    mended(&stage);
    let ran = stage.run(&["publish", "--as-events", &file]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.arrived(PX, 10).await;
    client.holds("px.dead", 10).await;
}

#[tokio::test]
async fn letters_of_bulk_events_are_published_anew_as_bulk_events() {
    let (stage, client) = with_letters(&shared_url().await, 2, "").await;
    reject_all(&stage);
    let event = event(7).to_string();
    let ran = stage.run_with(&["publish", "--bulk", "--type", "product.report", "-"], &event).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    client.holds("px.dead", 3).await;
    let file = stage.file("letters.ndjson");
    assert_eq!(stage.run(&["dead", "export", "px", "--all", "--to", &file]).await.code, 0);
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    assert_eq!(stage.run(&["publish", "--as-events", &file]).await.code, 0);
    client.holds("px", 2).await;
    client.holds("px.bulk", 1).await;
}

#[tokio::test]
async fn an_edited_letter_is_checked_linked_and_delivered() {
    let (stage, client) = with_letters(&shared_url().await, 3, "").await;
    mended(&stage);
    let bad = stage.run_with(&["dead", "edit", "px", "m-1", "--file", "-", "--yes"], "{\"eventName\":7}").await;
    assert_eq!(bad.code, 4, "{bad:?}");
    assert!(bad.err.contains("dead letter again"), "{bad:?}");
    let mut mended = event(1);
    mended["identifyId"] = "u-2".into();
    let good = stage.run_with(&["dead", "edit", "px", "m-1", "--file", "-", "--yes"], &mended.to_string()).await;
    assert_eq!(good.code, 0, "{good:?}");
    let line = |sign: &str, user: &str| format!("\n{sign}  \"identifyId\": \"{user}\"");
    assert!(good.out.contains(&line("-", "u-1")) && good.out.contains(&line("+", "u-2")), "laid out: {good:?}");
    assert!(good.out.contains("/v1/events/custom"), "{good:?}");
    assert_eq!((client.depth("px.dead").await, client.depth("px.trash").await), (Some(3), Some(1)));
    let edited = json(&stage, &["dead", "show", "px", "m-1"]).await;
    let original = json(&stage, &["dead", "show", "px", "m-1", "--trash"]).await;
    assert_eq!((&edited["edited_from"], &original["edited_to"]), (&original["id"], &edited["id"]));
    let id = edited["id"].as_str().unwrap().to_owned();
    assert_eq!(stage.run(&["dead", "replay", "px", "--letter", &id, "--yes"]).await.code, 0);
    stage.arrived(PX, 1).await;
    client.holds("px.dead", 2).await;
}

#[tokio::test]
async fn a_replay_is_paused_resumed_and_ended_from_elsewhere_and_the_audit_tells() {
    let (stage, client) = with_letters(&shared_url().await, MANY, "").await;
    mended(&stage);
    let replay = stage.run(&["dead", "replay", "px", "--all", "--rate", "10/s", "--yes"]);
    let elsewhere = async {
        let operation = async || json(&stage, &["dead", "operations", "px"]).await["operations"][0].clone();
        until("it is at work", async || operation().await["moved"].as_u64() > Some(2)).await;
        let id = operation().await["id"].as_str().unwrap().to_owned();
        assert_eq!(stage.run(&["dead", "pause", &id]).await.code, 0);
        until("it is paused", async || operation().await["phase"] == "paused").await;
        assert_eq!(stage.run(&["dead", "resume", &id]).await.code, 0);
        until("it goes on", async || operation().await["phase"] == "working").await;
        assert_eq!(stage.run(&["dead", "cancel", &id]).await.code, 0);
        id
    };
    let (ran, id) = tokio::join!(replay, elsewhere);
    assert!(ran.code == 1 && ran.err.contains("cancelled"), "{ran:?}");
    let audit = json(&stage, &["dead", "audit", "px"]).await;
    let entries: Vec<&Value> =
        audit["entries"].as_array().unwrap().iter().filter(|entry| entry["operation"] == id.as_str()).collect();
    assert_eq!(entries.len(), 2, "{audit}");
    assert_eq!((&entries[0]["act"], &entries[0]["count"]), (&Value::from("replay"), &Value::from(MANY)));
    assert!(entries[1]["outcome"].as_str().unwrap().starts_with("cancelled"), "{audit}");
    until("the worker logs what others do", async || stage.log().contains("replay began")).await;
    assert_eq!(stage.run(&["dead", "replay", "px", "--all", "--rate", "500/s", "--yes"]).await.code, 0);
    stage.arrived(PX, u64::from(MANY)).await;
    assert_eq!(stage.seen(PX).duplicates, 0);
    client.holds("px.dead", 0).await;
}

#[tokio::test]
async fn a_replay_ends_with_the_session_it_was_begun_in_unless_nohup_keeps_it() {
    let (stage, client) = with_letters(&shared_url().await, MANY, "").await;
    mended(&stage);
    // The tests themselves may run under nohup.
    for (behind, code) in [(&["env", "--default-signal=HUP"][..], 1), (&["nohup"], 0)] {
        let child = stage.begin(behind, &["dead", "replay", "px", "--all", "--rate", "20/s", "--yes"]);
        let at_work = async || json(&stage, &["dead", "operations", "px"]).await["operations"][0]["moved"].as_u64();
        until("it is at work", async || at_work().await > Some(0)).await;
        // As a session that is lost sends it: from the shell and from the terminal.
        send("HUP", &child).await;
        send("HUP", &child).await;
        let ran = Stage::end(child).await;
        assert_eq!(ran.code, code, "{ran:?}");
    }
    let audit = json(&stage, &["dead", "audit", "px"]).await;
    let outcomes: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().filter_map(|entry| entry["outcome"].as_str()).collect();
    assert!(matches!(outcomes[..], [first, _] if first.starts_with("cancelled")), "{audit}");
    stage.arrived(PX, u64::from(MANY)).await;
    client.holds("px.dead", 0).await;
}

#[tokio::test]
async fn what_producers_and_vendors_write_forges_no_line_colour_or_direction() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"1000/s\"]").await;
    let client = stage.client().await;
    let said = "{\"error\":\"no \u{1b}[31m\u{202e}such\npx  open\"}";
    stage.fault(&serde_json::json!({ "fault": "status", "status": 400, "body": said }).to_string());
    let id = "e-1\u{1b}[32m\u{202e}\nforged  open";
    client.publish("product.report", event(1).to_string(), plain().with_message_id(id.into())).await;
    client.holds("px.dead", 1).await;
    assert_eq!(json(&stage, &["dead", "list", "px"]).await["letters"][0]["event_id"], id, "as it is, for programs");
    let letter = json(&stage, &["dead", "list", "px"]).await["letters"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(stage.run(&["dead", "discard", "px", "--id", id, "--yes"]).await.code, 0);
    assert_eq!(stage.run(&["dead", "restore", "px", "--id", id, "--yes"]).await.code, 0);
    for arguments in [
        &["dead", "list", "px"][..],
        &["dead", "show", "px", &letter],
        &["dead", "groups", "px"],
        &["dead", "audit", "px"],
        &["status"],
    ] {
        let ran = stage.run(arguments).await;
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(ran.code == 0 && !ran.out.contains(raw), "{arguments:?}: {ran:?}");
        assert!(!ran.out.lines().any(|line| line.starts_with("forged") || line.starts_with("px  open")), "{ran:?}");
    }
    let list = stage.run(&["dead", "list", "px"]).await.out;
    assert!(list.contains(r"e-1\u{1b}[32m\u{202e}\nforged  open"), "{list}");
}

#[tokio::test]
async fn nothing_is_done_to_all_letters_by_omission_or_without_being_asked() {
    let (stage, client) = with_letters(&shared_url().await, 2, "").await;
    for arguments in [
        &["dead", "replay", "px"][..],
        &["dead", "replay", "px", "--all"],
        &["dead", "replay", "px", "--all", "--reason", "rejected", "--yes"],
        &["dead", "discard", "px", "--reason", "nonsense", "--yes"],
        &["dead", "list", "nowhere"],
        &["dead", "audit", "nowhere"],
        &["dead", "operations", "nowhere"],
    ] {
        let ran = stage.run(arguments).await;
        assert_eq!(ran.code, 4, "{arguments:?}: {ran:?}");
    }
    let ran = stage.run(&["dead", "replay", "px", "--all", "--canary", "100001", "--yes"]).await;
    assert!(ran.code == 2 && ran.err.contains("0..=100000"), "{ran:?}");
    // Where none is meant, programs read of an operation that did nothing.
    let told = json(&stage, &["dead", "discard", "px", "--id", "nobody"]).await;
    assert_eq!((told["phase"].as_str(), told["moved"].as_u64()), (Some("done"), Some(0)), "{told}");
    assert!(told["id"].is_string() && told["outcome"] == "0 of 0 letters discarded", "{told}");
    let told = json(&stage, &["dead", "replay", "px", "--all", "--rate", "1/s", "--dry-run"]).await;
    assert_eq!((told["selected"].as_u64(), told["seconds"].as_f64()), (Some(2), Some(2.0)));
    assert_eq!(client.depth("px.dead").await, Some(2));
}

#[tokio::test]
async fn a_replay_outlives_a_broker_that_is_killed_and_loses_nothing() {
    let mut node = own_node().await;
    let (stage, _client) = with_letters(&node.url(), MANY, "").await;
    mended(&stage);
    let replay = stage.run(&["dead", "replay", "px", "--all", "--rate", "30/s", "--yes"]);
    let kill = async {
        // A queue that was declared within a second of the kill may be broken for a while, and the one that tells who reads is new.
        until("some have arrived", async || stage.seen(PX).distinct > 80).await;
        node.kill_hard().await.unwrap();
        node.restart().await.unwrap();
    };
    let (ran, ()) = tokio::join!(replay, kill);
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.arrived(PX, u64::from(MANY)).await;
    stage.client().await.holds("px.dead", 0).await;
}
