//! Connections that have no numbers for channels left, and what takes their place.

use std::time::Duration;

use sluice::broker::{Broker, ReadError, ReadPurpose};
use sluice::demo::node::Node;

use crate::support::*;
use crate::worker::stage::until;

/// Where a connection may have so few channels.
fn narrow(url: &str, channels: u16) -> Broker {
    start(&settings(&format!("{url}?channel_max={channels}")))
}

/// More than a connection has numbers for channels, each of which the broker closes.
const REFUSALS: usize = 4_200;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_again_and_again_leaves_what_is_open_alone_and_new_channels_are_had() {
    let broker = shared().await;
    let mut inbox = open(&broker).await;
    consume(&inbox, 10).await;
    let missing = vec![broker.names().queue("missing"); REFUSALS / 10];
    for _ in 0..10 {
        assert_eq!(broker.depths(&missing).await.unwrap(), vec![None; missing.len()]);
    }
    assert_eq!(broker.depths(&[broker.names().queue("px")]).await.unwrap(), [Some(0)]);
    assert!(*inbox.live.consuming.borrow(), "it went on consuming");
    publish(&broker, 1).await;
    assert_eq!(take(&mut inbox, 1).await.len(), 1);
    let status = broker.status().borrow().clone();
    assert!(status.connected());
    assert_eq!(status.consuming.epochs, 1, "no connection was lost");
    consume(&broker.open(queues("other")), 1).await;
}

#[tokio::test]
async fn more_queues_are_consumed_than_a_connection_may_have_channels() {
    let broker = narrow(&shared_url().await, 6);
    let mut inboxes: Vec<_> = (0..20).map(|n| broker.open(queues(&format!("d{n}")))).collect();
    for inbox in &inboxes {
        consume(inbox, 1).await;
    }
    publish(&broker, 1).await;
    for inbox in &mut inboxes {
        assert_eq!(take(inbox, 1).await.len(), 1);
    }
    assert_eq!(broker.status().borrow().consuming.epochs, 1, "no connection was lost");
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_resource_alarm_that_ends_after_a_connection_was_replaced_holds_nothing_up_any_longer() {
    let node = own_node().await;
    let broker = narrow(&node.url(), 4);
    let _inbox = open(&broker).await;
    publish(&broker, 1).await;
    let more: Vec<_> = (0..6).map(|_| broker.receipts_publisher()).collect();
    for publisher in &more {
        publisher.publish(&broker.names().events(), "shop.good", message("0")).await.unwrap();
    }
    let mut status = broker.status();
    let mut is_blocked = async |wanted: bool| {
        let blocked = status.wait_for(|status| status.publishing.blocked.is_some() == wanted);
        tokio::time::timeout(LONG, blocked).await.expect("told of the alarm").unwrap();
    };
    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1000"]).await.unwrap();
    let held = tokio::spawn({
        let broker = broker.clone();
        async move { publish(&broker, 1).await }
    });
    is_blocked(true).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.unwrap();
    is_blocked(false).await;
    tokio::time::timeout(LONG, held).await.expect("published").unwrap();
    assert!(broker.close(LONG).await);
}

/// How many connections the broker lists with `word` in the line.
async fn listed(node: &Node, word: &str) -> usize {
    let list = node.ctl(&["-q", "list_connections", "name", "state", "client_properties"]).await.unwrap();
    list.lines().filter(|line| line.contains(word)).count()
}

#[tokio::test]
async fn a_connection_that_was_replaced_is_closed_once_nothing_is_on_it() {
    let node = own_node().await;
    let broker = narrow(&node.url(), 8);
    let _inbox = open(&broker).await;
    // One that is there, so that numbers which were lost are met again.
    let queues = [broker.names().queue("px"), broker.names().queue("missing")];
    for _ in 0..30 {
        assert_eq!(broker.depths(&queues).await.unwrap(), [Some(0), None]);
    }
    // The one that is consumed over, one for what is new, and that which publishes.
    until("the others are closed", async || listed(&node, "running").await <= 3).await;
    assert!(broker.close(LONG).await);
    until("all are closed", async || listed(&node, "running").await == 0).await;
}

#[tokio::test]
async fn the_loss_of_a_connection_that_was_replaced_is_counted_and_what_was_on_it_goes_on() {
    let node = own_node().await;
    let broker = narrow(&node.url(), 6);
    let mut inboxes: Vec<_> = (0..8).map(|n| broker.open(queues(&format!("d{n}")))).collect();
    for inbox in &inboxes {
        consume(inbox, 1).await;
    }
    let first = node.ctl(&["-q", "list_connections", "pid", "channels", "client_properties"]).await.unwrap();
    let full = first
        .lines()
        .filter(|line| line.contains("consuming"))
        .max_by_key(|line| line.split_whitespace().nth(1).and_then(|channels| channels.parse::<u32>().ok()));
    node.ctl(&["close_connection", full.unwrap().split_whitespace().next().unwrap(), "test"]).await.unwrap();
    until("it is counted", async || broker.status().borrow().consuming.epochs == 2).await;
    for inbox in &inboxes {
        consume(inbox, 1).await;
    }
    publish(&broker, 1).await;
    for inbox in &mut inboxes {
        assert_eq!(take(inbox, 1).await.len(), 1);
    }
    assert!(broker.close(LONG).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_read_lock_longer_than_a_connection_has_channels_waits_on() {
    let broker = narrow(&shared_url().await, 10);
    let _inbox = open(&broker).await;
    let dead = broker.names().dead("px");
    let (mut reader, mut other) = (broker.reader().await.unwrap(), broker.reader().await.unwrap());
    let held = reader.lock(&dead, ReadPurpose::Act, LONG).await.unwrap();
    let waited = other.lock(&dead, ReadPurpose::Look, Duration::from_secs(3)).await;
    assert!(matches!(waited.unwrap_err(), ReadError::Busy { .. }));
    let (locked, ended) = tokio::join!(other.lock(&dead, ReadPurpose::Look, LONG), async {
        while !held.is_waited_for() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        held.end().await
    });
    ended.unwrap();
    locked.unwrap().end().await.unwrap();
    assert!(broker.close(LONG).await);
}
