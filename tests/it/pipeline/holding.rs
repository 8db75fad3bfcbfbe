//! How much is held where requests carry many events: enough for large batches, bounded, and never for long.

use std::time::Duration;

use serde_json::json;
use sluice::control::stamp::Change;
use sluice::vendors::When;

use super::account::{Account, well, with, with_jobs};
use super::vendor::Answer;
use super::{Stage, pass, seconds};

fn stage(lines: &str) -> Stage {
    Account::PLAIN.batches(10_000, usize::MAX, When::Scarce).stage(lines)
}

#[tokio::test(start_paused = true)]
async fn under_a_backlog_more_is_held_so_that_batches_grow() {
    let stage = stage("limits = [\"1/s\"]");
    stage.publish(0..50_000);
    stage.drained().await;
    let sizes: Vec<usize> = stage.vendor.calls().iter().map(|(call, _)| call.events.len()).collect();
    assert!(sizes.iter().any(|size| *size >= 8_000), "{sizes:?}");
    assert!(sizes.len() <= 25, "{} calls", sizes.len());
    assert!(stage.vendor.took_each_once(0..50_000));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_bounded_in_bytes() {
    let stage = stage("limits = [\"1/s\"]");
    let fill = "x".repeat(100_000);
    (0..1_500).for_each(|event| stage.broker.put("shop.order", with(event, &json!({ "fill": fill }))));
    stage.drained().await;
    let most = stage.broker.most_unsettled();
    assert!(most <= 700, "{most} of 100 kB were held");
    assert!(stage.vendor.took_each_once(0..1_500));
}

#[tokio::test(start_paused = true)]
async fn nothing_stays_unsettled_for_more_than_ten_minutes_whatever_the_gate_does() {
    type Trouble = fn(&super::vendor::Call) -> Answer;
    let troubles: [(&str, Trouble); 5] = [
        ("an outage", |_| Answer::Status(503)),
        ("refused credentials", |_| Answer::Status(401)),
        ("a long Retry-After", |_| Answer::With(429, "retry-after", "7200".to_owned())),
        ("rejections", |_| Answer::Status(400)),
        ("time-outs", |_| Answer::Hang),
    ];
    for (name, trouble) in troubles {
        let stage = stage("limits = [\"2/s\"]");
        stage.publish(0..300);
        stage.vendor.behave(trouble);
        for _ in 0..240 {
            pass(seconds(30)).await;
            let longest = stage.broker.longest_held();
            assert!(longest <= seconds(600), "{name}: one was held for {longest:?}");
        }
        stage.vendor.behave(well);
        for _ in 0..30 {
            stage.change(Change::Resume).await;
            pass(seconds(300)).await;
        }
        stage.drained().await;
        assert_eq!(stage.vendor.deliveries().len() + stage.broker.dead().len(), 300, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_gives_back_what_waits_though_jobs_are_watched() {
    let stage = stage("limits = [\"1/s\"]");
    stage.vendor.behave(|call| if call.path == "/events" { with_jobs(call) } else { super::account::job("running") });
    stage.publish(0..5_000);
    pass(seconds(4)).await;
    stage.publish(5_000..6_000);
    stage.change(Change::PAUSE).await;
    pass(seconds(2)).await;
    let view = stage.view().await;
    assert_eq!((view.held_here, stage.broker.unsettled()), (0, view.unconfirmed));
    assert_eq!(stage.broker.ready() + view.unconfirmed, 6_000);
}

#[tokio::test(start_paused = true)]
async fn a_channel_lost_under_a_large_backlog_loses_nothing() {
    let stage = stage("limits = [\"1/s\"]");
    stage.publish(0..20_000);
    for _ in 0..5 {
        pass(Duration::from_millis(2_300)).await;
        stage.broker.cut();
    }
    stage.drained().await;
    assert!(stage.broker.dead().is_empty());
    let mut delivered = stage.vendor.deliveries();
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered.len(), 20_000);
}
