//! The end of a worker: what is in flight is finished, the rest goes back, and the next one goes on.

use std::time::Duration;

use sluice::destination::Handover;
use sluice::destination::STOP_WITHIN;
use sluice::vendors::When;

use super::account::Account;
use super::vendor::Answer;
use super::{Stage, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_stop_under_load_loses_and_doubles_nothing() {
    let mut stage = Stage::new("limits = [\"200/s\"]");
    stage.vendor.behave(|_| Answer::slow(201, Duration::from_millis(300)));
    stage.publish(0..1000);
    pass(seconds(2)).await;
    let ledger = stage.stop().await;
    assert_eq!(stage.broker.unsettled(), 0);
    let sent = stage.vendor.count();
    assert_eq!(stage.broker.ready(), 1000 - sent);
    stage.start(&ledger);
    stage.drained().await;
    assert!((0..1000).all(|event| stage.vendor.taken(event) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_no_longer_than_it_may_and_loses_nothing() {
    let mut stage = Stage::new("limits = [\"200/s\"]");
    stage.vendor.behave(|call| if call.event == 0 { Answer::slow(201, seconds(60)) } else { Answer::Status(201) });
    stage.publish(0..10);
    pass(seconds(1)).await;
    let before = stage.vendor.now();
    let ledger = stage.stop().await;
    assert!(stage.vendor.now() - before < STOP_WITHIN + seconds(1));
    assert_eq!(stage.broker.ready(), 1);
    stage.vendor.behave(|_| Answer::Status(201));
    stage.start(&ledger);
    stage.drained().await;
    assert!(stage.broker.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_retry_cannot_be_published_keeps_the_event() {
    let mut stage = Stage::new("limits = [\"200/s\"]");
    stage.vendor.behave(|call| Answer::Status(if call.event == 1 { 400 } else { 201 }));
    stage.broker.decide(|| super::broker::Fate::Refused);
    stage.publish(0..3);
    pass(seconds(1)).await;
    stage.stop().await;
    assert_eq!((stage.broker.ready(), stage.broker.dead().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_killed_workers_events_are_delivered_by_the_next() {
    let mut stage = Stage::new("limits = [\"200/s\"]");
    stage.publish(0..500);
    pass(seconds(1)).await;
    stage.kill().await;
    stage.start(&Handover::default());
    stage.drained().await;
    for event in 0..500 {
        assert!(
            (1..=1 + stage.broker.doubts(event, stage.vendor.first_sent(event))).contains(&stage.vendor.taken(event)),
            "{event}"
        );
    }
    assert!(stage.vendor.count() <= 500 + 32, "no more twice than were in flight");
}

#[tokio::test(start_paused = true)]
async fn a_successor_keeps_waiting_as_the_vendor_asked() {
    let mut stage = Stage::new("limits = [\"200/s\"]");
    stage.vendor.behave(|call| match call.before {
        0 => Answer::With(429, "retry-after", "20".to_owned()),
        _ => Answer::Status(201),
    });
    stage.publish([0]);
    pass(seconds(1)).await;
    let ledger = stage.stop().await;
    stage.start(&ledger);
    pass(seconds(17)).await;
    assert_eq!(stage.vendor.count(), 1);
    stage.drained().await;
    assert_eq!(stage.vendor.taken(0), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bug_that_ends_a_destination_makes_it_forget_neither_its_pause_nor_its_budget() {
    let mut stage = Account::PLAIN.batches(10, usize::MAX, When::Always).stage("limits = [\"100/s\", \"1000/day\"]");
    stage.publish(0..1);
    stage.drained().await;
    // The account's reading of such an answer panics.
    stage.vendor.behave(|_| Answer::Body(207, "nonsense".to_owned()));
    stage.publish(1..2);
    let worker = stage.worker.take().unwrap();
    let handover = worker.task.await.unwrap();
    assert_eq!(handover.ledger.used, 2);
}
