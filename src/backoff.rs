//! Backoff: the pause before the next try, longer from try to try. It says how long and never waits. The only place that names the `backoff`
//! crate, which computes the pauses and draws the jitter; no clock matters to it.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// How pauses grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The first pause, before jitter.
    pub first: Duration,
    /// No pause is longer.
    pub max: Duration,
    /// The factor from one pause to the next.
    pub times: f64,
    /// Each pause varies by this share, 0 to 1, so that many callers do not retry in step.
    pub jitter: f64,
}

impl Bounds {
    /// Pauses that double.
    #[must_use]
    pub const fn doubling(first: Duration, max: Duration, jitter: f64) -> Self {
        Self { first, max, times: 2.0, jitter }
    }
}

/// Pauses, each longer than the one before until the longest.
#[derive(Clone, Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Pauses that begin at the first.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let mut builder = ExponentialBackoffBuilder::new();
        builder.with_initial_interval(bounds.first.min(bounds.max)).with_max_interval(bounds.max);
        builder.with_multiplier(bounds.times).with_randomization_factor(bounds.jitter).with_max_elapsed_time(None);
        Self(builder.build())
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let plain = self.0.current_interval;
        let varied = self.0.next_backoff().unwrap_or(plain);
        // The crate adds up to a nanosecond where nothing is to vary.
        if self.0.randomization_factor > 0.0 { varied.min(self.0.max_interval) } else { plain }
    }

    /// Begins again at the first.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let bounds = Bounds::doubling(Duration::from_millis(200), Duration::from_secs(60), 0.25);
        let mut backoff = Backoff::new(bounds);
        for nominal in [200.0, 400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 12_800.0, 25_600.0, 51_200.0] {
            let pause = backoff.pause().as_secs_f64() * 1_000.0;
            assert!((nominal * 0.74..=nominal * 1.26).contains(&pause), "{pause} ms for {nominal} ms");
        }
        for _ in 0..20 {
            assert!(backoff.pause() <= bounds.max);
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(251));
    }

    #[test]
    fn with_full_jitter_a_pause_is_anything_up_to_twice_as_long_and_none_is_longer_than_the_longest() {
        let bounds = Bounds::doubling(Duration::from_millis(50), Duration::from_secs(5), 1.0);
        let mut backoff = Backoff::new(bounds);
        assert!(backoff.pause() <= Duration::from_millis(101));
        assert!((0..100).all(|_| backoff.pause() <= bounds.max));
    }

    #[test]
    fn pauses_without_jitter_are_exact_and_never_longer_than_the_longest() {
        let seconds = |first, max| {
            let (first, max) = (Duration::from_secs(first), Duration::from_secs(max));
            let mut backoff = Backoff::new(Bounds { first, max, times: 20.0, jitter: 0.0 });
            [backoff.pause(), backoff.pause(), backoff.pause(), backoff.pause()].map(|pause| pause.as_secs_f64())
        };
        assert_eq!(seconds(15, 1_200), [15.0, 300.0, 1_200.0, 1_200.0]);
        assert_eq!(seconds(15, 4), [4.0; 4]);
    }
}
