//! What a destination tells of what happened lately.

use sluice::control::stamp::Change;
use sluice::destination::recent::Recent;
use sluice::gate::GateState;

use super::vendor::Answer;
use super::{Stage, pass, seconds};

#[tokio::test(start_paused = true)]
async fn what_happened_lately_is_told_and_outlives_a_reload() {
    let mut stage = Stage::new("limits = [\"50/s\"]");
    assert!(recent(&stage).await.samples().is_empty(), "nothing is kept before something happens");
    stage.vendor.behave(|call| Answer::Status(if call.event == 3 { 422 } else { 201 }));
    stage.publish(0..30);
    stage.drained().await;
    pass(seconds(30)).await;
    stage.change(Change::PAUSE).await;
    let before = recent(&stage).await;
    assert_eq!(before.outcomes().filter(|outcome| outcome.outcome == "delivered").count(), 29);
    let dead = before.outcomes().find(|outcome| outcome.outcome == "dead_lettered").unwrap();
    assert_eq!((dead.id.as_str(), dead.kind.as_str(), dead.status), ("3", "shop.order", Some(422)));
    assert!(dead.said.contains("said the vendor"), "{dead:?}");
    let change = before.changes().next().unwrap();
    assert_eq!(
        (change.from, change.to, change.why.as_str()),
        (GateState::Open, GateState::Paused, "an operator paused it")
    );
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

#[tokio::test(start_paused = true)]
async fn what_has_left_the_queue_is_counted_whatever_became_of_it() {
    let stage = Stage::new("limits = [\"50/s\"]\npark_after_rejections = 0");
    stage.vendor.behave(|call| {
        Answer::Status(match call.event % 3 {
            0 => 422,
            1 => 500,
            _ => 201,
        })
    });
    stage.publish(0..30);
    pass(seconds(4)).await;
    let view = stage.view().await;
    assert!(view.delivered > 0 && view.retried > 0 && view.left >= view.delivered + view.retried + 5, "{view:?}");
    assert_eq!((view.requests, view.together), (u64::try_from(stage.vendor.count()).unwrap(), 1));
}

async fn recent(stage: &Stage) -> Recent {
    stage.worker.as_ref().unwrap().handle.recent().await.unwrap()
}
