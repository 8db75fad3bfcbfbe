//! What survives when the broker is killed.

use std::time::Duration;

use crate::support::*;

#[tokio::test]
async fn a_confirmed_message_is_there_after_kill_9_and_restart() {
    let mut node = own_node().await;
    let broker = start(&settings(&node.url()));
    let mut inbox = open(&broker).await;
    publish(&broker, 200).await;
    node.kill_hard().await.unwrap();
    node.restart().await.unwrap();
    consume(&inbox, 300).await;
    let taken = take(&mut inbox, 200).await;
    assert_eq!(bodies(&taken), (0..200).map(|n| format!("{n:03}")).collect::<Vec<_>>());
    assert!(taken.into_iter().all(ack));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn after_a_kill_everything_unsettled_comes_again_and_old_tickets_are_dead() {
    let mut node = own_node().await;
    let broker = start(&settings(&node.url()));
    let mut inbox = open(&broker).await;
    publish(&broker, 30).await;
    consume(&inbox, 100).await;
    let before = take(&mut inbox, 30).await;
    node.kill_hard().await.unwrap();
    tokio::time::timeout(LONG, before[0].ticket.epoch().cancelled()).await.expect("the epoch ends");
    assert!(before.iter().all(|delivery| !delivery.ticket.is_live()));
    assert!(!before.into_iter().any(ack));
    node.restart().await.unwrap();
    let again = take(&mut inbox, 30).await;
    assert_eq!(bodies(&again).len(), 30);
    assert!(again.into_iter().all(ack));
    let mut status = broker.status();
    let reconnected = status.wait_for(|now| now.consuming.epochs >= 2 && now.publishing.epochs >= 2);
    drop(tokio::time::timeout(LONG, reconnected).await.expect("both connections come back"));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_publication_waits_out_a_short_outage() {
    let mut node = own_node().await;
    let broker = start(&settings(&node.url()));
    let _inbox = open(&broker).await;
    node.kill_hard().await.unwrap();
    let mut status = broker.status();
    tokio::time::timeout(LONG, status.wait_for(|now| !now.publishing.connected)).await.unwrap().unwrap();
    let publisher = broker.publisher();
    let events = broker.names().events();
    let publishing = tokio::spawn(async move { publisher.publish(&events, "shop.order", message("x")).await });
    node.restart().await.unwrap();
    // Ten seconds are allowed in all; a slow machine may use them up, and then it says so.
    match publishing.await.unwrap() {
        // A broker that has just started may not have its bindings yet: then it is among the unrouted.
        Ok(()) => {
            let queues = [broker.names().queue("px"), broker.names().unrouted()];
            let is_there = async || {
                let depths = broker.depths(&queues).await.unwrap_or_default();
                depths.into_iter().flatten().sum::<u32>() == 1
            };
            crate::worker::stage::until("it is there", is_there).await;
        }
        Err(error) => assert!(error.to_string().contains("10s"), "{error}"),
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_without_the_password() {
    let broker = start(&settings("amqp://ann:s3cret@127.0.0.1:1/%2f"));
    let error = broker.wait_ready(Duration::from_millis(500)).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("RabbitMQ"), "{error}");
    assert!(!error.contains("s3cret"));
}
