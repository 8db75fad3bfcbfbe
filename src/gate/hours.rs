//! The hours in which a destination may send: quiet hours are outside of them. Values only.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// So many days ahead the next opening is looked for: a change of clocks may skip a day's whole window.
const DAYS_AHEAD: usize = 5;

/// A window of each day. Written `08:00-20:00 Europe/Stockholm`; `22:00-06:00 UTC` goes over midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendHours {
    opens: Time,
    closes: Time,
    /// It closes on the day after.
    over_midnight: bool,
    zone: TimeZone,
    name: String,
    written: String,
}

/// Whether a destination may send, and when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    /// From the one time to the other.
    Open {
        /// When it opened.
        since: Timestamp,
        /// When it closes.
        until: Timestamp,
    },
    /// Until it opens.
    Quiet {
        /// When it opens.
        until: Timestamp,
    },
}

impl fmt::Display for SendHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Why a text is no window of a day, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendHoursError {
    /// Not `HH:MM-HH:MM ZONE`.
    #[error("{0:?} is not two times of day and a time zone: write it like \"08:00-20:00 Europe/Stockholm\"")]
    Form(String),
    /// A time zone that is not in the IANA database.
    #[error("{0:?} is no time zone: write \"UTC\" or a name of the IANA database, like \"Europe/Stockholm\"")]
    Zone(String),
    /// It closes when it opens.
    #[error("{0:?} closes when it opens; to send at any time, leave it out")]
    Empty(String),
}

impl FromStr for SendHours {
    type Err = SendHoursError;

    fn from_str(text: &str) -> Result<Self, SendHoursError> {
        let form = || SendHoursError::Form(text.to_owned());
        let (times, name) = text.trim().split_once(' ').ok_or_else(form)?;
        let (opens, closes) = times.split_once('-').ok_or_else(form)?;
        let opens = time_of_day(opens).ok_or_else(form)?;
        let closes = if closes == "24:00" { Some(Time::midnight()) } else { time_of_day(closes) }.ok_or_else(form)?;
        let name = name.trim();
        let zone = match name {
            "UTC" => TimeZone::UTC,
            _ => TimeZone::get(name).map_err(|_| SendHoursError::Zone(name.to_owned()))?,
        };
        if opens == closes {
            return Err(SendHoursError::Empty(times.to_owned()));
        }
        let written = format!("{times} {name}");
        Ok(Self { opens, closes, over_midnight: closes < opens, zone, name: name.to_owned(), written })
    }
}

/// `HH:MM`, both with two digits.
fn time_of_day(text: &str) -> Option<Time> {
    Time::strptime("%H:%M", text).ok().filter(|_| text.len() == 5)
}

impl SendHours {
    /// Whether it may send at that time.
    #[must_use]
    pub fn at(&self, wall: Timestamp) -> Hours {
        let today = wall.to_zoned(self.zone.clone()).date();
        // The window of the day before may go on over midnight, or a change of clocks.
        let first = today.yesterday().unwrap_or(today);
        let days = first.series(jiff::Span::new().days(1)).take(DAYS_AHEAD);
        let mut windows = days.map(|day| self.window(day)).filter(|(since, until)| since < until && wall < *until);
        match windows.next() {
            Some((since, until)) if since <= wall => Hours::Open { since, until },
            Some((until, _)) => Hours::Quiet { until },
            // No zone skips so many days; to send nothing would be the worse error only if it lasted.
            None => Hours::Open { since: wall, until: wall },
        }
    }

    /// The first time from `wall` on at which it may send.
    #[must_use]
    pub fn next_open(&self, wall: Timestamp) -> Timestamp {
        match self.at(wall) {
            Hours::Open { .. } => wall,
            Hours::Quiet { until } => until,
        }
    }

    /// A time of opening as people say it: `08:00 Europe/Stockholm`.
    #[must_use]
    pub fn say(&self, at: Timestamp) -> String {
        format!("{} {}", at.to_zoned(self.zone.clone()).strftime("%H:%M"), self.name)
    }

    /// The window that opens on that day. A time that a change of clocks skips is as much later; of two the first counts.
    fn window(&self, day: Date) -> (Timestamp, Timestamp) {
        let at = |day: Date, time| {
            day.to_datetime(time).to_zoned(self.zone.clone()).map_or(Timestamp::MAX, |at| at.timestamp())
        };
        let last = if self.over_midnight { day.tomorrow().unwrap_or(day) } else { day };
        (at(day, self.opens), at(last, self.closes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn open(since: &str, until: &str) -> Hours {
        Hours::Open { since: at(since), until: at(until) }
    }

    fn quiet(until: &str) -> Hours {
        Hours::Quiet { until: at(until) }
    }

    #[test]
    fn a_window_opens_and_closes_at_its_times_in_its_zone() {
        let hours: SendHours = "08:00-20:00 Europe/Stockholm".parse().unwrap();
        for (wall, expected) in [
            ("2026-07-01T05:59:59.999Z", quiet("2026-07-01T06:00:00Z")),
            ("2026-07-01T06:00:00Z", open("2026-07-01T06:00:00Z", "2026-07-01T18:00:00Z")),
            ("2026-07-01T17:59:59.999Z", open("2026-07-01T06:00:00Z", "2026-07-01T18:00:00Z")),
            ("2026-07-01T18:00:00Z", quiet("2026-07-02T06:00:00Z")),
            ("2026-07-01T23:30:00Z", quiet("2026-07-02T06:00:00Z")),
        ] {
            assert_eq!(hours.at(at(wall)), expected, "{wall}");
        }
        assert_eq!(hours.say(at("2026-07-01T06:00:00Z")), "08:00 Europe/Stockholm");
        assert_eq!(hours.next_open(at("2026-07-01T18:00:00Z")), at("2026-07-02T06:00:00Z"));
        assert_eq!(hours.next_open(at("2026-07-01T12:00:00Z")), at("2026-07-01T12:00:00Z"));
    }

    #[test]
    fn a_window_may_go_over_midnight_and_end_with_the_day() {
        let night: SendHours = "22:00-06:00 UTC".parse().unwrap();
        let tonight = open("2026-03-01T22:00:00Z", "2026-03-02T06:00:00Z");
        assert_eq!(night.at(at("2026-03-01T23:00:00Z")), tonight);
        assert_eq!(night.at(at("2026-03-02T05:59:00Z")), tonight);
        assert_eq!(night.at(at("2026-03-02T06:00:00Z")), quiet("2026-03-02T22:00:00Z"));
        let evening: SendHours = "18:00-24:00 UTC".parse().unwrap();
        assert_eq!(evening.at(at("2026-03-01T23:59:59Z")), open("2026-03-01T18:00:00Z", "2026-03-02T00:00:00Z"));
        assert_eq!(evening.at(at("2026-03-02T00:00:00Z")), quiet("2026-03-02T18:00:00Z"));
    }

    #[test]
    fn a_change_of_clocks_moves_the_window_and_skips_none() {
        let hours: SendHours = "08:00-20:00 Europe/Stockholm".parse().unwrap();
        // 29 March 2026 has 23 hours there, 25 October 25.
        assert_eq!(hours.at(at("2026-03-28T20:00:00Z")), quiet("2026-03-29T06:00:00Z"));
        assert_eq!(hours.at(at("2026-03-27T20:00:00Z")), quiet("2026-03-28T07:00:00Z"));
        assert_eq!(hours.at(at("2026-10-24T19:00:00Z")), quiet("2026-10-25T07:00:00Z"));
        // 02:00 to 03:00 is skipped in March: a window in it is an hour later, one that it swallows is left out.
        let inside: SendHours = "02:15-02:45 Europe/Stockholm".parse().unwrap();
        assert_eq!(inside.at(at("2026-03-29T00:30:00Z")), quiet("2026-03-29T01:15:00Z"));
        let swallowed: SendHours = "02:30-03:10 Europe/Stockholm".parse().unwrap();
        assert_eq!(swallowed.at(at("2026-03-29T00:00:00Z")), quiet("2026-03-30T00:30:00Z"));
        // In October it comes twice: the first counts.
        assert_eq!(inside.at(at("2026-10-25T00:20:00Z")), open("2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"));
        assert_eq!(inside.at(at("2026-10-25T01:20:00Z")), quiet("2026-10-26T01:15:00Z"));
    }

    #[test]
    fn it_is_shown_as_it_was_written_and_what_is_none_says_what_to_write() {
        let hours: SendHours = " 08:00-20:00  Europe/Stockholm ".parse().unwrap();
        assert_eq!(hours.to_string(), "08:00-20:00 Europe/Stockholm");
        for wrong in
            ["", "08:00-20:00", "08:00 UTC", "8-20 UTC", "8:00-20:00 UTC", "08:00-25:00 UTC", "24:00-08:00 UTC"]
        {
            assert_eq!(wrong.parse::<SendHours>(), Err(SendHoursError::Form(wrong.to_owned())), "{wrong}");
        }
        let zone = "08:00-20:00 Mars/Base".parse::<SendHours>();
        assert_eq!(zone, Err(SendHoursError::Zone("Mars/Base".into())));
        for empty in ["08:00-08:00 UTC", "00:00-24:00 UTC"] {
            let error = empty.parse::<SendHours>().unwrap_err();
            assert!(error.to_string().contains("leave it out"), "{error}");
        }
    }
}
