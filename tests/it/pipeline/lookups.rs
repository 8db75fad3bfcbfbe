//! What has to be asked of the vendor before events can be checked.

use serde_json::json;
use sluice::control::stamp::Change;
use sluice::message::Message;

use super::account::{Account, well, with};
use super::broker::header;
use super::vendor::{Answer, Call};
use super::{Stage, pass, seconds};

const FAST: &str = "limits = [\"100/s\"]";

fn needing(event: u64, name: &str) -> Message {
    with(event, &json!({ "needs": name }))
}

fn publish(stage: &Stage, events: std::ops::Range<u64>, name: &str) {
    events.for_each(|event| stage.broker.put("shop.order", needing(event, name)));
}

fn lookups(answer: impl Fn(&Call) -> Answer + Send + 'static) -> impl FnMut(&Call) -> Answer + Send {
    move |call| if call.path.starts_with("/lookups/") { answer(call) } else { well(call) }
}

#[tokio::test(start_paused = true)]
async fn one_lookup_serves_all_events_that_need_it() {
    let stage = Account::PLAIN.stage(FAST);
    publish(&stage, 0..200, "order");
    publish(&stage, 200..300, "cart");
    stage.drained().await;
    assert_eq!(stage.vendor.calls_to("/lookups/").len(), 2);
    assert!(stage.vendor.took_each_once(0..300));
}

#[tokio::test(start_paused = true)]
async fn a_refused_lookup_costs_one_event_each_and_twenty_in_a_row_park() {
    let stage = Account::PLAIN.stage(FAST);
    stage.vendor.behave(lookups(|_| Answer::Status(404)));
    publish(&stage, 0..3, "order");
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["invalid"; 3]);
    assert!(header(&stage.broker.dead()[0], "x-sluice-sentence").unwrap().contains("\"order\" could not be looked up"));
    publish(&stage, 3..200, "order");
    pass(seconds(3_600)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    assert_eq!(stage.broker.dead().len(), 20, "a parked destination loses no more");
    stage.vendor.behave(well);
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 20);
    assert_eq!(stage.vendor.deliveries().len(), 180);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_holds_nobody_else_up() {
    let stage = Account::PLAIN.stage(FAST);
    stage.vendor.behave(lookups(|call| if call.path.ends_with("/broken") { Answer::Status(500) } else { well(call) }));
    publish(&stage, 0..50, "order");
    pass(seconds(5)).await;
    publish(&stage, 1_000..1_003, "broken");
    publish(&stage, 50..500, "order");
    pass(seconds(60)).await;
    assert!(stage.vendor.took_each_once(0..500), "{:?}", stage.view().await);
    assert!(stage.broker.dead().is_empty());
    stage.vendor.behave(well);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(1_000..1_003));
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_long_after_the_lookup_is_checked_against_a_new_one_once() {
    let stage = Account::PLAIN.stage(FAST);
    publish(&stage, 0..10, "order");
    pass(seconds(60)).await;
    stage.vendor.behave(|call| if call.path == "/events" { Answer::Status(400) } else { well(call) });
    publish(&stage, 10..500, "order");
    pass(seconds(120)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    let dead = stage.broker.dead().len();
    assert!((20..60).contains(&dead), "{dead} dead letters");
    let asked = stage.vendor.calls_to("/lookups/").len();
    assert!(asked < 20, "{asked} lookups");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_checked_again_whatever_was_with_the_same_tag_on_an_earlier_channel() {
    let stage = Account::PLAIN.stage(FAST);
    publish(&stage, 0..1, "order");
    stage.vendor.behave(|call| {
        let rejected = matches!(call.event, 1 | 3) && call.seen == 0;
        if call.path == "/events" && rejected { Answer::Status(400) } else { well(call) }
    });
    for (event, tag_anew) in [(1, true), (3, false)] {
        pass(seconds(60)).await;
        publish(&stage, event..event + 1, "order");
        stage.drained().await;
        assert_eq!(stage.vendor.taken(event), 1, "{:?}", stage.broker.reasons());
        if tag_anew {
            stage.broker.cut();
            pass(seconds(5)).await;
            publish(&stage, 2..3, "order");
            stage.drained().await;
        }
    }
    assert!(stage.broker.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_parks_as_well() {
    let stage = Account::PLAIN.stage(FAST);
    stage.vendor.behave(lookups(|_| Answer::Body(200, "<html>".to_owned())));
    publish(&stage, 0..200, "order");
    pass(seconds(3_600)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    assert_eq!(stage.broker.dead().len(), 20);
    stage.vendor.behave(well);
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!(stage.vendor.deliveries().len(), 180);
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_has_no_request_for_is_a_dead_letter_without_one() {
    let stage = Account::PLAIN.stage(FAST);
    publish(&stage, 0..2, "unheard-of");
    stage.publish([5]);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["invalid", "invalid"]);
    assert_eq!(stage.vendor.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn trouble_with_a_lookup_makes_events_wait() {
    for trouble in [Answer::Status(503), Answer::Reset, Answer::Hang, Answer::Status(429)] {
        let stage = Account::PLAIN.stage(FAST);
        let down = trouble.clone();
        stage.vendor.behave(lookups(move |_| down.clone()));
        publish(&stage, 0..50, "order");
        pass(seconds(7_200)).await;
        assert!(stage.broker.dead().is_empty(), "{trouble:?}");
        let calls = stage.vendor.count();
        assert!(calls < 800, "{trouble:?}: {calls} calls in two hours");
        stage.vendor.behave(well);
        stage.drained().await;
        assert!(stage.vendor.took_each_once(0..50));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_is_renewed_while_there_is_work_and_what_it_lacks_is_asked_again() {
    let stage = Account::PLAIN.stage(FAST);
    publish(&stage, 0..1, "order");
    for event in 1..1_300 {
        pass(seconds(1)).await;
        publish(&stage, event..event + 1, "order");
    }
    let renewed = stage.vendor.calls_to("/lookups/order").len();
    assert!((2..=3).contains(&renewed), "{renewed} lookups in 1,300 s");
    pass(seconds(86_400)).await;
    assert_eq!(stage.vendor.calls_to("/lookups/order").len(), renewed, "nothing is asked without work");
    stage.vendor.behave(lookups(|_| Answer::Body(200, "{}".to_owned())));
    publish(&stage, 2_000..2_010, "new");
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 10, "just learned, and it lacks this");
    stage.vendor.behave(well);
    pass(seconds(60)).await;
    publish(&stage, 2_010..2_020, "new");
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 10, "asked again, and now it is there");
    assert!(stage.vendor.took_each_once(2_010..2_020));
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_wait_for_a_lookup_are_given_back_on_a_pause_and_a_stop() {
    let mut stage = Account::PLAIN.stage(FAST);
    stage.vendor.behave(lookups(|_| Answer::Hang));
    publish(&stage, 0..30, "order");
    pass(seconds(3)).await;
    stage.change(Change::PAUSE).await;
    pass(seconds(1)).await;
    assert_eq!((stage.broker.unsettled(), stage.broker.ready()), (0, 30));
    stage.change(Change::Resume).await;
    pass(seconds(3)).await;
    let ledger = stage.stop().await;
    assert_eq!(stage.broker.unsettled(), 0);
    stage.vendor.behave(well);
    stage.start(&ledger);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..30));
}

#[tokio::test(start_paused = true)]
async fn a_channel_lost_during_a_lookup_doubles_nothing() {
    let stage = Account::PLAIN.stage(FAST);
    stage.vendor.behave(lookups(|call| if call.seen < 2 { Answer::slow(503, seconds(2)) } else { well(call) }));
    publish(&stage, 0..30, "order");
    pass(seconds(1)).await;
    stage.broker.cut();
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..30));
    let stage = Account::PLAIN.stage(FAST);
    stage.vendor.behave(lookups(|_| Answer::slow(404, seconds(2))));
    publish(&stage, 0..5, "order");
    pass(seconds(1)).await;
    stage.broker.cut();
    stage.drained().await;
    assert_eq!(stage.broker.dead().len(), 5, "one dead letter each");
}
