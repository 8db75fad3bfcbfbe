//! `/metrics` as Prometheus reads it: every series of a destination from the start, labels from closed lists.

use std::collections::{BTreeMap, BTreeSet};

use sluice::gate::GateState;
use sluice::metrics::{ENTRIES, Metrics, Shows, label_values};
use sluice::verdict::Reason;

fn text(metrics: &Metrics) -> String {
    shown(metrics, &["px"], true)
}

fn shown(metrics: &Metrics, destinations: &[&str], shared: bool) -> String {
    let destinations = destinations.iter().map(|name| (*name).to_owned()).collect();
    String::from_utf8(metrics.text(&Shows { destinations, shared }).unwrap()).unwrap()
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
        "consumed",
        "received",
        "redelivered",
        "requests",
        "replayed",
        "delivered",
        "throttled",
        "retried",
        "released",
        "publish_failures",
        "gate_closed_seconds",
    ] {
        assert_eq!(samples.get(&format!("sluice_{name}_total{{destination=\"px\"}}")), Some(&0.0), "{name}");
    }
    for name in [
        "in_flight",
        "held",
        "gate_until_timestamp_seconds",
        "quota_requests_per_second",
        "gate_rate",
        "gate_learned_ratio",
        "day_budget_used",
        "day_budget_limit",
    ] {
        assert!(samples.contains_key(&format!("sluice_{name}{{destination=\"px\"}}")), "{name}");
    }
    for reason in Reason::ALL {
        let series = format!("sluice_dead_lettered_total{{destination=\"px\",reason=\"{}\"}}", reason.name());
        assert!(samples.contains_key(&series), "{series}");
    }
    for state in GateState::ALL {
        let series = format!("sluice_gate_state{{destination=\"px\",state=\"{}\"}}", state.name());
        assert!(samples.contains_key(&series), "{series}");
    }
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx", "none"] {
        assert!(
            samples.contains_key(&format!("sluice_attempts_total{{class=\"{class}\",destination=\"px\"}}")),
            "{class}"
        );
    }
    for histogram in ["batch_events", "request_duration_seconds", "delivery_latency_seconds"] {
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
    let is_gauge = |line: &str| {
        let name = line.split('{').next().unwrap_or_default();
        ENTRIES.iter().any(|entry| entry.name == name && entry.kind() == "gauge")
    };
    let left = text.lines().filter(|line| line.contains("destination=\"px\""));
    let gauges: Vec<&str> = left.filter(|line| is_gauge(line)).collect();
    assert!(gauges.is_empty(), "{gauges:?}");
}

#[test]
fn a_worker_shows_the_series_of_what_it_drives_and_one_of_them_what_all_know() {
    let metrics = Metrics::new().unwrap();
    let _handles = (metrics.destination("px"), metrics.destination("apsis"));
    metrics.unrouted_ready.set(3);
    let (here, elsewhere) = (shown(&metrics, &["px"], true), shown(&metrics, &["apsis"], false));
    let of = |text: &str, name: &str| text.contains(&format!("destination=\"{name}\""));
    assert!(of(&here, "px") && !of(&here, "apsis") && !of(&elsewhere, "px") && of(&elsewhere, "apsis"));
    assert!(here.contains("\nsluice_unrouted_ready 3\n") && !elsewhere.contains("sluice_unrouted_ready"));
    assert!(elsewhere.contains("sluice_build_info") && elsewhere.contains("sluice_broker_blocked 0"));
}

/// The page as the code has it.
fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         What `/metrics` shows. This page is made from the code (`src/metrics/mod.rs`), and a test compares them. After a change there run \
         `SLUICE_WRITE_DOCS=1 cargo test --test it metrics`. [concepts.md](concepts.md) explains the words.\n\n\
         Every name begins with `sluice_`; those of the process (`process_…`) are there too. Every series of a destination is there from its \
         start. Only what comes from the broker (depths, and what is computed from them) is absent while the broker is away.\n\n\
         | metric | type | labels | what it says |\n|---|---|---|---|\n",
    );
    for entry in ENTRIES {
        let labels: Vec<String> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{}` | {} | {} | {} |\n", entry.name, entry.kind(), labels.join(", "), entry.help.trim());
    }
    page += "\n## Labels\n\n| label | values |\n|---|---|\n";
    let labels: BTreeSet<&str> = ENTRIES.iter().flat_map(|entry| entry.labels).copied().collect();
    for label in labels {
        let values = label_values(label).map_or_else(
            || match label {
                "destination" => "a name under `[destinations]`".to_owned(),
                "outcome" => {
                    "`sent`, `unrouted`, `dropped` (receipts); `recorded`, `dropped` (history); `applied`, `failed`, `refused` (reloads); \
                     `published`, `refused`, `unconfirmed` (events over HTTP)"
                        .to_owned()
                }
                "token" => "a name under `[ingest.tokens]`, `local` where none is set, or `none`".to_owned(),
                "version" => "the version of Sluice".to_owned(),
                other => panic!("no word on the values of {other}"),
            },
            |values| values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
        );
        page += &format!("| `{label}` | {values} |\n");
    }
    page
}

#[test]
fn the_page_on_metrics_says_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, page(), "docs/metrics.md: write it anew with SLUICE_WRITE_DOCS=1");
}

#[test]
fn every_metric_that_is_shown_is_on_the_page() {
    let metrics = Metrics::new().unwrap();
    let _handles = metrics.destination("px");
    let text = text(&metrics);
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in typed.filter(|(name, _)| name.starts_with("sluice_")) {
        let entry = ENTRIES.iter().find(|entry| entry.name == name);
        assert_eq!(entry.map(|entry| entry.kind()), Some(kind), "{name}");
    }
}
