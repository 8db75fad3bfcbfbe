//! The Grafana dashboard, as far as it can be judged without Grafana: whole, without overlaps, and its links lead to the runbook.

use std::collections::BTreeSet;

use serde_json::Value;

const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboards/sluice.json");

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

/// Left, top, right and bottom.
fn edges(panel: &Value) -> [u64; 4] {
    let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
    [at("x"), at("y"), at("x") + at("w"), at("y") + at("h")]
}

#[test]
fn it_is_found_under_a_fixed_id_and_asks_the_data_source_that_is_chosen() {
    let dashboard = dashboard();
    assert_eq!((&dashboard["uid"], &dashboard["schemaVersion"]), (&"sluice".into(), &39.into()));
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        for asked in targets.iter().chain([panel]) {
            assert_eq!(asked["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}

#[test]
fn no_panel_covers_another_or_leaves_the_page() {
    let panels = panels();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for (index, panel) in panels.iter().enumerate() {
        let [left, top, right, bottom] = edges(panel);
        assert!(right <= 24, "{}", panel["title"]);
        for other in &panels[index + 1..] {
            let [others_left, others_top, others_right, others_bottom] = edges(other);
            let beside = right <= others_left || others_right <= left || bottom <= others_top || others_bottom <= top;
            assert!(beside, "{} covers {}", panel["title"], other["title"]);
        }
    }
}

#[test]
fn it_shows_of_each_class_of_events_and_of_those_not_sent_how_many_there_are() {
    for metric in [
        "sluice_bulk_ready",
        "sluice_bulk_retrying",
        "sluice_bulk_delivered_total",
        "sluice_bulk_oldest_event_seconds",
        "sluice_scheduled",
        "sluice_dropped_total",
        "sluice_suppressed_total",
        r#"reason=\"too_old\""#,
    ] {
        let shown = panels().iter().any(|panel| panel["targets"].to_string().contains(metric));
        assert!(shown, "no panel shows {metric}");
    }
}

#[test]
fn every_panel_says_what_it_shows_and_its_links_lead_to_entries_of_the_runbook() {
    let anchors: BTreeSet<String> = super::rules::alerts().iter().map(|name| name.to_lowercase()).collect();
    let mut linked = 0;
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 15), "{}", panel["title"]);
        for link in panel["links"].as_array().into_iter().flatten() {
            let anchor = link["url"].as_str().unwrap().strip_prefix("${runbook}#").unwrap();
            assert!(anchors.contains(anchor), "{}: {anchor}", panel["title"]);
            linked += 1;
        }
    }
    assert!(linked > 15, "{linked}");
}
