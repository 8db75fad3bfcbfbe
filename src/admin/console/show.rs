//! Figures and times as people read them. Pure.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;

use crate::dead_letters::acts::Act;
pub(super) use crate::words::{compact, count, of, pretty};

/// A moment: how long ago, with the exact time for who wants it.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(ext = "html", source = "<time datetime=\"{{ iso }}\" title=\"{{ exact }}\">{{ ago }}</time>")]
pub(super) struct Moment {
    /// For machines.
    pub iso: String,
    /// To the second, in UTC.
    pub exact: String,
    /// From now.
    pub ago: String,
    /// The time of day in UTC, with the day where it is another.
    pub clock: String,
}

// What it writes is escaped already.
impl HtmlSafe for Moment {}

impl Moment {
    pub fn of(at: Timestamp, now: Timestamp) -> Self {
        let seconds = now.duration_since(at).as_secs_f64();
        let ago = match seconds {
            _ if seconds < -1.0 => format!("in {}", span(-seconds)),
            _ if seconds < 1.0 => "now".to_owned(),
            _ => format!("{} ago", span(seconds)),
        };
        let same_day = at.strftime("%F").to_string() == now.strftime("%F").to_string();
        Self {
            iso: at.strftime("%FT%TZ").to_string(),
            exact: at.strftime("%F %T UTC").to_string(),
            ago,
            clock: at.strftime(if same_day { "%T" } else { "%F %T" }).to_string(),
        }
    }

    pub fn maybe(at: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        at.map(|at| Self::of(at, now))
    }
}

/// A length of time: its two largest units at most.
pub(in crate::admin) fn span(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "never".to_owned();
    }
    if seconds < 1.0 {
        return "under 1 s".to_owned();
    }
    let whole = whole(seconds);
    let (days, hours, minutes, left) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    let two = |large: u64, unit: &str, small: u64, other: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {other}") }
    };
    match () {
        () if days >= 100 => format!("{} d", count(days)),
        () if days > 0 => two(days, "d", hours, "h"),
        () if hours > 0 => two(hours, "h", minutes, "min"),
        () if minutes >= 10 => format!("{minutes} min"),
        () if minutes > 0 => two(minutes, "min", left, "s"),
        () => format!("{left} s"),
    }
}

/// A rate, to two or three digits.
pub(super) fn rate(a_second: f64) -> String {
    match a_second {
        rate if !rate.is_finite() => "∞".to_owned(),
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 0.0095 => format!("{rate:.3}"),
        rate if rate < 0.095 => format!("{rate:.2}"),
        rate if rate < 9.95 => trimmed(&format!("{rate:.1}")),
        rate => count(whole(rate)),
    }
}

/// An act, at the beginning of a sentence.
pub(super) fn act(act: Act) -> &'static str {
    match act {
        Act::Replay => "Replay",
        Act::Edit => "Edit",
        Act::Discard => "Discard",
        Act::Restore => "Restore",
        Act::Purge => "Delete for good:",
    }
}

/// A share, in whole per cent.
pub(super) fn percent(part: f64, of: f64) -> u64 {
    if of <= 0.0 { 0 } else { whole(part / of * 100.0) }
}

fn trimmed(text: &str) -> String {
    text.strip_suffix(".0").unwrap_or(text).to_owned()
}

#[expect(clippy::as_conversions, reason = "a float that is shown: cut to what fits, as `as` does")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now_with_the_exact_time_beside_it() {
        let now: Timestamp = "2026-03-01T00:00:30Z".parse().unwrap();
        let at: Timestamp = "2026-02-28T23:57:05Z".parse().unwrap();
        let shown = Moment::of(at, now);
        assert_eq!((shown.ago.as_str(), shown.exact.as_str()), ("3 min 25 s ago", "2026-02-28 23:57:05 UTC"));
        assert_eq!((shown.clock.as_str(), shown.iso.as_str()), ("2026-02-28 23:57:05", "2026-02-28T23:57:05Z"));
        assert_eq!(Moment::of(now, at).ago, "in 3 min 25 s");
        assert_eq!((Moment::of(now, now).ago, Moment::of(now, now).clock), ("now".into(), "00:00:30".into()));
    }

    #[test]
    fn lengths_of_time_have_two_units_at_most() {
        for (seconds, shown) in [
            (0.2, "under 1 s"),
            (59.0, "59 s"),
            (61.0, "1 min 1 s"),
            (700.0, "11 min"),
            (7_500.0, "2 h 5 min"),
            (90_000.0, "1 d 1 h"),
            (172_800.0, "2 d"),
            (1e9, "11,574 d"),
            (f64::INFINITY, "never"),
        ] {
            assert_eq!(span(seconds), shown);
        }
    }

    #[test]
    fn figures_are_readable_at_every_size() {
        assert_eq!(
            (count(0_u64), count(999_u32), count(1_234_567_u64)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        for (rate_, shown) in [
            (0.0, "0"),
            (0.00333, "0.003"),
            (0.0333, "0.03"),
            (0.5, "0.5"),
            (5.0, "5"),
            (9.97, "10"),
            (1234.4, "1,234"),
        ] {
            assert_eq!(rate(rate_), shown);
        }
        assert_eq!((percent(1.0, 3.0), percent(1.0, 0.0)), (33, 0));
    }
}
