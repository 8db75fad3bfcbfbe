//! Bulk events behind live ones: the next place is a live event's, bulk has what is left and its share at least, and each class keeps its
//! queue, its order and its batches.

use std::time::Duration;

use sluice::control::stamp::{BulkChange, Change};
use sluice::destination::{DestinationCall, Handover};
use sluice::gate::Paused;
use sluice::message::Message;
use sluice::vendors::When;

use super::account::{Account, in_ordering_key, with_jobs};
use super::broker::{Fate, header, replay};
use super::not_before::{later, window};
use super::ordering_keys::assert_order;
use super::vendor::Answer;
use super::{Stage, event_number, message, pass, seconds};

/// Bulk events have these numbers.
const BULK: u64 = 1_000_000;
/// As often as a live event is published where 20 are in a second.
const EVERY: Duration = Duration::from_millis(50);

impl Stage {
    fn publish_bulk(&self, events: impl IntoIterator<Item = u64>) {
        events.into_iter().for_each(|event| self.broker.put_bulk("shop.import", message(BULK + event, true)));
    }

    /// What the worker's look at the depths tells.
    pub(super) async fn tell_that_bulk_waits(&self) {
        self.worker.as_ref().unwrap().handle.call(DestinationCall::BulkWaits(true)).await.unwrap();
    }

    fn taken(&self) -> (Vec<u64>, Vec<u64>) {
        self.vendor.deliveries().into_iter().partition(|event| *event < BULK)
    }

    /// Publishes one event after the other, `every` so often; each with the time at which it was.
    async fn publish_evenly(
        &self,
        events: std::ops::Range<u64>,
        every: Duration,
        publish: impl Fn(&Self, u64),
    ) -> Vec<(u64, Duration)> {
        let mut put = Vec::new();
        for event in events {
            publish(self, event);
            put.push((event, self.vendor.now()));
            pass(every).await;
        }
        put
    }

    /// How long these events waited from their publication until they were sent, the shortest first.
    fn waits(&self, put: &[(u64, Duration)]) -> Vec<Duration> {
        let calls = self.vendor.calls();
        let sent = |event| calls.iter().find(|(call, _)| call.events.contains(&event)).expect("it was sent").0.at;
        let mut waits: Vec<Duration> = put.iter().map(|(event, put)| sent(*event) - *put).collect();
        waits.sort_unstable();
        waits
    }

    /// The longest of those.
    fn longest(&self, put: &[(u64, Duration)]) -> Duration {
        *self.waits(put).last().unwrap()
    }
}

fn publish_one(stage: &Stage, event: u64) {
    stage.publish([event]);
}

/// A stage at work with so many bulk events waiting.
async fn stage_with(lines: &str, bulk: u64) -> Stage {
    let stage = Stage::new(lines);
    stage.publish_bulk(0..bulk);
    stage.tell_that_bulk_waits().await;
    pass(seconds(3)).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_live_event_has_the_next_place_however_many_bulk_events_wait() {
    for answer_after in [50, 300] {
        let stage = stage_with("limits = [\"100/s\"]", 20_000).await;
        stage.vendor.behave(move |_| Answer::slow(201, Duration::from_millis(answer_after)));
        pass(seconds(5)).await;
        let before = stage.vendor.calls().len();
        let put = stage.publish_evenly(0..400, EVERY, publish_one).await;
        pass(seconds(1)).await;
        assert!(stage.longest(&put) < Duration::from_millis(60));
        let sent = stage.vendor.calls().len() - before;
        assert!(sent >= 2_050, "{sent} calls in 21 s at 100/s");
        let (live, bulk) = stage.taken();
        assert_eq!(live.len(), 400);
        assert!(bulk.is_sorted(), "in the order of their queue");
        assert!(stage.broker.most_unsettled() < 1_000, "few are held");
    }
}

/// How long each of 20 live events a second waits for its call, sorted, where calls are 5 a second, take 300 ms, and start jobs that somebody
/// has to ask about.
async fn waits_with_jobs(bulk: u64, share: &str) -> (Stage, Vec<Duration>) {
    let lines = format!("limits = [\"5/s\"]\nbulk_share = \"{share}\"");
    let stage = Account::PLAIN.batches(1_000, usize::MAX, When::Always).stage(&lines);
    stage.vendor.behave(|call| with_jobs(call).after(Duration::from_millis(300)));
    stage.publish_bulk(0..bulk);
    stage.tell_that_bulk_waits().await;
    pass(seconds(20)).await;
    let put = stage.publish_evenly(0..2_400, EVERY, publish_one).await;
    pass(seconds(5)).await;
    let waits = stage.waits(&put);
    (stage, waits)
}

#[tokio::test(start_paused = true)]
async fn questions_about_jobs_of_bulk_events_do_not_go_before_live_events() {
    let at = |waited: &[Duration], part: usize| waited[waited.len() * part / 100];
    let (_, alone) = waits_with_jobs(0, "5%").await;
    for (share, most) in [("5%", 200), ("0%", 60)] {
        let (stage, beside) = waits_with_jobs(200_000, share).await;
        assert!(at(&beside, 99) <= at(&alone, 99) + Duration::from_millis(most), "{share}");
        let (live, bulk) = stage.taken();
        assert_eq!(live.len(), 2_400);
        // Its questions have their places too, or nothing of it would be settled.
        let delivered = usize::try_from(stage.view().await.delivered).unwrap();
        assert!(delivered > bulk.len() - 4_000, "{share}: {delivered} of {} bulk events", bulk.len());
    }
}

#[tokio::test(start_paused = true)]
async fn bulk_goes_on_at_its_share_where_live_alone_fills_the_gate() {
    for (share, least, most) in [("5%", 95, 106), ("0%", 0, 0), ("20%", 390, 406)] {
        let lines = format!("limits = [\"100/s\"]\nbulk_share = \"{share}\"");
        let stage = Stage::new(&lines);
        stage.publish(0..10_000);
        stage.publish_bulk(0..1_000);
        stage.tell_that_bulk_waits().await;
        pass(seconds(5)).await;
        let before = stage.taken().1.len();
        pass(seconds(20)).await;
        let bulk = stage.taken().1.len() - before;
        assert!((least..=most).contains(&bulk), "{share}: {bulk} of 2,000");
    }
}

#[tokio::test(start_paused = true)]
async fn replayed_letters_and_bulk_share_what_is_left() {
    let stage = stage_with("limits = [\"100/s\"]", 5_000).await;
    (0..1_000).for_each(|event| stage.broker.put("sluice.hook", replay(event, message(event, true))));
    let before = stage.taken();
    pass(seconds(10)).await;
    let after = stage.taken();
    let (replayed, bulk) = (after.0.len() - before.0.len(), after.1.len() - before.1.len());
    assert!(replayed.abs_diff(bulk) < 60 && replayed > 400, "{replayed} replayed, {bulk} bulk");
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_back_to_the_queue_that_it_came_from() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|call| {
        if call.seen == 0 && call.event % BULK == 5 { Answer::Status(500) } else { Answer::Status(201) }
    });
    stage.publish(1..10);
    stage.publish_bulk(1..10);
    stage.tell_that_bulk_waits().await;
    stage.drained().await;
    let queues = |from: u64, to: u64| {
        let of = |message: &Message| event_number(&message.body).is_some_and(|event| (from..to).contains(&event));
        let mut queues: Vec<String> =
            stage.broker.published().into_iter().filter(|copy| of(&copy.message)).map(|copy| copy.queue).collect();
        queues.dedup();
        queues
    };
    let live = queues(0, BULK);
    assert!(!live.is_empty() && live.iter().all(|queue| queue.starts_with("sluice.hook.retry.")), "{live:?}");
    let bulk = queues(BULK, 2 * BULK);
    assert!(!bulk.is_empty() && bulk.iter().all(|queue| queue.starts_with("sluice.hook.bulk.retry.")), "{bulk:?}");
    assert_eq!(stage.vendor.deliveries().len(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_tells_that_it_was_a_bulk_event() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Status(400));
    stage.publish([1]);
    stage.publish_bulk([1]);
    stage.tell_that_bulk_waits().await;
    stage.drained().await;
    let classes: Vec<_> = stage
        .broker
        .dead()
        .iter()
        .map(|letter| (event_number(&letter.body), header(letter, "x-sluice-class").map(str::to_owned)))
        .collect();
    assert_eq!(classes, [(Some(1), None), (Some(BULK + 1), Some("bulk".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_type_that_was_published_as_live_goes_behind_by_one_confirmed_copy() {
    let stage = Stage::idle("limits = [\"10/s\"]\nbulk = [\"import.#\"]");
    for event in 0..300 {
        stage.broker.put("import.contact", message(BULK + event, true));
    }
    stage.publish(0..20);
    let mut tries = 0;
    stage.broker.decide(move || {
        tries += 1;
        if tries % 10 == 3 { Fate::Refused } else { Fate::Confirmed }
    });
    let mut stage = stage;
    stage.start(&Handover::default());
    pass(seconds(1)).await;
    stage.tell_that_bulk_waits().await;
    pass(seconds(4)).await;
    let order = stage.vendor.deliveries();
    let last = order.iter().rposition(|event| *event < BULK).unwrap();
    assert!(last < 23, "live ones are not held up by those before them: {order:?}");
    stage.drained().await;
    let (live, bulk) = stage.taken();
    assert_eq!((live.len(), bulk.len()), (20, 300), "each once");
    assert_eq!(stage.metrics.destination("hook").received.get(), 320, "each is counted once");
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_of_a_bulk_type_stays_where_its_replayer_put_it() {
    let stage = Stage::new("limits = [\"10/s\"]\nbulk = [\"#\"]");
    stage.broker.put("sluice.hook", replay(7, message(7, true)));
    stage.drained().await;
    assert_eq!(stage.vendor.deliveries(), [7]);
    assert!(stage.broker.published().iter().all(|copy| copy.queue != "sluice.hook.bulk"));
}

#[tokio::test(start_paused = true)]
async fn ordering_keys_hold_in_each_class_and_neither_waits_for_the_other() {
    let stage = Account::PLAIN.batches(5, usize::MAX, When::Always).ordering_keys("50/s").stage("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::slow(201, Duration::from_millis(300)));
    for event in 0..2_000 {
        stage.broker.put_bulk("shop.import", in_ordering_key(BULK + event, event % 8));
    }
    stage.tell_that_bulk_waits().await;
    pass(seconds(3)).await;
    let publish = |stage: &Stage, event| stage.broker.put("shop.order", in_ordering_key(event, event % 8));
    let put = stage.publish_evenly(0..100, EVERY, publish).await;
    // Of eight keys each comes again after 400 ms, when the one before it has been answered.
    assert!(stage.longest(&put[..90]) < Duration::from_millis(60));
    stage.drained().await;
    let class = |event: u64| if event < BULK { 0 } else { 8 };
    assert_order(&stage.vendor, |event| class(event) + event % 8);
    let mixed = stage.vendor.calls().iter().any(|(call, _)| {
        call.events.iter().any(|event| *event < BULK) && call.events.iter().any(|event| *event >= BULK)
    });
    assert!(!mixed, "a live event never travels with bulk");
}

#[tokio::test(start_paused = true)]
async fn a_refused_bulk_batch_is_halved_behind_live_events() {
    let stage = Account::PLAIN.batches(100, usize::MAX, When::Always).stage("limits = [\"10/s\"]");
    stage.vendor.behave(|call| {
        let bad = call.events.iter().any(|event| event % 10 == 7 && *event >= BULK);
        if bad { Answer::Status(400) } else { Answer::Status(201) }
    });
    stage.publish_bulk(0..200);
    stage.tell_that_bulk_waits().await;
    pass(seconds(3)).await;
    let put = stage.publish_evenly(0..10, Duration::from_millis(500), publish_one).await;
    assert!(stage.longest(&put) < Duration::from_millis(120), "the next place");
    stage.drained().await;
    assert_eq!((stage.taken().0.len(), stage.taken().1.len(), stage.broker.dead().len()), (10, 180, 20));
}

#[tokio::test(start_paused = true)]
async fn bulk_alone_is_paused_and_held_to_a_pace_over_a_change_of_the_driver() {
    let mut stage = stage_with("limits = [\"100/s\"]", 5_000).await;
    stage.change(Change::Bulk(BulkChange::Pause { how: Paused::default() })).await;
    pass(seconds(2)).await;
    let (paused, bulk) = (stage.taken().1.len(), stage.view().await.bulk);
    assert!(bulk.paused.is_some() && bulk.held_here == 0 && !bulk.consuming, "{bulk:?}");
    let left = stage.broker.bulk_ready();
    stage.publish(0..10);
    pass(seconds(2)).await;
    assert_eq!((stage.taken().0.len(), stage.taken().1.len(), stage.broker.bulk_ready()), (10, paused, left));
    let handover = stage.stop().await;
    stage.start(&handover);
    stage.tell_that_bulk_waits().await;
    pass(seconds(5)).await;
    assert_eq!(stage.taken().1.len(), paused, "the next driver knows");
    stage.change(Change::Bulk(BulkChange::Limits { limits: vec!["10/s".to_owned()] })).await;
    stage.change(Change::Bulk(BulkChange::Resume)).await;
    pass(seconds(10)).await;
    let sent = stage.taken().1.len() - paused;
    assert!((95..=101).contains(&sent), "{sent} in 10 s");
    stage.change(Change::Bulk(BulkChange::Limits { limits: Vec::new() })).await;
    pass(seconds(2)).await;
    assert!(stage.taken().1.len() - paused > 250, "the gate alone bounds it again");
}

#[tokio::test(start_paused = true)]
async fn a_bulk_queue_that_was_never_seen_to_hold_something_has_no_consumer() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.worker.as_ref().unwrap().handle.call(DestinationCall::BulkWaits(false)).await.unwrap();
    pass(seconds(120)).await;
    assert!(!stage.view().await.bulk.consuming);
    let untold = Stage::new("limits = [\"100/s\"]");
    untold.publish_bulk([1]);
    pass(seconds(40)).await;
    assert_eq!(untold.taken().1, [BULK + 1], "where nobody can tell, it is looked");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_of_both_classes_goes_back_when_the_worker_stops() {
    let mut stage = stage_with("limits = [\"2/s\"]", 100).await;
    stage.publish(0..50);
    pass(seconds(1)).await;
    stage.stop().await;
    assert_eq!(stage.broker.unsettled(), 0);
    let delivered = stage.vendor.deliveries().len();
    assert_eq!(stage.broker.ready() + delivered, 150);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_event_that_is_not_due_waits_for_its_time_and_is_bulk_again_then() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.broker.put_bulk("shop.import", later(BULK + 1, seconds(20)));
    stage.tell_that_bulk_waits().await;
    pass(seconds(15)).await;
    assert_eq!((stage.vendor.count(), stage.broker.unsettled()), (0, 0), "it lies at the broker");
    assert_eq!(stage.metrics.scheduled_total.with_label_values(&["hook"]).get(), 1);
    pass(seconds(10)).await;
    assert_eq!(stage.taken().1, [BULK + 1]);
    assert_eq!(stage.metrics.bulk_delivered_total.with_label_values(&["hook"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn in_quiet_hours_bulk_events_stay_in_their_queue_too() {
    // The minute that has begun counts: it opens in two to three, and half a minute before that some are held.
    let stage = stage_with(&format!("limits = [\"100/s\"]\n{}", window(3, 11)), 500).await;
    stage.publish(0..10);
    pass(seconds(50)).await;
    assert_eq!((stage.vendor.count(), stage.broker.bulk_ready()), (0, 500));
    pass(seconds(180)).await;
    assert_eq!((stage.taken().0.len(), stage.taken().1.len()), (10, 500));
}

#[tokio::test(start_paused = true)]
async fn an_amqp_expiration_holds_in_the_bulk_queue_too() {
    let stage = stage_with("limits = [\"100/s\"]\nbulk = [\"shop.import\"]", 0).await;
    stage.change(Change::Bulk(BulkChange::Pause { how: Paused::default() })).await;
    let mut expiring = message(BULK + 1, true);
    expiring.properties.expiration = Some("4000".to_owned());
    stage.broker.put("shop.import", expiring);
    pass(seconds(8)).await;
    stage.change(Change::Bulk(BulkChange::Resume)).await;
    pass(seconds(10)).await;
    assert_eq!((stage.vendor.count(), stage.broker.dead().len()), (0, 1));
}
