//! docs/scale.md: what it counts is so.

use std::collections::BTreeSet;

use sluice::metrics::{ENTRIES, Metrics, Shows};

use super::{configuration, read};

const PAGE: &str = "docs/scale.md";
/// What is shown of a destination once its queues were read.
const OF_QUEUES: [&str; 10] = [
    "queue_ready",
    "retrying",
    "scheduled",
    "dead_letters_ready",
    "trash_ready",
    "oldest_event_seconds",
    "drain_seconds",
    "day_budget_runs_out_timestamp_seconds",
    "day_ends_timestamp_seconds",
    "dead_letters_unattended",
];

/// The row of the table that begins so.
fn row(start: &str) -> String {
    let page = read(PAGE);
    page.lines().find(|line| line.starts_with(&format!("| {start}"))).unwrap_or_else(|| panic!("{start}")).to_owned()
}

#[test]
fn a_destination_has_as_many_series_as_the_page_says() {
    let metrics = Metrics::new().unwrap();
    let _handles = metrics.destination("px");
    let shows = Shows { destinations: ["px".to_owned()].into(), shared: false };
    let text = String::from_utf8(metrics.text(&shows).unwrap()).unwrap();
    let names: BTreeSet<String> = ENTRIES.iter().map(|entry| entry.name.to_owned()).collect();
    let of_queues: Vec<String> = OF_QUEUES.iter().map(|name| format!("sluice_{name}")).collect();
    assert!(of_queues.iter().all(|name| names.contains(name)));
    let lines = text.lines().filter(|line| line.contains("destination=\"px\""));
    let at_the_driver =
        lines.filter(|line| !of_queues.iter().any(|name| line.starts_with(&format!("{name}{{")))).count();
    let row = row("Prometheus series");
    assert!(
        row.contains(&format!("{} **m** at its driver", at_the_driver + of_queues.len())),
        "{at_the_driver}: {row}"
    );
}

#[test]
fn a_destination_has_as_many_queues_as_the_page_says() {
    let config = configuration("deploy/kubernetes/example/sluice.toml");
    for destination in config.destinations.values() {
        // Its own, that of bulk events, dead letters, trash and lease.
        assert!(row("quorum queues").contains("| 5 |"));
        // Of each class.
        let retries = destination.retry.delays.len() * 2;
        assert!(row("more of them").contains(&format!("| up to {retries} |")), "{retries}");
    }
}

#[test]
fn every_link_to_a_part_of_the_page_leads_there_and_the_page_is_found() {
    let page = read(PAGE);
    let headings: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-").replace(',', ""))
        .collect();
    for link in page.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(headings.contains(link), "{link}: {headings:?}");
    }
    for (from, link) in
        [("README.md", "(docs/scale.md)"), ("docs/operations.md", "(scale.md)"), ("docs/install.md", "(scale.md)")]
    {
        assert!(read(from).contains(link), "{from}");
    }
}
