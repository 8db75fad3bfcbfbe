//! The rules for Prometheus: promtool takes them, every alert says what its reader needs, and is tested both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde::de::IgnoredAny;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");
const SKIPPED: &str = "skipped: there is no promtool; install it with: apt-get install prometheus";

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A recording rule, or an alert.
#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
}

#[derive(Deserialize)]
struct AlertTest {
    alertname: String,
    exp_alerts: Vec<IgnoredAny>,
}

fn rules() -> Vec<Rule> {
    let text = std::fs::read_to_string(format!("{FOLDER}/rules/sluice.yml")).unwrap();
    let rules: Rules = serde_saphyr::from_str(&text).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The names of all alerts.
pub fn alerts() -> BTreeSet<String> {
    rules().into_iter().filter_map(|rule| rule.alert).collect()
}

fn test_files() -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(FOLDER).join("tests")).unwrap();
    entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
}

/// Starts promtool; none where it is not installed, which only a machine of somebody else's may do without.
fn promtool(arguments: &[&str]) -> Option<Child> {
    let mut command = Command::new("promtool");
    match command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => Some(child),
        Err(_) if std::env::var_os("CI").is_none() => None,
        Err(error) => panic!("promtool cannot be run: {error}"),
    }
}

fn succeeds(child: Child) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

#[test]
fn promtool_takes_the_rules() {
    match promtool(&["check", "rules", &format!("{FOLDER}/rules/sluice.yml")]) {
        Some(promtool) => succeeds(promtool),
        None => println!("{SKIPPED}"),
    }
}

#[test]
fn every_alert_fires_on_its_case_and_stays_silent_on_what_only_looks_like_it() {
    let files = test_files();
    let running: Option<Vec<_>> = files.iter().map(|file| promtool(&["test", "rules", file])).collect();
    match running {
        Some(running) => running.into_iter().for_each(succeeds),
        None => println!("{SKIPPED}"),
    }
}

#[test]
fn every_alert_is_tested_both_ways() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in test_files() {
        let tests: Tests = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for test in tests.tests.into_iter().flat_map(|test| test.alert_rule_test) {
            let seen = if test.exp_alerts.is_empty() { &mut silent } else { &mut fires };
            seen.insert(test.alertname);
        }
    }
    assert_eq!((&fires, &silent), (&alerts(), &alerts()));
}

#[test]
fn every_alert_says_whom_it_wakes_what_happens_and_where_to_read_on() {
    for rule in rules() {
        let Some(name) = rule.alert else { continue };
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("page" | "ticket" | "info")), "{name}: severity {severity:?}");
        let text = |key: &str| rule.annotations.get(key).cloned().unwrap_or_default();
        let (summary, description) = (text("summary"), text("description"));
        assert!((20..=160).contains(&summary.len()) && !summary.ends_with('.'), "{name}: {summary:?}");
        assert!(description.len() > summary.len() / 2 && description.ends_with('.'), "{name}: {description:?}");
        if rule.expr.contains("destination:") {
            assert!(
                summary.contains("{{ $labels.destination }}"),
                "{name}: the summary does not say which destination"
            );
        }
        let anchor = name.to_lowercase();
        let link = "{{ with $externalLabels.sluice_runbook }}{{ . }}{{ else }}docs/operations.md{{ end }}";
        assert_eq!(text("runbook_url"), format!("{link}#{anchor}"), "{name}");
    }
}

#[test]
fn every_recording_rule_is_named_by_level_metric_and_operation() {
    let levels = ["destination", "sluice"];
    for rule in rules() {
        let Some(name) = rule.record else { continue };
        let parts: Vec<&str> = name.split(':').collect();
        assert!(parts.len() == 3 && levels.contains(&parts[0]) && parts.iter().all(|part| !part.is_empty()), "{name}");
    }
}
