//! Counts of the last hours as a small chart of bars. Pure.

use askama::Template;
use askama::filters::HtmlSafe;

use super::show::of;

const WIDTH: u32 = 120;
const HEIGHT: u32 = 28;
/// The least height of what is more than nothing.
const LEAST: u32 = 2;

/// A bar for each hour, the latest on the right.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = "<svg class=\"chart\" viewBox=\"0 0 120 28\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{{ says }}\"><title>{{ says }}</title><path class=\"chart-bad\" d=\"{{ path }}\"/></svg>"
)]
pub(super) struct Bars {
    path: String,
    /// For who cannot see it, and on hover.
    says: String,
}

// What it writes is escaped already.
impl HtmlSafe for Bars {}

impl Bars {
    /// None where there are no counts.
    pub fn of(by_hour: &[u32]) -> Option<Self> {
        let hours = u32::try_from(by_hour.len()).ok().filter(|hours| *hours > 0)?;
        let (most, mut path) = (by_hour.iter().copied().max().unwrap_or(0).max(1), String::new());
        for (hour, count) in (0..hours).zip(by_hour).filter(|(_, count)| **count > 0) {
            let (left, right) = (hour * WIDTH / hours, (hour + 1) * WIDTH / hours - 1);
            let high = u64::from(*count) * u64::from(HEIGHT) / u64::from(most);
            let high = u32::try_from(high).unwrap_or(HEIGHT).max(LEAST);
            let top = HEIGHT - high;
            path.push_str(&format!("M{left} {HEIGHT}V{top}H{right}V{HEIGHT}Z"));
        }
        let total: u64 = by_hour.iter().copied().map(u64::from).sum();
        let last = by_hour.last().copied().unwrap_or(0);
        let says = format!(
            "{} in the last {hours} h; in this hour {last}, at most {most} in an hour",
            of(total, "event", "events")
        );
        let says = if total == 0 { format!("none in the last {hours} h") } else { says };
        Some(Self { path, says })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stands_for_each_hour_in_which_something_happened() {
        let bars = Bars::of(&[0, 1, 100, 0]).unwrap();
        assert_eq!(bars.path, "M30 28V26H59V28ZM60 28V0H89V28Z");
        assert_eq!(bars.says, "101 events in the last 4 h; in this hour 0, at most 100 in an hour");
        assert_eq!(
            Bars::of(&[0, 0]).map(|bars| (bars.path, bars.says)),
            Some((String::new(), "none in the last 2 h".to_owned()))
        );
        assert_eq!(Bars::of(&[]), None);
    }
}
