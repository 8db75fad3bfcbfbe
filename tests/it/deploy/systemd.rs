//! deploy/systemd/sluice.service.

use super::{known, read};

#[test]
fn the_unit_starts_a_worker_reloads_it_and_gives_it_time_to_stop() {
    let unit = read("deploy/systemd/sluice.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    let command: Vec<&str> = value("ExecStart").split(' ').collect();
    assert!(command[0].ends_with("/sluice"), "{command:?}");
    known(&command);
    assert_eq!((value("KillSignal"), value("ExecReload")), ("SIGTERM", "/bin/kill -HUP $MAINPID"));
    assert!(value("TimeoutStopSec").parse::<u32>().unwrap() > 10);
    assert_eq!((value("DynamicUser"), value("Restart"), value("RestartPreventExitStatus")), ("yes", "always", "2 3"));
}
