//! When a vendor's day begins. Values only.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// The beginning of a day, for budgets. Written `00:00 UTC` or `06:30 Europe/Stockholm`; days of 23 and 25 hours are as long as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayStart {
    time: Time,
    zone: TimeZone,
    name: String,
}

impl Default for DayStart {
    fn default() -> Self {
        Self { time: Time::midnight(), zone: TimeZone::UTC, name: "UTC".to_owned() }
    }
}

impl fmt::Display for DayStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("midnight UTC");
        }
        write!(f, "{} {}", self.time.strftime("%H:%M"), self.name)
    }
}

/// Why a text is no beginning of a day, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DayStartError {
    /// Not `HH:MM ZONE`.
    #[error("{0:?} is not a time of day and a time zone: write it like \"00:00 UTC\" or \"06:30 Europe/Stockholm\"")]
    Form(String),
    /// A time zone that is not in the IANA database.
    #[error("{0:?} is no time zone: write \"UTC\" or a name of the IANA database, like \"Europe/Stockholm\"")]
    Zone(String),
}

impl FromStr for DayStart {
    type Err = DayStartError;

    fn from_str(text: &str) -> Result<Self, DayStartError> {
        let form = || DayStartError::Form(text.to_owned());
        let (time, name) = text.trim().split_once(' ').ok_or_else(form)?;
        let time = Time::strptime("%H:%M", time).map_err(|_| form())?;
        let name = name.trim();
        let zone = match name {
            "UTC" => TimeZone::UTC,
            _ => TimeZone::get(name).map_err(|_| DayStartError::Zone(name.to_owned()))?,
        };
        Ok(Self { time, zone, name: name.to_owned() })
    }
}

impl DayStart {
    /// The day that `wall` is in.
    #[must_use]
    pub fn day_of(&self, wall: Timestamp) -> Date {
        let date = wall.to_zoned(self.zone.clone()).date();
        if wall < self.begin_of(date) {
            date.yesterday().unwrap_or(date)
        } else if wall >= self.end_of(date) {
            date.tomorrow().unwrap_or(date)
        } else {
            date
        }
    }

    /// When that day begins. A time that a change of clocks skips is the one after the change.
    #[must_use]
    pub fn begin_of(&self, day: Date) -> Timestamp {
        day.to_datetime(self.time).to_zoned(self.zone.clone()).map_or(Timestamp::MAX, |begin| begin.timestamp())
    }

    /// When that day ends.
    #[must_use]
    pub fn end_of(&self, day: Date) -> Timestamp {
        day.tomorrow().map_or(Timestamp::MAX, |tomorrow| self.begin_of(tomorrow))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_begins_at_its_time_in_its_zone_and_may_have_23_or_25_hours() {
        let start: DayStart = "00:00 Europe/Stockholm".parse().unwrap();
        assert_eq!(start.day_of(at("2026-07-01T21:59:59Z")).to_string(), "2026-07-01");
        assert_eq!(start.day_of(at("2026-07-01T22:00:00Z")).to_string(), "2026-07-02");
        let hours = |day: &str| {
            let day = day.parse().unwrap();
            start.end_of(day).duration_since(start.begin_of(day))
        };
        assert_eq!(hours("2026-03-29"), SignedDuration::from_hours(23));
        assert_eq!(hours("2026-10-25"), SignedDuration::from_hours(25));
        let early: DayStart = "06:30 America/New_York".parse().unwrap();
        assert_eq!(early.day_of(at("2026-01-10T11:29:00Z")).to_string(), "2026-01-09");
        assert_eq!(early.day_of(at("2026-01-10T11:30:00Z")).to_string(), "2026-01-10");
    }

    #[test]
    fn it_is_shown_as_it_was_written_and_what_is_none_says_what_to_write() {
        assert_eq!(DayStart::default(), "00:00 UTC".parse().unwrap());
        assert_eq!(DayStart::default().to_string(), "midnight UTC");
        assert_eq!("06:30 Europe/Stockholm".parse::<DayStart>().unwrap().to_string(), "06:30 Europe/Stockholm");
        for wrong in ["", "00:00", "24:00 UTC", "UTC 00:00", "noon UTC"] {
            assert_eq!(wrong.parse::<DayStart>(), Err(DayStartError::Form(wrong.to_owned())));
        }
        assert_eq!("00:00 Mars/Base".parse::<DayStart>(), Err(DayStartError::Zone("Mars/Base".into())));
    }
}
