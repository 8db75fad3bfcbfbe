//! What a gate must remember across reloads and from one worker to the next, and the day budget in it. Values only.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{DayStart, Paused, Why};

/// A gate's lasting memory. It may travel in a message: unknown fields are ignored, missing ones are as when fresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// The vendor's day that `used` counts.
    pub day: Date,
    /// Requests that took a place on that day.
    pub used: u64,
    /// The vendor asked for nothing to be sent before then.
    pub closed_until: Option<Timestamp>,
    /// Why, where it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_why: Option<Why>,
    /// The share of the quota that is used, 0.05 to 1.
    pub learned: f64,
    /// An operator paused it.
    pub paused: bool,
    /// That pause; none where a version wrote it that knew no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Paused>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            day: Date::default(),
            used: 0,
            closed_until: None,
            closed_why: None,
            learned: 1.0,
            paused: false,
            pause: None,
        }
    }
}

impl Ledger {
    /// The pause that still lasts at `wall`.
    pub(super) fn pause(&self, wall: Timestamp) -> Option<Paused> {
        let pause = self.paused.then(|| self.pause.clone().unwrap_or_default());
        pause.filter(|pause| !pause.is_over(wall))
    }

    /// Of a day whose count is lost: as much of its budget as of the day counts as used.
    #[must_use]
    pub fn spent_by(limit: u64, starts: &DayStart, wall: Timestamp) -> Self {
        let day = starts.day_of(wall);
        let (begin, end) = (starts.begin_of(day), starts.end_of(day));
        let used = u128::from(limit) * span(begin, wall).as_millis() / span(begin, end).as_millis().max(1);
        Self { day, used: u64::try_from(used).unwrap_or(limit), ..Self::default() }
    }
}

/// If a clock is set back by no more than this, the count goes on: the day was right, or soon will be.
const SMALL_STEP: Duration = Duration::from_secs(3_600);
/// If a budget is spent evenly, this part of it (a tenth) may be spent ahead of the time of day.
const AHEAD: u64 = 10;

/// Counts requests by the vendor's day.
#[derive(Debug)]
pub(super) struct DayCount {
    pub day: Date,
    pub used: u64,
    pub starts: DayStart,
    begin: Timestamp,
    end: Timestamp,
    /// The count before this one, in case the clock is set back to its day.
    before: Option<(Date, u64)>,
}

impl DayCount {
    /// Goes on with the ledger's count if it is not of a day that is over.
    pub fn restored(ledger: &Ledger, starts: DayStart, wall: Timestamp) -> Self {
        let (begin, end) = (starts.begin_of(ledger.day), starts.end_of(ledger.day));
        let mut count = Self { day: ledger.day, used: ledger.used, starts, begin, end, before: None };
        count.roll(wall);
        count
    }

    /// Begins a new count if the day is over. A clock that was ahead may have made a count for a day to come: then it counts for today,
    /// since nothing may be spent twice, unless it is ahead by a moment only.
    pub fn roll(&mut self, wall: Timestamp) {
        if (self.begin..self.end).contains(&wall) {
            return;
        }
        let today = self.starts.day_of(wall);
        if wall >= self.end {
            self.before = Some((self.day, self.used));
            self.used = 0;
        } else if later(wall, SMALL_STEP) < self.begin {
            let earlier = self.before.take().filter(|(day, _)| *day == today).map_or(0, |(_, used)| used);
            self.used = self.used.saturating_add(earlier);
        } else {
            return;
        }
        self.day = today;
        (self.begin, self.end) = (self.starts.begin_of(today), self.starts.end_of(today));
    }

    /// The count at `wall`.
    pub fn used_at(&self, wall: Timestamp) -> u64 {
        if wall >= self.end { 0 } else { self.used }
    }

    /// How many more may be spent now, if the budget of `limit` is spread over the day: a tenth at once, the rest by the time of day.
    pub fn ahead(&self, limit: u64, wall: Timestamp) -> usize {
        let ahead = limit / AHEAD;
        let allowed = u128::from(limit - ahead) * self.gone(wall).as_millis() / self.length() + u128::from(ahead);
        usize::try_from((allowed + 1).saturating_sub(u128::from(self.used))).unwrap_or(usize::MAX)
    }

    /// How long until one more may be spent, by the same rule.
    pub fn wait(&self, limit: u64, wall: Timestamp) -> Duration {
        let ahead = limit / AHEAD;
        let needed = u128::from(self.used).saturating_sub(u128::from(ahead));
        let at = (needed * self.length()).div_ceil(u128::from((limit - ahead).max(1)));
        let at = Duration::from_millis(u64::try_from(at).unwrap_or(u64::MAX));
        at.saturating_sub(self.gone(wall)).min(span(self.begin, self.end))
    }

    /// What is gone of the day.
    fn gone(&self, wall: Timestamp) -> Duration {
        span(self.begin, wall).min(span(self.begin, self.end))
    }

    /// In milliseconds.
    fn length(&self) -> u128 {
        span(self.begin, self.end).as_millis().max(1)
    }

    /// When the count begins anew.
    pub fn ends(&self) -> Timestamp {
        self.end
    }

    /// How long until the count begins anew.
    pub fn left(&self, wall: Timestamp) -> Duration {
        span(wall, self.end)
    }
}

/// How long from `from` to `to`; nothing when `to` is past.
pub(crate) fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// `after` later than `from`, as far as the calendar goes.
pub(crate) fn later(from: Timestamp, after: Duration) -> Timestamp {
    from.checked_add(after).unwrap_or(Timestamp::MAX)
}
