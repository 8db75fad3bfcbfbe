//! Killed, stopped, cut off: nothing is lost, and little comes twice.

use super::stage::{PX, Stage, until};
use crate::support::{own_node, shared_url};

const EVENTS: u64 = 1500;
const CONCURRENCY: u64 = 16;

#[tokio::test]
async fn nothing_is_lost_when_worker_and_broker_are_killed_while_the_vendor_fails() {
    let mut node = own_node().await;
    let mut stage = Stage::new(&node.url()).await;
    let more = format!("limits = [\"300/s\"]\nconcurrency = {CONCURRENCY}\ntimeout = \"1s\"");
    stage.configure(&stage.px("px", "product.#", &more));
    stage.start();
    stage.ready().await;
    stage.client().await.publish_all("product.x", 0..EVENTS).await;
    for fault in [
        r#"{"fault":"status","status":500,"share":0.02}"#,
        r#"{"fault":"status","status":503,"share":0.01}"#,
        r#"{"fault":"status","status":429,"retry_after":1,"count":1}"#,
        r#"{"fault":"reset","share":0.01}"#,
        r#"{"fault":"hang","share":0.002}"#,
    ] {
        stage.fault(fault);
    }
    for (kill, at) in (1..=4).map(|kill| (kill, kill * EVENTS / 5)) {
        stage.arrived(PX, at).await;
        if kill == 2 {
            node.kill_hard().await.unwrap();
            node.restart().await.unwrap();
        } else {
            stage.kill().await;
            stage.start();
        }
    }
    stage.arrived(PX, EVENTS).await;
    let client = stage.client().await;
    client.holds("px", 0).await;
    let seen = stage.seen(PX);
    assert_eq!((seen.distinct, client.depth("px.dead").await), (EVENTS, Some(0)));
    assert!(seen.duplicates <= 4 * CONCURRENCY, "{} duplicates", seen.duplicates);
    assert_eq!(stage.stop().await, Some(0));
    client.holds("px", 0).await;
}

#[tokio::test]
async fn a_stop_under_load_loses_and_duplicates_nothing() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..600).await;
    for at in [100, 250, 400] {
        stage.arrived(PX, at).await;
        assert_eq!(stage.stop().await, Some(0));
        // The broker takes back what was held in its own time.
        client.holds("px", u32::try_from(600 - stage.seen(PX).distinct).unwrap()).await;
        stage.start();
    }
    stage.arrived(PX, 600).await;
    client.holds("px", 0).await;
    assert_eq!((stage.seen(PX).duplicates, client.depth("px.dead").await), (0, Some(0)));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_vendor_that_hangs() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]\ntimeout = \"1m\"").await;
    stage.fault(r#"{"fault":"hang"}"#);
    let client = stage.client().await;
    client.publish_all("product.x", 0..20).await;
    until("requests hang", async || stage.seen(PX).faulted > 5).await;
    // The stage allows a stop 12 seconds.
    assert_eq!(stage.stop().await, Some(0));
    let log = stage.log();
    assert!(log.contains("stopping before everything was finished"), "it says what it gave up");
    assert!(!log.contains("the broker did not take everything"), "and does not blame the broker");
    client.holds("px", 20).await;
    stage.sandbox.handle().clear_faults();
    stage.start();
    stage.arrived(PX, 20).await;
}

#[tokio::test]
async fn a_worker_started_before_the_broker_works_once_it_is_there() {
    let mut node = own_node().await;
    let mut stage = Stage::new(&node.url()).await;
    stage.configure(&stage.px("px", "product.#", "limits = [\"200/s\"]"));
    node.kill_hard().await.unwrap();
    stage.start();
    until("alive", async || stage.get("/healthz").await.0 == 200).await;
    let (status, text) = stage.get("/readyz").await;
    assert!(status == 503 && text.contains("lacking"), "{status} {text}");
    let health = stage.run(&["health"]).await;
    assert!(health.code == 1 && health.err.contains("is not ready: no connection to the broker"), "{health:?}");
    let (told, derived) = (health.err.matches("no connection").count(), health.err.contains("destination px"));
    assert_eq!((told, derived), (1, false), "once, and not for each connection and each destination: {health:?}");
    assert_eq!(stage.run(&["health", "--alive"]).await.code, 0);
    node.restart().await.unwrap();
    stage.ready().await;
    assert_eq!(stage.run(&["health"]).await.code, 0);
    stage.client().await.publish_all("product.x", [1]).await;
    stage.arrived(PX, 1).await;
    node.kill_hard().await.unwrap();
    until("not ready", async || stage.get("/readyz").await.0 == 503).await;
    assert_eq!(stage.get("/healthz").await.0, 200);
    assert_eq!(stage.metric("sluice_broker_connected{connection=\"consuming\"}").await.unwrap_or(0.0), 0.0);
    assert_eq!(stage.stop().await, Some(0), "it stops without a broker, too");
}

#[tokio::test]
async fn a_broker_that_hangs_does_not_hold_up_the_stop() {
    let node = own_node().await;
    let mut stage = Stage::at_work(&node.url(), "").await;
    let pid = node.pid().unwrap().to_string();
    let signal =
        async |name: &str| tokio::process::Command::new("kill").args(["-s", name, &pid]).status().await.unwrap();
    assert!(signal("STOP").await.success());
    let stopped = stage.stop().await;
    assert!(signal("CONT").await.success());
    assert_eq!(stopped, Some(0));
}

const DELETED: &str = "the queue was deleted at the broker";

#[tokio::test]
async fn a_queue_that_is_deleted_while_its_destination_is_paused_is_there_again_and_bound() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    client.publish_all("product.x", 0..7).await;
    until("it was seen with them", async || stage.shown("px").await["queue_ready"] == 7).await;
    client.delete_queue("px").await;
    until("it is there again", async || client.depth("px").await == Some(0)).await;
    until("the log says so", async || stage.log().contains(DELETED)).await;
    assert!(stage.log().contains("\"last_seen\":7"), "and how many were lost");
    client.publish_all("product.x", 7..20).await;
    client.holds("px", 13).await;
    assert_eq!(stage.run(&["resume", "px"]).await.code, 0);
    stage.arrived(PX, 13).await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_while_it_is_consumed_is_there_again_and_that_is_said() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..3).await;
    stage.arrived(PX, 3).await;
    client.delete_queue("px").await;
    until("the log says so", async || stage.log().contains(DELETED)).await;
    until("it is consumed again", async || client.consumers("px").await == Some(1)).await;
    client.publish_all("product.x", 3..20).await;
    stage.arrived(PX, 20).await;
}

#[tokio::test]
async fn a_deleted_exchange_of_events_is_there_again_with_its_bindings() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    until("it was seen", async || stage.shown("px").await["queue_ready"] == 0).await;
    client.delete_exchange("events").await;
    until("the log says so", async || stage.log().contains("the exchange was deleted at the broker")).await;
    client.publish_all("product.x", 0..9).await;
    stage.arrived(PX, 9).await;
}

#[tokio::test]
async fn depths_are_absent_while_the_broker_is_away() {
    let mut node = own_node().await;
    let stage = Stage::at_work(&node.url(), "limits = [\"200/s\"]").await;
    let ready = async || stage.metric("sluice_queue_ready{destination=\"px\"}").await;
    until("it is known", async || ready().await == Some(0.0)).await;
    node.kill_hard().await.unwrap();
    until("it is not known", async || ready().await.is_none()).await;
}

#[tokio::test]
async fn deleted_dead_letter_and_retry_queues_are_there_again_and_take_what_waited_for_them() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    assert_eq!(client.depth("px.retry.1").await, None, "no event has needed it yet");
    stage.fault(r#"{"fault":"status","status":500,"count":1}"#);
    client.publish_all("product.x", 0..1).await;
    stage.arrived(PX, 1).await;
    until("both are there", async || client.depth("px.retry.1").await == Some(0)).await;
    until("they were seen", async || stage.shown("px").await["retrying"] == 0).await;
    for queue in ["px.dead", "px.retry.1"] {
        client.delete_queue(queue).await;
    }
    for queue in ["px.dead", "px.retry.1"] {
        let says = |line: &str| line.contains(DELETED) && line.contains(&format!("{}.{queue}\"", stage.prefix));
        until("the log says so", async || stage.log().lines().any(says)).await;
    }
    stage.fault(r#"{"fault":"status","status":500,"count":1}"#);
    client.publish_all("product.x", 1..2).await;
    client.publish("product.x", "no JSON", super::client::plain()).await;
    stage.arrived(PX, 2).await;
    until("the dead letter is there", async || client.depth("px.dead").await == Some(1)).await;
}

#[tokio::test]
async fn where_nothing_may_be_declared_a_deleted_queue_is_only_said() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    assert_eq!(stage.stop().await, Some(0));
    stage.broker = "declare = \"check\"";
    stage.configure(&stage.px("px", "product.#", "limits = [\"200/s\"]"));
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    until("it was seen", async || stage.shown("px").await["dead_letters_ready"] == 0).await;
    client.delete_queue("px.dead").await;
    let said = || stage.log().lines().filter(|line| line.contains(DELETED) && line.contains("declare =")).count();
    until("the log says so", async || said() == 1).await;
    until("it is not shown", async || stage.shown("px").await["dead_letters_ready"].is_null()).await;
    assert_eq!((client.depth("px.dead").await, said()), (None, 1));
}
