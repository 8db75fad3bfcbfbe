//! What came of a demo: the closed books and the figures come in; JSON, or text for a person, goes out. Pure.

mod sections;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::accounts::{Balance, Ending};

pub use sections::{BacklogFigures, BystanderFigures, DemoFigures, GateFigures, OrderedFigures};

/// What came of a demo.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every event ended in exactly one place, the right one, and every other promise was kept too.
    pub kept: bool,
    /// What is off, a sentence each.
    pub problems: Vec<String>,
    /// Events published.
    pub published: u64,
    /// From the first publication to the last ending.
    pub seconds: f64,
    /// Events delivered, by destination.
    pub delivered: BTreeMap<String, u64>,
    /// Of those, how many a vendor took more than once.
    pub delivered_twice: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<String, u64>,
    /// Events that no destination subscribes to.
    pub unrouted: u64,
    /// What each destination went through.
    #[serde(flatten)]
    pub figures: DemoFigures,
}

impl Report {
    /// Puts together what came of it.
    #[must_use]
    pub fn new(balance: &Balance, took: Duration, figures: DemoFigures) -> Self {
        let (mut delivered, mut dead, mut unrouted) = (BTreeMap::new(), BTreeMap::new(), 0);
        for (ending, count) in &balance.endings {
            match ending {
                Ending::Delivered(destination) => drop(delivered.insert(destination.clone(), *count)),
                Ending::Dead(reason) => drop(dead.insert(reason.clone(), *count)),
                Ending::Unrouted => unrouted = *count,
            }
        }
        let mut problems = balance.problems.clone();
        // Nothing crashed on the way, so nothing may have come twice.
        problems.extend((balance.twice > 0).then(|| format!("{} were delivered more than once", balance.twice)));
        problems.extend(figures.broken());
        Self {
            kept: problems.is_empty(),
            problems,
            published: balance.published,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            delivered,
            delivered_twice: balance.twice,
            dead,
            unrouted,
            figures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(twice: u64, problems: &[&str]) -> Report {
        let endings =
            [(Ending::Delivered("px".into()), 1_560), (Ending::Dead("rejected".into()), 12), (Ending::Unrouted, 10)];
        let problems = problems.iter().map(ToString::to_string).collect();
        let balance = Balance { published: 2_000, endings: endings.into(), twice, problems };
        Report::new(&balance, Duration::from_millis(21_430), sections::tests::good())
    }

    #[test]
    fn a_report_of_kept_promises_says_so() {
        let text = report(0, &[]).to_string();
        for said in [
            "2,000 events, in 21.4 s",
            "1,560",
            "each exactly once",
            "99.4 %",
            "50 ms",
            "20 facts, 10 CSVs",
            "instead of 17 min",
            "Every promise was kept",
        ] {
            assert!(text.contains(said), "{said:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_report_of_broken_promises_names_them() {
        let report = report(2, &["1 ended nowhere (event-0001)"]);
        assert!(!report.kept);
        let end = "not kept:\n  1 ended nowhere (event-0001)\n  2 were delivered more than once";
        assert!(report.to_string().ends_with(end), "{report}");
    }
}
