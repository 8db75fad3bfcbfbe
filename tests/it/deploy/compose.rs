//! docker-compose.yml and what it mounts.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;
use sluice::routing;
use sluice::seal::Seal;
use sluice::vendors::REGISTRY;

use super::{configuration, known, longest_stop, path, read, texts, yaml};

const CONFIGURATION: &str = "deploy/compose/sluice.toml";
const OURS: [&str; 3] = ["sluice", "sandbox", "producer"];

fn services() -> Vec<(String, Value)> {
    let compose = yaml("docker-compose.yml").remove(0);
    let services: Vec<_> =
        compose["services"].as_object().unwrap().iter().map(|(name, one)| (name.clone(), one.clone())).collect();
    let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grafana", "producer", "prometheus", "rabbitmq", "sandbox", "sluice"]);
    services
}

#[test]
fn every_image_that_is_pulled_is_pinned_to_a_release() {
    let pinned = Regex::new(r"^[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)?$").unwrap();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        assert_eq!(OURS.contains(&name.as_str()), service["build"].is_object(), "{name}");
        assert!(service["build"].is_object() || pinned.is_match(image), "{name}: {image}");
    }
}

#[test]
fn every_service_is_watched_started_again_and_bounded_in_its_logs() {
    for (name, service) in services() {
        let health = &service["healthcheck"];
        let is_watched = health["test"][0] == "CMD" && health["interval"].is_string() && health["timeout"].is_string();
        assert!(is_watched || (name == "producer" && health["disable"] == true), "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["logging"]["options"]["max-size"].is_string(), "{name}");
    }
}

#[test]
fn nothing_is_reached_from_other_machines() {
    for (name, service) in services() {
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        assert!(service["network_mode"].is_null() && service["privileged"].is_null(), "{name}");
    }
}

#[test]
fn what_is_ours_has_no_privilege_and_writes_nothing() {
    for (name, service) in services().into_iter().filter(|(name, _)| OURS.contains(&name.as_str())) {
        assert_eq!((&service["read_only"], texts(&service["cap_drop"])), (&true.into(), vec!["ALL"]), "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
    }
}

#[test]
fn a_worker_has_time_to_finish_and_to_let_its_leases_go() {
    let longest = longest_stop(&configuration(CONFIGURATION));
    for (name, service) in services().into_iter().filter(|(name, _)| OURS.contains(&name.as_str())) {
        let grace = service["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse::<u64>().unwrap();
        assert!(grace > longest.as_secs(), "{name}: {longest:?}");
    }
}

#[test]
fn three_workers_can_run_side_by_side_and_each_is_scraped() {
    let (_, sluice) = services().into_iter().find(|(name, _)| name == "sluice").unwrap();
    for alone in ["container_name", "hostname", "network_mode", "networks"] {
        assert!(sluice[alone].is_null(), "{alone} would be the same for each");
    }
    assert!(texts(&sluice["volumes"]).iter().all(|volume| volume.ends_with(":ro")), "they share no disk to write to");
    let port = Regex::new(r"^127\.0\.0\.1:(\d+)-(\d+):9464$").unwrap();
    for published in texts(&sluice["ports"]) {
        let range = port.captures(published).unwrap_or_else(|| panic!("one port for all of them: {published}"));
        let (first, last): (u16, u16) = (range[1].parse().unwrap(), range[2].parse().unwrap());
        assert!(last - first >= 2, "{published}");
        let others: Vec<String> = services()
            .iter()
            .flat_map(|(name, one)| (name != "sluice").then(|| texts(&one["ports"]).join(" ")))
            .collect();
        assert!((first..=last).all(|port| !others.join(" ").contains(&format!(":{port}:"))), "{published}: {others:?}");
    }
    let prometheus = yaml("deploy/prometheus/prometheus.yml").remove(0);
    let job = prometheus["scrape_configs"].as_array().unwrap().iter().find(|job| job["job_name"] == "sluice").unwrap();
    assert!(job["static_configs"].is_null(), "a name that stands for three is scraped as one");
    let found = &job["dns_sd_configs"][0];
    assert_eq!((texts(&found["names"]), &found["type"], &found["port"]), (vec!["sluice"], &"A".into(), &9464.into()));
}

#[test]
fn the_secrets_that_are_made_are_such_as_sluice_takes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("deploy/compose")).unwrap();
    for file in [".env.example", "deploy/compose/new-env.sh"] {
        std::fs::copy(path(file), folder.path().join(file)).unwrap();
    }
    let made = std::process::Command::new("sh").arg(folder.path().join("deploy/compose/new-env.sh")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = std::fs::read_to_string(folder.path().join(".env")).unwrap();
    let of = |name: &str| made.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
    Seal::new(&of("SLUICE_LEDGER_KEY").into()).unwrap();
    assert!(of("RABBITMQ_PASSWORD").bytes().all(|byte| byte.is_ascii_alphanumeric()), "it becomes part of an address");
    assert!(of("SLUICE_ADMIN_TOKEN").len() >= 16);
}

#[test]
fn no_secret_stands_in_the_file_and_a_missing_one_is_asked_for() {
    let secret = Regex::new("(?i)pass|token|secret|key|url").unwrap();
    let required = Regex::new(r"\$\{([A-Z_]+):\?[^}]+\}").unwrap();
    let mut asked = BTreeSet::new();
    for (name, service) in services() {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            asked.extend(required.captures_iter(value).map(|found| found[1].to_owned()));
            assert!(!secret.is_match(variable) || required.is_match(value), "{name}: {variable}");
        }
    }
    let example = read(".env.example");
    let lines: Vec<&str> = example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let offered: BTreeSet<String> = lines.iter().filter_map(|line| line.strip_suffix('=')).map(str::to_owned).collect();
    assert_eq!((offered.len(), &offered), (lines.len(), &asked), "each is there, and empty");
    assert!(read(".gitignore").lines().any(|line| line == "/.env"));
}

#[test]
fn what_is_mounted_is_there() {
    for (name, service) in services() {
        let volumes = texts(&service["volumes"]);
        for (from, _) in
            volumes.iter().filter_map(|volume| volume.split_once(':')).filter(|(from, _)| from.contains('/'))
        {
            assert!(path(from).exists(), "{name}: {from}");
        }
        assert!(volumes.iter().all(|volume| !volume.starts_with('.') || volume.ends_with(":ro")), "{name}");
    }
}

#[test]
fn the_commands_are_those_of_sluice() {
    for (name, service) in services().into_iter().filter(|(name, _)| OURS.contains(&name.as_str())) {
        if service["entrypoint"].is_null() {
            let arguments = texts(&service["command"]);
            let arguments = if arguments.is_empty() { vec!["run"] } else { arguments };
            known(&[&["sluice"], &arguments[..]].concat());
        }
        if name != "producer" {
            known(&texts(&service["healthcheck"]["test"])[1..]);
        }
    }
    let producer = read("deploy/compose/produce.sh");
    let command = producer.lines().find_map(|line| line.strip_prefix("exec ")?.split_once(" <")).unwrap().0;
    known(&command.split(' ').collect::<Vec<_>>());
}

#[test]
fn the_worker_has_a_destination_for_each_vendor_and_one_for_each_event_of_the_producer() {
    let config = configuration(CONFIGURATION);
    let vendors: BTreeSet<_> = config.destinations.values().map(|one| one.vendor_name).collect();
    assert_eq!(vendors.len(), REGISTRY.len(), "{vendors:?}");
    let producer = read("deploy/compose/produce.sh");
    let kinds: Vec<&str> = producer
        .lines()
        .filter_map(|line| line.trim().strip_prefix("event ")?.split_once(' '))
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    for kind in kinds {
        let wanted = config.destinations.values().filter(|one| routing::subscribes(&one.subscribe, kind)).count();
        assert_eq!(wanted, 1, "{kind}");
    }
}

#[test]
fn prometheus_scrapes_the_workers_and_the_broker_and_grafana_reads_prometheus() {
    let prometheus = yaml("deploy/prometheus/prometheus.yml").remove(0);
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let names: Vec<&str> = jobs.iter().filter_map(|job| job["job_name"].as_str()).collect();
    assert_eq!(names, ["sluice", "rabbitmq"]);
    assert_eq!(texts(&jobs[0]["dns_sd_configs"][0]["names"]), ["sluice"]);
    assert_eq!(texts(&jobs[1]["static_configs"][0]["targets"]), ["rabbitmq:15692"]);
    assert_eq!(configuration(CONFIGURATION).admin.listen.port(), 9464);
    assert!(read("deploy/compose/enabled_plugins").contains("rabbitmq_prometheus"));
    let source = yaml("deploy/grafana/provisioning/datasources/prometheus.yml").remove(0);
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
}
