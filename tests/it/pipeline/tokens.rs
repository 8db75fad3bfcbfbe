//! Access tokens: one call for many events, ahead of their end, replaced when revoked, and never more calls than the vendor allows.

use std::time::Duration;

use sluice::control::stamp::Change;
use sluice::destination::Handover;
use sluice::vendors::When;

use super::account::{Account, bearer, token, well};
use super::vendor::{Answer, Call, ScriptedVendor};
use super::{Stage, pass, seconds};

fn stage(lines: &str) -> Stage {
    Account::PLAIN.signs_in().stage(lines)
}

/// A server that takes no token before the one of that number.
fn wants(first: usize) -> impl Fn(&Call) -> Answer {
    move |call| match call.path.as_str() {
        "/token" => token(call, 3_600),
        _ if bearer(call).is_some_and(|token| token >= first) => well(call),
        _ => Answer::Status(401),
    }
}

fn token_calls(vendor: &ScriptedVendor) -> Vec<Duration> {
    vendor.calls_to("/token").iter().map(|call| call.at).collect()
}

#[track_caller]
fn assert_calls_allowed(vendor: &ScriptedVendor) {
    let at = token_calls(vendor);
    let over = at.windows(6).find(|window| window[5] - window[0] < seconds(3_600));
    assert!(over.is_none(), "more than 5 calls for a token in an hour: {over:?}");
}

#[tokio::test(start_paused = true)]
async fn one_call_for_a_token_serves_many_waiting_events() {
    let stage = stage("limits = [\"100/s\"]");
    stage.publish(0..500);
    stage.drained().await;
    assert_eq!(token_calls(&stage.vendor).len(), 1);
    assert_eq!(stage.vendor.count(), 501);
    assert!(stage.vendor.calls_to("/events").iter().all(|call| bearer(call) == Some(0)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_signed_in_for_without_an_event() {
    let stage = stage("limits = [\"100/s\"]");
    pass(seconds(86_400)).await;
    assert_eq!(stage.vendor.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_ahead_of_its_end_without_a_refusal_or_a_pause() {
    let stage = stage("limits = [\"20/s\"]");
    stage.vendor.behave(|call| match (call.path.as_str(), bearer(call)) {
        ("/token", _) => token(call, 1_800),
        // A slow token endpoint holds nothing up either.
        (_, Some(number)) if call.at <= seconds(1_800) * u32::try_from(number + 1).unwrap() => well(call),
        _ => Answer::Status(401),
    });
    for event in 0..4_000 {
        stage.publish([event]);
        pass(seconds(2)).await;
        assert_eq!(stage.broker.unsettled(), 0, "{event} had to wait");
    }
    assert!(stage.vendor.took_each_once(0..4_000));
    assert!((5..=6).contains(&token_calls(&stage.vendor).len()), "{:?}", token_calls(&stage.vendor));
    assert!(stage.vendor.calls().iter().all(|(_, answer)| answer.status() == Some(200)));
}

#[tokio::test(start_paused = true)]
async fn a_token_revoked_in_the_middle_costs_one_new_one_and_nothing_else() {
    for batching in [Account::PLAIN, Account::PLAIN.batches(10, usize::MAX, When::Always)] {
        let stage = batching.signs_in().stage("limits = [\"100/s\"]");
        stage.publish(0..1_000);
        pass(Duration::from_millis(500)).await;
        stage.vendor.behave(wants(1));
        while !stage.broker.is_drained() {
            assert_ne!(stage.view().await.state_name(), "parked");
            pass(Duration::from_millis(50)).await;
        }
        assert!(stage.broker.published().is_empty(), "no attempt is spent");
        let refused = |answer: &Answer| answer.status() == Some(401);
        let calls = stage.vendor.calls();
        assert!(calls.iter().filter(|(_, answer)| refused(answer)).count() <= 32);
        assert_eq!(token_calls(&stage.vendor).len(), 2);
        let taken = calls.iter().filter(|(call, answer)| call.path == "/events" && !refused(answer));
        assert_eq!(taken.map(|(call, _)| call.events.len()).sum::<usize>(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_is_refused_as_well_parks_and_a_good_one_ends_it() {
    let stage = stage("limits = [\"100/s\"]");
    stage.publish(0..100);
    pass(Duration::from_millis(500)).await;
    stage.vendor.behave(wants(usize::MAX));
    stage.publish(100..200);
    pass(seconds(60)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    assert_eq!(token_calls(&stage.vendor).len(), 2);
    pass(seconds(8 * 3_600)).await;
    assert_calls_allowed(&stage.vendor);
    assert!(stage.broker.dead().is_empty() && stage.broker.retrying() == 0);
    stage.vendor.behave(wants(0));
    stage.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_parks_with_its_sentence_and_a_resume_tries_at_once() {
    let stage = stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.path == "/token" { Answer::Status(400) } else { well(call) });
    stage.publish(0..50);
    pass(seconds(5)).await;
    let view = stage.view().await;
    assert_eq!((view.state_name(), view.why.as_str()), ("parked", "the sign-in was refused: check the password"));
    pass(seconds(600)).await;
    assert!(token_calls(&stage.vendor).len() <= 2, "{:?}", token_calls(&stage.vendor));
    stage.vendor.behave(well);
    stage.change(Change::Resume).await;
    pass(seconds(2)).await;
    assert!(stage.broker.is_drained());
    assert!(stage.broker.dead().is_empty());
    assert_eq!(stage.view().await.state_name(), "open");
}

#[tokio::test(start_paused = true)]
async fn no_trouble_however_long_makes_more_calls_for_a_token_than_are_allowed() {
    for status in [400, 401, 429, 500, 503] {
        let stage = stage("limits = [\"100/s\"]");
        stage.vendor.behave(move |call| if call.path == "/token" { Answer::Status(status) } else { well(call) });
        for hour in 0..72 {
            stage.publish([hour]);
            pass(seconds(3_600)).await;
            if hour % 7 == 3 {
                stage.change(Change::Resume).await;
            }
        }
        assert_calls_allowed(&stage.vendor);
        let calls = token_calls(&stage.vendor).len();
        assert!(calls >= 72, "{status}: it goes on trying, at least once an hour: {calls}");
        assert_eq!(stage.vendor.calls_to("/events").len(), 0);
        assert!(stage.broker.dead().is_empty());
        stage.vendor.behave(well);
        pass(seconds(3_600)).await;
        stage.drained().await;
        assert!(stage.vendor.took_each_once(0..72));
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_revoked_all_the_time_cost_no_more_calls_than_are_allowed() {
    let stage = stage("limits = [\"10/s\"]");
    stage.vendor.behave(|call| match call.path.as_str() {
        "/token" => token(call, 3_600),
        // Each is good for a minute.
        _ if bearer(call).is_some() && call.at.as_secs() / 60 % 2 == 0 => well(call),
        _ => Answer::Status(401),
    });
    for event in 0..5_000 {
        stage.publish([event]);
        pass(seconds(10)).await;
    }
    assert_calls_allowed(&stage.vendor);
    assert!(stage.broker.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_the_token_endpoint_is_down_events_wait_and_nobody_is_called_for() {
    let stage = stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.path == "/token" { Answer::Refuse } else { well(call) });
    stage.publish(0..50);
    pass(seconds(600)).await;
    let view = stage.view().await;
    assert_eq!(view.state_name(), "broken", "an outage needs no person: {}", view.why);
    assert!(view.why.contains("cannot connect"), "{}", view.why);
    assert_eq!(stage.broker.ready() + stage.broker.unsettled(), 50);
    stage.vendor.behave(well);
    stage.drained().await;
    assert!(stage.broker.published().iter().all(|copy| copy.queue == "sluice.hook"), "no attempt is spent");
    assert!(stage.vendor.took_each_once(0..50));
}

#[tokio::test(start_paused = true)]
async fn calls_for_a_token_outlive_the_worker_and_take_a_place_at_the_gate() {
    let mut stage = stage("limits = [\"1/s\"]");
    for event in 0..12 {
        stage.publish([event]);
        pass(seconds(5)).await;
        let ledger = stage.stop().await;
        stage.start(&ledger);
    }
    assert_calls_allowed(&stage.vendor);
    assert!(token_calls(&stage.vendor).len() <= 5);
    let at: Vec<Duration> = stage.vendor.calls().iter().map(|(call, _)| call.at).collect();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= seconds(1)), "{at:?}");
    stage.drained().await;
    assert_calls_allowed(&stage.vendor);
    assert!(stage.vendor.took_each_once(0..12));
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_between_sign_in_and_delivery_loses_nothing() {
    let mut stage = stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.path == "/token" { Answer::slow(200, seconds(3)) } else { well(call) });
    stage.publish(0..10);
    pass(seconds(1)).await;
    stage.kill().await;
    stage.vendor.behave(well);
    stage.start(&Handover::default());
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..10));
}
