//! A broker to test against, and short ways to say what a test does with it.

use std::time::Duration;

use bytes::Bytes;
use sluice::broker::port::{Delivery, Disposition, Inbox, Prefetch};
use sluice::broker::{Broker, BrokerSettings, Declare, DestinationQueues};
use sluice::demo::node::{Node, Options};
use sluice::message::{Message, Properties};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// Generous: only a failing test waits this long.
pub const LONG: Duration = Duration::from_secs(40);

static SHARED: OnceCell<Node> = OnceCell::const_new();

/// The URL of the broker that all tests share which kill nothing.
pub async fn shared_url() -> String {
    if let Ok(url) = std::env::var("SLUICE_TEST_AMQP_URL") {
        return url;
    }
    SHARED.get_or_init(own_node).await.url()
}

/// A node of one's own, to kill.
pub async fn own_node() -> Node {
    let dir = tempfile::Builder::new().prefix("sluice-live-").tempdir().unwrap().keep();
    Node::start(&dir, Options::default()).await.unwrap()
}

pub fn settings(url: &str) -> BrokerSettings {
    BrokerSettings {
        url: url.into(),
        prefix: format!("test-{}", uuid::Uuid::new_v4().simple()),
        declare: Declare::Create,
        delivery_limit: 20,
        name: "sluice live test".to_owned(),
    }
}

pub fn start(settings: &BrokerSettings) -> Broker {
    Broker::start(settings.clone(), CancellationToken::new())
}

pub async fn shared() -> Broker {
    start(&settings(&shared_url().await))
}

pub fn queues(name: &str) -> DestinationQueues {
    DestinationQueues {
        name: name.to_owned(),
        subscribe: vec!["shop.#".to_owned()],
        retry_delays: vec![Duration::from_millis(500), Duration::from_secs(5)],
    }
}

/// Opens `px` and waits until its queues are declared; nothing is consumed yet.
pub async fn open(broker: &Broker) -> Inbox {
    let inbox = broker.open(queues("px"));
    consume(&inbox, 1).await;
    hold(&inbox).await;
    inbox
}

pub async fn consume(inbox: &Inbox, prefetch: u16) {
    inbox.live.prefetch.send(Prefetch::Of(prefetch)).unwrap();
    let mut consuming = inbox.live.consuming.clone();
    tokio::time::timeout(LONG, consuming.wait_for(|is| *is)).await.expect("a consumer").unwrap();
}

pub async fn hold(inbox: &Inbox) {
    inbox.live.prefetch.send(Prefetch::None).unwrap();
    let mut consuming = inbox.live.consuming.clone();
    tokio::time::timeout(LONG, consuming.wait_for(|is| !*is)).await.expect("no consumer").unwrap();
}

pub async fn take(inbox: &mut Inbox, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(LONG, inbox.deliveries.recv()).await;
        taken.push(*next.unwrap_or_else(|_| panic!("{} of {count} deliveries came", taken.len())).expect("an inbox"));
    }
    taken
}

pub fn ack(delivery: Delivery) -> bool {
    delivery.ticket.settle(Disposition::Ack)
}

pub fn message(body: impl Into<String>) -> Message {
    Message { body: Bytes::from(body.into()), properties: Properties::default() }
}

pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    let mut bodies: Vec<_> =
        deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.message.body).into_owned()).collect();
    bodies.sort();
    bodies
}

pub async fn publish(broker: &Broker, count: usize) {
    let publisher = broker.publisher();
    let events = broker.names().events();
    let all = (0..count).map(|n| publisher.publish(&events, "shop.order", message(format!("{n:03}"))));
    futures_util::future::try_join_all(all).await.unwrap();
}

/// Waits until `queue` holds `ready` messages.
pub async fn depth(broker: &Broker, queue: String, ready: u32) {
    let mut seen = vec![];
    for _ in 0..400 {
        seen = broker.depths(std::slice::from_ref(&queue)).await.unwrap_or_default();
        if seen == [Some(ready)] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{queue} should hold {ready} messages, holds {seen:?}");
}
