//! deploy/systemd/sluice.service.

use std::time::Duration;

use super::{configuration, known, longest_stop, read};

const UNIT: &str = "deploy/systemd/sluice.service";

/// The first value of a key.
fn value(key: &str) -> String {
    let unit = read(UNIT);
    let found = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_default().to_owned()
}

#[test]
fn the_unit_starts_a_worker_reloads_it_and_gives_it_time_to_stop() {
    let start = value("ExecStart");
    let command: Vec<&str> = start.split(' ').collect();
    assert!(command[0].ends_with("/sluice"), "{command:?}");
    known(&command);
    assert_eq!((&*value("KillSignal"), &*value("ExecReload")), ("SIGTERM", "/bin/kill -HUP $MAINPID"));
    let patience = Duration::from_secs(value("TimeoutStopSec").parse().unwrap());
    assert!(patience > longest_stop(&configuration("deploy/compose/sluice.toml")), "{patience:?}");
    let restart = (&*value("DynamicUser"), &*value("Restart"), &*value("RestartPreventExitStatus"));
    assert_eq!(restart, ("yes", "always", "2 3"));
}

#[test]
fn on_two_machines_the_unit_hands_over_the_key_that_both_must_have() {
    let unit = read(UNIT);
    let credentials: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("LoadCredential="))
        .map(|line| {
            let (name, file) = line.split_once(':').unwrap();
            assert_eq!(file, format!("/etc/sluice/secrets/{name}"));
            name
        })
        .collect();
    assert_eq!(credentials, ["amqp-url", "admin-token", "ledger-key"]);
    let install = unit.lines().find(|line| line.contains("/etc/sluice/secrets") && line.contains("install")).unwrap();
    assert!(credentials.iter().all(|name| install.contains(name)), "{install}");
}
