//! Events whose time is over are not sent, whatever made them wait.

use std::time::Duration;

use sluice::clock;
use sluice::control::stamp::Change;
use sluice::message::{Field, Message};

use super::broker::replay;
use super::vendor::Answer;
use super::{Stage, message, pass, seconds};

/// An event that happened now, and is not to be sent when so much time has passed.
fn until(event: u64, expires: Duration) -> Message {
    let mut message = message(event, true);
    let at = |time: jiff::Timestamp| Field::text(time.to_string());
    let now = clock::wall();
    let attributes = [
        ("id", Field::text(event.to_string())),
        ("source", Field::text("/shop")),
        ("type", Field::text("shop.order")),
        ("specversion", Field::text("1.0")),
        ("time", at(now)),
        ("expirytime", at(now.checked_add(expires).unwrap())),
    ];
    message.properties.headers =
        attributes.map(|(name, field)| (format!("cloudEvents:{name}"), field)).into_iter().collect();
    message
}

#[tokio::test(start_paused = true)]
async fn what_expires_during_an_outage_costs_no_request_after_it() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Status(503));
    (0..500).for_each(|event| stage.broker.put("shop.order", until(event, seconds(60))));
    stage.publish(500..520);
    pass(seconds(300)).await;
    let before = stage.vendor.count();
    stage.vendor.behave(|_| Answer::Status(201));
    stage.drained().await;
    let sent: Vec<u64> = stage.vendor.calls().iter().skip(before).flat_map(|(call, _)| call.events.clone()).collect();
    assert!(sent.iter().all(|event| *event >= 500), "{sent:?}");
    assert!(stage.vendor.took_each_once(500..520));
    let reasons = stage.broker.reasons();
    assert_eq!((reasons.len(), reasons.iter().all(|reason| reason == "too_old")), (500, true), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_gate_is_looked_at_once_more_right_before_its_request() {
    let stage = Stage::new("limits = [\"1/s\"]");
    (0..30).for_each(|event| stage.broker.put("shop.order", until(event, Duration::from_millis(9_500))));
    stage.drained().await;
    let (taken, dead) = (stage.vendor.deliveries().len(), stage.broker.reasons().len());
    assert!((8..=11).contains(&taken) && taken + dead == 30, "{taken} were sent and {dead} died");
    assert_eq!(stage.vendor.count(), taken);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_until_its_time_is_over_and_one_without_an_end_always() {
    let stage = Stage::new("limits = [\"100/s\"]\nmax_event_age = \"1h\"");
    stage.change(Change::PAUSE).await;
    stage.broker.put("shop.order", until(1, seconds(7_200)));
    stage.broker.put("shop.order", until(2, seconds(1_200)));
    // Without a time of its own it happened when it came.
    stage.publish(3..4);
    pass(seconds(1_800)).await;
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert!(stage.vendor.took_each_once([1, 3]), "{:?}", stage.vendor.deliveries());
    assert_eq!(stage.broker.reasons(), ["too_old"]);
    stage.change(Change::PAUSE).await;
    stage.broker.put("shop.order", until(4, seconds(7_200)));
    pass(seconds(3_700)).await;
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["too_old", "too_old"], "it is older than the destination allows");
}

#[tokio::test(start_paused = true)]
async fn a_destination_may_drop_them_but_no_letter_that_somebody_replays() {
    let stage = Stage::new("limits = [\"100/s\"]\nexpired = \"drop\"");
    stage.change(Change::PAUSE).await;
    (0..5).for_each(|event| stage.broker.put("shop.order", until(event, seconds(10))));
    stage.broker.put("sluice.hook", replay(7, until(7, seconds(10))));
    pass(seconds(20)).await;
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!((stage.vendor.count(), stage.broker.reasons()), (0, vec!["too_old".to_owned()]));
    assert_eq!(stage.metrics.dropped_total.with_label_values(&["hook"]).get(), 5);
}
