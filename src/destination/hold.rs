//! How many deliveries to hold: enough to keep the gate busy, never so many that one waits for minutes. Pure.

use std::time::{Duration, Instant};

use crate::broker::port::Appetite;

/// Most deliveries held at once.
const MAX_PREFETCH: f64 = 500.0;
/// What the gate lets through in this time is fetched ahead.
const AHEAD: Duration = Duration::from_millis(500);
/// No delivery should wait longer than this for its place while the gate is open.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// While the gate is closed for long: enough to probe with, and to probe with another one when one fails.
const PROBES: u16 = 2;
/// Before a place that was far away, deliveries are taken up this much earlier.
const EARLY: Duration = Duration::from_secs(30);
/// A delivery held this long goes back, well before the broker's consumer time-out (30 minutes by default).
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(600);

/// What the destination is up to, as far as holding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// The gate is open, or closed for a moment.
    Open,
    /// Closed for long: only probes are needed.
    Closed,
    /// Paused, or the next place is far away: nothing is needed.
    Idle,
}

/// What the gate says, as far as holding goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// It is open.
    pub open: bool,
    /// An operator paused it.
    pub paused: bool,
    /// It is closed for long.
    pub closed_for_long: bool,
    /// Nothing can be sent before then.
    pub resting_until: Option<Instant>,
}

/// When to take up deliveries again for a place at `next`, where that is too far away to hold them until then.
pub(super) fn rest(next: Instant, now: Instant) -> Option<Instant> {
    (next.saturating_duration_since(now) > LONGEST_WAIT).then(|| next - EARLY)
}

impl Mood {
    /// The mood after this one. Once closed for long it stays so until the gate opens: giving everything back before each
    /// probe would count against the broker's delivery limit.
    pub fn next(self, outlook: Outlook, now: Instant) -> Self {
        if outlook.paused || outlook.resting_until.is_some_and(|until| until > now) {
            Self::Idle
        } else if outlook.closed_for_long || (!outlook.open && self != Self::Open) {
            Self::Closed
        } else {
            Self::Open
        }
    }

    /// What to consume, for a gate that lets `pace` requests a second through, `concurrency` at once.
    pub fn appetite(self, pace: Option<f64>, concurrency: usize) -> Appetite {
        match self {
            Self::Open => Appetite::Prefetch(prefetch(pace.unwrap_or(f64::INFINITY), concurrency)),
            Self::Closed => Appetite::Prefetch(PROBES),
            Self::Idle => Appetite::None,
        }
    }

    /// How many waiting deliveries may be kept, the ones taken last: they alone count for the present consumer.
    pub fn keeps(self) -> usize {
        match self {
            Self::Open => usize::MAX,
            Self::Closed => usize::from(PROBES),
            Self::Idle => 0,
        }
    }
}

fn prefetch(rate: f64, concurrency: usize) -> u16 {
    let concurrency = u16::try_from(concurrency).unwrap_or(u16::MAX);
    let wanted = f64::from(concurrency) * 2.0 + rate * AHEAD.as_secs_f64();
    let bound = (rate * LONGEST_WAIT.as_secs_f64()).clamp(1.0, MAX_PREFETCH);
    whole(wanted.min(bound))
}

/// A number between 1 and [`MAX_PREFETCH`] as a whole one.
fn whole(number: f64) -> u16 {
    (1..=500u16).rev().find(|candidate| f64::from(*candidate) <= number).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_gate_holds_what_it_can_use_in_a_moment() {
        assert_eq!(Mood::Open.appetite(Some(200.0), 32), Appetite::Prefetch(164));
        assert_eq!(Mood::Open.appetite(Some(4000.0), 64), Appetite::Prefetch(500));
        assert_eq!(Mood::Open.appetite(None, 1000), Appetite::Prefetch(500));
    }

    #[test]
    fn a_slow_gate_holds_no_more_than_a_minutes_worth() {
        assert_eq!(Mood::Open.appetite(Some(0.1), 32), Appetite::Prefetch(6));
        assert_eq!(Mood::Open.appetite(Some(0.001), 32), Appetite::Prefetch(1));
    }

    #[test]
    fn a_gate_closed_for_long_holds_only_probes_and_a_paused_one_nothing() {
        let now = crate::clock::now();
        let parked = Outlook { open: false, paused: false, closed_for_long: true, resting_until: None };
        assert_eq!(Mood::Open.next(parked, now).keeps(), 2);
        assert_eq!(Mood::Open.next(Outlook { paused: true, ..parked }, now).appetite(Some(200.0), 32), Appetite::None);
    }

    #[test]
    fn a_gate_that_was_closed_for_long_stays_so_until_it_opens() {
        let now = crate::clock::now();
        let soon = Outlook { open: false, paused: false, closed_for_long: false, resting_until: None };
        assert_eq!(Mood::Open.next(soon, now), Mood::Open);
        assert_eq!(Mood::Closed.next(soon, now), Mood::Closed);
        assert_eq!(Mood::Idle.next(soon, now), Mood::Closed);
        assert_eq!(Mood::Closed.next(Outlook { open: true, ..soon }, now), Mood::Open);
    }

    #[test]
    fn nothing_is_held_for_a_place_that_is_over_a_minute_away() {
        let now = crate::clock::now();
        assert_eq!(rest(now + Duration::from_secs(60), now), None);
        let until = rest(now + Duration::from_secs(100), now);
        assert_eq!(until, Some(now + Duration::from_secs(70)));
        let outlook = Outlook { open: true, paused: false, closed_for_long: false, resting_until: until };
        assert_eq!(Mood::Open.next(outlook, now), Mood::Idle);
        assert_eq!(Mood::Idle.next(outlook, now + Duration::from_secs(71)), Mood::Open);
    }
}
