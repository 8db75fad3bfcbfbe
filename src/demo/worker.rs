//! The demo's worker: `sluice run` as a process of its own, with a configuration written for it. What it shows of
//! itself comes in over its admin address, as for anyone else.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::{Child, Command};

use super::home::{Home, last_lines};
use super::ports::free_ports;
use super::{Error, doing};
use crate::clock;

/// The longest it may take to be ready, and to stop.
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(12);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 8;

/// What the troubled destination's vendor allows, requests a second, as the configuration says too.
pub const LIMIT: u32 = 200;
/// Calls a second that the vendor of the backlogged destination allows.
pub const CALLS: u32 = 5;
/// Every key, name and password of the demo. No word: wherever it stood in a sentence, masking would hide it.
pub const SECRET: &str = "q7Zd2vXw9KpL";
/// The path of the sandbox's hook that the destination beside the others sends to.
pub const HOOK: &str = "/hook/orders";

/// A running worker. It is killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    client: reqwest::Client,
    /// Where its admin API is.
    pub admin: String,
    /// Its configuration.
    pub config: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

/// A destination, as the admin API shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkerDestination {
    /// Its name.
    pub name: String,
    /// The gate's state.
    pub state: String,
    /// Why, as a sentence.
    pub why: String,
    /// When that may end.
    pub until: Option<jiff::Timestamp>,
    /// Requests a second now.
    pub rate: Option<f64>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Deliveries that wait for the gate.
    pub held: u64,
    /// Deliveries that the vendor has accepted and whose end it has not told yet.
    pub unconfirmed: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Requests refused with 429.
    pub throttled: u64,
    /// Events put into a retry queue.
    pub retried: u64,
}

#[derive(Deserialize)]
struct Listed {
    destinations: Vec<WorkerDestination>,
}

impl Worker {
    /// Starts a worker between this broker and this sandbox; it works in `home`.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(home: &mut Home, broker_url: &str, sandbox: &str) -> Result<Self, Error> {
        let (config, log) = (home.join("sluice.toml"), home.join("worker.log"));
        let admin = free_address().map_err(doing("find a free port"))?;
        std::fs::write(&config, settings(broker_url, sandbox, &admin))
            .map_err(doing("write the worker's configuration"))?;
        let program = std::env::current_exe().map_err(doing("find the sluice program"))?;
        let file = std::fs::File::create(&log).map_err(doing("make the worker's log"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).arg("run").current_dir(home.path()).kill_on_drop(true);
        // Not in the terminal's group: at Ctrl-C the demo ends it, in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().map_err(doing("start the worker"))?;
        if let Some(pid) = child.id() {
            home.guard(pid).await.map_err(doing("guard the worker"))?;
        }
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build().map_err(Error::Admin)?;
        Ok(Self { child, client, admin: format!("http://{admin}"), config, log })
    }

    /// Returns once it consumes.
    ///
    /// # Errors
    /// It ended, or it is not ready in time.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let by = clock::now() + READY_WITHIN;
        while clock::now() < by {
            self.check()?;
            let answer = self.client.get(format!("{}/readyz", self.admin)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            clock::sleep(Duration::from_millis(50)).await;
        }
        Err(Error::WorkerSlow(READY_WITHIN, last_lines(&self.log, LOG_LINES)))
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait().map_err(doing("look after the worker"))? {
            Some(status) => Err(self.ended(status)),
            None => Ok(()),
        }
    }

    /// Returns when it has ended.
    pub async fn gone(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => self.ended(status),
            Err(error) => doing("look after the worker")(error),
        }
    }

    /// How its destinations are.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn destinations(&self) -> Result<Vec<WorkerDestination>, Error> {
        let answer = self.client.get(format!("{}/api/v1/destinations", self.admin)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(Error::Admin)?;
        Ok(answer.json::<Listed>().await.map_err(Error::Admin)?.destinations)
    }

    /// Its metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn metrics(&self) -> Result<String, Error> {
        let answer = self.client.get(format!("{}/metrics", self.admin)).send().await.map_err(Error::Admin)?;
        answer.text().await.map_err(Error::Admin)
    }

    /// Stops it as an operator would.
    ///
    /// # Errors
    /// It did not end well, or not in time (then it is killed).
    pub async fn stop(mut self) -> Result<(), Error> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        let told = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
        told.map_err(doing("stop the worker"))?;
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.ended(status)),
            Ok(Err(error)) => Err(doing("stop the worker")(error)),
            Err(_) => {
                self.child.kill().await.map_err(doing("kill the worker"))?;
                Err(Error::WorkerHung(STOP_WITHIN, last_lines(&self.log, LOG_LINES)))
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> Error {
        Error::WorkerEnded(status, last_lines(&self.log, LOG_LINES))
    }
}

/// A port that is free now. Another program could still take it; then the worker says so and ends.
fn free_address() -> std::io::Result<String> {
    let [port] = free_ports()?;
    Ok(format!("127.0.0.1:{port}"))
}

/// The configuration, with where everything is.
fn settings(broker_url: &str, sandbox: &str, admin: &str) -> String {
    let places = [("BROKER", broker_url), ("SANDBOX", sandbox), ("ADMIN", admin), ("SECRET", SECRET)];
    places.into_iter().fold(include_str!("sluice.toml").to_owned(), |text, (name, place)| text.replace(name, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::events::DESTINATIONS;
    use crate::demo::events::purchases::{EVENT_TYPE, WRONG_FIELD};

    #[test]
    fn the_configuration_written_for_it_has_no_problems_and_is_the_storys() {
        let text = settings("amqp://guest:guest@127.0.0.1:1/%2f", "http://127.0.0.1:2", "127.0.0.1:3");
        let none = std::io::ErrorKind::NotFound;
        let config = crate::config::parse("sluice.toml", &text, &|_| None, &|_| Err(none.into())).unwrap();
        let mut names = DESTINATIONS;
        names.sort_unstable();
        assert_eq!(config.destinations.keys().collect::<Vec<_>>(), names);
        for said in [EVENT_TYPE, WRONG_FIELD, HOOK, &format!("\"{LIMIT}/s\""), &format!("\"{CALLS}/s\"")] {
            assert!(text.contains(said), "{said} is not in it");
        }
    }
}
