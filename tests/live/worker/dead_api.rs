//! Dead letters over the admin API: looked at, replayed as an operation that can be followed and ended, and told in the audit.

use serde_json::{Value, json};

use super::dead::with_letters;
use super::stage::{PX, Stage, TOKEN, until};
use crate::support::{own_node, shared_url};

const READER: &str = "a-token-that-may-only-read";

async fn ask(stage: &Stage, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, text) = stage.ask(method, &format!("/api/v1/destinations/px/dead{path}"), Some(token), &body).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}")))
}

async fn get(stage: &Stage, path: &str) -> Value {
    let (status, said) = ask(stage, "GET", path, READER, &Value::Null).await;
    assert_eq!(status, 200, "{path}: {said}");
    said
}

async fn act(stage: &Stage, path: &str, body: Value) -> (u16, Value) {
    ask(stage, "POST", path, TOKEN, &body).await
}

/// Waits until an operation is over; tells how it is then.
async fn over(stage: &Stage, operation: &Value) -> Value {
    let path = format!("/operations/{}", operation["id"].as_str().unwrap());
    until("the operation is over", async || get(stage, &path).await["ended"].is_string()).await;
    get(stage, &path).await
}

async fn with_a_reader(count: u32) -> (Stage, super::client::Client) {
    with_a_reader_at(&shared_url().await, count).await
}

async fn with_a_reader_at(url: &str, count: u32) -> (Stage, super::client::Client) {
    let reader = format!("[admin.tokens.watcher]\ntoken = \"{READER}\"\nrole = \"read\"\n");
    with_letters(url, count, &reader).await
}

#[tokio::test]
async fn a_canary_that_dies_again_ends_an_operation_and_the_next_one_delivers() {
    let (stage, client) = with_a_reader(40).await;
    let groups = get(&stage, "/groups").await;
    assert_eq!((groups["there"].as_u64(), groups["groups"][0]["count"].as_u64()), (Some(40), Some(40)), "{groups}");
    assert!(!groups.to_string().contains("jane"), "{groups}");
    let group = groups["groups"][0]["group"].as_str().unwrap();
    let plan = json!({"act": "replay", "filter": {"group": [group]}, "canary": 3, "rate": 500});
    let mut dry = plan.clone();
    dry["dry_run"] = true.into();
    let (status, foretold) = act(&stage, "/operations", dry).await;
    assert_eq!((status, foretold["selected"].as_u64()), (200, Some(40)), "{foretold}");
    let check = &foretold["check"];
    assert_eq!(
        (&check["invalid"], &check["would_be_sent"], &check["refused_before"]),
        (&0.into(), &40.into(), &40.into())
    );
    assert!(check["sentence"].as_str().unwrap().contains("the vendor refused them with"), "{check}");

    stage.fault(r#"{"fault":"status","status":400,"body":"{\"error\":\"still unknown\"}"}"#);
    let before = stage.seen(PX).received;
    let (status, begun) = act(&stage, "/operations", plan.clone()).await;
    assert_eq!(status, 202, "{begun}");
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("stopped"), Some(3)), "{ended}");
    assert_eq!(stage.seen(PX).received - before, 3);
    client.holds("px.dead", 40).await;

    stage.sandbox.handle().clear_faults();
    let (_, begun) = act(&stage, "/operations", json!({"act": "replay", "all": true, "rate": 500})).await;
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("done"), Some(40)), "{ended}");
    stage.arrived(PX, 40).await;
    client.holds("px.dead", 0).await;
    let (_, audit) = stage.ask("GET", "/api/v1/dead/audit?destination=px", Some(READER), "").await;
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let entries = audit["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4, "a beginning and an end of each: {audit}");
    assert!(entries.iter().all(|entry| entry["by"] == "admin" && entry["act"] == "replay"), "{audit}");
}

#[tokio::test]
async fn what_was_counted_is_acted_on_though_letters_keep_coming_and_nothing_where_others_acted() {
    let (stage, client) = with_a_reader(4).await;
    let count = json!({"act": "discard", "all": true, "dry_run": true});
    let (_, foretold) = act(&stage, "/operations", count.clone()).await;
    stage.fault(r#"{"fault":"status","status":400}"#);
    client.publish_all("product.report", 100..103).await;
    client.holds("px.dead", 7).await;
    let discard = json!({"act": "discard", "all": true, "counted": foretold["counted"]});
    let (status, begun) = act(&stage, "/operations", discard.clone()).await;
    assert_eq!(status, 202, "{begun}");
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["selected"].as_u64()), (Some("done"), Some(4)), "{ended}");
    client.holds("px.dead", 3).await;
    let trash = get(&stage, "?pile=trash").await;
    let mut discarded: Vec<&str> =
        trash["letters"].as_array().unwrap().iter().map(|letter| letter["event_id"].as_str().unwrap()).collect();
    // They died side by side.
    discarded.sort_unstable();
    assert_eq!(discarded, ["m-0", "m-1", "m-2", "m-3"], "{trash}");

    // Once more: what was counted is gone.
    let (_, begun) = act(&stage, "/operations", discard).await;
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("failed"), Some(0)), "{ended}");
    assert!(ended["outcome"].as_str().unwrap().contains("(4 counted, 3 match now): nothing was done"), "{ended}");
    client.holds("px.dead", 3).await;
    let (status, said) = act(&stage, "/operations", json!({"act": "discard", "all": true, "counted": "4"})).await;
    assert!(status == 422 && said["detail"].as_str().unwrap().contains("does not come from a count"), "{said}");
}

#[tokio::test]
async fn every_letter_is_had_by_cursor_though_others_are_acted_on_meanwhile() {
    let (stage, client) = with_a_reader(30).await;
    stage.fault(r#"{"fault":"status","status":400}"#);
    let (mut seen, mut next) = (Vec::new(), String::new());
    for page in 0.. {
        let list = get(&stage, &format!("?limit=7{next}")).await;
        let ids = list["letters"].as_array().unwrap().iter().map(|letter| letter["event_id"].as_str().unwrap());
        seen.extend(ids.map(str::to_owned));
        match list["next"].as_str() {
            None => break,
            Some(cursor) => next = format!("&cursor={cursor}"),
        }
        // What was given and what was not yet given goes, comes back to the end of the queue, and comes anew.
        let gone = format!("m-{}", page * 8);
        for act in ["discard", "restore"] {
            assert_eq!(stage.run(&["dead", act, "px", "--id", &gone, "--yes"]).await.code, 0);
        }
        client.publish_all("product.report", 100 + page..101 + page).await;
        client.holds("px.dead", 31 + u32::try_from(page).unwrap()).await;
    }
    assert!(seen.len() > 30, "what came meanwhile is at the end: {seen:?}");
    let (those, new) = seen.split_at(30);
    let mut expected: Vec<String> = (0..30).map(|number| format!("m-{number}")).collect();
    let mut those = those.to_vec();
    expected.sort_unstable();
    those.sort_unstable();
    assert_eq!(those, expected, "then {new:?}");
    let (status, said) = ask(&stage, "GET", "?cursor=x", READER, &Value::Null).await;
    assert!(status == 400 && said["detail"].as_str().unwrap().contains("is no cursor"), "{said}");
}

#[tokio::test]
async fn groups_and_operations_are_told_of_all_destinations() {
    let (stage, _client) = with_a_reader(4).await;
    let all = async |path: &str| {
        let (status, said) = stage.ask("GET", &format!("/api/v1{path}"), Some(READER), "").await;
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let groups = all("/dead/groups?reason=rejected").await;
    assert_eq!((&groups["matched"], &groups["groups"][0]["destination"]), (&4.into(), &"px".into()), "{groups}");
    let ran = stage.run(&["dead", "groups"]).await;
    assert!(ran.code == 0 && ran.out.contains("4 letters in 1 group at 1 destination,"), "{ran:?}");
    let (status, said) = stage.ask("GET", "/api/v1/dead/groups?destination=none", Some(READER), "").await;
    assert_eq!(status, 404, "{said}");
    let (_, begun) = act(&stage, "/operations", json!({"act": "discard", "all": true})).await;
    over(&stage, &begun).await;
    let operations = all("/operations").await;
    assert_eq!(operations["operations"][0]["id"], begun["id"], "{operations}");
    assert_eq!(all("/operations?destination=px").await["operations"].as_array().unwrap().len(), 1);
    assert_eq!(all("/operations?destination=other").await["operations"], json!([]));
}

#[tokio::test]
async fn an_operation_is_paused_resumed_and_cancelled_where_it_is() {
    let (stage, client) = with_a_reader(30).await;
    let (_, begun) = act(&stage, "/operations", json!({"act": "replay", "all": true, "rate": 1, "canary": 0})).await;
    let path = format!("/operations/{}", begun["id"].as_str().unwrap());
    for (signal, phase) in [("pause", "paused"), ("resume", "working"), ("cancel", "cancelled")] {
        let (status, said) = act(&stage, &format!("{path}/{signal}"), Value::Null).await;
        assert_eq!(status, 200, "{signal}: {said}");
        until(&format!("it is {phase}"), async || get(&stage, &path).await["phase"] == phase).await;
    }
    let ended = over(&stage, &begun).await;
    let moved = u32::try_from(ended["moved"].as_u64().unwrap()).unwrap();
    assert!(moved < 30, "{ended}");
    client.holds("px.dead", 30 - moved).await;
    let (status, said) = act(&stage, &format!("{path}/resume"), Value::Null).await;
    assert!(status == 409 && said["detail"].as_str().unwrap().contains("over"), "{said}");
}

#[tokio::test]
async fn a_canary_that_waits_can_be_paused_too() {
    let (stage, client) = with_a_reader(6).await;
    let pause = |signal: &str| format!("/api/v1/destinations/px/{signal}");
    assert_eq!(stage.ask("POST", &pause("pause"), Some(TOKEN), "").await.0, 200);
    let (_, begun) = act(&stage, "/operations", json!({"act": "replay", "all": true, "rate": 500, "canary": 2})).await;
    let path = format!("/operations/{}", begun["id"].as_str().unwrap());
    until("the canary was sent", async || get(&stage, &path).await["moved"] == 2).await;
    for (signal, phase) in [("pause", "paused"), ("resume", "canary")] {
        assert_eq!(act(&stage, &format!("{path}/{signal}"), Value::Null).await.0, 200);
        until(&format!("it is {phase}"), async || get(&stage, &path).await["phase"] == phase).await;
    }
    assert_eq!(stage.ask("POST", &pause("resume"), Some(TOKEN), "").await.0, 200);
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("done"), Some(6)), "{ended}");
    client.holds("px.dead", 0).await;
}

#[tokio::test]
async fn one_letter_is_shown_edited_and_its_original_is_in_the_trash() {
    let (stage, client) = with_a_reader(3).await;
    let letter = get(&stage, "/letters/m-1").await;
    assert_eq!(letter["attempts"].as_array().unwrap().len(), 1, "{letter}");
    let path = format!("/letters/{}/edit", letter["id"].as_str().unwrap());
    let body = letter["body"].as_str().unwrap().replace("e-1", "e-one");
    let (status, edited) = act(&stage, &path, json!({"body": body})).await;
    assert_eq!((status, edited["edited"].as_bool()), (200, Some(true)), "{edited}");
    assert!(edited["diff"].as_str().unwrap().contains("e-one"), "{edited}");
    let after = get(&stage, &format!("/letters/{}", edited["to"].as_str().unwrap())).await;
    assert_eq!(after["edited_from"], letter["id"]);
    let trash = get(&stage, "?pile=trash").await;
    assert_eq!(trash["letters"][0]["edited_to"], edited["to"], "{trash}");
    client.holds("px.dead", 3).await;
}

#[tokio::test]
async fn who_may_only_read_changes_nothing_and_is_told_why() {
    let (stage, client) = with_a_reader(2).await;
    assert_eq!(get(&stage, "").await["shown"], 2);
    for (path, body) in [
        ("/operations", json!({"act": "discard", "all": true})),
        ("/letters/m-1/edit", json!({"body": "{}", "force": true})),
    ] {
        let (status, said) = ask(&stage, "POST", path, READER, &body).await;
        assert!(status == 403 && said["detail"].as_str().unwrap().contains("watcher"), "{path}: {said}");
    }
    let (status, said) = act(&stage, "/operations", json!({"act": "discard"})).await;
    assert!(status == 409 && said["detail"].as_str().unwrap().contains("\"all\""), "{said}");
    let (status, said) = ask(&stage, "GET", "/groups?jq=.%5B", READER, &Value::Null).await;
    assert!(status == 409 && said["detail"].as_str().unwrap().contains("no jq expression"), "{said}");
    client.holds("px.dead", 2).await;
}

#[tokio::test]
async fn letters_that_an_operation_holds_while_it_acts_are_still_counted() {
    let (stage, _client) = with_a_reader(30).await;
    let counted = async || stage.metric("sluice_dead_letters_ready{destination=\"px\"}").await;
    until("they are counted", async || counted().await == Some(30.0)).await;
    let (_, begun) = act(&stage, "/operations", json!({"act": "replay", "all": true, "rate": 0.01})).await;
    until("one of them is gone", async || counted().await == Some(29.0)).await;
    let path = format!("/operations/{}", begun["id"].as_str().unwrap());
    assert_eq!(get(&stage, &path).await["moved"], 1);
    act(&stage, &format!("{path}/cancel"), Value::Null).await;
    over(&stage, &begun).await;
    assert_eq!(counted().await, Some(29.0));
}

#[tokio::test]
async fn a_replay_ends_though_somebody_looks_all_the_time_and_whoever_looks_is_answered() {
    let (stage, client) = with_a_reader(60).await;
    stage.sandbox.handle().clear_faults();
    let (_, begun) = act(&stage, "/operations", json!({"act": "replay", "all": true, "rate": 40})).await;
    let path = format!("/operations/{}", begun["id"].as_str().unwrap());
    let mut answers = 0;
    while get(&stage, &path).await["ended"].is_null() {
        let (status, said) = ask(&stage, "GET", "/groups", READER, &Value::Null).await;
        let told = status == 409 && said["detail"].as_str().unwrap().contains("pause it to look");
        assert!(status == 200 || told, "{status}: {said}");
        answers += 1;
    }
    let ended = get(&stage, &path).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("done"), Some(60)), "{ended}");
    assert!(answers > 0);
    stage.arrived(PX, 60).await;
    client.holds("px.dead", 0).await;
}

#[tokio::test]
async fn an_expression_that_runs_away_is_refused_and_no_letter_is_touched() {
    let (stage, client) = with_a_reader(12).await;
    let jq = "def f: f; f";
    for path in ["/groups?jq=def%20f%3A%20f%3B%20f", "?jq=def%20f%3A%20f%3B%20f"] {
        let (status, said) = ask(&stage, "GET", path, READER, &Value::Null).await;
        let detail = said["detail"].as_str().unwrap();
        assert!(status == 409 && detail.contains("takes too long") && detail.contains("3 of 12 letters"), "{said}");
    }
    let discard = json!({"act": "discard", "filter": {"jq": jq}});
    let mut dry = discard.clone();
    dry["dry_run"] = true.into();
    let (status, said) = act(&stage, "/operations", dry).await;
    assert!(status == 409 && said["detail"].as_str().unwrap().contains("takes too long"), "{said}");
    let (_, begun) = act(&stage, "/operations", discard).await;
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("failed"), Some(0)), "{ended}");
    assert!(ended["outcome"].as_str().unwrap().contains("takes too long"), "{ended}");
    for arguments in [&["dead", "list", "px", "--jq", jq][..], &["dead", "discard", "px", "--jq", jq, "--yes"]] {
        let ran = stage.run(arguments).await;
        assert!(ran.code == 4 && ran.err.contains("takes too long"), "{ran:?}");
    }
    // One that fails on some letters acts on the others, and says so at the end.
    client.holds("px.dead", 12).await;
    let jq = r#"if $event.id == "m-3" then error("no") else true end"#;
    let some = json!({"act": "discard", "filter": {"jq": jq}});
    let (_, begun) = act(&stage, "/operations", some).await;
    let ended = over(&stage, &begun).await;
    assert_eq!((ended["phase"].as_str(), ended["moved"].as_u64()), (Some("done"), Some(11)), "{ended}");
    assert!(ended["outcome"].as_str().unwrap().contains("failed on 1 letter"), "{ended}");
    client.holds("px.dead", 1).await;
}

#[tokio::test]
async fn a_worker_that_knows_that_its_broker_is_away_says_so_at_once() {
    let mut node = own_node().await;
    let (stage, _client) = with_a_reader_at(&node.url(), 2).await;
    node.kill_hard().await.unwrap();
    until("the worker knows", async || stage.get("/readyz").await.0 == 503).await;
    for (method, path, body) in [
        ("GET", "", Value::Null),
        ("GET", "/groups", Value::Null),
        ("GET", "/letters/m-1", Value::Null),
        ("POST", "/letters/m-1/edit", json!({"body": "{}"})),
        ("POST", "/operations", json!({"act": "discard", "all": true})),
    ] {
        let (status, said) = ask(&stage, method, path, TOKEN, &body).await;
        assert!(status == 503 && said["detail"].as_str().unwrap().contains("no connection to the broker"), "{said}");
    }
    let (status, said) = stage.get("/api/v1/dead/audit").await;
    assert_eq!(status, 503, "{said}");
    node.restart().await.unwrap();
    stage.ready().await;
    assert_eq!(get(&stage, "").await["shown"], 2);
}
