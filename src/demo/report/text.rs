//! A report as text for a person. Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::sections::{BacklogFigures, BystanderFigures, GateFigures, OrderedFigures};
use super::{DemoFigures, Report};
use crate::demo::events::purchases::WRONG_FIELD;
use crate::demo::events::webinars::BACKLOG;
use crate::demo::events::{BACKLOGGED, BYSTANDER, ORDERED, TROUBLED};
use crate::demo::figures::LatencySummary;
use crate::demo::scenario;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        writeln!(text, "What became of {} events, in {:.1} s:", thousands(self.published), self.seconds)?;
        write_endings(&mut text, self)?;
        let DemoFigures { gate, backlog, ordered, bystander, .. } = &self.figures;
        writeln!(
            text,
            "\n{TROUBLED} (Gainsight PX), whose vendor refused everything for a while and was down for another:"
        )?;
        write_gate(&mut text, gate)?;
        let backlogged = thousands(u64::try_from(BACKLOG).unwrap_or(u64::MAX));
        writeln!(text, "\n{BACKLOGGED} (Act-On, 5 calls a second), a few events and then {backlogged} at once:")?;
        write_backlog(&mut text, backlog)?;
        writeln!(text, "\n{ORDERED} (APSIS One, 100 calls a second, 10 for one profile):")?;
        write_ordered(&mut text, ordered)?;
        writeln!(text, "\n{BYSTANDER} (any HTTP API, with OAuth), which should notice nothing:")?;
        write_bystander(&mut text, bystander)?;
        write_stalls(&mut text, &self.figures)?;
        if self.kept {
            write!(text, "\nEvery promise was kept: each event ended in exactly one place, the right one.")?;
        } else {
            write!(text, "\nThese promises were not kept:")?;
            for problem in &self.problems {
                write!(text, "\n  {problem}")?;
            }
        }
        f.write_str(&text)
    }
}

fn write_endings(text: &mut String, report: &Report) -> fmt::Result {
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let once = match report.delivered_twice {
        0 => "each exactly once".to_owned(),
        twice => format!("{twice} of them more than once"),
    };
    count(text, "delivered", sum(&report.delivered), &once)?;
    for (destination, delivered) in &report.delivered {
        count(text, &format!("  {destination}"), *delivered, "")?;
    }
    count(text, "dead letters", sum(&report.dead), "each with its reason and every attempt")?;
    for (reason, dead) in &report.dead {
        count(text, &format!("  {reason}"), *dead, meaning(reason))?;
    }
    count(text, "unrouted", report.unrouted, "no destination subscribes to their type")
}

fn write_gate(text: &mut String, gate: &GateFigures) -> fmt::Result {
    let GateFigures { refused, refused_over_the_limit, retried, limit_per_second, .. } = gate;
    let over = format!("by 429, then none was sent until it said; {refused_over_the_limit} for being over the limit");
    count(text, "refused", *refused, &over)?;
    count(text, "retried", *retried, "alone among successes: such an event waits in a retry queue")?;
    let used = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let in_all = used(gate.quota_used_in_all);
    let open = format!("of {limit_per_second}/s while the gate was open; {in_all} in all, trouble included");
    line(text, "quota used", &used(gate.quota_used_while_open), &open)
}

fn write_backlog(text: &mut String, backlog: &BacklogFigures) -> fmt::Result {
    let BacklogFigures { calls, facts, csvs, job_questions, failed_jobs, sign_ins, refused, .. } = backlog;
    let spent = format!("{facts} facts, {csvs} CSVs, {job_questions} questions about their jobs; {refused} refused");
    count(text, "calls", *calls, &spent)?;
    let took = backlog.seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"));
    line(text, "took", &took, &format!("instead of {:.0} min, which single calls take", scenario::minutes()))?;
    count(text, "sign-ins", *sign_ins, "of 5 in an hour; the token was revoked on the way")?;
    count(text, "failed jobs", *failed_jobs, "accepted and then not applied: their events were sent again")?;
    count(text, "changed", backlog.changed, "titles have commas, quotes, tabs, line breaks, emoji, right-to-left marks")
}

fn write_ordered(text: &mut String, ordered: &OrderedFigures) -> fmt::Result {
    let OrderedFigures { calls, profiles, busiest_second, busiest_second_of_a_profile, refused, .. } = ordered;
    let most = format!(
        "at most {busiest_second} in a second, {busiest_second_of_a_profile} for one profile; {refused} refused"
    );
    count(text, "calls", *calls, &most)?;
    count(text, "profiles", *profiles, "with keys such as a/b?c=d&e#f and 日本語のお客様")?;
    count(text, "out of order", ordered.out_of_order, "each profile's events arrive as they were published")?;
    let named = format!("dead letters that name the field {WRONG_FIELD:?}; no request was spent");
    count(text, "wrong type", ordered.field_named, &named)
}

fn write_bystander(text: &mut String, bystander: &BystanderFigures) -> fmt::Result {
    let BystanderFigures { calls, while_open, while_closed } = *bystander;
    let within = |latency: Option<LatencySummary>| match latency {
        Some(LatencySummary { p99_at_most_seconds: bound, .. }) if bound.is_finite() => {
            format!("{:.0} ms", bound * 1_000.0)
        }
        Some(_) => "over a day".to_owned(),
        None => "-".to_owned(),
    };
    count(text, "calls", calls, "each a JSON array of what waited: of one event while nothing did")?;
    let said =
        format!("99 % delivered within this while {TROUBLED} was shut; {} while it was open", within(while_open));
    line(text, "latency", &within(while_closed), &said)
}

fn write_stalls(text: &mut String, figures: &DemoFigures) -> fmt::Result {
    if !figures.refused_by_stalls() {
        return Ok(());
    }
    let ms = figures.worst_stall_seconds * 1_000.0;
    writeln!(
        text,
        "\nThis machine was busy: it kept tasks waiting for up to {ms:.0} ms, so that some calls to {TROUBLED} came too close to others."
    )
}

fn count(text: &mut String, what: &str, count: u64, said: &str) -> fmt::Result {
    line(text, what, &thousands(count), said)
}

fn line(text: &mut String, what: &str, figure: &str, said: &str) -> fmt::Result {
    let line = format!("  {what:<14}{figure:>8}  {said}");
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

    #[test]
    fn large_counts_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
