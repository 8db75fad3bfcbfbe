//! `docs/runbook.md`: an entry for each alert that says all it has to.

use std::collections::{BTreeMap, BTreeSet};

use sluice::verdict::Reason;

const PAGE: &str = include_str!("../../docs/runbook.md");
/// What an entry says, in this order.
const PARTS: [&str; 4] = ["**Means.**", "**Look.**", "**Do.**", "**Do not**"];

/// The entries of the runbook by their headings, which are the alerts' names.
fn entries() -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for section in PAGE.split("\n### Sluice").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap();
        let entry = rest.split("\n#").next().unwrap();
        let before = entries.insert(format!("Sluice{}", name.trim()), entry.to_owned());
        assert!(before.is_none(), "Sluice{name} has two entries");
    }
    entries
}

#[test]
fn every_alert_has_an_entry_and_every_entry_an_alert() {
    let headings: BTreeSet<String> = entries().into_keys().collect();
    assert_eq!(headings, super::rules::alerts());
}

#[test]
fn an_entry_says_what_it_means_how_to_look_what_to_do_and_what_not() {
    for (name, entry) in entries() {
        let places = PARTS.map(|part| entry.find(part).unwrap_or_else(|| panic!("{name} has no {part}")));
        assert!(places.is_sorted(), "{name}: its parts are not in the order {PARTS:?}");
    }
}

#[test]
fn every_reason_of_a_dead_letter_has_a_line_that_says_whose_turn_it_is() {
    let entry = &entries()["SluiceDeadLetters"];
    let lines: Vec<&str> = entry.lines().filter(|line| line.starts_with("| `")).collect();
    for reason in Reason::ALL.map(Reason::name) {
        let of_it = lines.iter().filter(|line| line.contains(&format!("`{reason}`"))).count();
        assert_eq!(of_it, 1, "{reason}");
    }
}
