//! deploy/kubernetes: what no schema can tell.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use super::{configuration, known, read, texts, yaml};

const SECRETS: &str = "/run/secrets/sluice/";

fn base(name: &str) -> Value {
    yaml(&format!("deploy/kubernetes/base/{name}.yml")).remove(0)
}

#[test]
fn one_worker_runs_and_is_gone_before_the_next_comes() {
    let spec = &base("deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    assert!(spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64() > Some(10), "a stop takes up to 10 s");
    assert_eq!(base("poddisruptionbudget")["spec"]["maxUnavailable"], 1, "a node can be drained");
    let scaled = &yaml("deploy/kubernetes/keda/scaledobject.yml")[0]["spec"];
    assert_eq!(scaled["maxReplicaCount"], 1);
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
