//! A day's budget is booked before it is used: who takes over after a crash counts the booked as used, so that no day holds more than its
//! limit, and a crash wastes one booking at most.

use std::time::Instant;

use jiff::Timestamp;
use jiff::civil::Date;

use super::{Gate, Ledger, quota};

/// Of a day's budget one part in so many is booked ahead.
const SHARE: u64 = 250;

/// A day, and how much of its budget is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Booked {
    day: Date,
    used: u64,
}

impl Gate {
    /// From now on nothing is used of a day's budget that is not booked: `day` up to `used` requests. What was booked before stays so.
    pub fn booked(&mut self, day: Date, used: u64) {
        let before = self.booked.filter(|booked| booked.day == day).map_or(0, |booked| booked.used);
        self.booked = Some(Booked { day, used: used.max(before) });
    }

    /// The day's budget, where there is one.
    #[must_use]
    pub fn day_limit(&self) -> Option<u64> {
        quota::day_limit(&self.limits)
    }

    /// What to book now, as the ledger that says so: a little ahead of what is used. None while enough is booked.
    #[must_use]
    pub fn to_book(&self, now: Instant, wall: Timestamp) -> Option<Ledger> {
        let limit = self.day_limit()?;
        let (used, booked) = (self.days.used, self.booked_today()?);
        let ahead = (limit / SHARE).max(1);
        if booked >= limit || booked.saturating_sub(used) > ahead / 2 {
            return None;
        }
        Some(Ledger { used: (used + ahead).max(booked).min(limit), ..self.ledger(now, wall) })
    }

    /// The ledger as far as the broker has to have it: with what is booked.
    #[must_use]
    pub fn booked_ledger(&self, now: Instant, wall: Timestamp) -> Option<Ledger> {
        let booked = self.booked_today()?;
        let ledger = self.ledger(now, wall);
        let used = if self.day_limit().is_some() { ledger.used.max(booked) } else { about(ledger.used) };
        Some(Ledger { used, ..ledger })
    }

    fn booked_today(&self) -> Option<u64> {
        self.booked.map(|booked| if booked.day == self.days.day { booked.used } else { 0 })
    }

    pub(super) fn is_unbooked(&self) -> bool {
        self.day_limit().is_some() && self.booked_today().is_some_and(|booked| self.days.used >= booked)
    }

    pub(super) fn day_limit_if_even(&self) -> Option<u64> {
        self.day_limit().filter(|_| self.carry_much)
    }

    /// Until when the day's budget is spent ahead of time.
    pub(super) fn ahead_until(&self, now: Instant, wall: Timestamp) -> Option<Instant> {
        let wait = self.days.wait(self.day_limit_if_even()?, wall);
        (!wait.is_zero()).then(|| now + wait)
    }
}

/// No less, and the same for a while: a count that nothing is held to is not written again for each request.
fn about(used: u64) -> u64 {
    let step = 1 << used.checked_ilog2().unwrap_or(0).saturating_sub(3);
    used.checked_next_multiple_of(step).unwrap_or(used)
}
