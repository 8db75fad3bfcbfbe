//! `docs/operations.md`: an entry for each alert that says all it has to, and no command that Sluice does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use clap::Parser as _;
use sluice::cli::Cli;
use sluice::verdict::Reason;

const PAGE: &str = include_str!("../../docs/operations.md");
/// What an entry says, in this order.
const PARTS: [&str; 4] = ["**Means.**", "**Look.**", "**Do.**", "**Do not.**"];

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

#[test]
fn every_link_on_the_page_leads_to_one_of_its_headings() {
    let headings = PAGE.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchors: BTreeSet<String> =
        headings.map(|text| text.to_lowercase().replace(|c| !kept(c), "").replace(' ', "-")).collect();
    let links: Vec<&str> = PAGE.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(links.len() > 15, "{links:?}");
    let broken: Vec<&&str> = links.iter().filter(|link| !anchors.contains(**link)).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn every_command_on_the_page_is_one_that_sluice_knows() {
    let commands: Vec<&str> = PAGE
        .split("```sh\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap().lines().map(str::trim))
        .filter(|line| line.starts_with("sluice "))
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    for line in commands {
        if let Err(error) = Cli::try_parse_from(words(line)) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn a_reload_by_hand_reaches_workers_and_no_other_command() {
    let help = Cli::try_parse_from(["sluice", "run", "--help"]).unwrap_err().to_string();
    let patterns: BTreeSet<&str> = [PAGE, &help]
        .iter()
        .flat_map(|text| text.split("kill -HUP ").skip(1))
        .map(|rest| rest.strip_prefix("-f '").and_then(|rest| rest.split('\'').next()).expect("a pattern"))
        .collect();
    let [pattern] = patterns.into_iter().collect::<Vec<_>>()[..] else { panic!("one pattern everywhere") };
    let pattern = regex::Regex::new(pattern).unwrap();
    for worker in [
        "sluice run",
        "/usr/local/bin/sluice run --config /etc/sluice/sluice.toml",
        "sluice --config /etc/sluice/sluice.toml run --log-format json",
        "./sluice -c sluice.toml run",
        "sluice --config=sluice.toml run",
    ] {
        assert!(pattern.is_match(worker), "{worker}");
    }
    for other in [
        "sluice dead replay run --all",
        "/usr/local/bin/sluice --config sluice.toml dead replay px-prod --type run --yes",
        "sluice runner",
        "sh -c sluice run",
        "sudo sluice run",
        "vi /etc/sluice run",
    ] {
        assert!(!pattern.is_match(other), "{other}");
    }
}

/// A line's first command as the shell splits it into words.
fn words(line: &str) -> Vec<String> {
    let first = line.split([';', '|', '>', '&']).next().unwrap();
    let script = format!("sluice() {{ printf '%s\\n' sluice \"$@\"; }}; {first}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
