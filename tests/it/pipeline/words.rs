//! What the vendor said, and when, wherever a destination tells how it is.

use std::time::Duration;

use serde_json::json;
use sluice::clock;
use sluice::control::stamp::Change;
use sluice::destination::recent::RecentOutcome;

use super::account::{Account, well, with};
use super::vendor::{Answer, ScriptedVendor};
use super::{Stage, pass, seconds};

async fn outcomes(stage: &Stage) -> Vec<RecentOutcome> {
    let recent = stage.worker.as_ref().unwrap().handle.recent().await.unwrap();
    recent.outcomes().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_parked_destination_tells_what_the_vendor_answers_and_shows_each_probe() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::Body(401, "API key revoked".to_owned()));
    stage.publish(0..20);
    pass(seconds(2)).await;
    let view = stage.view().await;
    assert_eq!((view.state_name(), view.answered.unwrap().probe), ("parked", 0));
    assert_eq!(view.why, "vendor.test answered 401: API key revoked; check the key and that the account is on");
    pass(seconds(50)).await;
    let view = stage.view().await;
    let answered = view.answered.unwrap();
    assert_eq!((answered.probe, &view.why[..answered.place]), (3, "vendor.test answered 401: API key revoked"));
    assert!(clock::wall().duration_since(answered.at).as_secs() < 15, "{answered:?}");
    let outcomes = outcomes(&stage).await;
    let probes: Vec<_> = outcomes.iter().filter(|outcome| outcome.outcome == "probe").collect();
    assert_eq!(probes.len(), 3, "{outcomes:?}");
    assert!(
        probes.iter().all(|probe| probe.status == Some(401) && probe.said.contains("API key revoked")),
        "{probes:?}"
    );
    assert!(outcomes.iter().any(|outcome| outcome.outcome == "waits"), "what parked it is there too");
    let failed = stage.metrics.last_failure_status.with_label_values(&["hook"]).get();
    assert_eq!(failed, 401);
}

#[tokio::test(start_paused = true)]
async fn addresses_of_people_and_secrets_in_the_vendors_words_are_masked_wherever_they_are_told() {
    let stage = Stage::new("limits = [\"100/s\"]\nheaders = { authorization = \"Bearer tok-abcdef\" }");
    stage.vendor.behave(|_| Answer::Body(503, "no ann@example.com with tok-abcdef".to_owned()));
    stage.publish(0..20);
    pass(seconds(60)).await;
    let view = stage.view().await;
    assert!(view.why.contains("no ***@*** with ***"), "{}", view.why);
    for outcome in outcomes(&stage).await {
        assert_eq!(outcome.said, "vendor.test answered 503: no ***@*** with ***", "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_is_told_with_its_time_and_stands_among_the_outcomes() {
    let stage = Account::PLAIN.signs_in().stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.path == "/token" { Answer::Status(400) } else { well(call) });
    stage.publish(0..5);
    pass(seconds(5)).await;
    let view = stage.view().await;
    assert_eq!(view.why, "the sign-in was refused: check the password");
    let answered = view.answered.unwrap();
    assert_eq!(answered.place, view.why.len());
    stage.change(Change::Resume).await;
    pass(seconds(2)).await;
    let again = stage.view().await.answered.unwrap();
    assert!(again.at > answered.at && again.probe == 1, "{again:?}");
    let outcomes = outcomes(&stage).await;
    let shown: Vec<_> =
        outcomes.iter().map(|outcome| (outcome.kind.as_str(), &*outcome.outcome, outcome.status)).collect();
    assert_eq!(shown, [("access token", "probe", Some(400)), ("access token", "failed", Some(400))]);
    assert!(outcomes.iter().all(|outcome| outcome.said == "the sign-in was refused: check the password"));
}

#[tokio::test(start_paused = true)]
async fn a_429_for_a_token_is_told_in_the_words_of_that_answer() {
    let stage = Account::PLAIN.signs_in().stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.path == "/token" { Answer::Status(429) } else { well(call) });
    stage.publish(0..5);
    pass(Duration::from_millis(500)).await;
    let view = stage.view().await;
    assert!(view.why.ends_with("the token endpoint answered 429"), "{}", view.why);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_or_is_refused_is_told_in_the_vendors_words() {
    let lookups = |status: u16| {
        move |call: &super::vendor::Call| {
            if call.path.starts_with("/lookups/") { Answer::Status(status) } else { well(call) }
        }
    };
    let publish = |stage: &Stage, events: std::ops::Range<u64>| {
        events.for_each(|event| stage.broker.put("shop.order", with(event, &json!({ "needs": "order" }))));
    };
    let stage = Account::PLAIN.stage("limits = [\"100/s\"]");
    stage.vendor.behave(lookups(404));
    publish(&stage, 0..100);
    pass(seconds(600)).await;
    let view = stage.view().await;
    assert!(view.state_name() == "parked" && view.why.contains("at last: the account answered 404"), "{}", view.why);
    let outcomes = outcomes(&stage).await;
    let lookup = outcomes.iter().find(|outcome| outcome.kind == "lookup").unwrap();
    assert_eq!((lookup.id.as_str(), lookup.status), ("order", Some(404)), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn rejections_of_single_events_in_a_taken_request_are_told_in_the_vendors_words() {
    let stage = Stage::new("limits = [\"100/s\"]\npark_after_rejections = 3");
    stage.vendor.behave(|_| Answer::Body(422, "eventName is unknown".to_owned()));
    stage.publish(0..20);
    pass(seconds(2) + ScriptedVendor::LATENCY).await;
    let view = stage.view().await;
    assert!(
        view.why.contains("in a row, at last: vendor.test answered 422: eventName is unknown; check"),
        "{}",
        view.why
    );
}
