//! Another program that consumes a destination's queue: a worker of an older version, say, which knows nothing of the lease.

use sluice::destination::DestinationCall;

use super::{Stage, pass, seconds};

/// The worker's connection.
const EPOCH: u64 = 1;

impl Stage {
    /// What the worker's looks at the broker tell for so many seconds: so many consumers of other programs.
    async fn others(&self, others: u32, epoch: u64, for_seconds: u64) {
        for _ in 0..for_seconds / 5 {
            let consumers = others + u32::from(self.view().await.consuming);
            let handle = &self.worker.as_ref().unwrap().handle;
            handle.call(DestinationCall::Consumers { consumers, epoch }).await.unwrap();
            pass(seconds(5)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn beside_another_consumer_nothing_is_sent_until_that_one_is_gone() {
    let stage = Stage::new("limits = [\"10/s\"]");
    stage.publish(0..10_000);
    pass(seconds(1)).await;
    stage.others(0, EPOCH, 10).await;
    stage.others(1, EPOCH, 50).await;
    let before = stage.vendor.count();
    stage.others(1, EPOCH, 60).await;
    assert_eq!(stage.vendor.count(), before, "both together could send more than the account allows");
    assert_eq!(stage.broker.unsettled(), 0, "the other may have what was held");
    let view = stage.view().await;
    assert!(!view.ready && view.why.contains("another program consumes its queue"), "{}", view.why);
    stage.others(0, EPOCH, 10).await;
    assert!(stage.vendor.count() > before + 40, "it goes on");
    assert!(stage.view().await.ready);
}

#[tokio::test(start_paused = true)]
async fn the_consumer_of_a_worker_that_was_just_killed_or_frozen_holds_up_nobody() {
    let stage = Stage::new("limits = [\"10/s\"]");
    stage.publish(0..10_000);
    for _ in 0..10 {
        stage.others(1, EPOCH, 25).await;
        stage.others(0, EPOCH, 5).await;
    }
    assert!(stage.vendor.count() >= 2_900, "{} calls in 300 s", stage.vendor.count());
}

#[tokio::test(start_paused = true)]
async fn consumers_that_a_node_left_when_it_was_cut_off_hold_up_nobody_however_long_it_is_away() {
    let stage = Stage::new("limits = [\"10/s\"]");
    stage.publish(0..10_000);
    pass(seconds(1)).await;
    stage.others(0, EPOCH, 30).await;
    // The worker's own, and that of the driver before it: it consumes over another node now.
    stage.others(2, EPOCH + 1, 200).await;
    assert!(stage.vendor.count() >= 2_250, "{} calls in 231 s", stage.vendor.count());
    stage.others(0, EPOCH + 1, 30).await;
    stage.others(1, EPOCH + 1, 60).await;
    assert!(!stage.view().await.ready, "this one came later");
}
