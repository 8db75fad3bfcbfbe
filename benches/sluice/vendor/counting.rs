//! How a vendor counts what it lets in a second: times come in, and each is let in or not. Times are since the Unix epoch.

use std::collections::VecDeque;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A way of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// At most n in any second whatever.
    Sliding,
    /// At most n in each second of the wall clock.
    Fixed,
    /// A bucket of n that fills evenly; it starts full.
    Bucket,
}

/// What was let in of n a second. A refused request uses up nothing.
#[derive(Debug)]
pub struct Counter {
    per_second: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Sliding(VecDeque<Duration>),
    Fixed { second: u64, used: u32 },
    Bucket { level: f64, at: Duration },
}

impl Counting {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sliding, Self::Fixed, Self::Bucket];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sliding => "sliding window",
            Self::Fixed => "fixed window",
            Self::Bucket => "token bucket",
        }
    }
}

impl Counter {
    /// One that has let nothing in.
    pub fn new(counting: Counting, per_second: u32) -> Self {
        let state = match counting {
            Counting::Sliding => State::Sliding(VecDeque::new()),
            Counting::Fixed => State::Fixed { second: 0, used: 0 },
            Counting::Bucket => State::Bucket { level: per_second.into(), at: Duration::ZERO },
        };
        Self { per_second, state }
    }

    /// Whether a request that comes at `now`, no earlier than the one before, is let in.
    pub fn admit(&mut self, now: Duration) -> bool {
        let limit = self.per_second;
        match &mut self.state {
            State::Sliding(times) => {
                while times.front().is_some_and(|time| *time + SECOND <= now) {
                    times.pop_front();
                }
                let free = u32::try_from(times.len()).is_ok_and(|used| used < limit);
                if free {
                    times.push_back(now);
                }
                free
            }
            State::Fixed { second, used } => {
                if *second != now.as_secs() {
                    (*second, *used) = (now.as_secs(), 0);
                }
                let free = *used < limit;
                *used += u32::from(free);
                free
            }
            State::Bucket { level, at } => {
                let dripped = now.saturating_sub(*at).as_secs_f64() * f64::from(limit);
                *level = (*level + dripped).min(limit.into());
                *at = now;
                let free = *level >= 1.0;
                *level -= f64::from(u8::from(free));
                free
            }
        }
    }
}
