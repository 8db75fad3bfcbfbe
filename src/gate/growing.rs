//! Pauses that grow, with jitter. The only place that names the `backoff` crate, which computes them and draws the
//! jitter; it never waits and no clock matters to it.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Each pause varies by this share, so that many destinations do not come back in step.
const SPREAD: f64 = 0.25;

/// Where growing pauses begin and end; each is twice the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first pause, before jitter.
    pub first: Duration,
    /// No pause is longer.
    pub max: Duration,
}

/// Pauses, each longer than the one before until the longest.
#[derive(Clone, Debug)]
pub struct Growing {
    bounds: Bounds,
    next: ExponentialBackoff,
}

impl Growing {
    /// Pauses that begin at the first.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let next = ExponentialBackoffBuilder::new()
            .with_initial_interval(bounds.first)
            .with_multiplier(2.0)
            .with_randomization_factor(SPREAD)
            .with_max_interval(bounds.max)
            .with_max_elapsed_time(None)
            .build();
        Self { bounds, next }
    }

    /// The next pause.
    pub fn next(&mut self) -> Duration {
        self.next.next_backoff().unwrap_or(self.bounds.max).min(self.bounds.max)
    }

    /// Begins again at the first.
    pub fn reset(&mut self) {
        self.next.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let bounds = Bounds { first: Duration::from_millis(200), max: Duration::from_secs(60) };
        let mut growing = Growing::new(bounds);
        for nominal in [200.0, 400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 12_800.0, 25_600.0, 51_200.0] {
            let pause = growing.next().as_secs_f64() * 1_000.0;
            assert!((nominal * 0.74..=nominal * 1.26).contains(&pause), "{pause} ms for {nominal} ms");
        }
        for _ in 0..20 {
            assert!(growing.next() <= bounds.max);
        }
        growing.reset();
        assert!(growing.next() <= Duration::from_millis(251));
    }
}
