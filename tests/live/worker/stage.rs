//! A worker process between a real broker and the sandbox, and all that a test may know of it: what is seen from outside.

use std::process::Stdio;
use std::time::Duration;

use sluice::demo::ports::free_ports;
use sluice::sandbox::{EndpointStats, FaultRule, HookSettings, Latency, Limit, PxKey, PxSettings, Sandbox, Settings};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::client::Client;
use crate::support::LONG;

pub const KEY: &str = "key-that-nobody-may-see";
pub const TOKEN: &str = "token-that-nobody-may-see";
const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");

/// Where a Gainsight PX destination's requests are counted.
pub const PX: &str = "gainsight-px";

/// Everything on its way from the producer to the vendor.
pub struct Stage {
    pub sandbox: Sandbox,
    pub prefix: String,
    /// Further lines of `[broker]`.
    pub broker: &'static str,
    /// Variables of the worker's and the commands' environment.
    pub environment: Vec<(&'static str, String)>,
    url: String,
    folder: tempfile::TempDir,
    admin: u16,
    worker: Option<Child>,
    http: reqwest::Client,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Stage {
    /// No worker runs yet.
    pub async fn new(url: &str) -> Self {
        Self::with_hook(url, HookSettings::default()).await
    }

    /// No worker runs yet, and the sandbox's hooks are as told.
    pub async fn with_hook(url: &str, hook: HookSettings) -> Self {
        Self::with(url, hook, 2000).await
    }

    /// No worker runs yet, and Gainsight PX takes so many requests a second.
    pub async fn strict(url: &str, per_second: u32) -> Self {
        Self::with(url, HookSettings::default(), per_second).await
    }

    async fn with(url: &str, hook: HookSettings, per_second: u32) -> Self {
        let limits = vec![Limit::per_second(per_second)];
        let px = PxSettings { keys: vec![PxKey::new(KEY)], limits, ..PxSettings::default() };
        // Fails when another test has done it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let latency = vec![Latency::NONE.into()];
        let sandbox = Sandbox::start(Settings { px, hook, latency, ..Settings::default() }).await.unwrap();
        let folder = tempfile::Builder::new().prefix("sluice-worker-").tempdir().unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        let [admin] = free_ports().unwrap();
        let prefix = format!("test-{}", uuid::Uuid::new_v4().simple());
        Self {
            sandbox,
            prefix,
            broker: "",
            environment: Vec::new(),
            url: url.to_owned(),
            folder,
            admin,
            worker: None,
            http: reqwest::Client::new(),
        }
    }

    /// A worker at work with one destination `px`, and further lines in its section.
    pub async fn at_work(url: &str, more: &str) -> Self {
        let mut stage = Self::new(url).await;
        stage.configure(&stage.px("px", "product.#", more));
        stage.start();
        stage.ready().await;
        stage
    }

    /// Writes the configuration; `SANDBOX` stands for the sandbox's address.
    pub fn configure(&self, destinations: &str) {
        let Self { url, prefix, broker, admin, .. } = self;
        let destinations = destinations.replace("SANDBOX", &format!("http://{}", self.sandbox.address()));
        let text = format!(
            "[broker]\nurl = \"{url}\"\nprefix = \"{prefix}\"\n{broker}\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\ntoken = {{ env = \"STAGE_TOKEN\" }}\n\
             [retry]\ndelays = [\"1s\", \"2s\"]\n[log]\nformat = \"json\"\nlevel = \"debug\"\n{destinations}"
        );
        std::fs::write(self.file("sluice.toml"), text).unwrap();
    }

    /// A Gainsight PX destination.
    pub fn px(&self, name: &str, subscribe: &str, more: &str) -> String {
        let key = self.file("key");
        format!(
            "[destinations.{name}]\nvendor = \"gainsight-px\"\nbase_url = \"SANDBOX\"\napi_key = {{ file = \"{key}\" }}\n\
             property_key = \"AP-XXXXXXXXXX-2\"\nsubscribe = [\"{subscribe}\"]\n{more}\n"
        )
    }

    /// A path in the stage's own folder.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn start(&mut self) {
        self.start_behind(&[]);
    }

    /// Starts the worker behind other commands, such as one that limits it.
    pub fn start_behind(&mut self, behind: &[&str]) {
        let log = std::fs::File::options().create(true).append(true).open(self.file("log")).unwrap();
        let mut command = self.command_behind(behind, &["run"]);
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        self.worker = Some(command.spawn().unwrap());
    }

    /// The worker's process.
    pub fn worker_id(&self) -> u32 {
        self.worker.as_ref().unwrap().id().unwrap()
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.worker.take().unwrap().kill().await.unwrap();
    }

    /// SIGTERM, and waits for the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(12), self.worker.as_mut().unwrap().wait()).await;
        self.worker = None;
        ended.expect("the worker stops").unwrap().code()
    }

    pub async fn signal(&self, signal: &str) {
        send(signal, self.worker.as_ref().unwrap()).await;
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "").await
    }

    /// Runs a command to its end, with this on standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.begin(&[], arguments);
        // A command that needs no input may be gone already.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()).await);
        Self::end(child).await
    }

    /// Begins a command, behind others such as `nohup`.
    pub fn begin(&self, behind: &[&str], arguments: &[&str]) -> Child {
        let mut command = self.command_behind(behind, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What a command that was begun came to.
    pub async fn end(child: Child) -> Ran {
        let output = tokio::time::timeout(LONG * 3, child.wait_with_output()).await.expect("the command ends").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn command_behind(&self, behind: &[&str], arguments: &[&str]) -> Command {
        let mut words = behind.iter().copied().chain([SLUICE]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(arguments).arg("--config").arg(self.file("sluice.toml")).env("STAGE_TOKEN", TOKEN);
        command.env_remove("SLUICE_CONFIG").env_remove("RUST_LOG").kill_on_drop(true);
        command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT").envs(self.environment.iter().cloned());
        command
    }

    /// Where the admin server is.
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// Asks the admin server; status 0 when nobody answers.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let url = self.admin() + path;
        let mut request = self.http.request(method.parse().unwrap(), url).timeout(Duration::from_secs(5));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let request = request.header("content-type", "application/json").body(body.to_owned());
        match request.send().await {
            Ok(reply) => (reply.status().as_u16(), reply.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, Some(TOKEN), "").await
    }

    /// A destination as the admin API shows it; null when it does not.
    pub async fn shown(&self, destination: &str) -> serde_json::Value {
        let (_, text) = self.get(&format!("/api/v1/destinations/{destination}")).await;
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits until a destination's gate is in this state.
    pub async fn state(&self, destination: &str, state: &str) {
        until(&format!("{destination} is {state}"), async || self.shown(destination).await["state"] == state).await;
    }

    pub async fn ready(&self) {
        until("ready", async || self.get("/readyz").await.0 == 200).await;
    }

    /// The value of a metric, which is named with its labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.url, &self.prefix).await
    }

    /// What arrived at an endpoint so far.
    pub fn seen(&self, endpoint: &str) -> EndpointStats {
        let mut stats = self.sandbox.handle().stats();
        stats.remove(endpoint).unwrap_or_else(|| self.sandbox.handle().stats().remove(PX).map(zeroed).unwrap())
    }

    /// Waits until so many different events arrived.
    pub async fn arrived(&self, endpoint: &str, events: u64) {
        until(&format!("{events} events at {endpoint}"), async || self.seen(endpoint).distinct >= events).await;
    }

    pub fn fault(&self, rule: &str) {
        let rule: FaultRule = rule.parse().unwrap();
        self.sandbox.handle().add_fault(rule).unwrap();
    }
}

/// The figures of an endpoint that nothing came to.
/// Sends a signal to a process.
pub async fn send(signal: &str, child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
}

fn zeroed(like: EndpointStats) -> EndpointStats {
    EndpointStats { received: 0, distinct: 0, duplicates: 0, ..like }
}

/// Waits for a condition; only a failing test waits long.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG * 2, holds).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
