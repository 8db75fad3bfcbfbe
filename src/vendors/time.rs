//! Checks when an event happened: a time or a number comes in. If it has the wrong unit, or is a program's stand-in for "no time", a sentence
//! goes out. Pure.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::number;
use crate::event::Time;

/// No event is older. Seconds taken for milliseconds give January 1970, and most stand-ins for "no time" are from then or earlier.
const EARLIEST: Timestamp = Timestamp::constant(31_536_000, 0);
/// 2200, where no event can be yet.
const LATEST: Timestamp = Timestamp::constant(7_258_118_400, 0);
/// 1990, in milliseconds. No vendor is that old, and a smaller number is more likely seconds of a time to come.
const FIRST_MILLISECOND: f64 = 631_152_000_000.0;
/// In seconds: 2200 to the end of the year 9999, which stands for "never".
const FAR_SECONDS: RangeInclusive<f64> = 7_258_118_400.0..=253_402_300_800.0;
/// From the year 1, where .NET's ticks begin, to 1970.
const SECONDS_BEFORE_1970: f64 = 62_135_596_800.0;
/// In milliseconds: the last date of many programs.
const YEAR_9999: RangeInclusive<f64> = 253_370_764_800_000.0..=253_402_300_800_000.0;

/// The time, if an event can have happened then.
///
/// # Errors
/// The rest of a sentence that begins with the time.
pub(super) fn possible(time: Timestamp) -> Result<Timestamp, String> {
    if (EARLIEST..LATEST).contains(&time) {
        return Ok(time);
    }
    let none = "which programs write that have no time";
    Err(match time.strftime("%Y").to_string().trim_start_matches('0') {
        "1" => format!("in the year 1, {none}"),
        "1970" => format!("in 1970, {none} or take seconds for milliseconds"),
        "9999" => format!("in the year 9999, {none}"),
        year => format!("in the year {year}, when no event can have happened"),
    })
}

/// Whole milliseconds since 1970, however they are written.
///
/// # Errors
/// The rest of a sentence that begins with the field's name.
pub(super) fn milliseconds(value: &Value) -> Result<i64, String> {
    let wanted = "it must be whole milliseconds since 1970";
    if let Some(unit) = value.as_f64().and_then(unit_meant) {
        return Err(format!("is {value}: these are {unit}; {wanted}"));
    }
    let Some(whole) = number::whole(value) else { return Err(format!("is {}; {wanted}", number::described(value))) };
    if (1..EARLIEST.as_second()).contains(&whole) {
        // No other unit, and no program's "no time": vendors' own examples write 42.
        return Ok(whole);
    }
    let time = Time::since_epoch(SignedDuration::from_millis(whole))
        .ok_or_else(|| format!("is {value}, which is no time; {wanted}"))?;
    let known = possible(time.timestamp()).and_then(|possible| match value.as_f64() {
        Some(number) if number > 0.0 && number < FIRST_MILLISECOND => {
            Err(format!("in the year {}, when no event can have happened", possible.strftime("%Y")))
        }
        _ => Ok(whole),
    });
    known.map_err(|why| format!("is {value}: {time}, {why}; leave it out, and the event's time is sent"))
}

/// The unit in which the number is a time at which an event can have happened, where that is not milliseconds.
fn unit_meant(number: f64) -> Option<&'static str> {
    let is_time = |seconds: f64| {
        let time =
            SignedDuration::try_from_secs_f64(seconds).ok().and_then(|since| Timestamp::from_duration(since).ok());
        time.is_some_and(|time| (EARLIEST..LATEST).contains(&time))
    };
    if (number >= FIRST_MILLISECOND && is_time(number / 1e3)) || YEAR_9999.contains(&number) {
        return None;
    }
    if FAR_SECONDS.contains(&number) {
        return Some("seconds");
    }
    let units = [
        ("seconds", number),
        ("microseconds", number / 1e6),
        (".NET ticks", number / 1e7 - SECONDS_BEFORE_1970),
        ("nanoseconds", number / 1e9),
    ];
    units.into_iter().find(|(_, seconds)| is_time(*seconds)).map(|(unit, _)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<i64, String> {
        milliseconds(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn whole_milliseconds_are_taken_in_every_spelling() {
        for json in ["1795000000000", "1795000000000.0", "1.795e12", "1795e9"] {
            assert_eq!(read(json), Ok(1_795_000_000_000), "{json}");
        }
        for whole in [631_152_000_000, 1_356_998_400_000, 7_258_118_399_999, 31_535_999, 42, 1] {
            assert_eq!(read(&whole.to_string()), Ok(whole));
        }
    }

    #[test]
    fn another_unit_is_told() {
        for (json, unit) in [
            ("1795000000", "seconds"),
            ("1795000000.0", "seconds"),
            ("1795000000.25", "seconds"),
            ("31536000", "seconds"),
            ("7258118400", "seconds"),
            ("31536000000", "seconds"),
            ("253402300799", "seconds"),
            ("253402300799.0", "seconds"),
            ("253402214400", "seconds"),
            ("1795000000000000", "microseconds"),
            ("1795000000000000000", "nanoseconds"),
            ("639289968000000000", ".NET ticks"),
        ] {
            let said = read(json).unwrap_err();
            assert!(
                said.contains(&format!("these are {unit}; it must be whole milliseconds since 1970")),
                "{json}: {said}"
            );
        }
    }

    #[test]
    fn a_time_at_which_nothing_can_have_happened_is_told() {
        for (json, says) in [
            ("-62135596800000", "0001-01-01T00:00:00Z, in the year 1, which programs write that have no time"),
            ("0", "1970-01-01T00:00:00Z, in 1970"),
            ("0.0", "1970-01-01T00:00:00Z, in 1970"),
            ("253402300801", "in the year 1978, when no event can have happened"),
            ("631151999999", "in the year 1989, when no event can have happened"),
            ("-1", "in the year 1969, when no event can have happened"),
            ("253402300799999", "9999-12-31T23:59:59.999Z, in the year 9999, which programs write that have no time"),
            ("253402214400000", "in the year 9999"),
            ("1767323045120.0000001", "a number with a fraction"),
            ("9223372036854775807", "no time"),
            ("1795000000000.5", "a number with a fraction"),
            ("9223372036854775808123", "a whole number of more than 64 bits"),
            ("1e300", "a whole number of more than 64 bits"),
            ("\"1795000000000\"", "a string"),
            ("true", "a boolean"),
        ] {
            let said = read(json).unwrap_err();
            assert!(said.contains(says), "{json}: {said}");
        }
    }
}
