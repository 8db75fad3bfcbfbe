//! The nodes of a broker that cannot be reached, or go, while others are there.

use bytes::Bytes;
use sluice::broker::{Names, control_call};
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::support::*;
use crate::worker::client::Client;
use crate::worker::stage::{PX, Stage, until};

/// Where a worker's log says last that one of its connections leads.
pub fn connected_to(log: &str, side: &str) -> String {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut connected = lines.filter(|line| line["message"] == "connected to the broker" && line["side"] == side);
    connected.next_back().unwrap()["at"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_node_dies_that_a_worker_consumes_from_it_goes_on_at_another_and_nothing_is_lost() {
    const EVENTS: u64 = 2_000;
    let mut cluster = Cluster::of_three().await;
    let mut stage = Stage::at_work(&cluster.urls(), "limits = [\"150/s\"]").await;
    let victim = cluster.node_at(&connected_to(&stage.log(), "consuming"));
    let client = Client::connect(&cluster.nodes[(victim + 1) % 3].url(), &stage.prefix).await;
    client.publish_all("product.x", 0..EVENTS).await;
    stage.arrived(PX, EVENTS / 4).await;
    cluster.nodes[victim].kill_hard().await.unwrap();
    let before = stage.seen(PX).distinct;
    stage.arrived(PX, before + EVENTS / 4).await;
    until("it consumes from another", async || cluster.node_at(&connected_to(&stage.log(), "consuming")) != victim)
        .await;
    stage.arrived(PX, EVENTS).await;
    client.holds("px", 0).await;
    assert_eq!((stage.seen(PX).distinct, client.depth("px.dead").await), (EVENTS, Some(0)));
    assert!(stage.log().contains("lost the connection to the broker"));
    assert_eq!(stage.stop().await, Some(0));
}

#[tokio::test]
async fn workers_and_commands_pass_over_a_node_that_is_gone_and_one_that_is_silent() {
    let there = shared_url().await;
    let (_, vhost) = there.rsplit_once('/').unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://127.0.0.1:1/{vhost} amqp://{}/{vhost} {there}", silent.local_addr().unwrap());
    let settings = settings(&url);
    for _ in 0..3 {
        let broker = start(&settings);
        broker.wait_ready(LONG).await.unwrap();
        assert!(broker.close(LONG).await);
        let answers = control_call(&settings.url, &Names::new(&settings.prefix), Bytes::new(), LONG).await.unwrap();
        assert!(answers.is_empty());
    }
}
