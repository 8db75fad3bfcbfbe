//! How long to wait before the next try at the broker: full jitter under a doubling ceiling. Never waits itself.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Growing pauses between tries that go on for ever.
#[derive(Debug)]
pub(super) struct Pause {
    ceiling: Duration,
}

impl Pause {
    /// Starts short.
    pub(super) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// The next pause: anything up to the ceiling, so that many workers do not come back at one moment.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(fastrand::f64());
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_never_exceed_ten_seconds() {
        let mut pause = Pause::new();
        assert!(pause.next() <= FIRST);
        assert!((0..100).all(|_| pause.next() <= LONGEST));
    }
}
