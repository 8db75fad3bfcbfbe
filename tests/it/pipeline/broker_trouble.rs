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
        0 => Answer::Slow(201, Duration::from_millis(120)),
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
