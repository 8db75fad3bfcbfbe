//! Events that our own check refuses: a few are dead letters, many in a row park the destination, and what comes then waits.

use serde_json::json;
use sluice::control::stamp::Change;

use super::account::with;
use super::broker::header;
use super::{Stage, pass, seconds, settings};

/// A destination whose map cannot make a body of events that are `wrong`.
const WRONG: &str = "limits = [\"200/s\"]\n[[destinations.hook.map]]\ntype = \"shop.*\"\n\
    body = { jq = 'if .wrong then error(\"no plan\") else {event} end' }";
const MENDED: &str = "limits = [\"200/s\"]\n[[destinations.hook.map]]\ntype = \"shop.*\"\nbody = { jq = '{event}' }";

fn put(stage: &Stage, kind: &str, event: u64, wrong: bool) {
    stage.broker.put(kind, with(event, &json!({ "wrong": wrong })));
}

/// How many wait in the queue or here.
fn kept(stage: &Stage) -> usize {
    stage.broker.ready() + stage.broker.unsettled()
}

#[tokio::test(start_paused = true)]
async fn three_thousand_wrong_events_make_twenty_letters_and_go_out_once_the_map_is_mended() {
    let mut stage = Stage::new(WRONG);
    (0..3_000).for_each(|event| put(&stage, "shop.order", event, true));
    pass(seconds(3_600)).await;
    let view = stage.view().await;
    assert_eq!((view.state_name(), view.until), ("parked", None));
    assert!(view.why.contains("the rule of map for \"shop.*\"") && view.why.contains("reload"), "{}", view.why);
    assert_eq!((stage.broker.dead().len(), kept(&stage), stage.vendor.count()), (20, 2_980, 0));
    let before = stage.stop().await;
    stage.settings = settings(MENDED);
    stage.start(&before);
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 20);
    let dead: Vec<u64> = stage.broker.dead().iter().filter_map(|letter| super::event_number(&letter.body)).collect();
    assert!(stage.vendor.took_each_once((0..3_000).filter(|event| !dead.contains(event))));
}

#[tokio::test(start_paused = true)]
async fn a_resume_checks_what_waited_again_and_parks_again_where_nothing_was_mended() {
    let stage = Stage::new(WRONG);
    (0..100).for_each(|event| put(&stage, "shop.order", event, true));
    pass(seconds(60)).await;
    for letters in [40, 60, 80, 100] {
        stage.change(Change::Resume).await;
        pass(seconds(60)).await;
        assert_eq!((stage.broker.dead().len(), stage.view().await.state_name()), (letters, "parked"));
    }
    stage.change(Change::Resume).await;
    put(&stage, "shop.order", 1_000, false);
    stage.drained().await;
    assert_eq!((stage.vendor.taken(1_000), stage.view().await.state_name()), (1, "open"));
}

#[tokio::test(start_paused = true)]
async fn wrong_events_among_good_ones_park_nothing() {
    let stage = Stage::new(WRONG);
    (0..1_000).for_each(|event| put(&stage, "shop.order", event, event % 10 == 3));
    stage.drained().await;
    assert_eq!((stage.broker.dead().len(), stage.view().await.state_name()), (100, "open"));
    assert!(stage.broker.dead().iter().all(|letter| header(letter, "x-sluice-reason") == Some("invalid")));
    assert!(stage.vendor.took_each_once((0..1_000).filter(|event| event % 10 != 3)));
}

#[tokio::test(start_paused = true)]
async fn wrong_events_are_counted_by_the_rule_that_refused_them() {
    let stage =
        Stage::new(&format!("{WRONG}\n[[destinations.hook.map]]\ntype = \"#\"\nbody = {{ jq = 'error(\"never\")' }}"));
    for event in 0..19 {
        put(&stage, "shop.order", event, true);
        put(&stage, "web.visit", 100 + event, true);
    }
    pass(seconds(10)).await;
    assert_eq!((stage.broker.dead().len(), stage.view().await.state_name()), (38, "open"));
    put(&stage, "web.visit", 200, true);
    put(&stage, "web.visit", 201, true);
    pass(seconds(10)).await;
    let view = stage.view().await;
    assert_eq!((stage.broker.dead().len(), view.state_name()), (39, "parked"));
    assert!(view.why.contains("for \"#\"") && view.why.contains("never"), "{}", view.why);
}

#[tokio::test(start_paused = true)]
async fn zero_makes_a_letter_of_every_wrong_event() {
    let stage = Stage::new(&format!("park_after_rejections = 0\n{WRONG}"));
    (0..300).for_each(|event| put(&stage, "shop.order", event, true));
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_given_back_unlost_when_the_worker_stops_is_killed_or_pauses() {
    let mut stage = Stage::new(WRONG);
    (0..100).for_each(|event| put(&stage, "shop.order", event, true));
    pass(seconds(10)).await;
    stage.change(Change::PAUSE).await;
    pass(seconds(10)).await;
    assert_eq!((stage.broker.dead().len(), stage.broker.unsettled(), kept(&stage)), (20, 0, 80));
    stage.change(Change::Resume).await;
    pass(seconds(10)).await;
    assert_eq!((stage.broker.dead().len(), stage.view().await.state_name()), (20, "parked"));
    let before = stage.stop().await;
    assert_eq!(kept(&stage), 80);
    stage.settings = settings(WRONG);
    stage.start(&before);
    pass(seconds(10)).await;
    stage.kill().await;
    assert_eq!((stage.broker.dead().len(), kept(&stage)), (40, 60), "a new worker has to find out anew");
    stage.settings = settings(MENDED);
    stage.start(&before);
    stage.drained().await;
    assert_eq!(stage.vendor.deliveries().len(), 60);
}
