//! What came of a demo: the closed books and the figures come in; JSON, or text for a person, goes out. Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::accounts::{Balance, Ending};
use super::events::{BYSTANDER, TROUBLED};
use super::figures::Latency;

/// What came of a demo.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every event ended in exactly one place, the right one.
    pub balanced: bool,
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
    /// The gate of the troubled destination.
    pub gate: Gate,
    /// How fast the other destination was meanwhile.
    pub bystander: Bystander,
}

/// What the gate of the troubled destination did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// Requests that the vendor answered with 429.
    pub refused: u64,
    /// Of those, how many because they were over the limit.
    pub refused_over_the_limit: u64,
    /// Times that an event was put into a retry queue.
    pub retried: u64,
    /// Requests a second that the vendor allows.
    pub limit_per_second: f64,
    /// The share of that used while the gate was open and events waited.
    pub quota_used_while_open: Option<f64>,
    /// The share of it used from the first request to the last, all trouble included.
    pub quota_used_in_all: Option<f64>,
}

/// The time from event to delivery at the destination beside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bystander {
    /// While the troubled destination's gate was open.
    pub while_open: Option<Latency>,
    /// While it was closed.
    pub while_closed: Option<Latency>,
}

impl Report {
    /// Puts together what came of it.
    #[must_use]
    pub fn new(balance: &Balance, took: Duration, gate: Gate, bystander: Bystander) -> Self {
        let (mut delivered, mut dead, mut unrouted) = (BTreeMap::new(), BTreeMap::new(), 0);
        for (ending, count) in &balance.endings {
            match ending {
                Ending::Delivered(destination) => drop(delivered.insert(destination.clone(), *count)),
                Ending::Dead(reason) => drop(dead.insert(reason.clone(), *count)),
                Ending::Unrouted => unrouted = *count,
            }
        }
        Self {
            balanced: balance.problems.is_empty(),
            problems: balance.problems.clone(),
            published: balance.published,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            delivered,
            delivered_twice: balance.twice,
            dead,
            unrouted,
            gate,
            bystander,
        }
    }

    fn write_endings(&self, text: &mut String) -> fmt::Result {
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let once = match self.delivered_twice {
            0 => "each exactly once".to_owned(),
            twice => format!("{twice} of them more than once"),
        };
        line(text, "delivered", sum(&self.delivered), &once)?;
        for (destination, count) in &self.delivered {
            line(text, &format!("  {destination}"), *count, "")?;
        }
        line(text, "dead letters", sum(&self.dead), "each with its reason and every attempt")?;
        for (reason, count) in &self.dead {
            line(text, &format!("  {reason}"), *count, meaning(reason))?;
        }
        line(text, "unrouted", self.unrouted, "no destination subscribes to their type")
    }

    fn write_gate(&self, text: &mut String) -> fmt::Result {
        let Gate { refused, refused_over_the_limit, retried, limit_per_second, .. } = self.gate;
        let over =
            format!("by 429, then none was sent until it said; {refused_over_the_limit} for being over the limit");
        line(text, "refused", refused, &over)?;
        line(text, "retried", retried, "alone among successes: such an event waits in a retry queue")?;
        let used = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let open =
            format!("of {limit_per_second}/s while the gate was open; {} in all", used(self.gate.quota_used_in_all));
        writeln!(text, "  {:<14}{:>8}  {open}, trouble included", "quota used", used(self.gate.quota_used_while_open))
    }

    fn write_bystander(&self, text: &mut String) -> fmt::Result {
        let Bystander { while_open, while_closed } = self.bystander;
        let within = |latency: Option<Latency>| match latency {
            Some(Latency { p99_at_most_seconds: bound, .. }) if bound.is_finite() => {
                format!("{:.0} ms", bound * 1_000.0)
            }
            Some(_) => "over a day".to_owned(),
            None => "-".to_owned(),
        };
        let (open, closed) = (within(while_open), within(while_closed));
        writeln!(
            text,
            "  {:<14}{closed:>8}  99 % delivered within this while {TROUBLED} was shut; {open} while it was open",
            format!("{BYSTANDER} beside it")
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        writeln!(text, "What became of {} events, in {:.1} s:", thousands(self.published), self.seconds)?;
        self.write_endings(&mut text)?;
        writeln!(text, "\nWhat {TROUBLED} went through:")?;
        self.write_gate(&mut text)?;
        self.write_bystander(&mut text)?;
        if self.balanced {
            write!(text, "\nThe accounts balance: each event ended in exactly one place, the right one.")?;
        } else {
            write!(text, "\nThe accounts do not balance. Events:")?;
            for problem in &self.problems {
                write!(text, "\n  {problem}")?;
            }
        }
        f.write_str(&text)
    }
}

fn line(text: &mut String, what: &str, count: u64, said: &str) -> fmt::Result {
    let line = format!("  {what:<14}{:>8}  {said}", thousands(count));
    writeln!(text, "{}", line.trim_end())
}

fn meaning(reason: &str) -> &'static str {
    match reason {
        "malformed" => "not an event; no request was spent",
        "invalid" => "lacks what the vendor requires; no request was spent",
        "rejected" => "the vendor refused it for good",
        _ => "",
    }
}

/// With a comma before each three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(problems: &[&str]) -> Report {
        let endings =
            [(Ending::Delivered("px".into()), 1_560), (Ending::Dead("rejected".into()), 12), (Ending::Unrouted, 10)];
        let problems = problems.iter().map(ToString::to_string).collect();
        let balance = Balance { published: 2_000, endings: endings.into(), twice: 0, problems };
        let gate = Gate {
            refused: 3,
            refused_over_the_limit: 0,
            retried: 7,
            limit_per_second: 200.0,
            quota_used_while_open: Some(0.994),
            quota_used_in_all: None,
        };
        let while_closed = Some(Latency { count: 99, p99_at_most_seconds: 0.05 });
        Report::new(&balance, Duration::from_millis(21_430), gate, Bystander { while_open: None, while_closed })
    }

    #[test]
    fn a_balanced_report_says_so() {
        let text = report(&[]).to_string();
        for said in ["2,000 events, in 21.4 s", "1,560", "each exactly once", "99.4 %", "50 ms", "The accounts balance"]
        {
            assert!(text.contains(said), "{said:?} is not in\n{text}");
        }
    }

    #[test]
    fn an_unbalanced_report_names_what_is_off() {
        let report = report(&["1 ended nowhere (event-0001)"]);
        assert!(!report.balanced);
        assert!(report.to_string().ends_with("do not balance. Events:\n  1 ended nowhere (event-0001)"));
    }

    #[test]
    fn large_counts_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
