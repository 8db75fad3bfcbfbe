//! How vendors write when: a header's text in; how long until then out. Pure; nothing is believed beyond a day.

use std::time::{Duration, UNIX_EPOCH};

use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};

/// No wait that a vendor names is taken for longer.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// Dates as programs write them, without their weekday and their zone.
const DATES: [&str; 5] =
    ["%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%d-%b-%y %H:%M:%S", "%b %d %Y %H:%M:%S", "%b %d %H:%M:%S %Y"];

/// A list's parts: of fields that a proxy joined, or of several windows. The comma behind a weekday parts nothing.
pub fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut weekday = None;
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match weekday.take() {
            Some(day) => parts.push(format!("{day}, {part}")),
            None if is_weekday(part) => weekday = Some(part),
            None => parts.push(part.to_owned()),
        }
    }
    parts
}

/// A number of requests, without parameters, rounded down.
pub fn count(text: &str) -> Option<u64> {
    let count = text.split(';').next().unwrap_or_default().trim();
    number(count)?;
    count.split('.').next()?.parse().ok()
}

/// `Retry-After`: seconds, a date, or the same in epoch seconds or less; a date that is past means now.
pub fn delay(value: &str, date_of_reply: f64) -> Option<Duration> {
    match number(value) {
        Some(number) => Some(since_epoch(number, date_of_reply).unwrap_or_else(|| clamped(number))),
        None => Some(clamped(seconds(value)? - date_of_reply)),
    }
}

/// Milliseconds left.
pub fn millis(value: &str) -> Option<Duration> {
    number(value).map(|millis| clamped(millis / 1e3))
}

/// A reset: seconds left, milliseconds left, epoch seconds or less, a date, or a text such as `6m0s`. Seconds left that are
/// longer than the window can only be milliseconds.
pub fn reset(value: &str, date_of_reply: f64, window: Duration) -> Option<Duration> {
    match number(value) {
        Some(number) => Some(
            since_epoch(number, date_of_reply)
                .unwrap_or_else(|| clamped(if number > window.as_secs_f64() { number / 1e3 } else { number })),
        ),
        None => seconds(value).map(|date| clamped(date - date_of_reply)).or_else(|| duration(value)),
    }
}

/// Epoch seconds of an HTTP-date in any of its three forms, of RFC 3339, or of what comes near to one of them. Where no zone is
/// told it is UTC.
pub fn seconds(value: &str) -> Option<f64> {
    let http_date = httpdate::parse_http_date(value).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let rfc_3339 = || value.parse::<Timestamp>().ok().map(|time| time.as_duration().as_secs_f64());
    http_date.map(|since| since.as_secs_f64()).or_else(rfc_3339).or_else(|| nearly(value))
}

/// `Sun, 1 Mar 2026 12:00:30 +0000`, `Sun Mar 01 2026 12:00:30 GMT+0100 (Central European Standard Time)`, `2026-03-01T12:00:30`
/// and the like. The end of the year 9999, which stands for "never", is past what a timestamp can be, and yet a date.
fn nearly(value: &str) -> Option<f64> {
    let (time, offset) = without_zone(value.split(" (").next()?.trim_end());
    let time = without_weekday(time.trim_end());
    let read = || DATES.iter().find_map(|form| DateTime::strptime(form, time).ok());
    let time: DateTime = time.parse().ok().or_else(read)?;
    Some(time.duration_since(date(1970, 1, 1).at(0, 0, 0, 0)).as_secs_f64() - offset)
}

/// The rest, and by how many seconds the zone is ahead of UTC.
fn without_zone(value: &str) -> (&str, f64) {
    let is_offset = |at: &usize| {
        let (hours, minutes) = value.get(at + 1..).and_then(|zone| zone.split_at_checked(2)).unwrap_or_default();
        let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
        minutes.len() == 2 && hours.chars().chain(minutes.chars()).all(|digit| digit.is_ascii_digit())
    };
    let sign = value.rfind(['+', '-']).filter(is_offset);
    let (rest, zone) = sign.and_then(|at| value.split_at_checked(at)).unwrap_or((value, ""));
    let digits: f64 = zone.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or_default();
    let ahead = (digits / 100.0).trunc() * 3_600.0 + digits % 100.0 * 60.0;
    let named = ["GMT", "UTC", "UT", "Z"].into_iter().find_map(|name| rest.strip_suffix(name));
    (named.unwrap_or(rest), if zone.starts_with('-') { -ahead } else { ahead })
}

fn without_weekday(value: &str) -> &str {
    match value.split_once([' ', ',']) {
        Some((day, rest)) if is_weekday(day) => rest.trim_start_matches([' ', ',']),
        Some(_) | None => value,
    }
}

fn is_weekday(word: &str) -> bool {
    let begins = |day: &&str| word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(day));
    let alphabetic = word.chars().all(|letter| letter.is_ascii_alphabetic());
    alphabetic && ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].iter().any(begins)
}

/// How long until that time in epoch seconds, milliseconds, microseconds or nanoseconds; none where it is too little to be one.
fn since_epoch(number: f64, date_of_reply: f64) -> Option<Duration> {
    let seconds = match number {
        n if n > 1e18 => n / 1e9,
        n if n > 1e15 => n / 1e6,
        n if n > 1e12 => n / 1e3,
        n if n > 1e9 => n,
        _ => return None,
    };
    Some(clamped(seconds - date_of_reply))
}

fn clamped(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64()))
}

fn number(value: &str) -> Option<f64> {
    let plain =
        value.starts_with(|c: char| c.is_ascii_digit()) && value.chars().all(|c| c.is_ascii_digit() || c == '.');
    if plain { value.parse().ok() } else { None }
}

/// `6m0s`, `1s`, `20ms`.
fn duration(value: &str) -> Option<Duration> {
    let duration = Duration::try_from(value.parse::<SignedDuration>().ok()?).ok()?;
    Some(duration.min(LONGEST))
}
