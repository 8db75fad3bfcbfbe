//! What this machine lacks is nobody's trouble but its own.

use super::account::{Account, token, well};
use super::vendor::Answer;
use super::{Stage, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_machine_without_descriptors_costs_neither_the_vendor_nor_the_events_anything() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Machine);
    stage.publish(0..50);
    pass(seconds(600)).await;
    let view = stage.view().await;
    assert_eq!(view.state_name(), "open");
    assert!(view.why.contains("this machine") && view.why.contains("no file descriptors left"), "{}", view.why);
    assert!(!view.ready, "readiness tells of it");
    assert!(stage.broker.published().is_empty(), "no attempt is spent");
    assert!(stage.vendor.count() < 400, "{} tries in ten minutes", stage.vendor.count());
    stage.vendor.behave(|_| Answer::Status(201));
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..50));
    pass(seconds(30)).await;
    let view = stage.view().await;
    assert!(view.ready && view.machine.is_none(), "{view:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_now_and_then_that_cannot_be_sent_holds_up_nothing_for_long() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.before % 50 == 7 { Answer::Machine } else { Answer::Status(201) });
    stage.publish(0..1_000);
    pass(seconds(30)).await;
    assert!(stage.vendor.took_each_once(0..1_000), "{:?}", stage.view().await);
    assert!(stage.broker.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_for_a_token_that_were_not_sent_are_not_counted() {
    let stage = Account::PLAIN.signs_in().stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| match call.path.as_str() {
        "/token" if call.seen < 40 => Answer::Machine,
        "/token" => token(call, 3_600),
        _ => well(call),
    });
    stage.publish(0..10);
    pass(seconds(300)).await;
    assert!(stage.vendor.took_each_once(0..10), "{:?}", stage.view().await);
}

#[tokio::test(start_paused = true)]
async fn an_open_gate_says_how_the_last_request_failed() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Refuse);
    stage.publish(0..2);
    pass(seconds(1)).await;
    let view = stage.view().await;
    assert_eq!(view.state_name(), "open");
    assert!(
        view.fails && view.why.starts_with("open; the last request failed: ") && view.why.len() > 40,
        "{}",
        view.why
    );
    stage.vendor.behave(|_| Answer::Status(201));
    stage.drained().await;
    let view = stage.view().await;
    assert_eq!((view.fails, view.why.as_str()), (false, "open"));
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_says_what_the_vendor_said() {
    let stage = Stage::new("limits = [\"100/s\"]\nheaders = { authorization = \"Bearer s3cret-key\" }");
    stage.vendor.behave(|_| Answer::Body(401, "API key s3cret-key was revoked".to_owned()));
    stage.publish(0..1);
    pass(seconds(1)).await;
    let why = stage.view().await.why;
    assert!(why.contains("answered 401: API key *** was revoked"), "{why}");
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::With(301, "location", "https://new.example.com/track?key=s3cret".to_owned()));
    stage.publish(0..20);
    pass(seconds(1)).await;
    let why = stage.view().await.why;
    assert!(why.contains("answered 301, a redirect to https://new.example.com/track, which is not followed"), "{why}");
    assert!(!why.contains("s3cret"), "{why}");
}
