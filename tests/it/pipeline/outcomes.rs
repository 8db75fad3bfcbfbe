//! What becomes of an event: delivered, tried again later, or a dead letter.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use sluice::event::{Event, Invalid};
use sluice::message::Field;
use sluice::record::history::History;
use sluice::vendors::{Facts, Item, Refusal, Reply, Vendor};
use sluice::verdict::Verdict;

use super::broker::header;
use super::vendor::Answer;
use super::{Stage, message, pass, seconds};

const FAST: &str = "limits = [\"100/s\"]";

#[tokio::test(start_paused = true)]
async fn an_event_that_the_vendor_takes_is_acked_and_leaves_nothing_behind() {
    let stage = Stage::new(FAST);
    stage.publish(0..50);
    stage.drained().await;
    assert!((0..50).all(|event| stage.vendor.taken(event) == 1));
    assert_eq!(stage.vendor.count(), 50);
    assert!(stage.broker.published().is_empty());
    assert_eq!(stage.view().await.delivered, 50);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_alone_is_tried_again_after_growing_delays_and_expires() {
    let retry = "[destinations.hook.retry]\ndelays = [\"5s\", \"30s\", \"2m\"]\nmax_age = \"10m\"";
    let stage = Stage::new(&format!("{FAST}\n{retry}"));
    stage.vendor.behave(|call| Answer::Status(if call.event == 0 { 500 } else { 201 }));
    stage.publish(1..2);
    pass(seconds(1)).await;
    // Others go through all the time: it is not the vendor that is in trouble.
    for event in 0..900 {
        stage.publish([if event == 0 { 0 } else { event + 10 }]);
        pass(seconds(1)).await;
    }
    let calls: Vec<Duration> = stage.vendor.calls_for(0).iter().map(|call| call.at).collect();
    let gaps: Vec<Duration> =
        calls.iter().zip(calls.iter().skip(1)).map(|(earlier, later)| *later - *earlier).collect();
    for (gap, delay) in gaps.iter().zip([5, 30, 120, 120, 120, 120, 120]) {
        let (least, most) = (Duration::from_secs(delay).mul_f64(0.8), seconds(delay + 1));
        assert!((least..most).contains(gap), "{gap:?} for {delay} s in {gaps:?}");
    }
    assert_eq!(stage.broker.reasons(), ["expired"]);
    let letter = &stage.broker.dead()[0];
    assert_eq!(letter.body, message(0, true).body);
    let history = History::read(letter, "", jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(history.routing_key, "shop.order");
    assert_eq!(history.attempts.len(), calls.len());
    assert!(history.attempts.iter().all(|attempt| attempt.status == Some(500) && attempt.verdict == "unavailable"));
    assert_eq!(usize::try_from(history.retries).unwrap(), calls.len() - 1);
    let sentence = header(letter, "x-sluice-sentence").unwrap();
    assert!(sentence.ends_with("at last: vendor.test answered 500: said the vendor"), "{sentence}");
    assert!(!letter.properties.headers.contains_key("x-death"), "an old broker would drop the copy");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_makes_the_vendor_break_the_connection_does_not_stop_the_others() {
    let stage = Stage::new(FAST);
    stage.vendor.behave(|call| if call.event % 25 == 0 { Answer::Reset } else { Answer::Status(201) });
    stage.publish(0..100);
    pass(seconds(30)).await;
    let others = (0..100).filter(|event| event % 25 != 0);
    assert!(others.into_iter().all(|event| stage.vendor.taken(event) == 1));
    assert!(stage.broker.dead().is_empty());
    assert!(stage.vendor.calls_for(25).len() > 1, "it is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_a_dead_letter_at_once_with_what_the_vendor_said() {
    let stage = Stage::new(FAST);
    stage.vendor.behave(|call| Answer::Status(if call.event == 3 { 422 } else { 201 }));
    stage.publish(0..10);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["rejected"]);
    assert_eq!(stage.vendor.calls_for(3).len(), 1);
    let letter = &stage.broker.dead()[0];
    assert_eq!(header(letter, "x-sluice-sentence"), Some("vendor.test answered 422: said the vendor"));
    assert_eq!(header(letter, "x-sluice-event-id"), Some("3"));
    assert_eq!(header(letter, "x-sluice-event-type"), Some("shop.order"));
    assert_eq!(header(letter, "x-sluice-destination"), Some("hook"));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_a_request_that_had_no_answer_is_waited_out_and_then_means_delivered() {
    for lost in [Answer::Hang, Answer::Reset, Answer::Status(504)] {
        let stage = Stage::new(FAST);
        stage.vendor.behave(move |call| match (call.event, call.seen) {
            (0, 0) => lost.clone(),
            (0, _) => Answer::Status(409),
            _ => Answer::Status(201),
        });
        for event in 0..400 {
            stage.publish([event]);
            pass(seconds(1)).await;
        }
        stage.drained().await;
        assert!(stage.broker.dead().is_empty(), "{:?}", stage.broker.reasons());
        let calls = stage.vendor.calls_for(0);
        assert!(calls.len() > 2 && calls[calls.len() - 1].at - calls[0].at >= seconds(60), "{calls:?}");
        assert!(calls.iter().all(|call| call.headers["idempotency-key"] == "\"0\""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_nothing_of_ours_is_a_dead_letter() {
    for before in [Answer::Refuse, Answer::Status(500), Answer::Status(409)] {
        let stage = Stage::new(FAST);
        stage.vendor.behave(move |call| match (call.event, call.seen) {
            (0, 0) => before.clone(),
            (0, _) => Answer::Status(409),
            _ => Answer::Status(201),
        });
        for event in 0..30 {
            stage.publish([event]);
            pass(seconds(1)).await;
        }
        stage.drained().await;
        assert_eq!(stage.broker.reasons(), ["rejected"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_for_the_vendor_is_a_dead_letter() {
    let stage = Stage::new(FAST);
    stage.vendor.behave(|_| Answer::Status(413));
    stage.publish([0]);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["too_large"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_would_act_on_is_set_aside_in_a_retry_copy() {
    let stage = Stage::new(FAST);
    stage.vendor.behave(|call| Answer::Status(if call.event == 7 && call.seen == 0 { 500 } else { 201 }));
    let mut original = message(7, true);
    original.properties.user_id = Some("producer".to_owned());
    original.properties.expiration = Some("60000".to_owned());
    for name in ["CC", "BCC"] {
        original.properties.headers.insert(name.to_owned(), Field::Array(vec![Field::text("sluice.other")]));
    }
    stage.publish([1]);
    stage.broker.put("shop.order", original);
    stage.publish([2]);
    stage.drained().await;
    let published = stage.broker.published();
    assert_eq!(published.iter().map(|copy| copy.queue.as_str()).collect::<Vec<_>>(), ["sluice.hook.retry.5"]);
    let properties = &published[0].message.properties;
    assert_eq!(properties.user_id, None);
    assert_eq!(header(&published[0].message, "x-sluice-property-user-id"), Some("producer"));
    assert_eq!(header(&published[0].message, "x-sluice-property-expiration"), Some("60000"));
    assert!(!properties.headers.contains_key("CC") && !properties.headers.contains_key("BCC"));
    assert!(
        properties.headers.contains_key("x-sluice-header-cc") && properties.headers.contains_key("x-sluice-header-bcc")
    );
    let wait: u64 = properties.expiration.as_deref().unwrap().parse().unwrap();
    assert!((4_000..=5_000).contains(&wait), "{wait}");
    assert_eq!(stage.vendor.taken(7), 1);
}

/// Panics on some events, and on the answers to some others.
#[derive(Debug)]
struct Faulty;

impl Vendor for Faulty {
    fn prepare(&self, event: &Event, _: &Facts) -> Result<Item, Refusal> {
        assert!(event.data.fields()["event"] != 1, "a bug in the vendor's code");
        Ok(Item { content: event.data.raw().clone(), ..Item::default() })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let mut request = Request::new(items[0].content.clone());
        *request.uri_mut() = "http://vendor.test/".parse().unwrap();
        Ok(request)
    }

    fn judge(&self, reply: &Reply) -> Verdict {
        assert!(reply.status != 202, "a bug in the vendor's code");
        Verdict::Delivered
    }

    fn credentials_check(&self) -> Option<Request<Bytes>> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_vendors_code_is_a_dead_letter_and_stops_nothing() {
    let mut stage = Stage::idle(FAST);
    stage.settings.vendor = Arc::new(Faulty);
    stage.start(&sluice::destination::Handover::default());
    stage.publish(0..3);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["invalid"]);
    assert_eq!(stage.vendor.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_reading_an_answer_is_a_dead_letter_and_stops_nothing() {
    let mut stage = Stage::idle(FAST);
    stage.settings.vendor = Arc::new(Faulty);
    stage.start(&sluice::destination::Handover::default());
    stage.vendor.behave(|call| Answer::Status(if call.event == 5 { 202 } else { 201 }));
    stage.publish(3..9);
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["rejected"]);
    assert_eq!(stage.view().await.delivered, 5);
}
