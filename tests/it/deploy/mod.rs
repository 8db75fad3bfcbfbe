//! The files that people run Sluice with: that they hold together, with the program and with each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use serde_json::Value;
use sluice::cli::Cli;
use sluice::config::{self, Config};
use sluice::destination::STOP_WITHIN;

/// Every configuration that comes with Sluice, but for the sample, which has all keys.
const CONFIGURATIONS: [&str; 3] =
    ["deploy/kubernetes/base/sluice.toml", "deploy/kubernetes/example/sluice.toml", "deploy/compose/sluice.toml"];

mod compose;
mod image;
mod kubernetes;
mod scale;
mod systemd;

/// A path in the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[track_caller]
fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a YAML file.
#[track_caller]
fn yaml(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The configuration as `sluice check` reads it, where every secret is there.
#[track_caller]
fn configuration(name: &str) -> Config {
    let secret = |name: &str| {
        let name = name.to_lowercase();
        Some(match () {
            () if name.contains("amqp") => "amqp://localhost".into(),
            () if name.contains("ledger") => format!("{}=", "k".repeat(43)),
            () => format!("of-{name}-{name}"),
        })
    };
    let file = |path: &Path| Ok(secret(&path.display().to_string()).unwrap_or_default());
    config::parse(name, &read(name), &secret, &file).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Fails where Sluice does not know this command line.
#[track_caller]
fn known(command: &[&str]) {
    if let Err(error) = Cli::try_parse_from(command) {
        panic!("{command:?}: {error}");
    }
}

/// How long a worker takes to stop at the longest: what is in flight, then the leases' last notes (their length and a second), then connections.
fn longest_stop(config: &Config) -> Duration {
    STOP_WITHIN + config.broker.lease + Duration::from_secs(4)
}

#[test]
fn tokens_are_kept_for_whichever_worker_drives_next_and_never_on_a_disk_of_one() {
    for name in CONFIGURATIONS {
        assert!(configuration(name).broker.ledger_key.is_some(), "{name}");
        assert!(!read(name).contains("token_file"), "{name}");
    }
}
