//! A destination at work from end to end, driven by `destination::drive` itself under tokio's paused time: a broker in
//! memory on one side, a scripted vendor on the other.

mod account;
mod batches;
mod broker;
mod broker_trouble;
mod bulk;
mod expiry;
mod gate;
mod headers;
mod history;
mod holding;
mod intake;
mod invalid;
mod jobs;
mod lately;
mod lookups;
mod machine;
mod mapping;
mod not_before;
mod odd;
mod operator;
mod ordering_keys;
mod outcomes;
mod receipts;
mod replays;
mod schedules;
mod simulation;
mod stopping;
mod suppression;
mod tokens;
mod vendor;
mod words;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice::broker::Names;
use sluice::config::{self, Destination};
use sluice::control::stamp::Change;
use sluice::destination::{self, Handle, Handover, Parts, View};
use sluice::history::Recorder;
use sluice::message::{Message, Properties};
use sluice::metrics::Metrics;
use sluice::receipts::Receipts;
use sluice::suppression::Suppressed;
use sluice::threads::Threads;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use broker::{DELIVERY_LIMIT, DESTINATION, MemoryBroker};
use vendor::ScriptedVendor;

/// A destination, its broker and its vendor.
struct Stage {
    broker: MemoryBroker,
    vendor: ScriptedVendor,
    settings: Destination,
    metrics: Metrics,
    receipts: Option<Receipts>,
    suppressed: Option<Suppressed>,
    history: Option<Recorder>,
    threads: Threads,
    worker: Option<Worker>,
}

struct Worker {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<Handover>,
}

impl Stage {
    /// A stage with a worker at work on it; `lines` are added to the destination's section of the configuration.
    fn new(lines: &str) -> Self {
        let mut stage = Self::idle(lines);
        stage.start(&Handover::default());
        stage
    }

    /// A stage whose worker has yet to start.
    fn idle(lines: &str) -> Self {
        Self {
            broker: MemoryBroker::new(),
            vendor: ScriptedVendor::new(),
            settings: settings(lines),
            metrics: Metrics::new().unwrap(),
            receipts: None,
            suppressed: None,
            history: None,
            threads: Threads::shared(),
            worker: None,
        }
    }

    fn start(&mut self, before: &Handover) {
        let (handle, calls) = Handle::new();
        let stop = CancellationToken::new();
        let parts = Parts {
            lease: sluice::lease::port::DriverEnd::alone(sluice::clock::now()),
            beside: tokio::sync::watch::channel(sluice::destination::Beside::default()).1,
            seal: None,
            settings: self.settings.clone(),
            names: Names::new("sluice"),
            max_event_bytes: 256 * 1024,
            delivery_limit: DELIVERY_LIMIT,
            inbox: self.broker.open(),
            publisher: self.broker.publisher(),
            transport: Arc::new(self.vendor.clone()),
            threads: self.threads.clone(),
            metrics: self.metrics.destination(DESTINATION),
            history: self.history.clone(),
            receipts: self.receipts.clone(),
            suppressed: self.suppressed.clone(),
            calls,
            ending: stop.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(destination::drive(parts, before.clone()));
        self.worker = Some(Worker { handle, stop, task });
    }

    /// Stops the worker as SIGTERM does; returns what its successor has to know.
    async fn stop(&mut self) -> Handover {
        let worker = self.worker.take().unwrap();
        worker.stop.cancel();
        let handover = worker.task.await.unwrap();
        self.broker.close(true).await;
        handover
    }

    /// Kills the worker: nothing is finished, no ack under way arrives.
    async fn kill(&mut self) {
        self.broker.close(false).await;
        let worker = self.worker.take().unwrap();
        worker.task.abort();
        assert!(worker.task.await.unwrap_err().is_cancelled(), "the worker had failed before it was killed");
    }

    async fn change(&self, change: Change) {
        self.worker.as_ref().unwrap().handle.change(change, None).await.unwrap();
    }

    async fn view(&self) -> View {
        self.worker.as_ref().unwrap().handle.view().await.unwrap()
    }

    /// Publishes the events of these numbers, each with its number as the id.
    fn publish(&self, events: impl IntoIterator<Item = u64>) {
        events.into_iter().for_each(|event| self.broker.put("shop.order", message(event, true)));
    }

    /// Lets time pass until nothing is left but dead letters, for an hour at most.
    #[track_caller]
    fn drained(&self) -> impl Future<Output = ()> + use<'_> {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..36_000 {
                if self.broker.is_drained() {
                    return;
                }
                pass(Duration::from_millis(100)).await;
            }
            panic!("{caller}: after an hour events are still not settled: {:?}", self.view().await);
        }
    }
}

/// A destination of any JSON API.
fn settings(lines: &str) -> Destination {
    let text = format!(
        "[suppression]\nkey = \"a secret of thirty-two bytes, or more\"\n[broker]\nurl = \"amqp://localhost\"\n[destinations.{DESTINATION}]\nvendor = \"http\"\n\
         url = \"http://vendor.test/track\"\nsubscribe = [\"#\"]\n{lines}\n"
    );
    let config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    config.unwrap_or_else(|problems| panic!("{problems}")).destinations.remove(DESTINATION).unwrap()
}

/// An event that carries its number, and has it as its id where the producer gives one.
fn message(event: u64, with_id: bool) -> Message {
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        message_id: with_id.then(|| event.to_string()),
        ..Properties::default()
    };
    Message { body: Bytes::from(format!("{{\"event\":{event}}}")), properties }
}

/// The number in an event's body.
fn event_number(body: &[u8]) -> Option<u64> {
    event_numbers(body).first().copied()
}

/// The numbers of one event or of several.
fn event_numbers(body: &[u8]) -> Vec<u64> {
    match serde_json::from_slice(body) {
        Ok(serde_json::Value::Array(events)) => events.iter().filter_map(|event| event["event"].as_u64()).collect(),
        Ok(event) => event["event"].as_u64().into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How many of so many random schedules are tried: all, or a tenth where `SLUICE_FEW_SCHEDULES` is set, as `make unit` does.
fn some_of(schedules: u64) -> u64 {
    if std::env::var_os("SLUICE_FEW_SCHEDULES").is_some() { schedules / 10 } else { schedules }
}
