//! When an event happened: RFC 3339, no more and no less; a text in, a point in time out. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time as TimeOfDay};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

/// The first year that RFC 3339 can write begins.
const FIRST: DateTime = DateTime::constant(0, 1, 1, 0, 0, 0, 0);
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// The days that a leap second has ever ended.
const LEAP_DAYS: [(i8, i8); 2] = [(6, 30), (12, 31)];
/// Digits of a second's fraction that are kept; more are left out.
const DECIMALS: usize = 9;

/// A point in time of the years that RFC 3339 can write, in UTC. [`Timestamp`] ends a day earlier, and 9999-12-31T23:59:59Z is a common
/// "never". It is written as RFC 3339, as many digits after the point as `{:.3}` asks for, else as many as it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(DateTime);

/// A text that is not an RFC 3339 date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time as 2026-01-02T03:04:05Z")]
pub struct NotRfc3339;

impl Time {
    /// So long after 1970 began; none where that is in no year that can be written.
    #[must_use]
    pub fn since_epoch(duration: SignedDuration) -> Option<Self> {
        EPOCH.checked_add(duration).ok().map(Self)
    }

    /// Milliseconds since 1970 began.
    #[must_use]
    pub fn as_millisecond(self) -> i64 {
        i64::try_from(self.0.duration_since(EPOCH).as_millis()).unwrap_or(i64::MAX)
    }

    /// How long it is until `then`: negative for a time that has yet to come.
    #[must_use]
    pub fn until(self, then: Timestamp) -> SignedDuration {
        Self::from(then).0.duration_since(self.0)
    }

    /// As a [`Timestamp`], the nearest that there is.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        let duration = self.0.duration_since(EPOCH);
        let nearest = if duration.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_duration(duration).unwrap_or(nearest)
    }

    /// The day that it is in a time zone.
    #[must_use]
    pub fn date_in(self, zone: &TimeZone) -> Date {
        let offset = i64::from(zone.to_offset(self.timestamp()).seconds());
        self.0.saturating_add(SignedDuration::from_secs(offset)).date()
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Self(Offset::UTC.to_datetime(timestamp))
    }
}

impl FromStr for Time {
    type Err = NotRfc3339;

    fn from_str(text: &str) -> Result<Self, NotRfc3339> {
        Rest(text).date_time().ok_or(NotRfc3339)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.precision() {
            Some(digits) => write!(f, "{:.digits$}Z", self.0),
            None => write!(f, "{}Z", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// `date-time` of RFC 3339, up to the text's end.
    fn date_time(mut self) -> Option<Time> {
        let year = self.number(4)?;
        let month = self.after('-')?.small()?;
        let day = self.after('-')?.small()?;
        self.one_of(['T', 't'])?;
        let (hour, minute, second) = (self.small()?, self.after(':')?.small()?, self.after(':')?.small()?);
        let nanosecond = self.fraction()?;
        let offset = self.offset()?;
        if !self.0.is_empty() || second > 60 {
            return None;
        }
        let day = Date::new(year, month, day).ok()?;
        let time = TimeOfDay::new(hour, minute, second.min(59), nanosecond).ok()?;
        let utc = day.to_datetime(time).checked_sub(offset).ok();
        let ends_a_leap_day =
            |utc: DateTime| (utc.hour(), utc.minute()) == (23, 59) && LEAP_DAYS.contains(&(utc.month(), utc.day()));
        // An instant in a year that cannot be written is the nearest one that can.
        (second < 60 || utc.is_some_and(ends_a_leap_day)).then_some(Time(utc.unwrap_or(DateTime::MAX).max(FIRST)))
    }

    /// Nanoseconds; 0 where there is no fraction.
    fn fraction(&mut self) -> Option<i32> {
        let Some(rest) = self.0.strip_prefix('.') else { return Some(0) };
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = rest.split_at_checked(count).filter(|_| count > 0)?;
        self.0 = rest;
        format!("{:0<DECIMALS$}", digits.get(..DECIMALS).unwrap_or(digits)).parse().ok()
    }

    fn offset(&mut self) -> Option<SignedDuration> {
        let sign = match self.one_of(['Z', 'z', '+', '-'])? {
            '+' => 1,
            '-' => -1,
            _ => return Some(SignedDuration::ZERO),
        };
        let (hours, minutes) = (self.number(2)?, self.after(':')?.number(2)?);
        let minutes = (hours <= 23 && minutes <= 59).then(|| 60 * i64::from(hours) + i64::from(minutes))?;
        Some(SignedDuration::from_mins(sign * minutes))
    }

    fn number(&mut self, digits: usize) -> Option<i16> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
    }

    fn small(&mut self) -> Option<i8> {
        self.number(2)?.try_into().ok()
    }

    fn after(&mut self, separator: char) -> Option<&mut Self> {
        self.one_of([separator]).map(|_| self)
    }

    fn one_of<const N: usize>(&mut self, wanted: [char; N]) -> Option<char> {
        let rest = self.0.strip_prefix(wanted)?;
        let found = self.0.chars().next();
        self.0 = rest;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<Time>().map_or_else(|error| error.to_string(), |time| time.to_string())
    }

    #[test]
    fn a_time_is_kept_in_utc_as_exactly_as_it_was_given() {
        for (given, kept) in [
            ("2026-01-02T03:04:05.678+01:00", "2026-01-02T02:04:05.678Z"),
            ("2026-01-02t03:04:05z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.123456789012Z", "2026-01-02T03:04:05.123456789Z"),
            ("1969-12-31T23:59:59-11:30", "1970-01-01T11:29:59Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0000-01-01T00:00:00+01:00", "0000-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59Z"),
            ("2015-07-01T01:59:60.5+02:00", "2015-06-30T23:59:59.5Z"),
        ] {
            assert_eq!(read(given), kept, "{given}");
        }
    }

    #[test]
    fn a_never_is_a_number_and_a_day_like_any_other() {
        let never: Time = "9999-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(never.as_millisecond(), 253_402_300_799_000);
        assert_eq!(format!("{never:.3}"), "9999-12-31T23:59:59.000Z");
        assert_eq!(never.timestamp(), Timestamp::MAX);
        assert!(never.until(Timestamp::UNIX_EPOCH).is_negative());
        assert_eq!(never.date_in(&TimeZone::UTC), Date::constant(9999, 12, 31));
        assert_eq!(never.date_in(&TimeZone::fixed(jiff::tz::offset(-8))), Date::constant(9999, 12, 31));
        assert_eq!(never.date_in(&TimeZone::fixed(jiff::tz::offset(8))), Date::constant(9999, 12, 31));
        let beyond: Time = "9999-12-31T23:59:59-01:00".parse().unwrap();
        assert_eq!(beyond.to_string(), "9999-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn what_rfc_3339_does_not_have_is_no_time() {
        for wrong in [
            "",
            "2026-01-02",
            "2026-01-02T03Z",
            "2026-01-02T03:04Z",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-01-02_03:04:05Z",
            "20260102T030405Z",
            "2026-1-2T03:04:05Z",
            "26-01-02T03:04:05Z",
            "+2026-01-02T03:04:05Z",
            "-2026-01-02T03:04:05Z",
            "10000-01-01T00:00:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05,5Z",
            "2026-01-02T03:04:05+01",
            "2026-01-02T03:04:05+0100",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+01:60",
            "2026-01-02T03:04:05+01:00:00",
            "2026-01-02T03:04:05\u{2212}01:00",
            "2026-01-02T03:04:05Z[Europe/Paris]",
            "2026-01-02T03:04:05+01:00[Europe/Paris]",
            "2026-01-02T03:04:05Z ",
            " 2026-01-02T03:04:05Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02T03:04:61Z",
            "2026-01-02T23:59:60Z",
            "2016-12-31T23:58:60Z",
            "2016-12-31T22:59:60Z",
            "2016-12-31T23:59:60+01:00",
            "9999-12-31T23:59:60-08:00",
            "2026-02-30T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-02T٠٣:04:05Z",
            "W2026-01-02T03:04:05Z",
            "1767323045",
            "Fri, 02 Jan 2026 03:04:05 GMT",
        ] {
            assert_eq!(wrong.parse::<Time>(), Err(NotRfc3339), "{wrong}");
        }
    }

    #[test]
    fn a_time_and_a_timestamp_are_the_same_instant() {
        for seconds in [-62_135_596_800, -1, 0, 1_700_000_000, 253_402_207_200] {
            let timestamp = Timestamp::from_second(seconds).unwrap();
            let time = Time::from(timestamp);
            assert_eq!((time.timestamp(), time.as_millisecond()), (timestamp, seconds * 1000));
            assert_eq!(time.to_string(), timestamp.to_string());
            assert_eq!(Time::since_epoch(SignedDuration::from_secs(seconds)), Some(time));
        }
    }
}
