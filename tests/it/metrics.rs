//! `/metrics` as Prometheus reads it: every series of a destination from the start, labels from closed lists.

use std::collections::{BTreeMap, BTreeSet};

use sluice::gate::State;
use sluice::metrics::Metrics;
use sluice::verdict::Reason;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.text().unwrap()).unwrap()
}

/// The samples of a text: names with labels to values.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

#[test]
fn a_destination_has_every_series_from_the_start() {
    let metrics = Metrics::new().unwrap();
    let _handles = metrics.destination("px");
    let samples = samples(&text(&metrics));
    for name in [
        "received",
        "redelivered",
        "delivered",
        "throttled",
        "retried",
        "released",
        "publish_failures",
        "gate_closed_seconds",
    ] {
        assert_eq!(samples.get(&format!("sluice_{name}_total{{destination=\"px\"}}")), Some(&0.0), "{name}");
    }
    for name in ["in_flight", "waiting", "gate_rate", "gate_learned_ratio", "day_budget_used", "day_budget_limit"] {
        assert!(samples.contains_key(&format!("sluice_{name}{{destination=\"px\"}}")), "{name}");
    }
    for reason in Reason::ALL {
        let series = format!("sluice_dead_lettered_total{{destination=\"px\",reason=\"{}\"}}", reason.name());
        assert!(samples.contains_key(&series), "{series}");
    }
    for state in State::ALL {
        let series = format!("sluice_gate_state{{destination=\"px\",state=\"{}\"}}", state.name());
        assert!(samples.contains_key(&series), "{series}");
    }
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx", "none"] {
        assert!(
            samples.contains_key(&format!("sluice_attempts_total{{class=\"{class}\",destination=\"px\"}}")),
            "{class}"
        );
    }
    for histogram in ["request_duration_seconds", "delivery_latency_seconds"] {
        assert!(samples.contains_key(&format!("sluice_{histogram}_count{{destination=\"px\"}}")), "{histogram}");
    }
}

#[test]
fn every_metric_has_help_a_type_and_a_name_of_ours() {
    let metrics = Metrics::new().unwrap();
    let _handles = metrics.destination("px");
    let text = text(&metrics);
    let typed: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let helped: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert_eq!(typed, helped);
    assert!(typed.iter().all(|name| name.starts_with("sluice_") || name.starts_with("process_")), "{typed:?}");
    assert!(
        text.lines()
            .filter(|line| line.starts_with("# HELP"))
            .all(|line| line.ends_with('.') || line.contains("process_"))
    );
}

#[test]
fn no_status_makes_a_new_series() {
    let metrics = Metrics::new().unwrap();
    let destination = metrics.destination("px");
    let before = samples(&text(&metrics)).len();
    for status in 100..1000 {
        destination.attempt(Some(http::StatusCode::from_u16(status).unwrap()));
    }
    destination.attempt(None);
    Reason::ALL.into_iter().for_each(|reason| destination.dead_letter(reason));
    let after = samples(&text(&metrics));
    assert_eq!(after.len(), before);
    let attempts: f64 =
        after.iter().filter(|(name, _)| name.starts_with("sluice_attempts_total")).map(|(_, value)| value).sum();
    assert!((attempts - 901.0).abs() < 0.5, "every attempt is counted once");
}

#[test]
fn a_removed_destination_leaves_no_gauge_behind() {
    let metrics = Metrics::new().unwrap();
    let _handles = metrics.destination("px");
    metrics.forget("px");
    let text = text(&metrics);
    let left = text.lines().filter(|line| line.contains("destination=\"px\""));
    let gauges: Vec<&str> = left.filter(|line| !line.contains("_total") && !line.contains("_seconds_")).collect();
    assert!(gauges.is_empty(), "{gauges:?}");
}
