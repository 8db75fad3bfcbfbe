//! Until when a driver may send: written by who holds the lease, read right before each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Until when requests may be sent. All clones tell the same; it needs no lock.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    since: Instant,
    /// Nanoseconds after `since`; 0 is never.
    until: AtomicU64,
}

impl Fence {
    /// Closed until [`Fence::open_until`] says otherwise.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(Inner { since: now, until: AtomicU64::new(0) }))
    }

    /// Open for ever: for a driver that nobody can compete with, as in tests.
    #[must_use]
    pub fn open(now: Instant) -> Self {
        let fence = Self::new(now);
        fence.0.until.store(u64::MAX, Ordering::Release);
        fence
    }

    /// Requests may be sent until then; none: not at all.
    pub fn open_until(&self, until: Option<Instant>) {
        let nanos = until.map_or(0, |until| nanos(until.saturating_duration_since(self.0.since)));
        self.0.until.store(nanos, Ordering::Release);
    }

    /// Whether a request may be sent at `now`.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        nanos(now.saturating_duration_since(self.0.since)) < self.0.until.load(Ordering::Acquire)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_until_the_moment_that_was_said() {
        let now = crate::clock::now();
        let (fence, until) = (Fence::new(now), now + Duration::from_secs(2));
        assert!(!fence.is_open(now));
        fence.open_until(Some(until));
        assert!(fence.is_open(until - Duration::from_nanos(1)) && !fence.is_open(until));
        fence.open_until(None);
        assert!(!fence.is_open(now));
        assert!(Fence::open(now).is_open(until + Duration::from_secs(1_000_000)));
    }
}
