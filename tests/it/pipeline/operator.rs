//! What an operator can ask of a destination at work.

use sluice::control::stamp::{Change, Stamp};
use sluice::destination::Applied;

use super::{Stage, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_paused_destination_sends_and_holds_nothing_until_it_is_resumed() {
    let stage = Stage::new("limits = [\"50/s\"]");
    stage.publish(0..500);
    pass(seconds(2)).await;
    stage.change(Change::PAUSE).await;
    pass(seconds(1)).await;
    let calls = stage.vendor.count();
    assert_eq!(stage.view().await.state_name(), "paused");
    pass(seconds(4 * 3600)).await;
    assert_eq!(stage.vendor.count(), calls);
    assert_eq!((stage.broker.unsettled(), stage.broker.ready()), (0, 500 - calls));
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert!((0..500).all(|event| stage.vendor.taken(event) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_holds_from_then_on() {
    let stage = Stage::new("limits = [\"50/s\"]");
    stage.publish(0..5000);
    pass(seconds(10)).await;
    stage.change(Change::Limits(vec!["5/s".parse().unwrap()])).await;
    let changed = stage.vendor.now();
    pass(seconds(20)).await;
    let slow = stage.vendor.calls_between(changed, changed + seconds(20));
    assert!((95..=100).contains(&slow), "{slow} in 20 s");
    assert_eq!(stage.view().await.limits, ["5/s"]);
    stage.change(Change::Limits(vec!["100/s".parse().unwrap()])).await;
    let changed = stage.vendor.now();
    pass(seconds(10)).await;
    let fast = stage.vendor.calls_between(changed, changed + seconds(10));
    assert!((970..=1000).contains(&fast), "{fast} in 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_changed_pace_leaves_the_days_budget_in_force() {
    let stage = Stage::new("limits = [\"50/s\", \"120/day\"]");
    stage.change(Change::Limits(vec!["10/s".parse().unwrap()])).await;
    assert_eq!(stage.view().await.limits, ["10/s", "120/day"]);
    stage.publish(0..300);
    pass(seconds(60)).await;
    assert_eq!(stage.vendor.count(), 120);
}

#[tokio::test(start_paused = true)]
async fn two_workers_that_get_opposite_commands_in_different_order_end_alike() {
    let stages = [Stage::new("limits = [\"50/s\"]"), Stage::new("limits = [\"50/s\"]")];
    let handles = stages.each_ref().map(|stage| stage.worker.as_ref().unwrap().handle.clone());
    let given = |order| match order {
        Applied::Holds { stamp, .. } => stamp,
        Applied::Superseded(at) => panic!("nothing was known, and yet {at}"),
    };
    let (pause, resume) = (Change::PAUSE, Change::Resume);
    let first = given(handles[0].change(pause.clone(), None).await.unwrap());
    let second = given(handles[1].change(resume.clone(), None).await.unwrap());
    // Each hears of both: its own as it comes back, and the other's before or after it.
    for (stamp, change) in [(second, &resume), (first, &pause)] {
        handles[0].change(change.clone(), Some(stamp)).await.unwrap();
    }
    for (stamp, change) in [(first, &pause), (second, &resume)] {
        handles[1].change(change.clone(), Some(stamp)).await.unwrap();
    }
    let states = [stages[0].view().await.state_name(), stages[1].view().await.state_name()];
    assert_eq!(states, if first < second { ["open"; 2] } else { ["paused"; 2] });
    // One whose clock is an hour ahead: what is commanded after it, by whoever knows of it, holds everywhere.
    let ahead = Stamp::after(Some(first.at + 3_600_000_000), sluice::clock::wall(), first.id);
    for handle in &handles {
        handle.change(pause.clone(), Some(ahead)).await.unwrap();
    }
    let later = given(handles[1].change(resume.clone(), None).await.unwrap());
    assert_eq!(handles[0].change(resume, Some(later)).await.unwrap(), Applied::Holds { stamp: later, later: None });
    assert_eq!(handles[0].change(pause, Some(first)).await.unwrap(), Applied::Superseded(later.at));
    assert_eq!([stages[0].view().await.state_name(), stages[1].view().await.state_name()], ["open"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_the_worker_through_the_ledger() {
    let mut stage = Stage::new("limits = [\"50/s\"]");
    stage.change(Change::PAUSE).await;
    assert_eq!(stage.view().await.state_name(), "paused");
    let ledger = stage.stop().await;
    stage.publish(0..3);
    stage.start(&ledger);
    pass(seconds(60)).await;
    assert_eq!((stage.vendor.count(), stage.broker.ready()), (0, 3));
    stage.change(Change::Resume).await;
    stage.drained().await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_event_is_known_while_a_pause_lasts_though_none_is_held() {
    let stage = Stage::new("limits = [\"5/s\"]");
    let first = sluice::clock::wall();
    stage.publish(0..50);
    pass(seconds(2)).await;
    let oldest = stage.view().await.oldest.unwrap();
    assert!(oldest >= first);
    stage.change(Change::PAUSE).await;
    pass(seconds(60)).await;
    let view = stage.view().await;
    assert_eq!((view.held_here, view.oldest), (0, Some(oldest)));
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!(stage.view().await.oldest, None);
    assert_eq!(stage.metrics.received_total.with_label_values(&["hook"]).get(), 50, "those given back count once");
}

#[tokio::test(start_paused = true)]
async fn looking_at_a_slow_destination_changes_nothing() {
    let stage = Stage::new("limits = [\"2/h\"]");
    stage.publish(0..10);
    for _ in 0..600 {
        pass(std::time::Duration::from_millis(200)).await;
        stage.view().await;
    }
    let received = stage.metrics.consumed_total.with_label_values(&["hook"]).get();
    assert!(received <= 3, "{received} deliveries were taken and given back");
}
