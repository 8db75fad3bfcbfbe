//! A bug in a part of the broker's: the part is started again, and nothing is lost.

use std::sync::atomic::Ordering;

use sluice::broker::port::PublishError;

use crate::bug;
use crate::support::*;

#[tokio::test]
async fn a_consumer_that_panics_is_started_again_and_what_lay_there_comes() {
    let broker = shared().await;
    let mut inbox = open(&broker).await;
    publish(&broker, 3).await;
    let (_bug, begun) = bug::where_it_logs(&["message=consuming "], 1);
    consume(&inbox, 10).await;
    let taken = take(&mut inbox, 3).await;
    assert_eq!(begun.load(Ordering::Relaxed), 2);
    assert_eq!(bodies(&taken), ["000", "001", "002"]);
    assert!(taken.into_iter().all(ack));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_publisher_that_panics_is_started_again_and_what_it_held_counts_as_lost() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    let publisher = broker.publisher();
    // The broker closes the channel for it, and that is logged.
    let (_bug, _) = bug::where_it_logs(&["publications were lost on their way"], 1);
    assert_eq!(publisher.publish("no-such-exchange", "", message("x")).await, Err(PublishError::Lost));
    assert_eq!(publisher.publish("", &broker.names().queue("px"), message("y")).await, Ok(()));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn what_keeps_a_connection_up_is_started_again_when_it_panics() {
    let settings = settings(&shared_url().await);
    let (_bug, _) = bug::where_it_logs(&["message=connected to the broker "], 2);
    let broker = start(&settings);
    let mut status = broker.status();
    let both_again = status.wait_for(|now| now.connected() && now.consuming.epochs == 2 && now.publishing.epochs == 2);
    tokio::time::timeout(LONG, both_again).await.expect("both connections, and both again").unwrap();
    let mut inbox = open(&broker).await;
    publish(&broker, 1).await;
    consume(&inbox, 1).await;
    assert!(take(&mut inbox, 1).await.into_iter().all(ack));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_connection_that_nobody_listens_to_since_a_panic_is_given_up() {
    let node = own_node().await;
    let broker = start(&settings(&node.url()));
    let _inbox = open(&broker).await;
    let (publisher, queue) = (broker.publisher(), broker.names().queue("px"));
    let (_bug, _) = bug::where_it_logs(&["the broker takes no messages for now"], 1);
    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1000"]).await.unwrap();
    let lost = async {
        loop {
            // The alarm may come a moment later.
            if let Err(error) = publisher.publish("", &queue, message("x")).await {
                return error;
            }
        }
    };
    assert_eq!(tokio::time::timeout(LONG, lost).await, Ok(PublishError::Lost));
    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.unwrap();
    assert_eq!(publisher.publish("", &queue, message("y")).await, Ok(()));
    assert_eq!(broker.status().borrow().publishing.epochs, 2);
    assert!(broker.close(LONG).await);
}
