//! The examples that publish: their event arrives at the vendor, and what goes wrong on the way is seen or mended.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};

use super::Program;
use super::cutter::Cutter;
use crate::support::shared_url;
use crate::worker::stage::{PX, Stage};

const RUST: &str = "docs/examples/publish.rs";
const PYTHON: &str = "docs/examples/publish.py";
const NODE: &str = "docs/examples/publish.mjs";
const SHELL: &str = "docs/examples/publish.sh";
/// The type of the event that every example publishes.
pub const TYPE: &str = "order.paid";

/// Makes Gainsight PX's fields of the examples' event, so that all of it shows at the vendor.
const MAP: &str = r#"
limits = ["500/s"]
[[destinations.px.map]]
type = "order.paid"
eventName = { jq = "$event.type" }
identifyId = { jq = ".order.customer" }
attributes = { jq = "{number: .order.number, total: .order.total, source: $event.source}" }
"#;

pub async fn at_work() -> Stage {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.configure(&stage.px("px", "order.#", MAP));
    stage.start();
    stage.ready().await;
    stage
}

pub fn example(file: &str, url: &str, exchange: &str) -> Program {
    Program::start(file, &[("AMQP_URL", url), ("SLUICE_EXCHANGE", exchange)])
}

/// Waits for the one event at the vendor.
async fn arrived(stage: &Stage) -> Value {
    stage.arrived(PX, 1).await;
    let events = stage.sandbox.handle().events(Some(PX), 10);
    assert_eq!(events.len(), 1, "{events:?}");
    serde_json::from_slice(&events[0]).unwrap()
}

async fn publishes(file: &str) {
    let stage = at_work().await;
    let ended = example(file, &shared_url().await, &format!("{}.events", stage.prefix)).end().await;
    assert!(ended.good && ended.err.is_empty(), "{file}: {}", ended.err);
    let body = arrived(&stage).await;
    assert_eq!(body["eventId"], ended.out.trim(), "{file} prints the id");
    assert_eq!((&body["eventName"], &body["identifyId"]), (&json!(TYPE), &json!("u-1")), "{file}");
    assert_eq!(body["attributes"], json!({ "number": "A-17", "total": 59.9, "source": "/shop" }), "{file}");
    let client = stage.client().await;
    client.holds("px", 0).await;
    assert_eq!((client.depth("px.dead").await, client.depth("unrouted").await), (Some(0), Some(0)), "{file}");
}

#[tokio::test]
async fn the_rust_example_publishes_an_event_that_arrives_as_it_was() {
    publishes(RUST).await;
}

#[tokio::test]
async fn the_python_example_publishes_an_event_that_arrives_as_it_was() {
    publishes(PYTHON).await;
}

#[tokio::test]
async fn the_node_example_publishes_an_event_that_arrives_as_it_was() {
    publishes(NODE).await;
}

#[tokio::test]
async fn the_shell_example_publishes_an_event_that_arrives_as_it_was() {
    publishes(SHELL).await;
}

#[tokio::test]
async fn an_example_whose_connection_is_lost_before_the_confirm_publishes_the_same_event_again() {
    for file in [RUST, PYTHON, NODE] {
        let stage = at_work().await;
        let cutter = Cutter::start(&shared_url().await, TYPE).await;
        let ended = example(file, &cutter.url, &format!("{}.events", stage.prefix)).end().await;
        assert!(cutter.has_cut(), "{file}");
        assert!(ended.good && ended.err.contains(ended.out.trim()), "{file}: {}", ended.err);
        assert_eq!(arrived(&stage).await["eventId"], ended.out.trim(), "{file}");
    }
}

/// An exchange of one's own to publish to, which Sluice knows nothing of.
struct Exchange {
    name: String,
    channel: Channel,
    _connection: Connection,
}

impl Exchange {
    async fn declare() -> Self {
        let connection = Connection::connect(&shared_url().await, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
        let declared =
            channel.exchange_declare(name.as_str().into(), ExchangeKind::Topic, options, FieldTable::default());
        declared.await.unwrap();
        Self { name, channel, _connection: connection }
    }

    /// A queue that takes at most so many messages and then refuses.
    async fn bind(&self, queue: &str, most: i32) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(most));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let (exchange, queue) = (self.name.as_str(), format!("{}.{queue}", self.name));
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
        let options = QueueBindOptions::default();
        let bound =
            self.channel.queue_bind(queue.as_str().into(), exchange.into(), "#".into(), options, FieldTable::default());
        bound.await.unwrap();
    }

    async fn delete(&self, queue: &str) {
        let queue = format!("{}.{queue}", self.name);
        self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn an_example_tries_again_while_the_broker_refuses_its_event() {
    for file in [RUST, PYTHON, NODE] {
        let exchange = Exchange::declare().await;
        exchange.bind("full", 0).await;
        let mut program = example(file, &shared_url().await, &exchange.name);
        program.complains("trying again").await;
        exchange.bind("roomy", 10).await;
        exchange.delete("full").await;
        let ended = program.end().await;
        assert!(ended.good && ended.out.len() == 37, "{file}: {}{}", ended.out, ended.err);
    }
}

#[tokio::test]
async fn an_example_fails_at_once_where_no_queue_or_no_exchange_is() {
    for file in [RUST, PYTHON, NODE] {
        let exchange = Exchange::declare().await;
        for (name, part) in [(exchange.name.as_str(), "no queue|unroutable"), ("no-such-exchange", "no-such-exchange")]
        {
            let ended = example(file, &shared_url().await, name).end().await;
            let told = part.split('|').any(|part| ended.err.contains(part)) && !ended.err.contains("again");
            assert!(!ended.good && ended.out.is_empty() && told, "{file}: {}", ended.err);
        }
    }
}

#[tokio::test]
async fn the_shell_example_fails_without_a_broker_or_its_exchange() {
    let no_exchange = example(SHELL, &shared_url().await, "no-such-exchange").end().await;
    let no_broker = example(SHELL, "amqp://guest:guest@127.0.0.1:1", "sluice.events").end().await;
    for ended in [no_exchange, no_broker] {
        assert!(!ended.good && ended.out.is_empty() && !ended.err.is_empty(), "{}", ended.out);
    }
}
