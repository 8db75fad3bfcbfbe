//! A private Prometheus from the installed package, with our rules, that scrapes one worker every second.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sluice::demo::ports::free_ports;
use tokio::process::{Child, Command};
use url::Url;

use crate::worker::stage::until;

pub const SCRAPED_EVERY: Duration = Duration::from_secs(1);
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/rules/sluice.yml");

/// Whether there is a Prometheus; its absence is no failure on a machine of somebody else's.
pub fn is_installed() -> bool {
    let there = Path::new("/usr/bin/prometheus").exists();
    assert!(there || std::env::var_os("CI").is_none(), "prometheus is not installed");
    there
}

/// A running server. It ends when it is dropped.
pub struct Prometheus {
    address: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
    _process: Child,
}

impl Prometheus {
    /// Starts one that scrapes the worker at `target`.
    pub async fn start(target: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sluice-prometheus-").tempdir().unwrap();
        let target = target.trim_start_matches("http://");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{RULES}]\n\
             scrape_configs: [{{ job_name: sluice, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("prometheus.yml"), config).unwrap();
        let [port]: [u16; 1] = free_ports().unwrap();
        let address = format!("127.0.0.1:{port}");
        let log = std::fs::File::create(path("log")).unwrap();
        let mut command = Command::new("/usr/bin/prometheus");
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data")));
        command.arg(format!("--web.listen-address={address}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let process = command.spawn().unwrap();
        let server = Self { address, http: reqwest::Client::new(), _folder: folder, _process: process };
        until("Prometheus is ready", async || server.get("/-/ready", &[]).await.is_some()).await;
        server
    }

    /// Whether a query, as it is now, returns any sample.
    pub async fn has(&self, query: &str) -> bool {
        let answer = self.json("/api/v1/query", &[("query", query)]).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = &answer["data"]["result"];
        answer["data"]["resultType"] == "scalar" || result.as_array().is_some_and(|samples| !samples.is_empty())
    }

    /// Every rule that is loaded, with its health.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.json("/api/v1/rules", &[]).await;
        let groups = answer["data"]["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
    }

    /// The alerts that are pending or firing.
    pub async fn alerts(&self) -> Vec<Value> {
        self.json("/api/v1/alerts", &[]).await["data"]["alerts"].as_array().unwrap().clone()
    }

    /// Whether an alert fires for a destination.
    pub async fn fires(&self, alert: &str, destination: &str) -> bool {
        self.alerts().await.iter().any(|it| {
            let labels = &it["labels"];
            it["state"] == "firing" && labels["alertname"] == alert && labels["destination"] == destination
        })
    }

    async fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let text = self.get(path, parameters).await.expect("Prometheus answers");
        serde_json::from_str(&text).unwrap()
    }

    /// The body of an answer; none where nobody answers, or not yet.
    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Option<String> {
        let url = Url::parse_with_params(&format!("http://{}{path}", self.address), parameters).unwrap();
        let reply = self.http.get(url).send().await.ok()?;
        let ready = reply.status() != reqwest::StatusCode::SERVICE_UNAVAILABLE;
        ready.then_some(reply.text().await.ok()?)
    }
}
