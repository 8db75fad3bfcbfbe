//! Where what may not be sent yet waits: the delays of the queues, and which is next. Pure.
//!
//! Each queue has one delay, so that whatever is at its head is due first. An event goes to the longest delay that is not too long, comes
//! back, and goes on: with powers of four that are twelve queues and about 1.5 waits for each. In the shortest one it waits for what is left.

use std::time::Duration;

/// The delays, the shortest first: from a quarter of a second to twelve days.
pub const DELAYS: [Duration; 12] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(1 << 2),
    Duration::from_secs(1 << 4),
    Duration::from_secs(1 << 6),
    Duration::from_secs(1 << 8),
    Duration::from_secs(1 << 10),
    Duration::from_secs(1 << 12),
    Duration::from_secs(1 << 14),
    Duration::from_secs(1 << 16),
    Duration::from_secs(1 << 18),
    Duration::from_secs(1 << 20),
];

/// The delay of the queue where an event waits next that is due after so long, and how long it lies there, which is never longer than what is
/// left: whole milliseconds, as the broker counts, and at least one.
#[must_use]
pub fn next(left: Duration) -> (Duration, Duration) {
    let longest = DELAYS.into_iter().rev().find(|delay| *delay <= left);
    let Some(delay) = longest else {
        // Rounded up: a wait that ends early would only lead to another one.
        let milliseconds = left.as_nanos().div_ceil(1_000_000).max(1);
        let left = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX));
        return (DELAYS[0], left.min(DELAYS[0]));
    };
    (delay, delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MONTH: u64 = 30 * 86_400_000;

    /// The waits of an event that is due after so many milliseconds, each of which ends `late` milliseconds late.
    fn waits(left: u64, late: u64) -> (Vec<Duration>, Duration) {
        let (mut all, mut left) = (Vec::new(), Duration::from_millis(left));
        loop {
            let (queue, wait) = next(left);
            assert!(wait <= queue);
            all.push(wait);
            let took = wait + Duration::from_millis(late);
            if took >= left {
                return (all, took - left);
            }
            left -= took;
        }
    }

    #[test]
    fn an_event_waits_a_few_times_and_most_of_it_at_once() {
        let seconds = |left: u64| waits(left * 1_000, 0).0.into_iter().map(|wait| wait.as_secs()).collect::<Vec<_>>();
        assert_eq!(seconds(1), [1]);
        assert_eq!(seconds(90), [64, 16, 4, 4, 1, 1]);
        assert_eq!(seconds(3_600), [1_024, 1_024, 1_024, 256, 256, 16]);
        assert_eq!(next(Duration::from_micros(999_999)), (DELAYS[0], DELAYS[0]));
        assert_eq!(next(Duration::from_micros(200_200)), (DELAYS[0], Duration::from_millis(201)));
        assert_eq!(next(Duration::ZERO).1, Duration::from_millis(1));
    }

    #[test]
    fn a_month_takes_some_eighteen_waits() {
        let counts: Vec<usize> = (1..=1_000).map(|nth| waits(nth * 2_591_873 + 377, 0).0.len()).collect();
        let mean = counts.iter().sum::<usize>() / counts.len();
        assert!((15..=20).contains(&mean) && counts.iter().all(|count| *count <= 37), "{mean}");
    }

    proptest! {
        #[test]
        fn no_event_is_back_for_good_before_it_is_due_nor_later_than_its_last_wait(left in 1..=MONTH, late in 0u64..50) {
            let (all, beyond) = waits(left, late);
            prop_assert!(beyond <= Duration::from_millis(late), "{beyond:?}");
            prop_assert!(all.len() <= 39);
        }
    }
}
