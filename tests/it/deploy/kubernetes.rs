//! deploy/kubernetes: what no schema can tell.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use super::{configuration, known, longest_stop, read, texts, yaml};

const SECRETS: &str = "/run/secrets/sluice/";

fn base(name: &str) -> Value {
    yaml(&format!("deploy/kubernetes/base/{name}.yml")).remove(0)
}

/// `replicas` of the deployment.
fn replicas() -> u64 {
    base("deployment")["spec"]["replicas"].as_u64().unwrap()
}

#[test]
fn two_workers_run_so_that_one_drives_when_the_other_is_lost() {
    assert!(replicas() >= 2);
}

#[test]
fn a_rolling_upgrade_stops_no_worker_before_the_next_one_is_ready_and_has_its_share() {
    let spec = &base("deployment")["spec"];
    assert_eq!(spec["strategy"]["type"], "RollingUpdate");
    let rolling = &spec["strategy"]["rollingUpdate"];
    assert_eq!(rolling["maxUnavailable"], 0);
    assert!(rolling["maxSurge"].as_u64() > Some(0), "or none could ever be replaced");
    assert!(spec["minReadySeconds"].as_u64() > Some(10), "shares are even within some 10 s");
}

#[test]
fn a_drained_node_takes_one_worker_at_a_time_and_is_never_held_up_for_good() {
    let budget = &base("poddisruptionbudget")["spec"];
    assert!(budget["minAvailable"].is_null() && budget["maxUnavailable"].as_u64() == Some(1), "{budget}");
    assert!(budget["maxUnavailable"].as_u64().unwrap() < replicas(), "it would allow all workers to go at once");
    assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow", "no worker is ready while the broker is away");
    let labels = &base("deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&budget["selector"]["matchLabels"], labels);
}

#[test]
fn no_node_has_all_workers_where_there_are_two_after_a_rollout_too() {
    let pod = &base("deployment")["spec"]["template"];
    let spread = pod["spec"]["topologySpreadConstraints"].as_array().unwrap();
    let of = |key: &str| spread.iter().find(|one| one["topologyKey"] == key).unwrap();
    for (key, otherwise) in
        [("kubernetes.io/hostname", "DoNotSchedule"), ("topology.kubernetes.io/zone", "ScheduleAnyway")]
    {
        let one = of(key);
        assert_eq!((&one["maxSkew"], &one["whenUnsatisfiable"]), (&json!(1), &json!(otherwise)), "{key}");
        assert_eq!(one["labelSelector"]["matchLabels"], pod["metadata"]["labels"], "{key}");
        assert_eq!(one["matchLabelKeys"], json!(["pod-template-hash"]), "each revision is spread by itself: {key}");
        assert_eq!(one["nodeTaintsPolicy"], "Honor", "a node that is drained or dead counts for nothing: {key}");
    }
}

#[test]
fn a_worker_has_time_to_finish_and_to_let_its_leases_go() {
    let grace = base("deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    for name in ["base", "example"] {
        let longest = longest_stop(&configuration(&format!("deploy/kubernetes/{name}/sluice.toml")));
        assert!(grace > longest.as_secs(), "{name}: {longest:?}");
    }
}

#[test]
fn scaling_by_what_waits_starts_enough_workers_for_a_failover_and_none_that_only_stands_by() {
    let documents = yaml("deploy/kubernetes/keda/scaledobject.yml");
    let scaled = &documents[0]["spec"];
    assert_eq!(scaled["scaleTargetRef"]["name"], base("deployment")["metadata"]["name"]);
    assert_eq!(scaled["idleReplicaCount"], 0, "nobody is needed while nothing waits");
    assert_eq!(scaled["minReplicaCount"].as_u64(), Some(replicas()));
    let most = scaled["maxReplicaCount"].as_u64().unwrap();
    let destinations =
        configuration("deploy/kubernetes/example/sluice.toml").destinations.len().try_into().unwrap_or(u64::MAX);
    assert!((replicas()..=destinations.max(replicas())).contains(&most), "{most} workers for {destinations}");
}

#[test]
fn every_worker_is_scraped_and_whoever_signs_in_to_the_console_stays_with_one() {
    let service = base("service");
    assert_ne!(service["spec"]["clusterIP"], "None", "people reach the console by it");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true, "the one that is not ready is to be seen");
    assert_eq!(service["spec"]["sessionAffinity"], "ClientIP");
    let monitor = &yaml("deploy/kubernetes/monitoring/servicemonitor.yml")[0]["spec"];
    assert_eq!(monitor["jobLabel"], "app.kubernetes.io/name", "the rules go by job \"sluice\"");
    assert_eq!(service["metadata"]["labels"]["app.kubernetes.io/name"], "sluice");
}

#[test]
fn the_pod_has_no_privilege_and_the_program_knows_its_arguments() {
    let pod = &base("deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["automountServiceAccountToken"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
    assert_eq!(container["securityContext"], context);
    known(&[&["sluice"], &texts(&container["args"])[..]].concat());
    let user = pod["securityContext"]["runAsUser"].to_string();
    assert!(read("deploy/Dockerfile").contains(&format!("USER {user}:{user}\n")));
}

#[test]
fn whoever_asks_the_worker_asks_where_it_listens() {
    let container = &base("deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"], json!([{ "name": "admin", "containerPort": 9464 }]));
    for (probe, page) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": page, "port": "admin" }));
    }
    let labels = &base("deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&base("deployment")["spec"]["selector"]["matchLabels"], labels);
    let service = base("service");
    assert_eq!((&service["spec"]["selector"], &service["metadata"]["labels"]), (labels, labels));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "admin");
    let monitor = &yaml("deploy/kubernetes/monitoring/servicemonitor.yml")[0]["spec"];
    assert_eq!((&monitor["selector"]["matchLabels"], &monitor["endpoints"][0]["port"]), (labels, &json!("admin")));
    let policy = &base("networkpolicy")["spec"];
    assert_eq!(
        (&policy["podSelector"]["matchLabels"], &policy["ingress"][0]["ports"][0]["port"]),
        (labels, &json!("admin"))
    );
}

#[test]
fn the_configurations_are_good_and_every_secret_they_name_is_in_the_example() {
    let example = &yaml("deploy/kubernetes/example/secret.example.yml")[0]["stringData"];
    let keys: BTreeSet<&str> = example.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(example.as_object().unwrap().values().all(|value| value == ""), "it holds no secret");
    let file = Regex::new("file = \"([^\"]+)\"").unwrap();
    for (name, destinations) in [("base", 0), ("example", 2)] {
        let name = format!("deploy/kubernetes/{name}/sluice.toml");
        let config = configuration(&name);
        assert_eq!((config.destinations.len(), config.admin.listen.port()), (destinations, 9464));
        for named in file.captures_iter(&read(&name)) {
            let key = named[1].strip_prefix(SECRETS).unwrap();
            assert!(keys.contains(key), "{key} of {name}");
        }
    }
    let pod = &base("deployment")["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == SECRETS.trim_end_matches('/')));
}

#[test]
fn the_operators_rules_are_prometheus_own() {
    let rule = &yaml("deploy/kubernetes/monitoring/prometheusrule.yml")[0];
    let rules = &yaml("deploy/prometheus/rules/sluice.yml")[0];
    assert!(rule["spec"] == *rules, "they differ; write the first anew with: make kubernetes-rules");
}
