//! Another user of the same account: how many requests it sends, in shares of the limit. Times are since the Unix epoch.

use std::f64::consts::TAU;
use std::time::Duration;

/// How much another user sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Usage {
    /// Nothing.
    None,
    /// This share of the limit, evenly.
    Steady(f64),
    /// Between a tenth and nine tenths of the limit, up and down in this time.
    Waves(Duration),
}

/// Another user, who has no gate: what is refused is lost.
#[derive(Debug)]
pub struct Others {
    usage: Usage,
    per_second: f64,
    next: Duration,
}

impl Others {
    /// Another user of an account with that limit, who does nothing yet.
    pub fn none(per_second: u32) -> Self {
        Self { usage: Usage::None, per_second: per_second.into(), next: Duration::ZERO }
    }

    /// From `now` on it sends so much.
    pub fn send(&mut self, usage: Usage, now: Duration) {
        (self.usage, self.next) = (usage, now);
    }

    /// When the next request until `now` comes, if one does.
    pub fn next(&mut self, now: Duration) -> Option<Duration> {
        let share = match self.usage {
            Usage::None => return None,
            Usage::Steady(share) => share,
            Usage::Waves(period) => 0.5 + 0.4 * (TAU * self.next.as_secs_f64() / period.as_secs_f64()).sin(),
        };
        let next = self.next;
        if next > now {
            return None;
        }
        self.next += Duration::from_secs_f64(1.0 / (share * self.per_second));
        Some(next)
    }
}
