//! An even pace: when the next letter may go. Pure; the time is an argument.

use std::time::{Duration, Instant};

/// No more than this is caught up, so that a wait is not followed by a flood.
const CATCH_UP: Duration = Duration::from_secs(2);
/// At any pace a letter goes each day.
const LONGEST: Duration = Duration::from_hours(24);

/// An even stream of so many a second, or none at all.
#[derive(Clone, Debug)]
pub struct Pace {
    period: Duration,
    due: Instant,
}

impl Pace {
    /// `per_second` letters, the first of them now.
    #[must_use]
    pub fn new(per_second: Option<f64>, now: Instant) -> Self {
        let period = |rate: f64| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(LONGEST).min(LONGEST);
        let period = per_second.filter(|rate| *rate > 0.0).map_or(Duration::ZERO, period);
        Self { period, due: now }
    }

    /// When the next letter may go.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A letter goes now.
    pub fn went(&mut self, now: Instant) {
        self.due = (self.due + self.period).max(now.checked_sub(CATCH_UP).unwrap_or(now));
    }

    /// After a pause: nothing has to be caught up.
    pub fn anew(&mut self, now: Instant) {
        self.due = self.due.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pace: &mut Pace, mut now: Instant, until: Instant, step: Duration) -> u32 {
        let mut sent = 0;
        while now < until {
            while pace.due() <= now {
                pace.went(now);
                sent += 1;
            }
            now += step;
        }
        sent
    }

    #[test]
    fn a_late_timer_costs_nothing_of_the_pace() {
        let now = crate::clock::now();
        let mut pace = Pace::new(Some(1000.0), now);
        assert_eq!(sent(&mut pace, now, now + Duration::from_secs(10), Duration::from_millis(7)), 9_997);
    }

    #[test]
    fn a_long_wait_is_not_followed_by_a_flood() {
        let now = crate::clock::now();
        let mut pace = Pace::new(Some(100.0), now);
        pace.went(now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(sent(&mut pace, later, later + Duration::from_secs(1), Duration::from_millis(10)), 100 + 201);
    }

    #[test]
    fn a_pace_near_nothing_is_one_a_day() {
        let now = crate::clock::now();
        for rate in [f64::MIN_POSITIVE, 5e-324, 1e-9] {
            let mut pace = Pace::new(Some(rate), now);
            pace.went(now);
            assert_eq!(pace.due(), now + Duration::from_hours(24));
        }
    }

    #[test]
    fn without_a_pace_every_letter_may_go_at_once() {
        let now = crate::clock::now();
        let mut pace = Pace::new(None, now);
        (0..9).for_each(|_| pace.went(now));
        assert!(pace.due() <= now);
    }
}
