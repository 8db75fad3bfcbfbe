//! A worker whose machine gives it little: few file descriptors, a log that nobody reads.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;

use super::stage::{PX, Stage, send, until};
use crate::support::shared_url;

/// A vendor that takes everything, slowly.
async fn slow_vendor() -> u16 {
    let take = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        StatusCode::CREATED
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/events", post(take))).await });
    port
}

#[tokio::test]
async fn with_few_file_descriptors_nothing_is_blamed_on_the_vendor_and_health_is_answered() {
    let (mut stage, port) = (Stage::new(&shared_url().await).await, slow_vendor().await);
    stage.configure(&format!(
        "[destinations.hook]\nvendor = \"http\"\nurl = \"http://localhost:{port}/events\"\nsubscribe = [\"product.#\"]\n\
         limits = [\"400/s\"]\nconcurrency = 200\n"
    ));
    stage.start_behind(&["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
    stage.ready().await;
    stage.client().await.publish_all("product.x", 0..400).await;
    let delivered = async || stage.metric("sluice_delivered_total{destination=\"hook\"}").await;
    until("all are delivered", async || {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let alive = client.get(stage.admin() + "/healthz").timeout(Duration::from_secs(5)).send().await;
        assert!(alive.is_ok_and(|reply| reply.status() == 200), "health is answered all the time");
        delivered().await == Some(400.0)
    })
    .await;
    assert_eq!(stage.metric("sluice_retried_total{destination=\"hook\"}").await, Some(0.0), "no attempt is spent");
    assert!(!stage.log().contains("the gate is closed"), "{}", stage.log());
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised() {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.configure("");
    stage.start_behind(&["sh", "-c", "ulimit -S -n 256; exec \"$0\" \"$@\""]);
    stage.ready().await;
    assert!(stage.metric("process_max_fds").await.unwrap() > 256.0);
}

#[tokio::test]
async fn deliveries_go_on_when_nobody_reads_the_log_and_it_stops_in_time() {
    let stage = Stage::new(&shared_url().await).await;
    stage.configure(&stage.px("px", "product.#", "limits = [\"2000/s\"]"));
    // Its standard error is a pipe that is never read.
    let mut worker = stage.begin(&[], &["run"]);
    stage.ready().await;
    stage.client().await.publish_all("product.x", 0..12_000).await;
    stage.arrived(PX, 12_000).await;
    let dropped = stage.metric("sluice_log_lines_dropped_total").await;
    assert!(dropped.is_some_and(|lines| lines > 0.0), "{dropped:?}");
    send("TERM", &worker).await;
    let ended = tokio::time::timeout(Duration::from_secs(12), worker.wait()).await;
    assert!(ended.expect("the worker stops").unwrap().success());
    assert_eq!(stage.seen(PX).duplicates, 0);
}

/// For whose map events are hard.
const HARD: &str =
    "[[destinations.hook.map]]\ntype = \"#\"\nbody = { jq = \"{event: ., last: last(range(100000))}\" }\n";

/// Sets how much address space a process may have: beyond what it has now, or as much as it likes.
async fn limit_address_space(process: u32, beyond: Option<u64>) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let kilobytes: u64 = size.trim().trim_end_matches(" kB").trim().parse().unwrap();
    let limit = beyond.map_or("unlimited".to_owned(), |more| (kilobytes * 1024 + more).to_string());
    let set = tokio::process::Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--as={limit}:unlimited")])
        .status()
        .await;
    assert!(set.unwrap().success());
}

#[tokio::test]
async fn where_no_thread_can_be_had_hard_events_wait_and_are_delivered_later() {
    let (mut stage, port) = (Stage::new(&shared_url().await).await, slow_vendor().await);
    let hook = |name: &str, subscribe: &str| {
        format!(
            "[destinations.{name}]\nvendor = \"http\"\nurl = \"http://localhost:{port}/events\"\nsubscribe = [\"{subscribe}\"]\n\
             limits = [\"400/s\"]\n"
        )
    };
    stage.configure(&format!("{}{HARD}{}", hook("hook", "product.#"), hook("easy", "order.#")));
    stage.start();
    stage.ready().await;
    let process = stage.worker_id();
    // Enough for anything but a stack of 64 MB.
    limit_address_space(process, Some(32 * 1024 * 1024)).await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..20).await;
    until("the worker says what its machine lacks", async || {
        let shown = stage.shown("hook").await;
        shown["why"].as_str().is_some_and(|why| why.contains("no thread left for hard jq expressions"))
    })
    .await;
    client.publish_all("order.x", 0..50).await;
    let delivered = async |name: &str| stage.metric(&format!("sluice_delivered_total{{destination=\"{name}\"}}")).await;
    until("the other destination goes on", async || delivered("easy").await == Some(50.0)).await;
    assert_eq!(delivered("hook").await, Some(0.0));
    limit_address_space(process, None).await;
    until("all are delivered", async || delivered("hook").await == Some(20.0)).await;
    assert_eq!(stage.metric("sluice_retried_total{destination=\"hook\"}").await, Some(0.0), "no attempt is spent");
}
