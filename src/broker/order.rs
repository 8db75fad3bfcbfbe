//! The order of a queue that is looked at, and how to mend it after a reader was killed.
//!
//! What comes back goes behind what had come back before. A reader that is killed after taking the first 100 of 1,000 which had all been
//! out leaves 101 … 1,000 before 1 … 100. But the broker counts how often each has been out, and whoever is earlier was out as often or
//! more often: so a message that was out more often than the one before it tells that the order is not the old one, and sorting by
//! that count, with the order kept among equals, brings the old one back.

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};

use super::connection::{Trouble, close_channel, open_channel, within};
use super::depths::ready;
use crate::clock;

/// Runs that are told apart. A queue with more was not only read.
const MOST_RUNS: usize = 24;
/// Between two looks at what the broker has carried out.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(10);
/// Looks at most.
const LOOKS: u32 = 1000;

/// How often each message of a queue has been out, in the order of the queue: as runs of equal counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TimesOut {
    runs: Vec<(u32, u32)>,
}

impl TimesOut {
    /// The next message has been out so often.
    pub(super) fn note(&mut self, times_out: u32) {
        match self.runs.last_mut() {
            Some((last, length)) if *last == times_out => *length += 1,
            Some(_) | None => self.runs.push((times_out, 1)),
        }
    }

    /// How often the last one has been out.
    pub(super) fn last(&self) -> Option<u32> {
        self.runs.last().map(|(times_out, _)| *times_out)
    }

    /// The lengths of the runs as they lie, and in which order they should; none where that is the same, or cannot be told.
    fn disorder(&self) -> Option<(Vec<u32>, Vec<usize>)> {
        if self.runs.is_sorted_by(|one, next| one.0 >= next.0) || self.runs.len() > MOST_RUNS {
            return None;
        }
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        order.sort_by_key(|run| std::cmp::Reverse(self.runs[*run].0));
        Some((self.runs.iter().map(|(_, length)| *length).collect(), order))
    }

    /// Brings a queue back into its order: each run is taken over a channel of its own, and the channels end in the right order.
    /// False where there was nothing to mend. Needs the turn.
    pub(super) async fn mend(&self, connection: &Connection, queue: &ShortString) -> Result<bool, Trouble> {
        let Some((lengths, order)) = self.disorder() else { return Ok(false) };
        let mut channels = Vec::with_capacity(lengths.len());
        for length in &lengths {
            let channel = open_channel(connection).await?;
            take(&channel, queue, *length).await?;
            channels.push(channel);
        }
        let probe = open_channel(connection).await?;
        for run in order {
            let (Some(channel), Some(length)) = (channels.get(run), lengths.get(run)) else { continue };
            let before = ready(&probe, queue).await?;
            close_channel(channel).await;
            for _ in 0..LOOKS {
                if ready(&probe, queue).await? >= before.saturating_add(*length) {
                    break;
                }
                clock::sleep(MOMENT).await;
            }
        }
        close_channel(&probe).await;
        Ok(true)
    }
}

/// Takes so many messages and holds them until the channel ends.
async fn take(channel: &Channel, queue: &ShortString, length: u32) -> Result<(), Trouble> {
    let (mut left, mut consumers) = (length, 0_u32);
    while left > 0 {
        let window = u16::try_from(left).unwrap_or(u16::MAX);
        consumers += 1;
        let mut consumer = consume(channel, queue, ShortString::from(format!("order-{consumers:09}")), window).await?;
        for _ in 0..window {
            let taken = tokio::time::timeout(super::connection::PATIENCE, consumer.next()).await;
            match taken.map_err(|_| Trouble::TimedOut)? {
                Some(taken) => drop(taken?),
                None => return Err(Trouble::TimedOut),
            }
        }
        left -= u32::from(window);
    }
    Ok(())
}

/// One more consumer, which holds `window` messages at most.
pub(super) async fn consume(
    channel: &Channel,
    queue: &ShortString,
    tag: ShortString,
    window: u16,
) -> Result<Consumer, Trouble> {
    within(channel.basic_qos(window, BasicQosOptions::default())).await?;
    within(channel.basic_consume(queue.clone(), tag, BasicConsumeOptions::default(), FieldTable::default())).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times_out(runs: &[(u32, u32)]) -> TimesOut {
        TimesOut { runs: runs.to_vec() }
    }

    #[test]
    fn a_queue_whose_earlier_messages_were_out_more_often_is_in_order() {
        for runs in [&[][..], &[(0, 9)], &[(3, 5), (1, 2), (0, 4)]] {
            assert_eq!(times_out(runs).disorder(), None);
        }
    }

    #[test]
    fn a_killed_readers_part_goes_first_again() {
        assert_eq!(times_out(&[(1, 900), (2, 100), (0, 7)]).disorder(), Some((vec![900, 100, 7], vec![1, 0, 2])));
    }

    proptest! {
        // The broker: what is taken comes back behind what had come back, before what has never been out.
        #[test]
        fn whatever_readers_are_killed_the_old_order_can_be_told(
            looks in prop::collection::vec((0..60usize, 0..3usize), 0..12),
        ) {
            let mut returned: Vec<(usize, u32)> = vec![];
            let mut fresh: Vec<(usize, u32)> = (0..40).map(|n| (n, 0)).collect();
            let mut next = 40;
            for (taken, arrive) in looks {
                let all = returned.len() + fresh.len();
                let mut out: Vec<(usize, u32)> = returned.drain(..taken.min(returned.len())).collect();
                let more = taken.min(all) - out.len();
                out.extend(fresh.drain(..more));
                returned.extend(out.into_iter().map(|(n, times_out)| (n, times_out + 1)));
                fresh.extend((next..next + arrive).map(|n| (n, 0)));
                next += arrive;
            }
            let lie: Vec<(usize, u32)> = returned.into_iter().chain(fresh).collect();
            let mut sorted = lie.clone();
            sorted.sort_by_key(|(_, times_out)| std::cmp::Reverse(*times_out));
            prop_assert!(sorted.is_sorted_by_key(|(n, _)| *n), "{lie:?}");
        }
    }
}
