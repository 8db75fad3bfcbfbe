//! The rules for Prometheus: every alert says what its reader needs, and is tested both ways.

mod promtool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");

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
        let link = "{{ with $externalLabels.sluice_runbook }}{{ . }}{{ else }}docs/runbook.md{{ end }}";
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
