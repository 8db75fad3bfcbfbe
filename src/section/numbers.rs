//! Getters for numbers, durations and booleans, each within a range.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{SignedDuration, SpanRelativeTo, fmt::friendly::SpanParser};
use toml_span::value::ValueInner;

use super::Section;

impl<'a> Section<'a> {
    /// A whole number.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let (value, line) = self.take(key)?;
        self.checked_integer(line, key, &range, &value)
    }

    /// The whole numbers of an array that are good; `mend` says of one, after those before it, what is wrong with it.
    pub fn integers(
        &mut self,
        key: &str,
        range: RangeInclusive<i64>,
        mend: impl Fn(&[i64], i64) -> Option<String>,
    ) -> Vec<i64> {
        let example = format!("[{}]", range.end());
        let mut good = Vec::new();
        self.elements(key, &example, |section, line, value| {
            // Which of them it is, where that is plain.
            if let Some(meant) = value.as_str().and_then(|text| text.trim().parse::<i64>().ok()) {
                section.wrong_type(line, key, &format!("a whole number, as {meant}"), &value);
                return None;
            }
            let number = section.checked_integer(line, key, &range, &value)?;
            if let Some(mend) = mend(&good, number) {
                section.problem_at(line, key, format!("{number} {mend}"));
            }
            good.push(number);
            Some(number)
        });
        good
    }

    /// A whole number as `T`, which `range` has to fit; `default` where it is absent or wrong.
    pub(crate) fn count<T: TryFrom<i64>>(&mut self, key: &str, range: RangeInclusive<i64>, default: T) -> T {
        self.count_if_any(key, range).unwrap_or(default)
    }

    /// A whole number in that range; none where it is not written.
    pub(crate) fn count_if_any<T: TryFrom<i64>>(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<T> {
        self.integer(key, range).and_then(|number| T::try_from(number).ok())
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let (value, line) = self.take(key)?;
        if value.as_bool().is_none() {
            self.wrong_type(line, key, "true or false", &value);
        }
        value.as_bool()
    }

    /// A length of time, as `"250ms"`, `"5s"`, `"2m"`, `"24h"` or `"7d"`; a day is 24 hours.
    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (value, line) = self.take(key)?;
        self.checked_duration(line, key, &range, value)
    }

    /// An array of lengths of time.
    pub fn durations(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Vec<Duration>> {
        self.elements(key, "[\"5s\", \"2m\"]", |section, line, value| {
            section.checked_duration(line, key, &range, value)
        })
    }

    fn checked_integer(
        &mut self,
        line: usize,
        key: &str,
        range: &RangeInclusive<i64>,
        value: &ValueInner<'_>,
    ) -> Option<i64> {
        match value.as_integer() {
            Some(number) if range.contains(&number) => return Some(number),
            Some(number) => {
                let message = format!("{number} is out of range; write {} to {}", range.start(), range.end());
                self.problem_at(line, key, message);
            }
            None => self.wrong_type(line, key, "a whole number", value),
        }
        None
    }

    fn checked_duration(
        &mut self,
        line: usize,
        key: &str,
        range: &RangeInclusive<Duration>,
        value: ValueInner<'a>,
    ) -> Option<Duration> {
        if let ValueInner::Integer(number) = value {
            self.problem_at(line, key, format!("a duration needs its unit: write \"{number}s\" for seconds"));
            return None;
        }
        let text = self.resolve(line, key, value)?;
        let Some(duration) = parse_duration(&text) else {
            let shown = self.shown(key, &text);
            self.problem_at(line, key, format!("{shown} is not a duration; write one as \"250ms\", \"5s\" or \"2h\""));
            return None;
        };
        if !range.contains(&duration) {
            let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
            let shown = self.shown(key, &text);
            self.problem_at(line, key, format!("{shown} is out of range; write \"{from}\" to \"{to}\""));
            return None;
        }
        Some(duration)
    }
}

/// A length of time as people write it: `90s`, `2h`, `1d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
}

/// How long something lasts, such as `90m`, `2h` or `1d`; what to write where it is nothing of the kind.
pub(crate) fn parse_lasting(text: &str) -> Result<Duration, String> {
    let lasts = parse_duration(text).filter(|lasts| !lasts.is_zero());
    lasts.ok_or_else(|| format!("{text:?} is no length of time; write one such as 90m, 2h or 1d"))
}

/// A duration as a person writes it in the file.
pub(crate) fn show_duration(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |signed| format!("{signed:#}"))
}
