//! Trouble on the broker's side: publications that fail, channels that are lost.

use super::broker::Fate;
use super::vendor::Answer;
use super::{Stage, message, pass, seconds};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_not_confirmed_is_published_again_before_the_original_is_acked() {
    for failure in [Fate::Refused, Fate::Lost] {
        for (status, queue) in [(400, "sluice.hook.dead"), (500, "sluice.hook.retry.5")] {
            let stage = Stage::new("limits = [\"100/s\"]");
            stage.vendor.behave(move |call| match (call.event, call.seen) {
                (1, 0) => Answer::Status(status),
                _ => Answer::Status(201),
            });
            stage.broker.decide(move || failure);
            stage.publish(0..3);
            pass(seconds(20)).await;
            assert_eq!(stage.broker.unsettled(), 1, "{failure:?}, {queue}: not acked before a confirm");
            let tries = stage.broker.published().len();
            assert!((4..=20).contains(&tries), "{tries} tries in 20 s");
            stage.broker.decide(|| Fate::Confirmed);
            stage.drained().await;
            let confirmed = stage.broker.published().into_iter().find(|copy| copy.fate == Fate::Confirmed).unwrap();
            assert_eq!(confirmed.queue, queue);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_lost_channel_is_sent_that_was_not_started() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.publish(0..100);
    pass(Duration::from_millis(200)).await;
    let sent = stage.vendor.count();
    stage.broker.cut();
    pass(Duration::from_millis(49)).await;
    assert_eq!(stage.vendor.count(), sent, "what was held waits for the new channel");
    stage.drained().await;
    assert!((0..100).all(|event| stage.vendor.taken(event) == 1), "one more than once");
}

/// The first event is answered and the channel lost before its ack arrives.
async fn with_a_lost_ack(with_id: bool) -> Stage {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.broker.put("shop.order", message(0, with_id));
    while stage.view().await.delivered == 0 {
        pass(Duration::from_micros(500)).await;
    }
    stage.broker.cut();
    stage.drained().await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_delivered_event_whose_ack_was_lost_is_not_sent_again() {
    let stage = with_a_lost_ack(true).await;
    assert_eq!((stage.vendor.taken(0), stage.broker.doubts(0, stage.vendor.first_sent(0))), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_producers_id_equal_content_may_be_two_events_so_it_is_sent_again() {
    let stage = with_a_lost_ack(false).await;
    assert_eq!(stage.vendor.taken(0), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_answered_while_its_second_copy_waits_is_not_sent_again() {
    let stage = Stage::new("limits = [\"5/s\"]");
    stage.vendor.behave(|call| match call.event {
        0 => Answer::slow(201, Duration::from_millis(120)),
        _ => Answer::Status(201),
    });
    stage.publish(0..5);
    while stage.vendor.count() == 0 {
        pass(Duration::from_millis(1)).await;
    }
    stage.broker.cut();
    stage.drained().await;
    assert!((0..5).all(|event| stage.vendor.taken(event) == 1));
}

#[tokio::test(start_paused = true)]
async fn two_events_with_one_id_and_other_contents_are_both_sent() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.publish([1]);
    stage.drained().await;
    let mut other = message(2, true);
    other.properties.message_id = Some("1".to_owned());
    stage.broker.put_returned("shop.order", other, 1);
    stage.drained().await;
    assert_eq!((stage.vendor.taken(1), stage.vendor.taken(2)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn two_events_of_two_sources_with_one_id_and_content_are_both_sent() {
    let stage = Stage::new("limits = [\"100/s\"]");
    let from = |source: &str| {
        let mut event = message(1, true);
        event.properties.app_id = Some(source.to_owned());
        event
    };
    stage.broker.put("shop.order", from("/shop/a"));
    stage.drained().await;
    stage.broker.put_returned("shop.order", from("/shop/b"), 1);
    stage.drained().await;
    assert_eq!(stage.vendor.taken(1), 2);
}

/// A worker that has just lost the way to its broker without knowing, with events in hand.
async fn over_a_half_open_link(limit: &str) -> (Stage, usize) {
    let stage = Stage::new(&format!("limits = [\"{limit}\"]"));
    stage.publish(0..800);
    pass(seconds(1)).await;
    stage.broker.half_open();
    let sent = stage.vendor.count();
    (stage, sent)
}

#[tokio::test(start_paused = true)]
async fn over_a_half_open_link_few_more_are_sent_than_were_in_flight() {
    for limit in ["50/s", "200/s", "500/s"] {
        let (stage, sent) = over_a_half_open_link(limit).await;
        pass(seconds(15)).await;
        let more = stage.vendor.count() - sent;
        assert!((1..=26).contains(&more), "{limit}: {more} more");
        assert!(stage.broker.unsettled() > more, "{limit}: more were held");
        stage.broker.cut();
        stage.drained().await;
        assert!((0..800).all(|event| stage.vendor.taken(event) >= 1), "all arrive");
    }
}

#[tokio::test(start_paused = true)]
async fn proof_of_the_broker_costs_no_place_of_the_quota() {
    for (limit, events) in [("20/s", 200), ("100/s", 1_000)] {
        let stage = Stage::new(&format!("limits = [\"{limit}\"]"));
        stage.publish(0..1_500);
        pass(seconds(2)).await;
        let sent = stage.vendor.count();
        pass(seconds(10)).await;
        let more = stage.vendor.count() - sent;
        assert!((events * 99 / 100..=events + 2).contains(&more), "{limit}: {more} in ten seconds");
    }
}

/// Of two events one is rejected, and its copy goes to a queue without its majority.
async fn with_copies_that_wait(events: u64) -> Stage {
    let stage = Stage::new("limits = [\"1000/s\"]\nconcurrency = 32");
    stage.vendor.behave(|call| Answer::Status(if call.event % 2 == 0 { 400 } else { 201 }));
    stage.broker.silence("sluice.hook.dead", true);
    stage.publish(0..events);
    stage
}

#[tokio::test(start_paused = true)]
async fn copies_that_the_broker_does_not_take_wait_apart_and_others_go_on() {
    let stage = with_copies_that_wait(1_200).await;
    pass(seconds(60)).await;
    let view = stage.view().await;
    assert_eq!((view.delivered, view.copies_waiting, view.copies_full), (600, 600, false));
    stage.broker.silence("sluice.hook.dead", false);
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 600);
    assert_eq!(stage.view().await.copies_waiting, 0);
    assert!((0..1_200).all(|event| stage.vendor.calls_for(event).len() == 1), "each was sent once");
}

#[tokio::test(start_paused = true)]
async fn copies_that_wait_are_bounded_and_it_is_told_when_nothing_more_is_taken() {
    let stage = with_copies_that_wait(6_000).await;
    pass(seconds(60)).await;
    let view = stage.view().await;
    assert!(view.copies_full && (2_000..3_000).contains(&view.copies_waiting), "{}", view.copies_waiting);
    assert!(stage.broker.unsettled() < 3_000);
    stage.broker.silence("sluice.hook.dead", false);
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 3_000);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_waits_for_long_lets_its_event_go_back_before_the_brokers_patience_ends() {
    let stage = with_copies_that_wait(100).await;
    for event in 0..3_600 {
        stage.publish([1_001 + 2 * event]);
        pass(seconds(1)).await;
        assert!(stage.broker.longest_held() < seconds(1_210));
    }
    assert!(stage.broker.requeued() > 0);
    stage.broker.silence("sluice.hook.dead", false);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), vec!["rejected"; 50]);
}
