//! What a gate must remember across reloads and from one worker to the next, and the day budget in it. Values only.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A gate's lasting memory. It may travel in a message: unknown fields are ignored, missing ones are as when fresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// The day, in UTC, that `used` counts.
    pub day: Date,
    /// Requests that took a place on that day.
    pub used: u64,
    /// The vendor asked for nothing to be sent before then.
    pub closed_until: Option<Timestamp>,
    /// The share of the quota that is used, 0.05 to 1.
    pub learned: f64,
    /// An operator paused it.
    pub paused: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { day: Date::default(), used: 0, closed_until: None, learned: 1.0, paused: false }
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// One so-manieth of an evenly spent budget may be spent ahead of the time of day.
const AHEAD: u64 = 10;

/// Counts requests by the day in UTC.
#[derive(Debug)]
pub(super) struct DayCount {
    pub day: Date,
    pub used: u64,
    midnight: Timestamp,
}

impl DayCount {
    /// Goes on with the ledger's count if it is of today. A worker whose clock is a little behind the one before it
    /// finds a count of tomorrow, and keeps it: nothing may be spent twice.
    pub fn restored(ledger: &Ledger, wall: Timestamp) -> Self {
        let today = day_of(wall);
        let current = ledger.day == today || today.tomorrow().is_ok_and(|tomorrow| ledger.day == tomorrow);
        let (day, used) = if current { (ledger.day, ledger.used) } else { (today, 0) };
        Self { day, used, midnight: end_of(day) }
    }

    /// Begins a new count if the day is over.
    pub fn roll(&mut self, wall: Timestamp) {
        if wall >= self.midnight {
            self.day = day_of(wall);
            self.used = 0;
            self.midnight = end_of(self.day);
        }
    }

    /// What stands on the count at `wall`.
    pub fn used_at(&self, wall: Timestamp) -> u64 {
        if wall >= self.midnight { 0 } else { self.used }
    }

    /// How many more may be spent now where the budget of `limit` is to last the day: a tenth at once, the rest
    /// by the time of day.
    pub fn ahead(&self, limit: u64, wall: Timestamp) -> usize {
        let ahead = limit / AHEAD;
        let allowed =
            u128::from(limit - ahead) * self.since_midnight(wall).as_millis() / DAY.as_millis() + u128::from(ahead);
        usize::try_from((allowed + 1).saturating_sub(u128::from(self.used))).unwrap_or(usize::MAX)
    }

    /// How long until one more may be spent, on the same terms.
    pub fn wait(&self, limit: u64, wall: Timestamp) -> Duration {
        let ahead = limit / AHEAD;
        let needed = u128::from(self.used).saturating_sub(u128::from(ahead));
        let at = (needed * DAY.as_millis()).div_ceil(u128::from((limit - ahead).max(1)));
        Duration::from_millis(u64::try_from(at).unwrap_or(u64::MAX)).saturating_sub(self.since_midnight(wall)).min(DAY)
    }

    fn since_midnight(&self, wall: Timestamp) -> Duration {
        DAY.saturating_sub(span(wall, self.midnight))
    }

    /// How long until the count begins anew.
    pub fn left(&self, wall: Timestamp) -> Duration {
        span(wall, self.midnight)
    }
}

/// How long from `from` to `to`; nothing when `to` is past.
pub(super) fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// `after` later than `from`, as far as the calendar goes.
pub(super) fn later(from: Timestamp, after: Duration) -> Timestamp {
    from.checked_add(after).unwrap_or(Timestamp::MAX)
}

/// The end of the day, in UTC, that `wall` is in.
#[must_use]
pub fn midnight_after(wall: Timestamp) -> Timestamp {
    end_of(day_of(wall))
}

fn day_of(wall: Timestamp) -> Date {
    wall.to_zoned(TimeZone::UTC).date()
}

fn end_of(day: Date) -> Timestamp {
    let next = day.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC));
    next.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}
