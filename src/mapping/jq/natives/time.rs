//! Dates, in UTC. A moment is seconds since 1970, or broken down as in C: year, month from 0, day, hour, minute, second, day of
//! the week from Sunday, day of the year from 0. Pure.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::super::value::Val;
use super::{Native, argument, fail, native, strftime};
use crate::mapping::jq::run::Stop;

pub(super) const NATIVES: &[Native] = &[
    native("gmtime", 0, |value, _| match value.as_f64() {
        Some(seconds) => broken_down(seconds),
        None => fail("gmtime() requires numeric inputs"),
    }),
    native("mktime", 0, |value, _| {
        if !matches!(value, Val::Array(_)) {
            return fail("mktime requires array inputs");
        }
        match seconds_of(value) {
            Some(seconds) => Ok(Val::number(seconds)),
            None => fail("mktime requires parsed datetime inputs"),
        }
    }),
    native("strftime", 1, |value, format| {
        let Val::Text(format) = argument(format, 0) else { return fail("strftime/1 requires a string format") };
        let seconds = value.as_f64().or_else(|| seconds_of(value));
        let Some(seconds) = seconds else { return fail("strftime/1 requires parsed datetime inputs") };
        match strftime::write(format, &timestamp(seconds)?.to_zoned(TimeZone::UTC)) {
            Some(written) => Ok(Val::text(written)),
            None => fail("strftime/1: unknown system failure"),
        }
    }),
    native("strptime", 1, |value, format| match (value, argument(format, 0)) {
        (Val::Text(text), Val::Text(format)) => parsed(text, format),
        (value, _) => fail(format!("strptime/1 requires string inputs and arguments, not {}", value.shown())),
    }),
];

fn timestamp(seconds: f64) -> Result<Timestamp, Stop> {
    // As C turns a float into a time.
    let whole = seconds.trunc();
    // Far beyond the calendar's ends, and exact.
    let known = (whole.abs() < 1e15).then(|| Timestamp::from_second(cut(whole)).ok()).flatten();
    known.ok_or_else(|| {
        super::super::run::error(format!("the time {} is beyond the calendar", Val::number(seconds).shown()))
    })
}

#[expect(clippy::as_conversions, reason = "cuts what is behind the point, and saturates")]
fn cut(number: f64) -> i64 {
    number as i64
}

fn broken_down(seconds: f64) -> Result<Val, Stop> {
    let time = timestamp(seconds)?.to_zoned(TimeZone::UTC);
    let fraction = seconds - seconds.floor();
    let numbers = [
        f64::from(time.year()),
        f64::from(time.month()) - 1.0,
        f64::from(time.day()),
        f64::from(time.hour()),
        f64::from(time.minute()),
        f64::from(time.second()) + fraction,
        f64::from(time.weekday().to_sunday_zero_offset()),
        f64::from(time.day_of_year()) - 1.0,
    ];
    Ok(Val::array(numbers.into_iter().map(Val::number).collect()))
}

/// Of a broken down time; what is out of range carries over, as a 32nd day.
fn seconds_of(value: &Val) -> Option<f64> {
    let Val::Array(array) = value else { return None };
    let numbers: Vec<f64> =
        array.items.iter().map(|item| item.as_f64().filter(|n| n.abs() < 1e12)).collect::<Option<_>>()?;
    let &[year, month, day, hour, minute, second, _, _] = numbers.as_slice() else { return None };
    let (month, day) = (month.trunc(), day.trunc());
    let (year, month) = (year.trunc() + (month / 12.0).floor(), month.rem_euclid(12.0));
    // Days since 1970, counting years from March: the leap day comes last.
    let shifted = if month < 2.0 { year - 1.0 } else { year };
    let era = (shifted / 400.0).floor();
    let of_era = shifted - era * 400.0;
    let of_year = ((153.0 * ((month + 10.0) % 12.0) + 2.0) / 5.0).floor() + day - 1.0;
    let days =
        era * 146_097.0 + of_era * 365.0 + (of_era / 4.0).floor() - (of_era / 100.0).floor() + of_year - 719_468.0;
    Some(days * 86_400.0 + hour.trunc() * 3600.0 + minute.trunc() * 60.0 + second.floor())
}

/// A format without what C reads over: flags, widths and modifiers; and what depends on a language, as C writes it in English. None where it
/// has a directive that C does not know.
fn plain(format: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = format;
    while let Some((text, directive)) = rest.split_once('%') {
        plain.push_str(text);
        let directive =
            directive.trim_start_matches(['_', '-', '^', '#']).trim_start_matches(|c: char| c.is_ascii_digit());
        let modified = [('E', "cCYxX"), ('O', "bBhdeHImMSUVWwy")].into_iter().find_map(|(modifier, letters)| {
            directive.strip_prefix(modifier).filter(|rest| rest.starts_with(|c| letters.contains(c)))
        });
        let mut chars = modified.unwrap_or(directive).chars();
        match chars.next()? {
            'c' => plain.push_str("%a %b %e %H:%M:%S %Y"),
            'x' => plain.push_str("%m/%d/%y"),
            'X' => plain.push_str("%H:%M:%S"),
            'r' => plain.push_str("%I:%M:%S %p"),
            letter if "%aAbBhCdeDFgGHIjklmMnpRsStTuUVwWyYzZ".contains(letter) => plain.extend(['%', letter]),
            _ => return None,
        }
        rest = chars.as_str();
    }
    Some(plain + rest)
}

/// A zone's name would have to be looked up in a file. What an offset looks like, C leaves to the text.
fn parsed(text: &str, format: &str) -> Result<Val, Stop> {
    let layout = plain(format);
    let read = layout.and_then(|layout| {
        ["%z", "%:z", "Z"].into_iter().find_map(|offset| moment(text, &layout.replace("%z", offset)))
    });
    match read {
        Some(seconds) => broken_down(super::math::of_signed(seconds)),
        None => fail(format!("date \"{text}\" does not match format \"{format}\"")),
    }
}

/// The seconds that a text says by its layout. As in jq an offset is read over: the clock's hands are taken for UTC.
fn moment(text: &str, layout: &str) -> Option<i64> {
    // An abbreviation such as UTC says nothing that could be relied on: as in C it is read over.
    let (read, layout) = match layout.strip_suffix("%Z") {
        Some(layout) => (text.trim_end_matches(|c: char| c.is_ascii_alphabetic()), layout),
        None => (text, layout),
    };
    let mut parts = strtime::parse(layout, read).ok()?;
    if let Some(known) = parts.timestamp() {
        return Some(known.as_second());
    }
    if parts.year().is_none() {
        parts.set_year(Some(1900)).ok()?;
    }
    if parts.day_of_year().is_none() {
        let (month, day) = (parts.month().unwrap_or(1), parts.day().unwrap_or(1));
        parts.set_month(Some(month)).and_then(|()| parts.set_day(Some(day))).ok()?;
    }
    if parts.hour().is_none() {
        parts.set_hour(Some(0)).ok()?;
    }
    let time = parts.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(time.timestamp().as_second())
}
