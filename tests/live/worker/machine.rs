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
