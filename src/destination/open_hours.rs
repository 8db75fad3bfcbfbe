//! When the destination may send (`send_between`): what is known of its hours, and since when or until when that holds.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::gate::{Hours, SendHours};

/// A destination's hours. Without any, nothing is ever worked out.
#[derive(Debug)]
pub(super) struct OpenHours {
    hours: Option<SendHours>,
    /// What was worked out last, and from when on it holds.
    known: Option<(Timestamp, Hours)>,
}

/// The quiet hours that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    /// When they end.
    pub until: Timestamp,
    /// The same for timers.
    pub at: Instant,
}

impl OpenHours {
    pub fn new(hours: Option<SendHours>) -> Self {
        Self { hours, known: None }
    }

    fn at(&mut self, wall: Timestamp) -> Option<Hours> {
        let hours = self.hours.as_ref()?;
        // A time zone's rules cost more than a request may; and a clock that was set back starts anew.
        let holds = |(from, known): &(Timestamp, Hours)| *from <= wall && wall < ends(*known);
        if let Some((_, known)) = self.known.filter(holds) {
            return Some(known);
        }
        let now = hours.at(wall);
        self.known = Some((wall, now));
        Some(now)
    }

    /// The quiet hours, where it is in them: nothing is sent.
    pub fn quiet(&mut self, now: Instant, wall: Timestamp) -> Option<Quiet> {
        match self.at(wall)? {
            Hours::Open { .. } => None,
            Hours::Quiet { until } => {
                Some(Quiet { until, at: now + Duration::try_from(until.duration_since(wall)).unwrap_or_default() })
            }
        }
    }

    /// The same by the clock, which is not read where there are no hours.
    pub fn quiet_by_clock(&mut self, now: Instant) -> Option<Quiet> {
        let wall = self.hours.is_some().then(clock::wall)?;
        self.quiet(now, wall)
    }

    /// From when on it might send what it sends now: what waited through quiet hours is not late for that.
    pub fn opened(&mut self, wall: Timestamp) -> Option<Timestamp> {
        match self.at(wall)? {
            Hours::Open { since, .. } => Some(since),
            Hours::Quiet { .. } => None,
        }
    }

    /// The time from which on the age of what waits counts: none where it does not, in quiet hours.
    pub fn ages_since(&self, oldest: Timestamp, wall: Timestamp) -> Option<Timestamp> {
        let Some(hours) = &self.hours else { return Some(oldest) };
        match hours.at(wall) {
            Hours::Open { since, .. } => Some(oldest.max(since)),
            Hours::Quiet { .. } => None,
        }
    }

    /// When quiet hours end, where it is in them, and that in words.
    pub fn shown(&self, wall: Timestamp) -> Option<(Timestamp, String)> {
        let hours = self.hours.as_ref()?;
        match hours.at(wall) {
            Hours::Open { .. } => None,
            Hours::Quiet { until } => Some((until, format!("quiet until {}", hours.say(until)))),
        }
    }

    /// The same for somebody who waits for what is sent: which hours it has, and when it goes on.
    pub fn outside(&self, wall: Timestamp) -> Option<String> {
        let hours = self.hours.as_ref()?;
        match hours.at(wall) {
            Hours::Open { .. } => None,
            Hours::Quiet { until } => Some(format!("outside of its hours ({hours}), goes on at {}", hours.say(until))),
        }
    }
}

fn ends(hours: Hours) -> Timestamp {
    match hours {
        Hours::Open { until, .. } | Hours::Quiet { until } => until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn quiet_hours_end_when_the_window_opens_whatever_the_clock_did_before() {
        let mut hours = OpenHours::new(Some("08:00-20:00 UTC".parse().unwrap()));
        let (now, opens) = (clock::now(), at("2026-03-02T08:00:00Z"));
        let quiet = hours.quiet(now, at("2026-03-02T07:59:00Z")).unwrap();
        assert_eq!((quiet.until, quiet.at), (opens, now + Duration::from_secs(60)));
        assert_eq!(hours.quiet(now, opens), None);
        assert_eq!(hours.opened(at("2026-03-02T09:00:00Z")), Some(opens));
        assert_eq!(hours.quiet(now, at("2026-03-02T20:00:00Z")).unwrap().until, at("2026-03-03T08:00:00Z"));
        assert_eq!(hours.quiet(now, at("2026-03-02T19:59:59Z")), None, "the clock was set back");
        assert_eq!(hours.shown(at("2026-03-02T21:00:00Z")).unwrap().1, "quiet until 08:00 UTC");
        let outside = hours.outside(at("2026-03-02T21:00:00Z"));
        assert_eq!(outside.as_deref(), Some("outside of its hours (08:00-20:00 UTC), goes on at 08:00 UTC"));
        assert_eq!(hours.outside(at("2026-03-02T09:00:00Z")), None);
    }

    #[test]
    fn what_waited_through_quiet_hours_is_as_old_as_the_window() {
        let hours = OpenHours::new(Some("08:00-20:00 UTC".parse().unwrap()));
        let (night, opens) = (at("2026-03-02T03:00:00Z"), at("2026-03-02T08:00:00Z"));
        assert_eq!(hours.ages_since(night, at("2026-03-02T07:00:00Z")), None);
        assert_eq!(hours.ages_since(night, at("2026-03-02T08:10:00Z")), Some(opens));
        let later = at("2026-03-02T08:05:00Z");
        assert_eq!(hours.ages_since(later, at("2026-03-02T08:10:00Z")), Some(later));
        assert_eq!(OpenHours::new(None).ages_since(night, later), Some(night));
    }
}
