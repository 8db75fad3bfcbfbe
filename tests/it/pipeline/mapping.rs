//! Events that are hard to map hold nobody up: neither those that are easy, nor another destination on the same thread, nor for ever those of
//! their ordering key. What the machine lacks for it costs them nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sluice::control::stamp::Change;
use sluice::destination::Handover;
use sluice::gate::Paused;
use sluice::threads::{self, Job, NoThread, Threads};

use super::account::{Account, well, with};
use super::broker::header;
use super::ordering_keys::assert_order;
use super::vendor::Answer;
use super::{Stage, event_number, message, pass, seconds};

/// A destination for whose map those events are hard that say so.
const LINES: &str = "limits = [\"200/s\"]\n[[destinations.hook.map]]\ntype = \"#\"\n\
    body = { jq = '{event, last: (if .hard then last(range(20000)) else 0 end)}' }";
/// One that never ends for them.
const RUNAWAY: &str = "limits = [\"200/s\"]\n[[destinations.hook.map]]\ntype = \"#\"\n\
    body = { jq = '{event, last: (if .hard then last(repeat(1)) else 0 end)}' }";

/// Threads whose work begins when the test says so.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Vec<Job>>>);

impl Held {
    fn threads(&self) -> Threads {
        let held = self.clone();
        Threads::by(move |job| {
            held.jobs().push(job);
            Ok(())
        })
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, Vec<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all that waits; how much that was.
    fn work(&self) -> usize {
        let jobs = std::mem::take(&mut *self.jobs());
        let count = jobs.len();
        jobs.into_iter().for_each(|job| threads::run(job).unwrap());
        count
    }

    /// Does what waits, and what comes of it, until everything is settled.
    async fn work_off(&self, stage: &Stage) {
        for _ in 0..1_000 {
            pass(seconds(1)).await;
            self.work();
            if stage.broker.is_drained() {
                return;
            }
        }
        panic!("events are still not settled: {:?}", stage.view().await);
    }
}

fn stage_on(threads: Threads, mut stage: Stage) -> Stage {
    stage.threads = threads;
    stage.start(&Handover::default());
    stage
}

fn hard(event: u64) -> sluice::message::Message {
    with(event, &json!({ "hard": true }))
}

/// What its vendor was sent.
fn sent(stage: &Stage) -> Vec<u64> {
    stage.vendor.deliveries()
}

#[tokio::test(start_paused = true)]
async fn easy_events_go_on_past_one_that_is_hard_to_map() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Stage::idle(LINES));
    stage.broker.put("shop.order", hard(0));
    stage.broker.put("shop.order", hard(1));
    stage.publish(2..100);
    pass(seconds(10)).await;
    assert!(stage.vendor.took_each_once(2..100), "{:?}", sent(&stage));
    let view = stage.view().await;
    assert_eq!((view.being_mapped, view.held_here, view.unread), (2, 2, 2));
    assert!(view.ready && view.machine.is_none());
    assert_eq!(held.work(), 1, "one of them at a time");
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..100));
    assert_eq!(sent(&stage)[98..], [0, 1], "in their order");
    assert!(stage.broker.dead().is_empty() && stage.broker.published().is_empty());
    assert_eq!(stage.view().await.being_mapped, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_one_of_its_ordering_key_while_it_is_mapped() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Account::PLAIN.ordering_keys("100/s").idle("limits = [\"200/s\"]"));
    for event in 0..60 {
        let is_hard = [7, 8, 30].contains(&event);
        stage.broker.put("shop.order", with(event, &json!({ "ordering_key": event % 4, "hard": is_hard })));
    }
    pass(seconds(10)).await;
    assert!(stage.vendor.took_each_once(0..7), "what came before goes on");
    assert_eq!(sent(&stage).len(), 7);
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..60));
    assert_order(&stage.vendor, |event| event % 4);
}

#[tokio::test(start_paused = true)]
async fn bulk_events_that_are_hard_hold_back_no_live_ones() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Account::PLAIN.ordering_keys("100/s").idle("limits = [\"200/s\"]"));
    let event = |event, hard| with(event, &json!({ "ordering_key": 1, "hard": hard }));
    stage.broker.put_bulk("shop.import", event(0, true));
    stage.broker.put_bulk("shop.import", event(1, false));
    pass(seconds(40)).await;
    (2..10).for_each(|live| stage.broker.put("shop.order", event(live, false)));
    pass(seconds(10)).await;
    assert_eq!(sent(&stage), Vec::from_iter(2..10));
    held.work_off(&stage).await;
    assert_eq!(sent(&stage)[8..], [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_destination_has_one_thread_and_its_classes_take_turns() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Stage::idle(LINES));
    (0..3).for_each(|live| stage.broker.put("shop.order", hard(live)));
    (3..6).for_each(|bulk| stage.broker.put_bulk("shop.import", hard(bulk)));
    for _ in 0..6 {
        pass(seconds(40)).await;
        assert_eq!(held.work(), 1, "another destination may want the other thread");
    }
    pass(seconds(10)).await;
    assert_eq!(sent(&stage), [0, 3, 1, 4, 2, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_is_mapped_overtakes_nothing_that_was_given_back_while_the_gate_was_closed() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Account::PLAIN.ordering_keys("100/s").idle("limits = [\"10/s\"]"));
    for event in 0..40 {
        stage.broker.put("shop.order", with(event, &json!({ "ordering_key": event % 2, "hard": event >= 20 })));
    }
    let mut is_throttled = true;
    stage.vendor.behave(move |call| {
        let closes = call.events.contains(&4) && std::mem::take(&mut is_throttled);
        if closes { Answer::With(429, "retry-after", "300".to_owned()) } else { well(call) }
    });
    pass(seconds(60)).await;
    assert!(stage.broker.ready() > 20, "all but a few were given back");
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..40));
    assert_order(&stage.vendor, |event| event % 2);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_that_waits_may_be_one_that_is_mapped() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Stage::idle(LINES));
    let before = sluice::clock::wall();
    stage.broker.put("shop.order", hard(0));
    pass(seconds(60)).await;
    let view = stage.view().await;
    assert_eq!((view.being_mapped, view.oldest.is_some_and(|oldest| oldest >= before)), (1, true), "{view:?}");
    held.work_off(&stage).await;
    pass(seconds(2)).await;
    assert_eq!(stage.view().await.oldest, None);
}

#[tokio::test(start_paused = true)]
async fn an_expression_that_runs_away_makes_a_dead_letter_as_ever() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Stage::idle(RUNAWAY));
    stage.broker.put("shop.order", hard(0));
    stage.publish(1..20);
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(1..20));
    assert_eq!(stage.broker.reasons(), ["invalid"]);
    let sentence = header(&stage.broker.dead()[0], "x-sluice-sentence").unwrap().to_owned();
    assert!(sentence.contains("it runs too long; it was stopped"), "{sentence}");
}

#[tokio::test(start_paused = true)]
async fn where_the_machine_gives_no_thread_events_wait_until_it_does() {
    let (held, has_threads) = (Held::default(), Arc::new(Mutex::new(false)));
    let (threads, gives) = (held.threads(), Arc::clone(&has_threads));
    let tries = Arc::new(Mutex::new(0));
    let tried = Arc::clone(&tries);
    let threads = Threads::by(move |job| {
        *tried.lock().unwrap() += 1;
        if !*gives.lock().unwrap() {
            return Err((job, NoThread::new("Resource temporarily unavailable")));
        }
        drop(threads.start(job));
        Ok(())
    });
    let stage = stage_on(threads, Stage::idle(LINES));
    (0..3).for_each(|event| stage.broker.put("shop.order", hard(event)));
    stage.publish(3..30);
    pass(seconds(300)).await;
    assert!(stage.vendor.took_each_once(3..30), "what needs no thread goes on");
    let view = stage.view().await;
    assert_eq!((view.state_name(), view.being_mapped, view.ready), ("open", 3, false));
    assert!(view.why.contains("no thread left for hard jq expressions"), "{}", view.why);
    let tries = *tries.lock().unwrap();
    assert!((10..100).contains(&tries), "{tries} tries in five minutes");
    *has_threads.lock().unwrap() = true;
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..30));
    assert!(stage.broker.dead().is_empty() && stage.broker.published().is_empty(), "no attempt is spent");
    pass(seconds(30)).await;
    let view = stage.view().await;
    assert!(view.ready && view.machine.is_none(), "{view:?}");
}

#[tokio::test(start_paused = true)]
async fn ordering_keys_keep_their_order_though_no_thread_is_to_be_had_for_long() {
    let (held, has_threads) = (Held::default(), Arc::new(Mutex::new(false)));
    let (threads, gives) = (held.threads(), Arc::clone(&has_threads));
    let threads = Threads::by(move |job| {
        if !*gives.lock().unwrap() {
            return Err((job, NoThread::new("Resource temporarily unavailable")));
        }
        drop(threads.start(job));
        Ok(())
    });
    let stage = stage_on(threads, Account::PLAIN.ordering_keys("100/s").idle("limits = [\"200/s\"]"));
    for event in 0..30 {
        stage.broker.put("shop.order", with(event, &json!({ "ordering_key": 0, "hard": event % 3 == 0 })));
        pass(seconds(40)).await;
    }
    *has_threads.lock().unwrap() = true;
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..30));
    assert_order(&stage.vendor, |_| 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_what_is_hard_and_loses_nothing() {
    let held = Held::default();
    let mut stage = stage_on(held.threads(), Stage::idle(LINES));
    (0..4).for_each(|event| stage.broker.put("shop.order", hard(event)));
    pass(seconds(1)).await;
    let before = stage.stop().await;
    assert_eq!((stage.broker.ready(), stage.broker.unsettled()), (4, 0));
    held.work();
    assert_eq!(stage.vendor.count(), 0, "what is found out then is nobody's");
    stage.start(&before);
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..4));
}

#[tokio::test(start_paused = true)]
async fn a_paused_destination_gives_back_what_is_being_mapped() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Stage::idle(LINES));
    (0..4).for_each(|event| stage.broker.put("shop.order", hard(event)));
    pass(seconds(1)).await;
    stage.change(Change::Pause(Paused::default())).await;
    pass(seconds(5)).await;
    assert_eq!((stage.broker.ready(), stage.broker.unsettled(), stage.view().await.being_mapped), (4, 0, 0));
    stage.change(Change::Resume).await;
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..4));
}

#[tokio::test(start_paused = true)]
async fn a_lost_channel_leaves_nothing_behind_that_would_be_sent_twice() {
    let held = Held::default();
    let stage = stage_on(held.threads(), Stage::idle(LINES));
    (0..4).for_each(|event| stage.broker.put("shop.order", hard(event)));
    pass(seconds(1)).await;
    stage.broker.cut();
    held.work_off(&stage).await;
    assert!(stage.vendor.took_each_once(0..4), "{:?}", sent(&stage));
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_a_thread_is_told_as_our_own_fault() {
    let stage = stage_on(Threads::by(|_| Ok(())), Stage::idle(LINES));
    stage.broker.put("shop.order", hard(0));
    stage.publish(1..5);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(1..5));
    let sentence = header(&stage.broker.dead()[0], "x-sluice-sentence").unwrap().to_owned();
    assert!(sentence.contains("this is a bug in Sluice"), "{sentence}");
}

/// Forty fields that are hard each, and one more that never ends.
fn long_map() -> String {
    let fields: Vec<String> = (0..40).map(|field| format!("f{field} = {{ jq = \"last(range(100000))\" }}")).collect();
    format!(
        "limits = [\"200/s\"]\n[[destinations.hook.map]]\ntype = \"#\"\nbody = {{ {}, last = {{ jq = \"last(repeat(1))\" }} }}",
        fields.join(", ")
    )
}

#[tokio::test]
async fn on_one_runtime_thread_a_destination_with_a_runaway_map_holds_up_no_other() {
    let (runaway, fast) = (Stage::new(&long_map()), Stage::new("limits = [\"500/s\"]"));
    runaway.publish(0..1);
    while runaway.view().await.being_mapped == 0 && !runaway.broker.is_drained() {
        pass(std::time::Duration::from_millis(1)).await;
    }
    fast.publish(0..100);
    fast.drained().await;
    assert!(fast.vendor.took_each_once(0..100));
    // It takes seconds; on the thread of both it would have ended before anything else went on.
    assert!(runaway.broker.dead().is_empty(), "the other was done while it was at work");
    runaway.drained().await;
    let dead = runaway.broker.dead();
    assert_eq!(dead.iter().filter_map(|letter| event_number(&letter.body)).collect::<Vec<_>>(), [0]);
    assert_eq!(runaway.broker.reasons(), ["invalid"]);
    let last: Value = serde_json::from_slice(&message(0, true).body).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&dead[0].body).unwrap(), last, "as it came");
}
