//! What every figure is measured on: a private broker, the sink, the two processes that are compared, and 1 KiB events
//! where a part does not bring its own.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use lapin::{Confirmation, PublisherConfirm};
use sluice::clock;
use sluice::demo::node::{Node, Options};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::Error;
use crate::child::Child;
use crate::sink::{SENT, Sink};
use crate::worker::Worker;

/// Requests in flight at once, on both sides, where they are compared.
pub const CONCURRENCY: usize = 32;
/// The same where answers take 300 ms: far under 1,024 open files.
pub const MANY: usize = 500;
/// What stands for a vendor's key, and for every other credential.
pub const API_KEY: &str = "sandbox";
/// A worker gets ready within that.
const START: Duration = Duration::from_secs(30);
/// Publications that wait for their confirm at once.
const UNCONFIRMED: usize = 256;
/// The length of an event's body.
const BODY_BYTES: usize = 1024;

/// Who handles the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The bare loop.
    Bare,
    /// `sluice run`.
    Sluice,
}

/// A destination of the bench; its events have its name as their type.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The vendor's name.
    pub vendor: &'static str,
    /// Where the vendor is, without a path.
    pub base: String,
    /// Its one limit; none: those that the vendor documents.
    pub limit: Option<String>,
    /// Requests in flight at once, set by hand; none: as Sluice finds them.
    pub concurrency: Option<usize>,
    /// More lines of its section.
    pub more: &'static str,
}

/// The broker and the sink.
pub struct Stage {
    /// Where requests go, unless a sandbox is measured.
    pub sink: Sink,
    node: Node,
    channel: Channel,
    connection: Connection,
    folder: TempDir,
    log_level: String,
}

impl Destination {
    /// One that sends to the sink with its gate wide open.
    pub fn open(vendor: &'static str, sink: &Sink) -> Self {
        Self {
            name: format!("open-{vendor}"),
            vendor,
            base: sink.url(),
            limit: Some("100000/s".to_owned()),
            concurrency: Some(CONCURRENCY),
            more: "",
        }
    }

    /// One like [`Destination::open`] whose vendor takes 300 ms: with many requests in flight, or as many as Sluice finds.
    pub fn late(vendor: &'static str, sink: &Sink, concurrency: Option<usize>) -> Self {
        let open = Self::open(vendor, sink);
        Self { name: format!("late-{vendor}"), concurrency, ..open }
    }

    /// The queue that its events wait in.
    pub fn queue(&self) -> String {
        format!("bench.{}", self.name)
    }

    fn url(&self) -> String {
        format!("{}/v1/events/custom", self.base)
    }

    /// Its section of the configuration.
    pub fn section(&self) -> String {
        let Self { name, vendor, base, limit, concurrency, more } = self;
        let client = format!("base_url = {base:?}\nclient_id = {API_KEY:?}\nclient_secret = {API_KEY:?}");
        let own = match *vendor {
            "http" => format!("url = {:?}", self.url()),
            "act-on" => format!(
                "{client}\nusername = {API_KEY:?}\npassword = {API_KEY:?}\ntimeout = \"30s\"\ncreatelistingentry = true"
            ),
            "apsis-one" => client,
            _ => format!("base_url = {base:?}\napi_key = {API_KEY:?}\nproperty_key = \"AP-BENCH-2\""),
        };
        let limits = limit.as_ref().map_or(String::new(), |limit| format!("limits = [{limit:?}]\n"));
        let concurrency = concurrency.map_or(String::new(), |most| format!("concurrency = {most}\n"));
        format!(
            "[destinations.{name}]\nvendor = {vendor:?}\nsubscribe = [{name:?}]\n{limits}{concurrency}{own}\n{more}\n"
        )
    }
}

impl Stage {
    /// Starts broker and sink.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not start.
    pub async fn set(log_level: &str) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let node = Node::start(&folder.path().join("broker"), Options::default()).await?;
        let connection = Connection::connect(&node.url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { sink: Sink::start().await?, node, channel, connection, folder, log_level: log_level.to_owned() })
    }

    /// Ends the broker.
    ///
    /// # Errors
    /// The system's.
    pub async fn clear(self) -> Result<(), Error> {
        self.connection.close(200, "done".into()).await?;
        Ok(self.node.stop().await?)
    }

    /// Lets Sluice declare what these destinations have at the broker.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn declare(&self, destinations: &[Destination]) -> Result<(), Error> {
        self.sluice(destinations).await?.process.stop().await
    }

    /// Starts a side on a destination.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&self, side: Side, destination: &Destination) -> Result<Child, Error> {
        match side {
            Side::Sluice => Ok(self.sluice(std::slice::from_ref(destination)).await?.process),
            Side::Bare => {
                let concurrency = destination.concurrency.unwrap_or(MANY).to_string();
                let arguments = ["bare-loop", &self.node.url(), &destination.queue(), &destination.url(), &concurrency];
                Child::start(&std::env::current_exe()?, &arguments, &self.log("bare-loop"))
            }
        }
    }

    /// Starts a worker with these destinations and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn sluice(&self, destinations: &[Destination]) -> Result<Worker, Error> {
        self.sluice_with(destinations, false).await
    }

    /// The same, with receipts or without.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn sluice_with(&self, destinations: &[Destination], receipts: bool) -> Result<Worker, Error> {
        let sections: String = destinations.iter().map(Destination::section).collect();
        self.worker(&format!("prefix = \"bench\"\nreceipts = {receipts}"), &sections, "sluice", START).await
    }

    /// Starts a worker with these lines under `[broker]` and these sections, which logs under that name, and waits until it is
    /// ready, for at most `patience`.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn worker(&self, broker: &str, sections: &str, name: &str, patience: Duration) -> Result<Worker, Error> {
        self.worker_over(&self.node.url(), broker, sections, name, patience).await
    }

    /// The same, with another way to the broker.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn worker_over(
        &self,
        url: &str,
        broker: &str,
        sections: &str,
        name: &str,
        patience: Duration,
    ) -> Result<Worker, Error> {
        let admin = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let config = self.config();
        let text = format!(
            "[broker]\nurl = {url:?}\n{broker}\n\n[admin]\nlisten = \"{admin}\"\n\n[log]\nlevel = {:?}\n\n{sections}",
            self.log_level
        );
        std::fs::write(&config, text)?;
        Worker::start(&config, admin, &self.log(name), patience).await
    }

    /// Publishes that many events for a destination and waits until the broker has them.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish(&self, destination: &Destination, events: u32) -> Result<(), Error> {
        self.publish_each(destination, events, |_| body(clock::wall())).await
    }

    /// Publishes that many events for a destination, in order, each with a body of its own, and waits until the broker has
    /// them.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_each(
        &self,
        destination: &Destination,
        events: u32,
        body: impl Fn(u32) -> String,
    ) -> Result<(), Error> {
        self.publish_to("bench.events", destination, events, body).await
    }

    /// The same of events that may wait.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_bulk(
        &self,
        destination: &Destination,
        events: u32,
        body: impl Fn(u32) -> String,
    ) -> Result<(), Error> {
        self.publish_to("bench.bulk", destination, events, body).await
    }

    async fn publish_to(
        &self,
        exchange: &str,
        destination: &Destination,
        events: u32,
        body: impl Fn(u32) -> String,
    ) -> Result<(), Error> {
        let sent = stream::iter(0..events).then(async |n| self.send(exchange, &destination.name, n, &body(n)).await);
        let confirms = sent.map(async |confirm| confirmed(confirm?).await);
        confirms.buffer_unordered(UNCONFIRMED).try_collect().await
    }

    /// Publishes that many events for a destination, evenly, at `per_second`.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_evenly(&self, destination: &Destination, events: u32, per_second: u32) -> Result<(), Error> {
        self.publish_evenly_each(&destination.name, events, per_second, |_| body(clock::wall())).await
    }

    /// The same for a destination of that name, each with a body of its own.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_evenly_each(
        &self,
        destination: &str,
        events: u32,
        per_second: u32,
        body: impl Fn(u32) -> String,
    ) -> Result<(), Error> {
        self.at_pace(events, per_second, |n| (destination, body(n))).await
    }

    /// Publishes that many events evenly, one to each of the destinations in turn.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_in_turn(&self, to: &[Destination], events: u32, per_second: u32) -> Result<(), Error> {
        let names = to.iter().map(|destination| destination.name.as_str());
        let mut names = names.cycle();
        self.at_pace(events, per_second, |_| (names.next().unwrap_or_default(), body(clock::wall()))).await
    }

    async fn at_pace<'a>(
        &self,
        events: u32,
        per_second: u32,
        mut event: impl FnMut(u32) -> (&'a str, String),
    ) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
        let mut confirms = Vec::new();
        for n in 0..events {
            ticks.tick().await;
            let (destination, body) = event(n);
            confirms.push(confirmed(self.send("bench.events", destination, n, &body).await?));
        }
        try_join_all(confirms).await.map(drop)
    }

    /// Lets every receipt reach a queue, which keeps the last.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn subscribe_to_receipts(&self) -> Result<(), Error> {
        let (exchange, queue) = ("bench.receipts", "bench.receipts.taken");
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        self.channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, arguments).await?;
        let options = QueueBindOptions::default();
        Ok(self.channel.queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default()).await?)
    }

    /// Empties a destination's queue.
    ///
    /// # Errors
    /// When there is none.
    pub async fn purge(&self, destination: &Destination) -> Result<(), Error> {
        self.channel.queue_purge(destination.queue().into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// Deletes what a destination has at the broker, so that the next part finds a broker with as little to do. Not there is
    /// as good as deleted.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn remove(&self, destination: &Destination) -> Result<(), Error> {
        let queues = [
            "",
            ".bulk",
            ".lease",
            ".dead",
            ".trash",
            ".retry.5",
            ".retry.30",
            ".retry.120",
            ".retry.600",
            ".retry.3600",
        ];
        for part in queues.into_iter().chain([".retry.21600"]) {
            let queue = format!("{}{part}", destination.queue());
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        Ok(())
    }

    async fn send(&self, exchange: &str, name: &str, n: u32, body: &str) -> Result<PublisherConfirm, Error> {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(format!("{}-{n}", clock::wall().as_nanosecond()).into());
        let options = BasicPublishOptions::default();
        Ok(self.channel.basic_publish(exchange.into(), name.into(), options, body.as_bytes(), properties).await?)
    }

    /// Where the broker is.
    pub fn url(&self) -> String {
        self.node.url()
    }

    /// The configuration of the worker that was started last.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("sluice.toml")
    }

    /// Where a process of that name writes what it has to say.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }
}

async fn confirmed(confirm: PublisherConfirm) -> Result<(), Error> {
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other @ (Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested) => {
            Err(format!("the broker did not take an event: {other:?}").into())
        }
    }
}

/// An event as a vendor documents it, with the time of its publication, of [`BODY_BYTES`].
fn body(now: jiff::Timestamp) -> String {
    let start = format!(
        r#"{{"identifyId":"u-1042","accountId":"a-77","eventName":"Report exported","propertyKey":"AP-BENCH-2","userType":"USER","attributes":{{{SENT}{}","plan":"enterprise","seats":120,"trial":false,"region":"eu-central-1","format":"pdf","pages":12,"note":""#,
        now.as_nanosecond()
    );
    let end = r#""}}"#;
    format!("{start}{}{end}", "x".repeat(BODY_BYTES.saturating_sub(start.len() + end.len())))
}
