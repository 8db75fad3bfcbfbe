//! Replayed events: they give way to live ones, and tell what became of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use sluice::control::stamp::Change;
use sluice::message::header::{REPLAY, REPLAY_OF, REPLAY_TO, REPLAYED_BY};
use sluice::record::history::History;
use sluice::record::replay::{Notice, ReplayOutcome};
use sluice::vendors::When;

use super::account::{Account, accepted, done, in_ordering_key, job, rows, well, with};
use super::broker::{Fate, REPLAYS, header, replay};
use super::ordering_keys::assert_order;
use super::vendor::Answer;
use super::{Stage, event_number, message, pass, seconds};

const FAST: &str = "limits = [\"100/s\"]";

fn put(stage: &Stage, events: impl IntoIterator<Item = u64>) {
    events.into_iter().for_each(|event| stage.broker.put("sluice.hook", replay(event, message(event, true))));
}

/// The outcomes that were told of one letter, in their order.
fn outcomes(stage: &Stage, letter: u64) -> Vec<ReplayOutcome> {
    let letter = format!("{letter:016x}");
    stage.broker.told().iter().filter(|notice| notice.letter == letter).map(|notice| notice.outcome).collect()
}

/// That what was told of these replayed events is true; and complete, unless something was lost on the way.
#[track_caller]
pub fn check_told(stage: &Stage, replayed: &[u64], lossy: bool) {
    let dead: HashSet<Option<u64>> = stage.broker.dead().iter().map(|letter| event_number(&letter.body)).collect();
    let taken: HashSet<u64> = stage.vendor.deliveries().into_iter().collect();
    let mut told = HashMap::<String, Vec<ReplayOutcome>>::new();
    for notice in stage.broker.told() {
        told.entry(notice.letter).or_default().push(notice.outcome);
    }
    for event in replayed {
        let told = told.remove(&format!("{event:016x}")).unwrap_or_default();
        let is = |outcome| told.contains(&outcome);
        assert!(!is(ReplayOutcome::Delivered) || taken.contains(event), "{event} was not delivered: {told:?}");
        assert!(!is(ReplayOutcome::Dead) || dead.contains(&Some(*event)), "{event} is not dead: {told:?}");
        let ends = told.iter().filter(|outcome| **outcome != ReplayOutcome::Retrying).count();
        assert!(lossy || (ends == 1 && told.last() != Some(&ReplayOutcome::Retrying)), "{event}: {told:?}");
    }
    assert!(told.is_empty(), "told of events that nobody replayed: {told:?}");
}

fn notice(letter: u64, outcome: ReplayOutcome) -> Notice {
    Notice { replay: "op".into(), letter: format!("{letter:016x}"), outcome, reason: None, sentence: None }
}

#[tokio::test(start_paused = true)]
async fn live_events_that_wait_go_before_replayed_ones() {
    let stage = Stage::new("limits = [\"5/s\"]");
    put(&stage, 0..10);
    pass(Duration::from_millis(500)).await;
    let before = stage.vendor.deliveries();
    stage.publish(100..104);
    stage.drained().await;
    let taken = stage.vendor.deliveries();
    let first_live = taken.iter().position(|event| *event >= 100).unwrap();
    // One may have been on its way.
    assert!(before.len() < 8 && first_live <= before.len() + 1, "{taken:?}");
    assert_eq!(taken[first_live..first_live + 4], [100, 101, 102, 103]);
    let replayed: Vec<u64> = taken.iter().copied().filter(|event| *event < 100).collect();
    assert_eq!(replayed, (0..10).collect::<Vec<_>>(), "in their order among themselves");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_that_is_sent_again_gives_way_as_well() {
    let stage = Stage::new("limits = [\"5/s\"]\nconcurrency = 1");
    stage.vendor.behave(|call| if call.before == 0 { Answer::slow(429, seconds(2)) } else { Answer::Status(201) });
    put(&stage, [0]);
    pass(seconds(1)).await;
    stage.publish(1..4);
    stage.drained().await;
    assert_eq!(stage.vendor.deliveries(), [1, 2, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_begins_with_what_is_live_and_takes_replayed_ones_along() {
    let mut stage = Account::PLAIN.batches(6, usize::MAX, When::Always).idle("limits = [\"1/s\"]");
    put(&stage, 0..4);
    stage.publish(10..14);
    stage.start(&sluice::destination::Handover::default());
    stage.drained().await;
    let batches: Vec<Vec<u64>> = stage.vendor.calls().into_iter().map(|(call, _)| call.events).collect();
    assert_eq!(batches, [vec![10, 11, 12, 13, 0, 1], vec![2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_ordering_key_keeps_its_order_whatever_is_replayed() {
    type Behaviour = fn(&super::vendor::Call) -> Answer;
    let behaviours: [(&str, Behaviour); 4] =
        [
            ("well", well),
            ("429 now and then", |call| if call.before % 9 == 5 { Answer::Status(429) } else { well(call) }),
            ("503 now and then", |call| if call.before % 7 == 5 { Answer::Status(503) } else { well(call) }),
            ("bad events", |call| {
                if call.events.iter().any(|event| event % 17 == 3) { Answer::Status(400) } else { well(call) }
            }),
        ];
    for (name, behave) in behaviours {
        let stage =
            Account::PLAIN.batches(5, usize::MAX, When::Always).ordering_keys("10/s").stage("limits = [\"40/s\"]");
        stage.vendor.behave(behave);
        for event in 0..400 {
            // Of every ordering key some are replayed; those of the last all are.
            let (ordering_key, is_replay) = (event % 8, event % 8 == 7 || event / 8 % 3 == 1);
            let message = in_ordering_key(event, ordering_key);
            stage.broker.put("shop.order", if is_replay { replay(event, message) } else { message });
            pass(Duration::from_millis(event % 30)).await;
        }
        stage.drained().await;
        assert_order(&stage.vendor, |event| event % 8);
        let bad = |event: &u64| name == "bad events" && event % 17 == 3;
        assert!(stage.vendor.took_each_once((0..400).filter(|event| !bad(event))), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_that_never_gets_its_turn_goes_back_and_is_not_lost() {
    let stage = Stage::new("limits = [\"1/s\"]\nconcurrency = 1\nbulk_share = \"0%\"");
    pass(seconds(1)).await;
    put(&stage, 10_000..10_010);
    let mut next = 0;
    for _ in 0..1_500 {
        let waiting = stage.view().await.held_here;
        if waiting <= 12 {
            stage.publish(next..next + 2);
            next += 2;
        }
        pass(seconds(1)).await;
        assert!(stage.broker.longest_held() <= seconds(600), "{:?}", stage.broker.longest_held());
    }
    assert!(stage.broker.requeued() > 0, "some were held too long");
    stage.drained().await;
    assert!(stage.vendor.took_each_once(10_000..10_010));
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_tells_what_became_of_it() {
    let stage = Stage::new(FAST);
    stage.broker.listen();
    stage.vendor.behave(|call| match call.event {
        1 => Answer::Status(422),
        2 if call.seen == 0 => Answer::Status(500),
        _ => Answer::Status(201),
    });
    stage.publish([10]);
    put(&stage, [0, 1]);
    stage.publish([11]);
    stage.drained().await;
    put(&stage, [2]);
    pass(seconds(1)).await;
    assert_eq!(outcomes(&stage, 2), [ReplayOutcome::Retrying]);
    stage.drained().await;
    pass(seconds(1)).await;
    assert_eq!(outcomes(&stage, 2), [ReplayOutcome::Retrying, ReplayOutcome::Delivered]);
    let mut told = stage.broker.told();
    told.retain(|notice| !notice.letter.ends_with('2'));
    told.sort_by(|one, other| one.letter.cmp(&other.letter));
    let dead = Notice {
        reason: Some("rejected".into()),
        sentence: Some("vendor.test answered 422: said the vendor".into()),
        ..notice(1, ReplayOutcome::Dead)
    };
    assert_eq!(told, [notice(0, ReplayOutcome::Delivered), dead]);
    let copies = stage.broker.published();
    let notice = copies.iter().find(|copy| copy.queue == REPLAYS).unwrap();
    assert_eq!(notice.message.properties.content_type.as_deref(), Some("application/json"));
    assert!(notice.message.properties.headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_at_all_tells_so() {
    let stage = Stage::new(FAST);
    stage.broker.listen();
    let mut bad = message(0, true);
    bad.body = "no JSON".into();
    stage.broker.put("sluice.hook", replay(0, bad));
    stage.drained().await;
    pass(seconds(1)).await;
    let told = stage.broker.told();
    assert_eq!((told.len(), told[0].outcome, told[0].reason.as_deref()), (1, ReplayOutcome::Dead, Some("malformed")));
}

#[tokio::test(start_paused = true)]
async fn an_event_known_as_delivered_tells_so_when_the_broker_sends_it_again() {
    let stage = Stage::new(FAST);
    stage.broker.listen();
    put(&stage, [0]);
    stage.drained().await;
    stage.broker.put_returned("sluice.hook", replay(0, message(0, true)), 1);
    stage.drained().await;
    pass(seconds(1)).await;
    assert_eq!(stage.vendor.count(), 1);
    assert_eq!(outcomes(&stage, 0), [ReplayOutcome::Delivered; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_event_in_a_job_tells_when_the_job_is_done_and_not_before() {
    let stage = Account::PLAIN.batches(50, usize::MAX, When::Always).stage(FAST);
    stage.broker.listen();
    stage.vendor.behave(|call| match call.path.strip_prefix("/jobs/") {
        Some(_) if call.at < seconds(700) => job("running"),
        Some(name) => done(rows(name), 0),
        None => accepted(call),
    });
    put(&stage, 0..3);
    pass(seconds(500)).await;
    assert!(stage.broker.told().is_empty());
    stage.drained().await;
    pass(seconds(1)).await;
    for letter in 0..3 {
        assert_eq!(
            outcomes(&stage, letter),
            [ReplayOutcome::Retrying, ReplayOutcome::Delivered],
            "it waited at the broker once"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_tells_of_each_event() {
    let stage = Account::PLAIN.batches(2_000, usize::MAX, When::Always).stage("limits = [\"1/s\"]");
    stage.broker.listen();
    put(&stage, 0..3_000);
    stage.drained().await;
    pass(seconds(5)).await;
    let mut letters: Vec<String> = stage.broker.told().into_iter().map(|notice| notice.letter).collect();
    letters.sort();
    letters.dedup();
    assert_eq!(letters.len(), 3_000);
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_nobody_takes_costs_nothing() {
    let fates = [Fate::Confirmed, Fate::Refused, Fate::Lost, Fate::Unanswered];
    for fate in fates {
        let mut stage = Stage::new(FAST);
        stage.broker.decide(move || fate);
        put(&stage, 0..200);
        stage.publish(1_000..1_100);
        pass(seconds(5)).await;
        assert!(stage.broker.is_drained(), "{fate:?}: nothing waits for it");
        assert!(stage.vendor.took_each_once((0..200).chain(1_000..1_100)), "{fate:?}");
        let tries = stage.broker.published().len();
        assert!(tries <= 200, "{fate:?}: {tries} tries for 200");
        let failures = stage.metrics.destination(super::broker::DESTINATION).publish_failures.get();
        assert_eq!(failures, 0, "{fate:?}");
        let before = stage.vendor.now();
        stage.stop().await;
        assert!(stage.vendor.now() - before <= seconds(1), "{fate:?}: {:?}", stage.vendor.now() - before);
    }
}

#[tokio::test(start_paused = true)]
async fn notices_that_are_stuck_hold_up_no_copy() {
    let stage = Stage::new(FAST);
    let mut count = 0;
    stage.broker.decide(move || {
        count += 1;
        if count <= 300 { Fate::Unanswered } else { Fate::Confirmed }
    });
    put(&stage, 0..100);
    pass(seconds(3)).await;
    stage.broker.decide(|| Fate::Confirmed);
    stage.vendor.behave(|_| Answer::Status(422));
    stage.publish([500]);
    pass(seconds(1)).await;
    assert_eq!(stage.broker.reasons(), ["rejected"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_of_what_it_still_settled() {
    let mut stage = Stage::new(FAST);
    stage.broker.listen();
    stage.vendor.behave(|call| Answer::slow(if call.event == 0 { 422 } else { 201 }, seconds(3)));
    put(&stage, 0..20);
    pass(seconds(2)).await;
    stage.stop().await;
    assert_eq!(outcomes(&stage, 0), [ReplayOutcome::Dead]);
    let delivered: usize = (0..20).map(|event| stage.vendor.taken(event)).sum();
    assert!(delivered > 5);
    assert_eq!(stage.broker.told().len(), delivered + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_tells_nothing_and_stays_a_replay() {
    let stage = Stage::new("limits = [\"1/s\"]");
    stage.broker.listen();
    let letter = replay(0, message(0, true));
    stage.change(Change::PAUSE).await;
    stage.broker.put_returned("sluice.hook", letter, 15);
    pass(seconds(5)).await;
    stage.change(Change::Resume).await;
    pass(Duration::from_millis(30)).await;
    stage.change(Change::PAUSE).await;
    pass(seconds(5)).await;
    stage.change(Change::Resume).await;
    stage.drained().await;
    pass(seconds(1)).await;
    assert_eq!(outcomes(&stage, 0), [ReplayOutcome::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_dies_again_keeps_its_attempts_and_counts_its_replays() {
    let stage = Stage::new(&format!("{FAST}\n[destinations.hook.retry]\ndelays = [\"1s\"]"));
    stage.vendor.behave(|call| match call.event {
        0 if call.seen % 2 == 0 => Answer::Status(500),
        0 => Answer::Status(422),
        _ => Answer::Status(201),
    });
    let around = async |event: u64, message: sluice::message::Message| {
        stage.publish([event]);
        pass(seconds(1)).await;
        stage.broker.put("shop.order", message);
        pass(Duration::from_millis(100)).await;
        stage.publish([event + 1]);
        stage.drained().await;
    };
    around(10, message(0, true)).await;
    let letter = stage.broker.dead()[0].clone();
    let history = History::read(&letter, "", jiff::Timestamp::UNIX_EPOCH);
    assert_eq!((history.attempts.len(), history.retries, history.replays), (2, 1, 0));
    around(20, replay(7, history.clone().afresh().write(&letter))).await;
    let copies = stage.broker.published();
    let retried = copies.iter().rfind(|copy| copy.queue.contains(".retry.")).unwrap();
    assert_eq!(header(&retried.message, REPLAY), Some("op"), "a retry is still a replay");
    let again = stage.broker.dead()[1].clone();
    let last = History::read(&again, "", jiff::Timestamp::UNIX_EPOCH);
    assert_eq!((last.attempts.len(), last.retries, last.replays), (4, 1, 1));
    assert_eq!(last.attempts[..2], history.attempts[..]);
    assert_eq!((last.received, last.routing_key.as_str()), (history.received, "shop.order"));
    assert_eq!(header(&again, REPLAYED_BY), Some("op"));
    for name in [REPLAY, REPLAY_OF, REPLAY_TO] {
        assert_eq!(header(&again, name), None, "{name}");
    }
    assert_eq!(sluice::record::copy::original(&again), message(0, true));
}

#[tokio::test(start_paused = true)]
async fn replayed_events_that_wait_for_a_lookup_keep_their_ordering_key_and_tell() {
    let stage = Account::PLAIN.ordering_keys("10/s").stage("limits = [\"40/s\"]");
    stage.broker.listen();
    for event in 0..40 {
        let message = with(event, &json!({ "ordering_key": event % 2, "needs": "order" }));
        stage.broker.put("shop.order", if event % 3 == 0 { replay(event, message) } else { message });
    }
    stage.drained().await;
    pass(seconds(1)).await;
    assert_order(&stage.vendor, |event| event % 2);
    assert_eq!(stage.broker.told().len(), (0..40).filter(|event| event % 3 == 0).count());
}
