//! Events that may not be sent yet, and quiet hours: nothing is early, nothing waits in memory, nothing is spent.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sluice::clock;
use sluice::control::stamp::Change;
use sluice::destination::Handover;
use sluice::message::{Field, Message};
use sluice::record::replay::ReplayOutcome;

use super::account::{Account, with};
use super::broker::{Fate, header, replay};
use super::vendor::Answer;
use super::{Stage, event_number, message, pass, seconds};

const FAST: &str = "limits = [\"1000/s\"]";

/// With the attributes of CloudEvents' binary form, and more of them.
fn event(event: u64, more: &[(&str, String)]) -> Message {
    let mut message = message(event, true);
    let own = [("id", event.to_string()), ("source", "/shop".into()), ("type", "shop.order".into())];
    let own = own.into_iter().chain([("specversion", "1.0".into()), ("time", clock::wall().to_string())]);
    let all = own.chain(more.iter().map(|(name, value)| (*name, value.clone())));
    message.properties.headers = all.map(|(name, value)| (format!("cloudEvents:{name}"), Field::text(value))).collect();
    message
}

fn after(wait: Duration) -> Timestamp {
    clock::wall() + wait
}

/// One that may be sent after that time.
pub(super) fn later(number: u64, wait: Duration) -> Message {
    event(number, &[("deliverafter", after(wait).to_string())])
}

/// The window that opens and closes after so many minutes, at least.
pub(super) fn window(opens: u64, closes: u64) -> String {
    let at = |minutes| after(seconds(minutes * 60)).strftime("%H:%M").to_string();
    format!("send_between = \"{}-{} UTC\"", at(opens), at(closes))
}

#[tokio::test(start_paused = true)]
async fn no_event_is_sent_before_it_is_due_and_each_is_within_a_second_of_it() {
    let stage = Stage::new(FAST);
    let waits = (0..300_u64).map(|nth| Duration::from_millis(nth * nth * 7 % 90_000)).collect::<Vec<_>>();
    let began = stage.vendor.now();
    for (number, wait) in (0..).zip(&waits) {
        stage.broker.put("shop.order", later(number, *wait));
    }
    pass(seconds(1)).await;
    assert!(stage.broker.unsettled() < 20, "they lie at the broker: {}", stage.broker.unsettled());
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..300));
    for (number, wait) in (0..).zip(waits) {
        let sent = stage.vendor.calls_for(number)[0].at - began;
        assert!(sent >= wait && sent < wait + seconds(1), "{number}: due after {wait:?}, sent after {sent:?}");
    }
    assert_eq!(stage.broker.requeued(), 0, "no wait counts as a return");
    assert_eq!(stage.metrics.scheduled_total.with_label_values(&["hook"]).get(), 299, "one was due when it came");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_for_weeks_comes_as_it_was_published_whatever_happens_meanwhile() {
    let mut stage = Stage::new(FAST);
    let (wait, mut lost) = (seconds(20 * 86_400), 0);
    stage.broker.decide(move || {
        lost += 1;
        if lost % 3 == 0 { Fate::Lost } else { Fate::Confirmed }
    });
    let published = later(7, wait);
    let due = header(&published, "cloudEvents:deliverafter").unwrap().to_owned();
    stage.broker.put("shop.order", published.clone());
    for _ in 0..10 {
        pass(seconds(86_400)).await;
        stage.kill().await;
        stage.start(&Handover::default());
    }
    assert_eq!(stage.vendor.count(), 0);
    while stage.vendor.count() == 0 {
        pass(seconds(3_600)).await;
    }
    let copies = stage.broker.published();
    assert!((10..60).contains(&copies.len()), "{}", copies.len());
    for copy in copies {
        assert_eq!((&copy.message.body, event_number(&copy.message.body)), (&published.body, Some(7)));
        assert_eq!(header(&copy.message, "x-sluice-due"), Some(due.as_str()));
        for (name, field) in &published.properties.headers {
            assert_eq!(copy.message.properties.headers.get(name), Some(field), "{name}");
        }
        assert!(!copy.message.properties.headers.contains_key("x-sluice-retries"), "no attempt was spent");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_when_it_is_due_ends_at_once() {
    let stage = Stage::new("limits = [\"100/s\"]\nmax_event_age = \"3d\"");
    let (due, ends) = (after(seconds(7_200)).to_string(), after(seconds(3_600)).to_string());
    stage.broker.put("shop.order", event(1, &[("deliverafter", due), ("expirytime", ends)]));
    stage.broker.put("shop.order", later(2, seconds(4 * 86_400)));
    stage.broker.put("shop.order", later(3, seconds(31 * 86_400)));
    stage.broker.put("shop.order", event(4, &[("deliverafter", "tomorrow".into())]));
    pass(seconds(5)).await;
    assert!(stage.broker.is_drained());
    assert_eq!(stage.broker.reasons(), ["too_old", "too_old", "malformed", "malformed"]);
    let said: Vec<String> =
        stage.broker.dead().iter().map(|letter| header(letter, "x-sluice-sentence").unwrap().to_owned()).collect();
    for (sentence, words) in said.iter().zip([
        "its expirytime ends at",
        "max_event_age of the destination ends at",
        "over 30 days ahead",
        "\"deliverafter\" is \"tomorrow\", not an RFC 3339",
    ]) {
        assert!(sentence.contains(words), "{sentence}");
    }
    assert_eq!(stage.vendor.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_vendor_could_not_take_dies_when_it_comes_and_not_when_it_is_due() {
    let stage = Stage::new(
        "limits = [\"10/s\"]\n[[destinations.hook.map]]\ntype = \"#\"\nbody = { jq = \".no.such | error(\\\"none\\\")\" }\n",
    );
    stage.broker.put("shop.order", later(1, seconds(3_600)));
    pass(seconds(5)).await;
    assert_eq!(stage.broker.reasons(), ["invalid"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_and_a_replay_keep_to_the_time_and_its_attempts_stay() {
    let stage = Stage::new("limits = [\"10/s\"]\nretry = { delays = [\"5s\"] }");
    stage.vendor.behave(|call| Answer::Status(if (call.event, call.seen) == (1, 0) { 500 } else { 201 }));
    stage.broker.listen();
    stage.broker.put("shop.order", later(1, seconds(100)));
    stage.broker.put("sluice.hook", replay(2, later(2, seconds(100))));
    stage.publish(10..12);
    stage.drained().await;
    assert!(stage.vendor.took_each_once([1, 2, 10, 11]));
    assert!(stage.vendor.calls_for(1)[0].at >= seconds(100) && stage.vendor.calls_for(2)[0].at >= seconds(100));
    let told: Vec<_> = stage.broker.told().iter().map(|notice| notice.outcome).collect();
    assert_eq!(
        told,
        [ReplayOutcome::Retrying, ReplayOutcome::Delivered],
        "whoever replayed it hears once that it waits"
    );
}

#[tokio::test(start_paused = true)]
async fn in_quiet_hours_nothing_is_sent_and_nothing_is_held() {
    let stage = Stage::new(&format!("{FAST}\n{}", window(10, 60)));
    stage.publish(0..200);
    stage.broker.put("sluice.hook", replay(500, message(500, true)));
    pass(seconds(120)).await;
    let view = stage.view().await;
    assert_eq!((stage.vendor.count(), stage.broker.unsettled(), view.held_here), (0, 0, 0));
    assert!(view.why.starts_with("quiet until ") && view.why.ends_with(" UTC"), "{}", view.why);
    assert_eq!((view.rate, view.oldest, view.ready), (Some(0.0), None, true));
    let opens = view.quiet_until.unwrap();
    pass(Duration::try_from(opens.duration_since(clock::wall())).unwrap() - Duration::from_millis(200)).await;
    assert_eq!(stage.vendor.count(), 0);
    assert!(stage.broker.unsettled() > 0, "they are at hand when it opens");
    pass(seconds(2)).await;
    assert!(stage.vendor.took_each_once((0..200).chain([500])));
    assert_eq!(stage.view().await.quiet_until, None);
    let copies = stage.broker.published().iter().filter(|copy| copy.queue.starts_with("sluice.hook")).count();
    assert_eq!((stage.broker.requeued(), copies), (0, 0), "they stayed in their queue");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_when_the_window_closes_goes_back_and_goes_on_the_next_day() {
    // It has been open for a while, and closes in a minute or two.
    let stage = Stage::new(&format!("limits = [\"1/s\"]\n{}", window(24 * 60 - 30, 2)));
    stage.publish(0..200);
    pass(seconds(180)).await;
    let sent = stage.vendor.count();
    assert!((50..=125).contains(&sent), "{sent}");
    pass(seconds(3_600)).await;
    assert_eq!((stage.vendor.count(), stage.broker.unsettled()), (sent, 0));
    pass(seconds(23 * 3_600)).await;
    assert!(stage.vendor.took_each_once(0..200));
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_event_whose_time_comes_in_quiet_hours_waits_for_the_window() {
    let stage = Stage::new(&format!("{FAST}\n{}", window(24 * 60 - 30, 2)));
    stage.broker.put("shop.order", later(1, seconds(600)));
    pass(seconds(12 * 3_600)).await;
    assert_eq!(stage.vendor.count(), 0);
    // One that ends in the night is not kept for the morning.
    stage.broker.put("shop.order", event(2, &[("expirytime", after(seconds(3_600)).to_string())]));
    pass(seconds(13 * 3_600)).await;
    assert!(stage.broker.is_drained());
    assert!(stage.vendor.took_each_once([1]));
    assert_eq!(stage.broker.reasons(), ["too_old"]);
}

#[tokio::test(start_paused = true)]
async fn outside_of_its_hours_no_token_and_no_lookup_is_asked_for() {
    let stage = Account::PLAIN.signs_in().stage(&format!("limits = [\"100/s\"]\n{}", window(10, 60)));
    for number in 0..20 {
        stage.broker.put("shop.order", with(number, &json!({ "needs": "x" })));
    }
    pass(seconds(480)).await;
    assert_eq!(stage.vendor.count(), 0);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..20));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_copy_the_broker_does_not_take_stays_where_it_is_and_is_sent_when_it_is_due() {
    let stage = Stage::new(FAST);
    stage.broker.decide(|| Fate::Refused);
    stage.broker.put("shop.order", later(1, seconds(30)));
    pass(seconds(25)).await;
    assert_eq!((stage.vendor.count(), stage.broker.unsettled()), (0, 1));
    pass(seconds(60)).await;
    assert!(stage.vendor.took_each_once([1]) && stage.broker.unsettled() == 0);
    stage.broker.decide(|| Fate::Confirmed);
    stage.change(Change::PAUSE).await;
}

#[tokio::test(start_paused = true)]
async fn an_amqp_expiration_holds_for_what_is_put_aside() {
    let stage = Stage::new(FAST);
    let expiring = |number: u64, wait: u64, milliseconds: &str| {
        let mut message = later(number, seconds(wait));
        message.properties.expiration = Some(milliseconds.to_owned());
        message
    };
    stage.broker.put("shop.order", expiring(1, 20, "5000"));
    stage.broker.put("shop.order", expiring(2, 20, "60000"));
    pass(seconds(1)).await;
    assert_eq!(stage.broker.dead().len(), 1, "its time is over before it may be sent");
    pass(seconds(30)).await;
    assert!(stage.vendor.took_each_once([2]) && stage.vendor.count() == 1);
}
