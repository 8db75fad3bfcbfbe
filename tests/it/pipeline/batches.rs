//! Events that travel together: never waiting for company, within the vendor's rule, and each with an end of its own.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use sluice::control::stamp::Change;
use sluice::destination::Handover;
use sluice::vendors::When;

use super::account::{Account, well, with};
use super::broker::header;
use super::vendor::{Answer, Call, ScriptedVendor};
use super::{Stage, message, pass, seconds};

const MANY: usize = usize::MAX;

fn sizes(vendor: &ScriptedVendor) -> Vec<usize> {
    vendor.calls_to("/events").iter().map(|call| call.events.len()).collect()
}

/// Refuses every request with one of `bad` in it.
fn refusing(status: u16, bad: impl Fn(u64) -> bool) -> impl Fn(&Call) -> Answer {
    move |call| if call.events.iter().any(|event| bad(*event)) { Answer::Status(status) } else { well(call) }
}

fn dead_events(stage: &Stage) -> Vec<u64> {
    let mut dead: Vec<u64> =
        stage.broker.dead().iter().map(|letter| super::event_number(&letter.body).unwrap()).collect();
    dead.sort_unstable();
    dead
}

#[tokio::test(start_paused = true)]
async fn an_event_never_waits_for_company_while_the_gate_would_let_it_through() {
    for when in [When::Always, When::Scarce] {
        let stage = Account::PLAIN.batches(100, MANY, when).stage("limits = [\"10/s\"]");
        pass(seconds(2)).await;
        for event in 0..100 {
            let published = stage.vendor.now();
            stage.publish([event]);
            pass(Duration::from_millis(120)).await;
            let call = &stage.vendor.calls_for(event)[0];
            assert!(call.at - published <= Duration::from_millis(5), "{event} waited {:?}", call.at - published);
        }
        assert_eq!(sizes(&stage.vendor), [1; 100]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_travels_in_batches_and_few_events_travel_alone_while_calls_are_plentiful() {
    for when in [When::Always, When::Scarce] {
        let stage = Account::PLAIN.batches(1_000, MANY, when).stage("limits = [\"5/s\"]");
        stage.publish(0..20_000);
        stage.drained().await;
        assert!(stage.vendor.took_each_once(0..20_000));
        assert!(stage.vendor.count() <= 60, "{when:?}: {} calls", stage.vendor.count());
    }
    let stage = Account::PLAIN.batches(1_000, MANY, When::Scarce).stage("limits = [\"5/s\"]");
    stage.publish(0..8);
    stage.drained().await;
    assert_eq!(sizes(&stage.vendor), [1; 8], "what is sent within two seconds anyway needs no batch");
}

#[tokio::test(start_paused = true)]
async fn a_batch_never_breaks_the_vendors_rule() {
    let stage = Account::PLAIN.batches(50, 4_000, When::Always).stage("limits = [\"20/s\"]");
    let mut bytes = vec![0; 3_000];
    for event in 0..3_000 {
        let fill = "x".repeat(usize::try_from(event * 7 % 900).unwrap());
        let message = with(event, &json!({ "group": event % 3, "fill": fill }));
        bytes[usize::try_from(event).unwrap()] = message.body.len() + 1;
        stage.broker.put("shop.order", message);
    }
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..3_000));
    for call in stage.vendor.calls_to("/events") {
        assert!(call.events.len() <= 50);
        assert!(call.events.iter().all(|event| event % 3 == call.event % 3), "groups are not mixed: {:?}", call.events);
        let size: usize = call.events.iter().map(|event| bytes[usize::try_from(*event).unwrap()]).sum();
        assert!(size <= 4_001, "{size} bytes");
    }
    assert!(stage.vendor.count() < 500, "{} calls", stage.vendor.count());
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_day_last_the_day_at_an_arrival_rate_that_single_calls_could_not_serve() {
    let stage = Account::PLAIN.batches(1_000, MANY, When::Scarce).stage("limits = [\"5/s\", \"3000/day\"]");
    // From one midnight (UTC) to the next: the budget is the calendar day's.
    let wall = sluice::clock::wall().to_zoned(jiff::tz::TimeZone::UTC);
    let midnight = wall.tomorrow().unwrap().start_of_day().unwrap();
    pass(wall.duration_until(&midnight).unsigned_abs() + seconds(1)).await;
    let start = stage.vendor.now();
    for event in 0..8_640 {
        stage.publish([event]);
        pass(seconds(10)).await;
        assert!(stage.broker.ready() + stage.broker.unsettled() <= 12, "a backlog at {event}");
    }
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..8_640));
    let calls = stage.vendor.calls_between(start, start + seconds(86_398));
    assert!((2_500..=3_000).contains(&calls), "{calls} calls in a day");
    let gaps = stage.vendor.calls().windows(2).map(|pair| pair[1].0.at - pair[0].0.at).max().unwrap();
    assert!(gaps < seconds(60), "nothing was sent for {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_is_refused_exactly_the_bad_events_are_dead_letters_and_the_good_ones_arrive_once() {
    for (status, reason) in [(400, "rejected"), (413, "too_large")] {
        for bad in [vec![0], vec![63], vec![5, 6, 40], (0..64).step_by(7).collect()] {
            let mut stage = Account::PLAIN.batches(64, MANY, When::Always).idle("limits = [\"10/s\"]");
            let among = bad.clone();
            stage.vendor.behave(refusing(status, move |event| among.contains(&event)));
            stage.publish(0..64);
            stage.start(&Handover::default());
            stage.drained().await;
            assert_eq!(dead_events(&stage), bad);
            assert!(stage.broker.reasons().iter().all(|found| found == reason));
            assert!(stage.vendor.took_each_once((0..64).filter(|event| !bad.contains(event))));
            assert!(stage.vendor.count() <= 2 * 64, "{} calls", stage.vendor.count());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn finding_the_bad_events_of_thousands_is_bounded_and_what_stays_in_doubt_says_so() {
    let lines = "limits = [\"100/s\"]\npark_after_rejections = 0";
    let mut stage = Account::PLAIN.batches(5_000, MANY, When::Always).idle(lines);
    stage.vendor.behave(refusing(400, |event| event % 3 == 0));
    stage.publish(0..5_000);
    stage.start(&Handover::default());
    stage.drained().await;
    assert!(stage.vendor.count() <= 3_000, "{} calls", stage.vendor.count());
    let dead = stage.broker.dead();
    let (bad, doubtful): (Vec<_>, Vec<_>) =
        dead.iter().partition(|letter| !header(letter, "x-sluice-sentence").unwrap().contains("it may be good"));
    assert!(bad.iter().all(|letter| super::event_number(&letter.body).unwrap().is_multiple_of(3)));
    assert!(!doubtful.is_empty() && !bad.is_empty());
    let delivered = stage.vendor.deliveries();
    assert_eq!(delivered.len() + dead.len(), 5_000, "each has one end");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_rejects_everything_parks_the_destination_and_few_become_dead_letters() {
    let stage = Account::PLAIN.batches(500, MANY, When::Always).stage("limits = [\"50/s\"]");
    stage.vendor.behave(refusing(400, |_| true));
    stage.publish(0..5_000);
    pass(seconds(600)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    assert_eq!(stage.broker.dead().len(), 20);
    let from = stage.vendor.count();
    pass(seconds(3_600)).await;
    let probes = stage.vendor.calls();
    assert!(probes[from..].iter().all(|(call, _)| call.events.len() == 1), "a probe carries one event");
    assert!((200..=245).contains(&(probes.len() - from)), "{} probes in an hour", probes.len() - from);
    assert_eq!(stage.broker.dead().len(), 20);
    stage.vendor.behave(well);
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!(stage.vendor.deliveries().len(), 4_980);
    assert!(stage.vendor.took_each_once((0..5_000).filter(|event| !dead_events(&stage).contains(event))));
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_batch_are_not_held_for_long_behind_a_parked_gate() {
    let stage = Account::PLAIN.batches(22, MANY, When::Always).stage("limits = [\"50/s\"]");
    stage.vendor.behave(refusing(400, |_| true));
    stage.publish(0..22);
    pass(seconds(60)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    let returned = stage.broker.requeued();
    pass(seconds(1_200)).await;
    assert!(stage.broker.requeued() >= returned + 2, "the two that are kept to probe with go back in time");
}

#[tokio::test(start_paused = true)]
async fn a_probe_after_an_outage_carries_one_event_though_a_part_waits() {
    let stage = Account::PLAIN.batches(64, MANY, When::Always).stage("limits = [\"50/s\"]");
    stage.vendor.behave(|call| match call.before {
        0 => Answer::Status(400),
        1..=12 => Answer::Status(503),
        _ => well(call),
    });
    stage.publish(0..64);
    stage.drained().await;
    assert!(stage.broker.dead().is_empty());
    let calls = stage.vendor.calls();
    let recovered = calls.iter().rposition(|(_, answer)| answer.status() == Some(503)).unwrap() + 1;
    assert_eq!(calls[recovered].0.events.len(), 1, "the probe that reopens");
    assert_eq!(stage.vendor.deliveries().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_a_batch_at_most_one_attempt_each() {
    let stage = Account::PLAIN.batches(64, MANY, When::Always).stage("limits = [\"50/s\"]");
    stage.vendor.behave(|call| if call.before < 30 { Answer::Reset } else { well(call) });
    stage.publish(0..500);
    stage.drained().await;
    assert!(stage.broker.dead().is_empty());
    assert!(stage.vendor.took_each_once(0..500));
    assert!(stage.broker.published().len() <= 64, "{} copies", stage.broker.published().len());
}

#[tokio::test(start_paused = true)]
async fn where_the_answer_tells_the_events_apart_each_has_its_own_end() {
    let stage = Account::PLAIN.batches(10, MANY, When::Always).stage("limits = [\"50/s\"]");
    let mut sent = HashSet::new();
    stage.vendor.behave(move |call| {
        let status = |event: &u64| match (event % 10, sent.insert(*event)) {
            (3, true) => 503,
            (4, _) => 400,
            (5, true) => 429,
            _ => 200,
        };
        Answer::Body(207, format!("{:?}", call.events.iter().map(status).collect::<Vec<_>>()))
    });
    stage.publish(0..100);
    stage.drained().await;
    assert_eq!(dead_events(&stage), (0..100).filter(|event| event % 10 == 4).collect::<Vec<_>>());
    assert!(stage.broker.is_drained());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leaves_some_out_is_not_taken_for_a_delivery_of_those() {
    let stage = Account::PLAIN.batches(4, MANY, When::Always).stage("limits = [\"50/s\"]");
    stage.vendor.behave(|_| Answer::Body(207, "[200]".to_owned()));
    stage.publish(0..4);
    stage.drained().await;
    assert!(
        stage.broker.dead().iter().all(|letter| header(letter, "x-sluice-sentence").unwrap().contains("does not tell"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_came_twice_stands_in_a_batch_once() {
    let stage = Account::PLAIN.batches(10, MANY, When::Always).stage("limits = [\"2/s\"]");
    stage.publish(0..30);
    pass(Duration::from_millis(530)).await;
    stage.broker.cut();
    stage.drained().await;
    for event in 0..30 {
        let doubts = stage.broker.doubts(event, stage.vendor.first_sent(event));
        assert!(stage.vendor.taken(event) <= 1 + doubts, "{event}");
    }
    stage.broker.put_returned("shop.order", message(1, true), 1);
    stage.drained().await;
    assert_eq!(stage.vendor.taken(1), 1);
}
