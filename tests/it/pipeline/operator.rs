//! What an operator can ask of a destination at work.

use sluice::destination::Command;
use sluice::destination::recent::Recent;
use sluice::gate::State;

use super::vendor::Answer;
use super::{Stage, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_paused_destination_sends_and_holds_nothing_until_it_is_resumed() {
    let stage = Stage::new("limits = [\"50/s\"]");
    stage.publish(0..500);
    pass(seconds(2)).await;
    stage.ask(Command::Pause).await;
    pass(seconds(1)).await;
    let calls = stage.vendor.count();
    assert_eq!(stage.view().await.state, "paused");
    pass(seconds(4 * 3600)).await;
    assert_eq!(stage.vendor.count(), calls);
    assert_eq!((stage.broker.unsettled(), stage.broker.ready()), (0, 500 - calls));
    stage.ask(Command::Resume).await;
    stage.drained().await;
    assert!((0..500).all(|event| stage.vendor.taken(event) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_holds_from_then_on() {
    let stage = Stage::new("limits = [\"50/s\"]");
    stage.publish(0..5000);
    pass(seconds(10)).await;
    stage.ask(Command::Limits(vec!["5/s".parse().unwrap()])).await;
    let changed = stage.vendor.now();
    pass(seconds(20)).await;
    let slow = stage.vendor.calls_between(changed, changed + seconds(20));
    assert!((95..=100).contains(&slow), "{slow} in 20 s");
    assert_eq!(stage.view().await.limits, ["5/s"]);
    stage.ask(Command::Limits(vec!["100/s".parse().unwrap()])).await;
    let changed = stage.vendor.now();
    pass(seconds(10)).await;
    let fast = stage.vendor.calls_between(changed, changed + seconds(10));
    assert!((970..=1000).contains(&fast), "{fast} in 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_the_worker_through_the_ledger() {
    let mut stage = Stage::new("limits = [\"50/s\"]");
    stage.ask(Command::Pause).await;
    assert_eq!(stage.view().await.state, "paused");
    let ledger = stage.stop().await;
    stage.publish(0..3);
    stage.start(&ledger);
    pass(seconds(60)).await;
    assert_eq!((stage.vendor.count(), stage.broker.ready()), (0, 3));
    stage.ask(Command::Resume).await;
    stage.drained().await;
}

#[tokio::test(start_paused = true)]
async fn what_happened_lately_is_told_and_outlives_a_reload() {
    let mut stage = Stage::new("limits = [\"50/s\"]");
    assert!(recent(&stage).await.samples().is_empty(), "nothing is kept before something happens");
    stage.vendor.behave(|call| Answer::Status(if call.event == 3 { 422 } else { 201 }));
    stage.publish(0..30);
    stage.drained().await;
    pass(seconds(30)).await;
    stage.ask(Command::Pause).await;
    let before = recent(&stage).await;
    assert_eq!(before.outcomes().filter(|outcome| outcome.outcome == "delivered").count(), 29);
    let dead = before.outcomes().find(|outcome| outcome.outcome == "dead_lettered").unwrap();
    assert_eq!((dead.id.as_str(), dead.kind.as_str(), dead.status), ("3", "shop.order", Some(422)));
    assert!(dead.said.contains("said the vendor"), "{dead:?}");
    let change = before.changes().next().unwrap();
    assert_eq!((change.from, change.to, change.why.as_str()), (State::Open, State::Paused, "an operator paused it"));
    let samples = before.samples();
    assert_eq!(samples.len(), 2, "one of what happened, one to say that it is quiet: {samples:?}");
    assert!(
        (2.5..=3.1).contains(&samples[0].requests) && samples[0].failed > 0.0 && samples[1].is_quiet(),
        "{samples:?}"
    );
    let handover = stage.stop().await;
    stage.start(&handover);
    let after = recent(&stage).await;
    assert!(after.outcomes().eq(before.outcomes()) && after.changes().eq(before.changes()));
}

async fn recent(stage: &Stage) -> Recent {
    stage.worker.as_ref().unwrap().handle.recent().await.unwrap()
}
