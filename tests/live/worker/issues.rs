//! What needs a person, over all destinations, from every worker; and unrouted events.

use serde_json::{Value, json};

use super::pauses::another;
use super::stage::{PX, Stage, TOKEN, until};
use crate::support::shared_url;

const LIMITS: &str = "limits = [\"100/s\"]";

async fn issues(stage: &Stage) -> Vec<Value> {
    let (status, text) = stage.get("/api/v1/issues").await;
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    list["issues"].as_array().cloned().unwrap()
}

async fn issue(stage: &Stage, id: &str) -> Option<Value> {
    issues(stage).await.into_iter().find(|issue| issue["id"].as_str().is_some_and(|found| found.starts_with(id)))
}

async fn say(stage: &Stage, id: &str, act: &str, body: &Value) -> Value {
    let path = format!("/api/v1/issues/{id}/{act}");
    let (status, text) = stage.ask("POST", &path, Some(TOKEN), &body.to_string()).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn in_state(stage: &Stage, id: &str, state: &str) {
    until(&format!("{id} is {state}"), async || issue(stage, id).await.is_some_and(|issue| issue["state"] == state))
        .await;
}

#[tokio::test]
async fn a_group_of_dead_letters_is_an_issue_that_opens_again_with_the_next_letter() {
    let mut stage = Stage::at_work(&shared_url().await, LIMITS).await;
    let other = another(&stage).await;
    let client = stage.client().await;
    let bad = |number: u64| json!({ "no": number }).to_string();
    for number in 0..3 {
        client.publish("product.x", bad(number), super::client::plain()).await;
    }
    let id = "px.dead_letters.";
    until("it is there with its letters", async || issue(&stage, id).await.is_some_and(|issue| issue["count"] == 3))
        .await;
    let found = issue(&stage, id).await.unwrap();
    assert!(found["first_seen"].is_string() && found["group"].is_string(), "{found}");
    let by_hour = found["by_hour"].as_array().unwrap();
    assert_eq!((by_hour.len(), by_hour.iter().filter_map(Value::as_u64).sum::<u64>()), (24, 3));
    let whole = found["id"].as_str().unwrap().to_owned();
    let said = say(&stage, &whole, "acknowledge", &json!({ "note": "the shop is on it" })).await;
    assert_eq!((&said["state"], &said["mark"]["note"]), (&json!("acknowledged"), &json!("the shop is on it")));
    in_state(&other, &whole, "acknowledged").await;
    let unattended = async |count: f64| {
        let series = "sluice_dead_letters_unattended{destination=\"px\"}";
        until(&format!("{count} are unattended"), async || {
            let shown = [stage.metric(series).await, other.metric(series).await];
            shown.into_iter().flatten().eq([count])
        })
        .await;
    };
    unattended(0.0).await;
    let open = stage.run(&["issues"]).await;
    assert!(open.out.contains("no open issues"), "{open:?}");
    // A worker that starts later reads it in the audit.
    stage.kill().await;
    stage.start();
    stage.ready().await;
    in_state(&stage, &whole, "acknowledged").await;
    until("the alert stays away over a failover", async || {
        other.metric("sluice_dead_letters_unattended{destination=\"px\"}").await == Some(0.0)
    })
    .await;
    client.publish("product.x", bad(4), super::client::plain()).await;
    for worker in [&stage, &other] {
        in_state(worker, &whole, "open").await;
        assert_eq!(issue(worker, &whole).await.unwrap()["came_again"], true);
    }
    until("the alert comes back", async || {
        other.metric("sluice_dead_letters_unattended{destination=\"px\"}").await == Some(4.0)
    })
    .await;
    let ran = other.run(&["issues", "ignore", "px.dead", "--for", "1h", "--note", "known"]).await;
    assert!(ran.code == 0 && ran.out.contains("ignored until"), "{ran:?}");
    in_state(&stage, &whole, "ignored").await;
    let audit = stage.run(&["audit", "px"]).await;
    assert!(audit.out.contains("acknowledge") && audit.out.contains("command line"), "{audit:?}");
}

#[tokio::test]
async fn a_parked_destination_is_an_issue_until_it_works_again() {
    let stage = Stage::at_work(&shared_url().await, LIMITS).await;
    stage.fault(r#"{"fault":"status","status":401,"body":"API key revoked"}"#);
    let client = stage.client().await;
    client.publish_all("product.x", 0..20).await;
    in_state(&stage, "px.parked", "open").await;
    let found = issue(&stage, "px.parked").await.unwrap();
    assert!(found["says"].as_str().unwrap().contains("API key revoked"), "{found}");
    assert!(found["first_seen"].is_string(), "{found}");
    say(&stage, "px.parked", "acknowledge", &Value::Null).await;
    let listed = stage.run(&["issues", "--state", "all"]).await;
    assert!(listed.out.contains("px.parked") && listed.out.contains("acknowledged"), "{listed:?}");
    let (status, _) = stage.ask("POST", "/api/v1/issues/px.late/acknowledge", Some(TOKEN), "").await;
    assert_eq!(status, 404, "one that is not there");
    stage.sandbox.handle().clear_faults();
    stage.ask("POST", "/api/v1/destinations/px/resume", Some(TOKEN), "").await;
    stage.arrived(PX, 20).await;
    until("it is over", async || issue(&stage, "px.parked").await.is_none()).await;
}

#[tokio::test]
async fn unrouted_events_are_published_again_once_somebody_subscribes() {
    let stage = Stage::at_work(&shared_url().await, LIMITS).await;
    let client = stage.client().await;
    client.publish_all("shop.refund", 0..6).await;
    client.publish_all("shop.other", 6..8).await;
    until("they are an issue", async || issue(&stage, "unrouted").await.is_some_and(|issue| issue["count"] == 8)).await;
    let (_, text) = stage.get("/api/v1/unrouted").await;
    let groups: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&groups["groups"][0]["routing_key"], &groups["groups"][0]["count"]),
        (&json!("shop.refund"), &json!(6))
    );
    let ran = stage.run(&["unrouted", "publish", "--routing-key", "shop.refund", "--yes"]).await;
    assert!(ran.code == 4 && ran.err.contains("6 stay"), "{ran:?}");
    stage.configure(&stage.px("px", "product.#\", \"shop.refund", LIMITS));
    stage.signal("HUP").await;
    until("the command knows the subscriber", async || stage.run(&["unrouted"]).await.out.contains("yes: publish"))
        .await;
    let body = json!({ "routing_keys": ["shop.refund"] }).to_string();
    until("they are published again", async || {
        let (status, text) = stage.ask("POST", "/api/v1/unrouted/publish", Some(TOKEN), &body).await;
        let done: Value = serde_json::from_str(&text).unwrap_or_default();
        status == 200 && done["done"] == 6
    })
    .await;
    stage.arrived(PX, 6).await;
    client.holds("unrouted", 2).await;
    let listed = stage.run(&["unrouted", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(2));
    let ran = stage.run(&["unrouted", "discard", "--all", "--yes"]).await;
    assert!(ran.code == 0 && ran.out.contains("2 of 2 deleted"), "{ran:?}");
    client.holds("unrouted", 0).await;
    let audit = stage.run(&["audit"]).await;
    assert!(audit.out.contains("publish_unrouted") && audit.out.contains("discard_unrouted"), "{audit:?}");
}

#[tokio::test]
async fn a_webhook_is_told_of_a_new_issue_in_the_form_that_it_wants_though_it_fails_at_first() {
    let mut stage = Stage::new(&shared_url().await).await;
    let notify = "[[notify]]\nurl = \"SANDBOX/hook/told\"\nconsole = \"https://sluice.example.com/\"\n\
                  [[notify]]\nurl = \"SANDBOX/hook/chat\"\nbody = { jq = \"{text}\" }\n\
                  [[notify]]\nurl = \"SANDBOX/hook/others\"\ndestinations = [\"crm\"]\n";
    stage.configure(&(stage.px("px", "product.#", LIMITS) + notify));
    stage.fault(r#"{"fault":"status","status":503,"path":"/hook/told","count":1}"#);
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    client.publish("product.x", json!({ "no": 1 }).to_string(), super::client::plain()).await;
    let told = |path: &str| -> Vec<Value> {
        let events = stage.sandbox.handle().events(Some(path), 10);
        events.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect()
    };
    until("both are told", async || !told("/hook/told").is_empty() && !told("/hook/chat").is_empty()).await;
    let whole = told("/hook/told").remove(0);
    let change = &whole["changes"][0];
    assert_eq!((&whole["destination"], &change["what"]), (&json!("px"), &json!("new")));
    assert_eq!((&change["issue"]["kind"], &change["issue"]["count"]), (&json!("dead_letters"), &json!(1)));
    assert_eq!(whole["console"], "https://sluice.example.com/issues");
    let chat = told("/hook/chat").remove(0);
    let text = chat["text"].as_str().unwrap();
    assert!(text.starts_with("px: dead letters, 1 event"), "{text}");
    assert_eq!(chat.as_object().map(|chat| chat.len()), Some(1));
    assert_eq!(told("/hook/others"), Vec::<Value>::new());
    assert_eq!(stage.metric("sluice_notifications_total{outcome=\"sent\"}").await, Some(2.0));
}
