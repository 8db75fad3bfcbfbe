//! The rules as promtool reads them: it takes them, and every case of theirs holds. `make unit` leaves this module out.

use std::process::{Child, Command, Stdio};

use super::{FOLDER, test_files};

const SKIPPED: &str = "skipped: there is no promtool; install it with: apt-get install prometheus";

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
