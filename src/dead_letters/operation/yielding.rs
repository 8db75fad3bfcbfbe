//! When an operation lets others look at the letters that it works on. Pure.
//!
//! Giving way costs twice a pass over all letters: what has been out must all be taken before any of it is given back, and then the
//! look does the same. So an operation gives way to a look where that takes seconds, and then works for as long as it has stood still.

use std::time::{Duration, Instant};

/// The longest that an operation stands still for a look.
const LONGEST_STAND: Duration = Duration::from_secs(10);
/// The longest that it works before it gives way again: it may have stood still for another operation.
const MOST_OWED: Duration = Duration::from_secs(30);
/// Who would have to wait for no longer than this is not refused.
const A_MOMENT: Duration = Duration::from_secs(3);

/// What giving way has cost, and what it would cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Yielding {
    /// What a pass takes for each letter.
    each: Duration,
    stands_since: Option<Instant>,
    works_until: Option<Instant>,
}

impl Yielding {
    /// The pass that counted took so long over the letters that were there.
    pub fn new(there: u32, took: Duration) -> Self {
        Self { each: took / there.max(1), ..Self::default() }
    }

    /// It gives the read lock to whoever waits.
    pub fn gives_way(&mut self, now: Instant) {
        self.stands_since = Some(now);
    }

    /// It holds the lock, maybe again.
    pub fn has_the_lock(&mut self, now: Instant) {
        if let Some(since) = self.stands_since.take() {
            self.works_until = Some(now + now.saturating_duration_since(since).min(MOST_OWED));
        }
    }

    /// Whether it gives way to whoever waits: where it is closed, that is another operation.
    pub fn lets_in(&self, now: Instant) -> bool {
        self.owed(now).is_zero()
    }

    /// Whether whoever comes to look is refused, while so many letters are there.
    pub fn is_closed(&self, there: u32, now: Instant) -> bool {
        let stand = self.each.saturating_mul(2).saturating_mul(there);
        stand > LONGEST_STAND || self.owed(now) > A_MOMENT
    }

    fn owed(&self, now: Instant) -> Duration {
        self.works_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn whoever_looks_is_let_in_where_that_takes_seconds_and_else_sent_away() {
        let now = crate::clock::now();
        let yielding = Yielding::new(100_000, 10 * SECOND);
        for (there, is_closed) in [(100_000, true), (60_000, true), (50_000, false), (0, false)] {
            assert_eq!(yielding.is_closed(there, now), is_closed, "{there}");
        }
        assert!(yielding.lets_in(now), "another operation need not wait for the end of this one");
        assert!(!Yielding::new(0, Duration::ZERO).is_closed(1_000_000, now), "nothing is known");
    }

    #[test]
    fn it_works_for_as_long_as_it_has_stood_however_many_look() {
        let now = crate::clock::now();
        let mut yielding = Yielding::new(1_000, SECOND);
        yielding.has_the_lock(now);
        assert!(yielding.lets_in(now), "it has not stood yet");
        yielding.gives_way(now);
        yielding.has_the_lock(now + 8 * SECOND);
        // Who comes when it is about to let others in again waits; who comes before is told.
        for (after, lets_in, is_closed) in [(9, false, true), (12, false, true), (14, false, false), (16, true, false)]
        {
            let then = now + after * SECOND;
            assert_eq!((yielding.lets_in(then), yielding.is_closed(9, then)), (lets_in, is_closed), "{after}");
        }
    }

    #[test]
    fn another_operation_does_not_keep_everybody_out_for_long() {
        let now = crate::clock::now();
        let mut yielding = Yielding::new(1_000, SECOND);
        yielding.gives_way(now);
        yielding.has_the_lock(now + 600 * SECOND);
        assert!(yielding.lets_in(now + 631 * SECOND));
    }
}
