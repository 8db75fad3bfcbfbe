//! Settled tickets in, acks out: as few frames as the order of settling allows, never awaited one by one.
//! Never acks a delivery that was not settled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{AmqpTrouble, within};
use super::port::Disposition;
use crate::clock;

const BATCH: usize = 512;
/// How long settlements gather after the first of them: one frame then acks what would else be many, out of order as answers come.
const GATHER: Duration = Duration::from_millis(1);
/// From the last ack to the channel's end. A quorum queue's channel process sends on at most 32 settlements at a time
/// and keeps later ones back until the queue has taken those; what it still holds when the channel closes is lost, and
/// those deliveries come again (seen on 3.10.8). Nothing in the protocol tells when it is through; it is taken to do so many a second.
const SETTLING: Duration = Duration::from_millis(500);
const SETTLED_A_SECOND: f64 = 2_000.0;

/// Acks what comes out of `settled` until every ticket is gone, the channel is (`epoch`), or the broker closes;
/// then what was handed over before is still acked. Ends the epoch when the broker cannot be told. Returns the time at which
/// the broker should have carried all of them out; `None` where nothing is left to wait for.
pub(super) async fn run(
    channel: Channel,
    mut settled: mpsc::UnboundedReceiver<(u64, Disposition)>,
    epoch: CancellationToken,
    closing: CancellationToken,
) -> Option<Instant> {
    let mut tags = SettledTags::default();
    let (mut unsure, mut since) = (0.0, clock::now());
    let left = |unsure: f64, since: Instant| {
        (unsure - clock::now().saturating_duration_since(since).as_secs_f64() * SETTLED_A_SECOND).max(0.0)
    };
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            () = epoch.cancelled() => return None,
            received = settled.recv_many(&mut batch, BATCH) => received,
            () = closing.cancelled(), if !settled.is_closed() => {
                settled.close();
                continue;
            }
        };
        if received == 0 {
            let until = since + SETTLING + Duration::from_secs_f64(unsure / SETTLED_A_SECOND);
            return (unsure > 0.0).then_some(until);
        }
        tokio::select! {
            biased;
            () = epoch.cancelled() => return None,
            () = closing.cancelled() => {}
            () = clock::sleep(GATHER) => {}
        }
        batch.extend(std::iter::from_fn(|| settled.try_recv().ok()).take(BATCH));
        let plan = tags.plan(batch.drain(..));
        let settlements = u32::try_from(plan.requeues.len() + plan.singles.len() + 1).map_or(0.0, f64::from);
        if let Err(trouble) = tell(&channel, plan).await {
            if !epoch.is_cancelled() {
                tracing::warn!(%trouble, "settled deliveries could not be acked; the broker will deliver them again");
            }
            epoch.cancel();
            return None;
        }
        (unsure, since) = (left(unsure, since) + settlements, clock::now());
    }
}

async fn tell(channel: &Channel, plan: AckPlan) -> Result<(), AmqpTrouble> {
    // First, so that the prefix ack cannot sweep them up.
    let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    for nacked in join_all(plan.requeues.iter().map(|tag| within(channel.basic_nack(*tag, requeue)))).await {
        nacked?;
    }
    let prefix = plan.prefix.map(|tag| (tag, BasicAckOptions { multiple: true }));
    let singles = plan.singles.iter().map(|tag| (*tag, BasicAckOptions::default()));
    let acks = prefix.into_iter().chain(singles).map(|(tag, options)| within(channel.basic_ack(tag, options)));
    for acked in join_all(acks).await {
        acked?;
    }
    Ok(())
}

/// What to tell the broker, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
struct AckPlan {
    requeues: Vec<u64>,
    /// Ack this tag and every one before it.
    prefix: Option<u64>,
    singles: Vec<u64>,
}

/// Which of a channel's delivery tags, counted from 1 without gaps, have been settled.
#[derive(Debug)]
struct SettledTags {
    /// The lowest tag that is not settled.
    lowest: u64,
    /// Settled tags above it.
    above: BTreeSet<u64>,
}

impl Default for SettledTags {
    fn default() -> Self {
        Self { lowest: 1, above: BTreeSet::new() }
    }
}

impl SettledTags {
    fn plan(&mut self, settled: impl Iterator<Item = (u64, Disposition)>) -> AckPlan {
        let mut acks = BTreeSet::new();
        let mut requeues = Vec::new();
        for (tag, disposition) in settled {
            self.above.insert(tag);
            match disposition {
                Disposition::Ack => drop(acks.insert(tag)),
                Disposition::Requeue => requeues.push(tag),
            }
        }
        while self.above.remove(&self.lowest) {
            self.lowest += 1;
        }
        let singles = acks.split_off(&self.lowest);
        AckPlan { requeues, prefix: acks.last().copied(), singles: singles.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn acked(tags: &[u64]) -> Vec<(u64, Disposition)> {
        tags.iter().map(|tag| (*tag, Disposition::Ack)).collect()
    }

    #[test]
    fn a_finished_prefix_is_one_ack_and_the_rest_goes_at_once() {
        let mut tags = SettledTags::default();
        let plan = tags.plan(acked(&[2, 1, 3, 7]).into_iter());
        assert_eq!(plan, AckPlan { requeues: vec![], prefix: Some(3), singles: vec![7] });
        let plan = tags.plan(acked(&[5, 4, 6]).into_iter());
        assert_eq!(plan, AckPlan { requeues: vec![], prefix: Some(6), singles: vec![] });
        assert_eq!(tags.lowest, 8);
    }

    proptest! {
        // Plays the plans to a broker that, like RabbitMQ, knows which tags are unsettled and refuses unknown ones.
        #[test]
        fn every_tag_is_settled_once_and_as_asked(
            order in Just((1..=60u64).collect::<Vec<_>>()).prop_shuffle(),
            requeued in prop::collection::btree_set(1..=60u64, 0..20),
            size in 1..12usize,
        ) {
            let mut tags = SettledTags::default();
            let mut unsettled: BTreeSet<u64> = (1..=60).collect();
            let mut seen = BTreeMap::new();
            for chunk in order.chunks(size) {
                let dispose = |tag: &u64| if requeued.contains(tag) { Disposition::Requeue } else { Disposition::Ack };
                let plan = tags.plan(chunk.iter().map(|tag| (*tag, dispose(tag))));
                for tag in plan.requeues {
                    prop_assert!(unsettled.remove(&tag));
                    seen.insert(tag, Disposition::Requeue);
                }
                if let Some(last) = plan.prefix {
                    prop_assert!(unsettled.contains(&last));
                    let rest = unsettled.split_off(&(last + 1));
                    for tag in std::mem::replace(&mut unsettled, rest) {
                        prop_assert!(chunk.contains(&tag), "an ack swept up a delivery that was not settled");
                        seen.insert(tag, Disposition::Ack);
                    }
                }
                for tag in plan.singles {
                    prop_assert!(unsettled.remove(&tag));
                    seen.insert(tag, Disposition::Ack);
                }
            }
            prop_assert!(unsettled.is_empty());
            prop_assert!(seen.iter().all(|(tag, did)| (*did == Disposition::Requeue) == requeued.contains(tag)));
        }
    }
}
