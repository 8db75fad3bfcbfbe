//! Receipts: what became of each event, told to whoever wants to know. An event's outcome comes in; a CloudEvent goes out to the
//! topic exchange `<prefix>.receipts`, beside the deliveries and never at their cost: on a channel of its own, from a queue
//! of bounded length, and what finds no room there is dropped and counted.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use prometheus::IntCounterVec;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::port::{PublishError, Publisher};
use crate::clock;
use crate::message::{Message, Properties};
use crate::redact;
use crate::verdict::Reason;

/// Receipts that wait to be published; about four megabytes.
const MOST_WAITING: usize = 4096;
/// Receipts published at a time.
const AT_ONCE: usize = 128;
/// Before one that the broker did not confirm is published again.
const PAUSE: Duration = Duration::from_secs(1);
/// One that the broker has not taken by then is dropped: an exchange that is missing must be seen.
const TRIED_FOR: Duration = Duration::from_secs(60);
/// A routing key's longest, in bytes: AMQP's short string.
const MOST_KEY_BYTES: usize = 255;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The vendor took it.
    Delivered,
    /// It will not be delivered without a person.
    DeadLettered,
    /// Of no single event: the destination sends nothing more until a person has seen to it, and its events wait.
    Parked,
    /// A person put the dead letter back on its way.
    Replayed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::DeadLettered, Self::Parked, Self::Replayed];

    /// The name in routing keys and receipts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Parked => "parked",
            Self::Replayed => "replayed",
        }
    }
}

/// The event that a receipt is about.
#[derive(Clone, Debug, Serialize)]
pub struct About<'a> {
    /// Its id; none where it has none that can be read.
    pub id: Option<&'a str>,
    /// Its source; empty where that cannot be read.
    pub source: &'a str,
    /// Its type.
    pub r#type: &'a str,
    /// Its time.
    pub time: Timestamp,
}

/// A receipt's own words.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt<'a> {
    /// What became of it.
    pub outcome: Outcome,
    /// Where it was to go.
    pub destination: &'a str,
    /// Which event; none where the receipt is about the destination.
    pub event: Option<About<'a>>,
    /// HTTP requests that were made for it and failed.
    pub failed_attempts: u64,
    /// Why it is a dead letter, from the closed list.
    pub reason: Option<Reason>,
    /// Why, as a sentence.
    pub sentence: Option<&'a str>,
}

/// The CloudEvent around it.
#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Timestamp,
    datacontenttype: &'static str,
    data: &'a Receipt<'a>,
}

impl Receipt<'_> {
    /// `<outcome>.<destination>.<type>`, the type cut where AMQP allows no more; `-` where there is no event.
    #[must_use]
    pub fn routing_key(&self) -> String {
        let kind = self.event.as_ref().map_or("-", |event| event.r#type);
        let mut key = format!("{}.{}.{kind}", self.outcome.name(), self.destination);
        key.truncate(key.floor_char_boundary(MOST_KEY_BYTES));
        key
    }

    /// The message of it, as a CloudEvent in structured form.
    #[must_use]
    pub fn message(&self, id: Uuid, time: Timestamp) -> Message {
        let kind = format!("sluice.receipt.{}", self.outcome.name());
        let envelope = Envelope {
            specversion: "1.0",
            id: id.to_string(),
            source: format!("sluice/{}", self.destination),
            r#type: kind.clone(),
            subject: self.event.as_ref().and_then(|event| event.id).filter(|id| !id.is_empty()),
            time,
            datacontenttype: "application/json",
            data: self,
        };
        let properties = Properties {
            content_type: Some("application/cloudevents+json".to_owned()),
            message_id: Some(envelope.id.clone()),
            kind: Some(kind),
            ..Properties::default()
        };
        Message { body: serde_json::to_vec(&envelope).unwrap_or_default().into(), properties }
    }
}

/// On its way to the broker.
#[derive(Debug)]
struct Outgoing {
    routing_key: String,
    message: Message,
}

/// Where receipts are handed in. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct Receipts {
    queue: mpsc::Sender<Outgoing>,
    counted: IntCounterVec,
}

impl Receipts {
    /// Hands one in, or drops it where too many wait.
    pub fn tell(&self, receipt: &Receipt<'_>) {
        let Ok(room) = self.queue.try_reserve() else {
            self.counted.with_label_values(&["dropped"]).inc();
            return;
        };
        room.send(Outgoing {
            routing_key: receipt.routing_key(),
            message: receipt.message(Uuid::new_v4(), clock::wall()),
        });
    }
}

/// What publishes them, for as long as the worker runs.
#[derive(Debug)]
pub struct ReceiptsTask {
    queue: mpsc::Receiver<Outgoing>,
    publisher: Publisher,
    exchange: String,
    counted: IntCounterVec,
    ending: CancellationToken,
}

/// Where receipts are handed in, and what then publishes them to `exchange` until `ending`: then what was handed in is still
/// published, once. `counted` takes what became of each.
#[must_use]
pub fn open(
    publisher: Publisher,
    exchange: String,
    counted: IntCounterVec,
    ending: CancellationToken,
) -> (Receipts, ReceiptsTask) {
    for outcome in ["sent", "unrouted", "dropped"] {
        counted.with_label_values(&[outcome]);
    }
    let (sender, queue) = mpsc::channel(MOST_WAITING);
    let task = ReceiptsTask { queue, publisher, exchange, counted: counted.clone(), ending };
    (Receipts { queue: sender, counted }, task)
}

impl ReceiptsTask {
    /// Publishes until `ending`, and then what is left.
    pub async fn run(mut self) {
        let (mut under_way, mut all_taken) = (FuturesUnordered::new(), false);
        loop {
            tokio::select! {
                Some(outcome) = under_way.next(), if !under_way.is_empty() => {
                    self.counted.with_label_values(&[outcome]).inc();
                }
                receipt = self.queue.recv(), if !all_taken && under_way.len() < AT_ONCE => match receipt {
                    Some(receipt) => {
                        under_way.push(publish(self.publisher.clone(), self.exchange.clone(), receipt, self.ending.clone()));
                    }
                    None => all_taken = true,
                },
                () = self.ending.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                else => return,
            }
        }
    }
}

/// Publishes until the broker has it; what came of it, as the metric's label says.
async fn publish(publisher: Publisher, exchange: String, receipt: Outgoing, ending: CancellationToken) -> &'static str {
    let until = clock::now() + TRIED_FOR;
    loop {
        match publisher.publish(&exchange, &receipt.routing_key, receipt.message.clone()).await {
            Ok(()) => return "sent",
            // Nobody has asked for such receipts.
            Err(PublishError::Unroutable { .. }) => return "unrouted",
            Err(error @ PublishError::Unsendable(_)) => {
                tracing::warn!(routing_key = redact::masked(&receipt.routing_key, &[]), %error, "a receipt is dropped");
                return "dropped";
            }
            Err(PublishError::Refused | PublishError::Lost | PublishError::TimedOut(_))
                if ending.is_cancelled() || clock::now() >= until =>
            {
                return "dropped";
            }
            Err(error @ (PublishError::Refused | PublishError::Lost | PublishError::TimedOut(_))) => {
                tracing::debug!(routing_key = redact::masked(&receipt.routing_key, &[]), %error, "a receipt is published again");
                tokio::select! {
                    () = clock::sleep(PAUSE) => {}
                    () = ending.cancelled() => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::broker::port::Publication;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn dead(kind: &str) -> Receipt<'_> {
        let event = About { id: Some("e-1"), source: "shop", r#type: kind, time: NOW };
        Receipt {
            outcome: Outcome::DeadLettered,
            destination: "px",
            event: Some(event),
            failed_attempts: 2,
            reason: Some(Reason::Rejected),
            sentence: Some("Gainsight PX answered 400"),
        }
    }

    fn about_nothing(outcome: Outcome) -> Receipt<'static> {
        Receipt { outcome, destination: "px", event: None, failed_attempts: 0, reason: None, sentence: Some("why") }
    }

    type Broker = mpsc::Receiver<Publication>;

    fn opened() -> (Receipts, ReceiptsTask, Broker, IntCounterVec, CancellationToken) {
        let (queue, broker) = mpsc::channel(1);
        let counted = crate::metrics::Metrics::new().map(|metrics| metrics.receipts_total);
        let counted = counted.unwrap_or_else(|error| panic!("{error}"));
        let ending = CancellationToken::new();
        let (receipts, task) = open(Publisher::new(queue), "sluice.receipts".into(), counted.clone(), ending.clone());
        (receipts, task, broker, counted, ending)
    }

    #[test]
    fn a_receipt_is_a_cloud_event_about_its_event() {
        let message = dead("order.paid").message(Uuid::nil(), NOW);
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        assert_eq!(
            body,
            json!({
                "specversion": "1.0", "id": "00000000-0000-0000-0000-000000000000", "source": "sluice/px",
                "type": "sluice.receipt.dead_lettered", "subject": "e-1", "time": "2023-11-14T22:13:20Z",
                "datacontenttype": "application/json",
                "data": {
                    "outcome": "dead_lettered", "destination": "px",
                    "event": {"id": "e-1", "source": "shop", "type": "order.paid", "time": "2023-11-14T22:13:20Z"},
                    "failed_attempts": 2, "reason": "rejected", "sentence": "Gainsight PX answered 400"
                }
            })
        );
        assert_eq!(message.properties.content_type.as_deref(), Some("application/cloudevents+json"));
    }

    #[test]
    fn its_routing_key_can_be_subscribed_to_by_outcome_destination_and_type() {
        assert_eq!(dead("order.paid").routing_key(), "dead_lettered.px.order.paid");
        assert_eq!(about_nothing(Outcome::Parked).routing_key(), "parked.px.-");
        let long = "ü".repeat(200);
        let key = dead(&long).routing_key();
        assert!((254..=255).contains(&key.len()) && key.ends_with('ü'), "{key}");
    }

    #[tokio::test]
    async fn too_many_are_dropped_and_counted_and_nobody_waits() {
        let (receipts, _task, _broker, counted, _) = opened();
        for _ in 0..MOST_WAITING + 3 {
            receipts.tell(&about_nothing(Outcome::Parked));
        }
        assert_eq!(counted.with_label_values(&["dropped"]).get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_lost_is_published_again_and_what_nobody_wants_is_not() {
        let (receipts, task, mut broker, counted, ending) = opened();
        let running = tokio::spawn(task.run());
        receipts.tell(&dead("a"));
        let mut keys = Vec::new();
        for answer in [Err(PublishError::Lost), Ok(())] {
            let Some(Publication { outcome, routing_key, exchange, .. }) = broker.recv().await else { panic!() };
            keys.push(format!("{exchange} {routing_key}"));
            assert!(outcome.send(answer).is_ok());
        }
        assert_eq!(keys, ["sluice.receipts dead_lettered.px.a", "sluice.receipts dead_lettered.px.a"]);
        receipts.tell(&dead("b"));
        let Some(Publication { outcome, exchange, routing_key, .. }) = broker.recv().await else { panic!() };
        assert!(outcome.send(Err(PublishError::Unroutable { exchange, routing_key })).is_ok());
        ending.cancel();
        assert!(running.await.is_ok());
        let count = |outcome: &str| counted.with_label_values(&[outcome]).get();
        assert_eq!((count("sent"), count("unrouted"), count("dropped")), (1, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_what_was_handed_in_is_published_once() {
        let (receipts, task, mut broker, counted, ending) = opened();
        receipts.tell(&dead("a"));
        receipts.tell(&dead("b"));
        ending.cancel();
        let running = tokio::spawn(task.run());
        for answer in [Ok(()), Err(PublishError::Lost)] {
            let Some(publication) = broker.recv().await else { panic!() };
            assert!(publication.outcome.send(answer).is_ok());
        }
        assert!(running.await.is_ok());
        let count = |outcome: &str| counted.with_label_values(&[outcome]).get();
        assert_eq!((count("sent"), count("dropped")), (1, 1));
    }
}
