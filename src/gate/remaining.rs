//! What the vendor's headers say is left of its quota: hints in; until when nothing may be sent, and the pace that makes the rest
//! last, out. Pure.

use std::time::{Duration, Instant};

use super::headers::QuotaHint;
use super::pause;

/// What the vendor says remains.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Nothing is left until then.
    pub empty_until: Option<Instant>,
    spread: Option<Spread>,
    /// The most that was seen to remain of the window that ends then.
    most: Option<(u64, Instant)>,
}

/// What remains, spread evenly over the time until the vendor says there is more.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The time between requests.
    pub spacing: Duration,
    /// When there is more.
    pub until: Instant,
}

impl Remaining {
    /// Slows down once little is left, before the vendor has to refuse. A short burst does not use up a large quota.
    ///
    /// Vendors round resets up to whole seconds. A stream at a legal pace uses a small quota up just before each reset,
    /// so what may end before the next place anyway, one `period` away, must not hold it back: 5/s would become 3/s.
    pub fn heed(&mut self, quota: &QuotaHint, period: Option<Duration>, now: Instant) {
        let until = now + quota.reset.min(pause::LONGEST);
        let spacing = quota.spacing();
        let paced = period.is_some_and(|period| spacing <= period);
        match quota.remaining {
            Some(0) if !paced => self.empty_until = self.empty_until.max(Some(until)),
            Some(left) => {
                let most = self.most(left, until, now);
                let scarce = !paced && !spacing.is_zero() && !quota.is_plenty(most);
                self.spread = scarce.then_some(Spread { spacing, until });
            }
            None => {}
        }
    }

    /// Where the vendor does not say how large its quota is, the most that was left of it lately tells.
    fn most(&mut self, left: u64, until: Instant, now: Instant) -> u64 {
        let (most, end) = self.most.filter(|(_, end)| *end > now).unwrap_or((left, until));
        self.most = Some((most.max(left), end));
        most.max(left)
    }

    /// The spread that holds now.
    pub fn spreading(&self, now: Instant) -> Option<Spread> {
        self.spread.filter(|spread| spread.until > now)
    }

    /// Forgets what the vendor said, for an operator. True if nothing was left.
    pub fn forget(&mut self, now: Instant) -> bool {
        let empty = self.empty_until.is_some_and(|until| until > now);
        *self = Self::default();
        empty
    }
}
