//! Ordering keys: order within each, one request of each at a time, two limits at once, and no ordering key that slows another.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use sluice::control::stamp::Change;
use sluice::vendors::When;

use super::account::{Account, in_ordering_key, well, with};
use super::vendor::{Answer, Call, ScriptedVendor};
use super::{Stage, pass, seconds};

/// Event `n` is in ordering key `n % LANES`.
const LANES: u64 = 8;

fn account() -> Account {
    Account::PLAIN.batches(20, usize::MAX, When::Always).ordering_keys("10/s")
}

fn publish(stage: &Stage, events: std::ops::Range<u64>) {
    events.for_each(|event| stage.broker.put("shop.order", in_ordering_key(event, event % LANES)));
}

/// That each ordering key's events were taken in their order, and nothing was in flight in an ordering key beside another of it.
#[track_caller]
pub fn assert_order(vendor: &ScriptedVendor, ordering_key: impl Fn(u64) -> u64) {
    let mut last = BTreeMap::new();
    for event in vendor.deliveries() {
        let before = last.insert(ordering_key(event), event);
        assert!(
            before.is_none_or(|before| before < event),
            "{event} came after {before:?} of ordering key {}",
            ordering_key(event)
        );
    }
    assert_one_at_a_time(vendor, ordering_key);
}

#[track_caller]
pub fn assert_one_at_a_time(vendor: &ScriptedVendor, ordering_key: impl Fn(u64) -> u64) {
    let mut busy = BTreeMap::new();
    for call in vendor.calls_to("/events") {
        let of = ordering_key(call.event);
        assert!(call.events.iter().all(|event| ordering_key(*event) == of), "{:?} in one request", call.events);
        let until = busy.insert(of, call.answered.unwrap_or(Duration::MAX));
        assert!(until.is_none_or(|until| until <= call.at), "two requests of ordering key {of} at {:?}", call.at);
    }
}

/// That no second holds more than `most` of these calls.
#[track_caller]
fn assert_within(at: &[Duration], most: usize) {
    let over = at.windows(most + 1).find(|window| window[most] - window[0] < seconds(1));
    assert!(over.is_none(), "more than {most} in a second: {over:?}");
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_each_ordering_key_and_of_the_account_are_kept_together_and_used() {
    let stage = Account::PLAIN.ordering_keys("10/s").stage("limits = [\"50/s\"]");
    publish(&stage, 0..2_000);
    pass(seconds(30)).await;
    let calls = stage.vendor.calls_to("/events");
    assert_within(&calls.iter().map(|call| call.at).collect::<Vec<_>>(), 50);
    for ordering_key in 0..LANES {
        let at: Vec<Duration> =
            calls.iter().filter(|call| call.event % LANES == ordering_key).map(|call| call.at).collect();
        assert_within(&at, 10);
    }
    assert!(calls.len() >= 1_380, "{} calls in 30 s at 50/s", calls.len());
    assert_order(&stage.vendor, |event| event % LANES);
    let one = Account::PLAIN.ordering_keys("10/s").stage("limits = [\"50/s\"]");
    (0..200).for_each(|event| one.broker.put("shop.order", in_ordering_key(event, 0)));
    pass(seconds(11)).await;
    let at: Vec<Duration> = one.vendor.calls().iter().map(|(call, _)| call.at).collect();
    assert_within(&at, 10);
    assert!(at.len() >= 95, "{} of one ordering key in 10 s", at.len());
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_through_refusals_outages_timeouts_resets_and_splits() {
    type Behaviour = fn(&Call) -> Answer;
    let behaviours: [(&str, Behaviour); 7] =
        [
            ("well", well),
            ("429 now and then", |call| if call.before % 9 == 5 { Answer::Status(429) } else { well(call) }),
            ("503 now and then", |call| if call.before % 7 == 5 { Answer::Status(503) } else { well(call) }),
            ("resets now and then", |call| if call.before % 11 == 5 { Answer::Reset } else { well(call) }),
            ("time-outs now and then", |call| if call.before % 13 == 5 { Answer::Hang } else { well(call) }),
            ("an outage", |call| if (10..18).contains(&call.before) { Answer::Status(503) } else { well(call) }),
            ("bad events", |call| {
                if call.events.iter().any(|event| event % 17 == 3) { Answer::Status(400) } else { well(call) }
            }),
        ];
    for (name, behave) in behaviours {
        let stage = account().stage("limits = [\"40/s\"]");
        stage.vendor.behave(behave);
        publish(&stage, 0..400);
        stage.drained().await;
        assert_order(&stage.vendor, |event| event % LANES);
        let bad = |event: &u64| name == "bad events" && event % 17 == 3;
        assert!(stage.vendor.took_each_once((0..400).filter(|event| !bad(event))), "{name}");
        assert_eq!(stage.broker.dead().len(), (0..400).filter(bad).count(), "{name}");
        assert!(stage.broker.published().iter().all(|copy| copy.queue.ends_with(".dead")), "{name}: all in place");
    }
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_when_trouble_comes_while_a_refused_batch_is_split() {
    let stage = account().stage("limits = [\"20/s\"]");
    stage.vendor.behave(|call| match call.before % 5 {
        1 | 2 => Answer::Status(503),
        _ if call.events.contains(&19) => Answer::Status(400),
        _ => well(call),
    });
    (0..60).for_each(|event| stage.broker.put("shop.order", in_ordering_key(event, 0)));
    stage.drained().await;
    assert_order(&stage.vendor, |_| 0);
    assert!(stage.vendor.took_each_once((0..60).filter(|event| *event != 19)));
    assert_eq!(stage.broker.dead().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_of_a_ordering_key_rests_and_goes_first_again_as_a_whole() {
    let stage = account().stage("limits = [\"40/s\"]");
    stage.vendor.behave(|call| match call.event % LANES {
        0 if call.seen == 0 => Answer::Status(503),
        _ => well(call),
    });
    pass(seconds(2)).await;
    // Others go through, so that the trouble is not taken for the vendor's.
    for round in 0..40 {
        (0..10).for_each(|event| stage.broker.put("shop.order", in_ordering_key(round * 160 + event * LANES, 0)));
        stage.broker.put("shop.order", in_ordering_key(round * 160 + 1, 1));
        pass(seconds(2)).await;
    }
    stage.drained().await;
    assert!(stage.broker.published().is_empty(), "no attempt is spent: {}", stage.broker.published().len());
    assert_order(&stage.vendor, |event| event % LANES);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_again_and_again_gives_way_to_those_after_it() {
    let stage = account().stage("limits = [\"40/s\"]");
    stage.vendor.behave(|call| if call.events.contains(&0) { Answer::Status(500) } else { well(call) });
    stage.broker.put("shop.order", in_ordering_key(0, 0));
    // The other ordering key has events all the time: it is not the vendor that is in trouble.
    for event in 1..400 {
        pass(Duration::from_millis(500)).await;
        let ordering_key = if event < 120 { event % 2 } else { 1 };
        stage.broker.put("shop.order", in_ordering_key(event, ordering_key));
    }
    pass(seconds(1)).await;
    assert!((1..400).all(|event| stage.vendor.taken(event) >= 1), "its ordering key goes on");
    assert!(stage.broker.published().iter().any(|copy| copy.queue.contains(".retry.")));
}

#[tokio::test(start_paused = true)]
async fn a_ordering_key_in_trouble_does_not_slow_the_others() {
    let stage = account().stage("limits = [\"40/s\"]");
    stage.vendor.behave(|call| match call.event % LANES {
        0 if call.seen < 3 => Answer::slow(503, seconds(3)),
        _ => well(call),
    });
    pass(seconds(2)).await;
    for event in 0..400 {
        publish(&stage, event..event + 1);
        pass(Duration::from_millis(50)).await;
    }
    stage.drained().await;
    let calls = stage.vendor.calls_to("/events");
    for call in calls.iter().filter(|call| call.event % LANES != 0) {
        for event in &call.events {
            let published = seconds(2) + Duration::from_millis(50) * u32::try_from(*event).unwrap();
            assert!(call.at <= published + Duration::from_millis(150), "{event} waited {:?}", call.at - published);
        }
    }
    assert_order(&stage.vendor, |event| event % LANES);
}

#[tokio::test(start_paused = true)]
async fn groups_of_one_ordering_key_take_turns_in_order_and_ordering_keys_of_one_group_stay_apart() {
    let stage = account().stage("limits = [\"40/s\"]");
    for event in 0..200 {
        let message = with(event, &json!({ "ordering_key": event % 2, "group": event / 5 % 3 }));
        stage.broker.put("shop.order", message);
    }
    stage.drained().await;
    assert_order(&stage.vendor, |event| event % 2);
    assert!(stage.vendor.took_each_once(0..200));
    assert!(stage.vendor.count() < 200, "some travel together");
}

#[tokio::test(start_paused = true)]
async fn order_outlives_a_stop_under_load_and_a_pause() {
    let mut stage = account().stage("limits = [\"20/s\"]");
    stage.vendor.behave(|call| match call.before {
        3 | 10 => Answer::Status(400),
        _ => well(call),
    });
    publish(&stage, 0..800);
    for _ in 0..6 {
        pass(Duration::from_millis(700)).await;
        let ledger = stage.stop().await;
        stage.start(&ledger);
        pass(Duration::from_millis(1_700)).await;
        stage.change(Change::PAUSE).await;
        pass(seconds(5)).await;
        stage.change(Change::Resume).await;
    }
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..800));
    assert_order(&stage.vendor, |event| event % LANES);
}
