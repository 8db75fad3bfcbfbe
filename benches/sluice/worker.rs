//! `sluice run` under measure: a process that answers on its admin address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::child::Child;
use crate::report::number;
use crate::stage::Destination;

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(20);

/// A worker that is ready.
#[derive(Debug)]
pub struct Worker {
    /// Its process.
    pub process: Child,
    admin: SocketAddr,
    log: PathBuf,
    client: reqwest::Client,
}

impl Worker {
    /// Starts one with this configuration, which must name `admin`, and waits until it is ready, for at most
    /// `patience`.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(config: &Path, admin: SocketAddr, log: &Path, patience: Duration) -> Result<Self, Error> {
        let config = config.display().to_string();
        let process = Child::start(env!("CARGO_BIN_EXE_sluice").as_ref(), &["run", "--config", &config], log)?;
        let worker =
            Self { process, admin, log: log.to_owned(), client: reqwest::Client::builder().no_proxy().build()? };
        let deadline = clock::now() + patience;
        while worker.ask("readyz").await.is_err() {
            if clock::now() > deadline {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("sluice run was not ready within {patience:?}; it said:\n{said}").into());
            }
            clock::sleep(LOOK).await;
        }
        Ok(worker)
    }

    /// Waits until that many events of a destination are delivered and acked, with no one else's word for it.
    ///
    /// # Errors
    /// When they are not within `patience`.
    pub async fn has_delivered(&self, destination: &Destination, events: u32, patience: Duration) -> Result<(), Error> {
        let deadline = clock::now() + patience;
        loop {
            let delivered = self.delivered(destination).await?;
            if delivered >= f64::from(events) {
                return Ok(());
            }
            if clock::now() > deadline {
                let (name, said) = (&destination.name, std::fs::read_to_string(&self.log).unwrap_or_default());
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                return Err(format!(
                    "{name}: {delivered} of {events} events delivered within {patience:?}; it said at last: {last:?}"
                )
                .into());
            }
            clock::sleep(LOOK).await;
        }
    }

    /// Waits until that many receipts were published or dropped; returns how many were dropped.
    ///
    /// # Errors
    /// When they are not within `patience`.
    pub async fn has_told(&self, receipts: u32, patience: Duration) -> Result<f64, Error> {
        let deadline = clock::now() + patience;
        loop {
            let dropped = self.read("receipts_total{outcome=\"dropped\"}").await?;
            let sent = self.read("receipts_total{outcome=\"sent\"}").await?;
            if sent + dropped >= f64::from(receipts) {
                return Ok(dropped);
            }
            if clock::now() > deadline {
                return Err(format!("{sent} of {receipts} receipts sent, {dropped} dropped within {patience:?}").into());
            }
            clock::sleep(LOOK).await;
        }
    }

    /// How many events of a destination it delivered.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn delivered(&self, destination: &Destination) -> Result<f64, Error> {
        self.count("delivered_total", destination).await
    }

    /// What it counts of a destination under this name.
    async fn count(&self, name: &str, destination: &Destination) -> Result<f64, Error> {
        self.read(&format!("{name}{{destination=\"{}\"}}", destination.name)).await
    }

    /// The value of a metric, which is named with its labels.
    async fn read(&self, name: &str) -> Result<f64, Error> {
        let metric = format!("sluice_{name} ");
        let metrics = self.ask("metrics").await?;
        let count = metrics.lines().find_map(|line| line.strip_prefix(&metric));
        Ok(count.map_or(Ok(number(0)), str::parse)?)
    }

    async fn ask(&self, path: &str) -> Result<String, Error> {
        let answer = self.client.get(format!("http://{}/{path}", self.admin)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}
