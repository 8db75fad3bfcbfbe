//! The gate at work in the pipeline: refusals, outages, refused credentials, rejections in a row, long waits.

use std::time::Duration;

use super::broker::DELIVERY_LIMIT;
use super::vendor::{Answer, ScriptedVendor};
use super::{Stage, message, pass, seconds};
use sluice::control::stamp::Change;

#[tokio::test(start_paused = true)]
async fn requests_keep_to_the_limit_and_use_it() {
    let stage = Stage::new("limits = [\"20/s\"]");
    stage.publish(0..400);
    pass(seconds(12)).await;
    let at: Vec<Duration> = stage.vendor.calls().iter().map(|(call, _)| call.at).collect();
    for (index, first) in at.iter().enumerate() {
        let within = at[index..].iter().take_while(|later| **later - *first < seconds(1)).count();
        assert!(within <= 20, "{within} requests in the second after {first:?}");
    }
    assert!(at.len() >= 230, "{} requests in 12 s", at.len());
}

#[tokio::test(start_paused = true)]
async fn a_429_waits_for_retry_after_then_probes_once_and_goes_on() {
    let stage = Stage::new("limits = [\"1000/s\"]\nconcurrency = 4");
    stage.vendor.behave(|call| match call.before {
        20 => Answer::With(429, "retry-after", "7".to_owned()),
        _ => Answer::Status(201),
    });
    stage.publish(0..200);
    stage.drained().await;
    let refused = stage.vendor.calls()[20].0.at + ScriptedVendor::LATENCY;
    let in_flight = stage.vendor.calls_between(stage.vendor.calls()[20].0.at, refused);
    assert!(in_flight <= 4, "{in_flight} requests until the answer was there");
    assert_eq!(stage.vendor.calls_between(refused, refused + seconds(7)), 0);
    let probe = stage.vendor.calls()[20 + in_flight].0.clone();
    assert_ne!(probe.event, 20, "another event tells more than the refused one, which may be odd");
    assert_eq!(stage.vendor.calls_between(probe.at, probe.at + ScriptedVendor::LATENCY), 1, "one probe");
    assert!(probe.at < refused + seconds(8));
    assert!((0..200).all(|event| stage.vendor.taken(event) == 1));
    assert_eq!(stage.vendor.count(), 201);
    assert!(stage.broker.published().is_empty(), "no attempt is spent");
}

#[tokio::test(start_paused = true)]
async fn an_outage_dead_letters_nothing_however_long_it_lasts() {
    for trouble in [Answer::Status(503), Answer::Refuse, Answer::Reset, Answer::Hang] {
        let stage = Stage::new("limits = [\"100/s\"]\n[destinations.hook.retry]\nmax_age = \"1h\"");
        let down = trouble.clone();
        stage.vendor.behave(move |call| if call.before < 10 { Answer::Status(201) } else { down.clone() });
        stage.publish(0..300);
        pass(seconds(2 * 3600)).await;
        assert_eq!(stage.view().await.state_name(), "broken");
        let retried = stage.broker.published().iter().filter(|copy| copy.queue != "sluice.hook").count();
        assert!(retried <= 1, "{trouble:?}: only the first failure cannot tell yet that it is an outage");
        let calls = stage.vendor.count();
        pass(seconds(600)).await;
        assert!((5..=30).contains(&(stage.vendor.count() - calls)), "probes go on, about once a minute");
        stage.vendor.behave(|_| Answer::Status(201));
        stage.drained().await;
        assert!(stage.broker.dead().is_empty());
        assert!((0..300).all(|event| stage.vendor.taken(event) == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_park_with_a_handful_of_probes_a_minute() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Status(401));
    stage.publish(0..100);
    pass(seconds(2)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    let calls = stage.vendor.count();
    assert!(calls <= 32, "{calls} requests before the first answer was there");
    pass(seconds(600)).await;
    let probes = stage.vendor.count() - calls;
    assert!((20..=50).contains(&probes), "{probes} probes in 10 minutes");
    assert!(stage.broker.published().is_empty());
    stage.vendor.behave(|_| Answer::Status(201));
    stage.drained().await;
    assert!((0..100).all(|event| stage.vendor.taken(event) == 1), "a good probe goes on by itself");
}

#[tokio::test(start_paused = true)]
async fn a_resume_probes_a_parked_destination_at_once() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Status(403));
    stage.publish(0..10);
    pass(seconds(16)).await;
    stage.vendor.behave(|_| Answer::Status(201));
    stage.change(Change::Resume).await;
    pass(seconds(1)).await;
    assert_eq!(stage.view().await.state_name(), "open");
    // Those that were refused take their own delays: one that is taken tells that the account is well, not that they are.
    pass(seconds(6)).await;
    assert!(stage.broker.is_drained() && stage.vendor.took_each_once(0..10));
    assert!(stage.broker.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn twenty_rejections_in_a_row_park_and_what_was_in_flight_waits() {
    let stage = Stage::new("limits = [\"1000/s\"]\nconcurrency = 16");
    stage.vendor.behave(|_| Answer::Status(400));
    stage.publish(0..200);
    pass(seconds(300)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    assert_eq!(stage.broker.dead().len(), 20);
    stage.vendor.behave(|_| Answer::Status(201));
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 20);
    assert_eq!((0..200).filter(|event| stage.vendor.taken(*event) == 1).count(), 180);
}

#[tokio::test(start_paused = true)]
async fn a_gate_closed_for_long_gives_deliveries_back_but_for_a_few_to_probe_with() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|call| match call.before {
        0 => Answer::With(429, "retry-after", "3600".to_owned()),
        _ => Answer::Status(201),
    });
    for event in 0..100 {
        let returns = if event % 2 == 0 { DELIVERY_LIMIT / 2 } else { 0 };
        stage.broker.put_returned("shop.order", message(event, true), returns);
    }
    pass(seconds(60)).await;
    assert!(stage.broker.unsettled() <= 2, "{} are held", stage.broker.unsettled());
    assert_eq!(stage.broker.ready() + stage.broker.unsettled(), 100);
    let republished = stage.broker.published();
    assert!(!republished.is_empty(), "what was given back too often starts afresh");
    assert!(republished.iter().all(|copy| copy.queue == "sluice.hook"));
    assert!(stage.broker.requeued() > 0);
    assert!(stage.broker.dead().is_empty());
    pass(seconds(3600)).await;
    assert!(stage.broker.is_drained());
    assert!((0..100).all(|event| stage.vendor.taken(event) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_gate_closed_for_hours_on_end_never_uses_up_a_messages_returns() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::With(429, "retry-after", "7200".to_owned()));
    stage.publish(0..50);
    pass(seconds(12 * 3600)).await;
    assert!(stage.broker.dead().is_empty());
    assert_eq!(stage.broker.ready() + stage.broker.unsettled(), 50);
    assert!(stage.vendor.count() <= 32 + 6, "{}", stage.vendor.count());
}

/// With four events in the queue that the vendor always chokes on; it takes all others.
fn with_four_it_chokes_on() -> Stage {
    let stage = Stage::new("limits = [\"50/s\"]");
    stage.vendor.behave(|call| Answer::Status(if call.event < 4 { 500 } else { 201 }));
    stage.publish(0..4);
    stage
}

#[tokio::test(start_paused = true)]
async fn events_that_the_vendor_always_chokes_on_do_not_hold_up_the_others() {
    let stage = with_four_it_chokes_on();
    for event in 4..200 {
        pass(seconds(5)).await;
        stage.publish([event]);
    }
    pass(seconds(30)).await;
    for event in 4..200 {
        let published = seconds(5) * u32::try_from(event - 3).unwrap();
        let sent = stage.vendor.calls_for(event)[0].at;
        assert!(sent < published + seconds(10), "{event} waited {:?}", sent - published);
        assert_eq!(stage.vendor.taken(event), 1);
    }
    assert!(stage.broker.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nor_do_they_where_an_event_is_rare() {
    let stage = with_four_it_chokes_on();
    for event in 4..24 {
        pass(seconds(900)).await;
        stage.publish([event]);
        pass(seconds(600)).await;
        assert_eq!(stage.vendor.taken(event), 1, "{event} waits longer than a probe with each of those may take");
    }
    assert!(stage.broker.dead().is_empty());
}
