//! How deliveries come, and what settling them does.

use std::time::Duration;

use sluice::broker::port::{Disposition, PublishError};
use sluice::broker::{Declare, DelayQueue};

use crate::support::*;
use crate::worker::client::Client;

#[tokio::test]
async fn the_prefetch_decides_how_much_is_sent_and_what_was_sent_stays_valid() {
    let broker = shared().await;
    let mut inbox = open(&broker).await;
    publish(&broker, 20).await;
    consume(&inbox, 3).await;
    let first = take(&mut inbox, 3).await;
    let more = tokio::time::timeout(Duration::from_millis(300), inbox.deliveries.recv()).await;
    assert!(more.is_err(), "a fourth delivery came at prefetch 3");
    hold(&inbox).await;
    assert!(first.into_iter().all(ack), "deliveries of a cancelled consumer can still be acked");
    depth(&broker, broker.names().queue("px"), 17).await;
    consume(&inbox, 50).await;
    assert!(take(&mut inbox, 17).await.into_iter().all(ack));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn acks_handed_over_before_close_are_not_redelivered() {
    let settings = settings(&shared_url().await);
    let broker = start(&settings);
    let mut inbox = open(&broker).await;
    publish(&broker, 100).await;
    consume(&inbox, 200).await;
    let taken = take(&mut inbox, 100).await;
    let mut kept = Vec::new();
    for (n, delivery) in taken.into_iter().enumerate() {
        if n % 10 == 9 { kept.push(delivery) } else { assert!(ack(delivery)) }
    }
    assert!(broker.close(LONG).await);
    assert!(kept.iter().all(|delivery| !delivery.ticket.is_live()));
    let broker = start(&settings);
    let mut inbox = broker.open(queues("px"));
    depth(&broker, broker.names().queue("px"), 10).await;
    consume(&inbox, 200).await;
    let again = take(&mut inbox, 10).await;
    assert!(again.iter().all(|delivery| delivery.redelivered));
    assert_eq!(bodies(&again), bodies(&kept));
    assert!(again.into_iter().all(ack));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_closed_inbox_gives_back_what_was_not_taken() {
    let broker = shared().await;
    let mut inbox = open(&broker).await;
    publish(&broker, 10).await;
    consume(&inbox, 10).await;
    let taken = take(&mut inbox, 4).await;
    inbox.close();
    depth(&broker, broker.names().queue("px"), 6).await;
    assert!(taken.into_iter().all(ack), "what was taken can still be settled");
    depth(&broker, broker.names().queue("px"), 6).await;
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_delivery_given_back_too_often_becomes_a_dead_letter() {
    let mut settings = settings(&shared_url().await);
    settings.delivery_limit = 2;
    let broker = start(&settings);
    let mut inbox = open(&broker).await;
    publish(&broker, 1).await;
    consume(&inbox, 1).await;
    let mut counted = Vec::new();
    for _ in 0..3 {
        let delivery = take(&mut inbox, 1).await.remove(0);
        counted.push(delivery.returns);
        assert!(delivery.ticket.settle(Disposition::Requeue));
    }
    match counted[..] {
        [0, 1, 2] => depth(&broker, broker.names().dead("px"), 1).await,
        // RabbitMQ 4.3 and later do not count what is given back, only what is lost: see the next test.
        [0, 0, 0] => assert!(ack(take(&mut inbox, 1).await.remove(0))),
        _ => panic!("{counted:?}"),
    }
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_delivery_lost_with_its_connection_too_often_becomes_a_dead_letter() {
    let mut settings = settings(&shared_url().await);
    settings.delivery_limit = 2;
    for returns in 0..3 {
        let broker = start(&settings);
        let mut inbox = open(&broker).await;
        if returns == 0 {
            publish(&broker, 1).await;
        }
        consume(&inbox, 1).await;
        let delivery = take(&mut inbox, 1).await.remove(0);
        assert_eq!(delivery.returns, returns);
        assert!(broker.close(LONG).await);
    }
    let broker = start(&settings);
    depth(&broker, broker.names().dead("px"), 1).await;
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_retry_queue_is_made_at_first_use_and_again_after_somebody_deleted_it() {
    let url = shared_url().await;
    let settings = settings(&url);
    let broker = start(&settings);
    let mut inbox = open(&broker).await;
    consume(&inbox, 10).await;
    let client = Client::connect(&url, &settings.prefix).await;
    let delays = queues("px").retry_delays;
    let retry = DelayQueue::retry(&broker.names().queue("px"), delays[0], &delays);
    let (publisher, all) = (broker.publisher(), [retry.name.clone()]);
    assert_eq!(broker.depths(&all).await.unwrap(), [None], "nothing has needed it yet");
    let published = (0..5).map(|n| publisher.publish_delayed(&retry, message(format!("{n}"))));
    assert_eq!(futures_util::future::try_join_all(published).await.unwrap().len(), 5);
    assert_eq!(bodies(&take(&mut inbox, 5).await), ["0", "1", "2", "3", "4"]);
    client.delete_queue("px.retry.500ms").await;
    let lost = publisher.publish_delayed(&retry, message("5")).await;
    assert!(matches!(lost, Err(PublishError::Unroutable { .. })), "{lost:?}");
    assert_eq!(publisher.publish_delayed(&retry, message("5")).await, Ok(()), "it was made again");
    assert_eq!(bodies(&take(&mut inbox, 1).await), ["5"]);
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn where_nothing_may_be_created_a_copy_for_a_missing_retry_queue_is_told_so() {
    let url = shared_url().await;
    for (declare, words) in [(Declare::Check, "the broker lacks it"), (Declare::Never, "no queue is bound")] {
        let mut settings = settings(&url);
        let makes = start(&settings);
        let _inbox = open(&makes).await;
        settings.declare = declare;
        let broker = start(&settings);
        let delays = queues("px").retry_delays;
        let retry = DelayQueue::retry(&broker.names().queue("px"), delays[1], &delays);
        let refused = broker.publisher().publish_delayed(&retry, message("x")).await.unwrap_err().to_string();
        assert!(refused.contains(words) && refused.contains(&retry.first.0[..retry.first.0.len() - 5]), "{refused}");
        assert!(broker.close(LONG).await && makes.close(LONG).await);
    }
}

#[tokio::test]
async fn a_retry_comes_back_after_its_delay() {
    let broker = shared().await;
    let mut inbox = open(&broker).await;
    consume(&inbox, 5).await;
    let delays = queues("px").retry_delays;
    let retry = DelayQueue::retry(&broker.names().queue("px"), delays[0], &delays);
    assert_eq!(broker.depths(std::slice::from_ref(&retry.name)).await.unwrap(), [None], "nothing has needed it yet");
    broker.publisher().publish_delayed(&retry, message("later")).await.unwrap();
    let back = take(&mut inbox, 1).await.remove(0);
    assert_eq!((&back.message.body[..], back.routing_key), (&b"later"[..], broker.names().queue("px")));
    assert!(back.message.properties.headers.contains_key("x-death"));
    assert!(back.ticket.settle(Disposition::Ack));
    assert!(broker.close(LONG).await);
}
