//! The vendor says "not now" or "not you": the gate closes, events wait, and it goes on by itself.

use std::time::{Duration, Instant};

use super::client::Client;
use super::stage::{KEY, PX, Stage, until};
use crate::support::shared_url;

const HOOK: &str = "[destinations.hook]\nvendor = \"http\"\nurl = \"SANDBOX/hook/a\"\nsubscribe = [\"product.#\"]\nlimits = [\"500/s\"]\n";
const HOOK_PATH: &str = "/hook/a";

/// Gainsight PX at a concurrency of 4, and a second destination that gets the same events.
async fn two_destinations() -> (Stage, Client) {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.configure(&(stage.px("px", "product.#", "limits = [\"500/s\"]\nconcurrency = 4") + HOOK));
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..50).await;
    stage.arrived(PX, 50).await;
    stage.arrived(HOOK_PATH, 50).await;
    (stage, client)
}

/// The vendor refuses every request until it has said so; returns how long nothing came after the first refusal.
async fn refused_with(retry_after: &str) {
    let (stage, client) = two_destinations().await;
    let rule = format!(r#"{{"fault":"status","status":429,"retry_after":{retry_after},"seconds":2,"path":"/v1"}}"#);
    stage.fault(&rule);
    client.publish_all("product.x", 50..200).await;
    until("a refusal", async || stage.seen(PX).faulted > 0).await;
    let refused = Instant::now();
    stage.state("px", "throttled").await;
    stage.arrived(HOOK_PATH, 200).await;
    let quiet = stage.seen(PX);
    assert!(quiet.faulted <= 4, "only what was in flight is refused, not {}", quiet.faulted);
    assert_eq!(quiet.distinct, 50, "the other destination went on meanwhile");
    until("it goes on", async || stage.seen(PX).received > quiet.received).await;
    // A date has whole seconds, so up to one second less.
    assert!(refused.elapsed() >= Duration::from_millis(2900), "it went on after {:?}", refused.elapsed());
    stage.arrived(PX, 200).await;
    let seen = stage.seen(PX);
    assert_eq!((seen.faulted, seen.duplicates), (quiet.faulted, 0), "a refused event is sent again, once");
    assert_eq!(client.depth("px.dead").await, Some(0));
    assert_eq!(stage.shown("px").await["retried"], 0, "no attempt is spent");
}

#[tokio::test]
async fn a_429_waits_for_retry_after_in_seconds_while_another_destination_goes_on() {
    refused_with("4").await;
}

#[tokio::test]
async fn a_429_waits_for_retry_after_as_a_date_while_another_destination_goes_on() {
    refused_with(r#"{"date":5}"#).await;
}

#[tokio::test]
async fn a_wrong_key_parks_until_an_operator_resumes() {
    let (stage, client) = two_destinations().await;
    stage.fault(r#"{"fault":"status","status":401,"path":"/v1"}"#);
    client.publish_all("product.x", 50..150).await;
    stage.state("px", "parked").await;
    stage.arrived(HOOK_PATH, 150).await;
    let seen = stage.seen(PX);
    assert!(seen.faulted <= 10, "the four that tell, what was in flight and a probe, not {}", seen.faulted);
    assert_eq!((seen.distinct, client.depth("px.dead").await), (50, Some(0)));
    let why = stage.shown("px").await["why"].to_string();
    assert!(why.contains("Gainsight PX answered 401") && why.contains("check the key"), "{why}");
    stage.sandbox.handle().clear_faults();
    let ran = stage.run(&["resume", "px"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.arrived(PX, 150).await;
    stage.state("px", "open").await;
    assert_eq!((stage.seen(PX).duplicates, client.depth("px.dead").await), (0, Some(0)));
    assert!(!stage.log().contains(KEY));
}

#[tokio::test]
async fn a_vendor_that_refuses_everything_parks_instead_of_emptying_the_queue() {
    let (stage, client) = two_destinations().await;
    stage.fault(r#"{"fault":"status","status":400,"path":"/v1"}"#);
    client.publish_all("product.x", 50..250).await;
    stage.state("px", "parked").await;
    stage.arrived(HOOK_PATH, 250).await;
    until("rejections are settled", async || client.depth("px.dead").await >= Some(20)).await;
    // What was in flight at the twentieth stays, too.
    let dead = client.depth("px.dead").await.unwrap();
    assert!(dead <= 24, "{dead} dead letters");
    stage.sandbox.handle().clear_faults();
    assert_eq!(stage.run(&["resume", "px"]).await.code, 0);
    stage.arrived(PX, u64::from(250 - dead)).await;
}
