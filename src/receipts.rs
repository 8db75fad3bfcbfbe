//! Receipts: publishes what became of each event. An outcome comes in; a CloudEvent goes out to the topic exchange `<prefix>.receipts`. That
//! never holds up a delivery: a task of its own publishes on a channel of its own, from a queue of bounded length. If the queue is full,
//! receipts are dropped and counted.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use prometheus::IntCounterVec;
use serde::{Serialize, Serializer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::port::{PublishError, Publisher};
use crate::clock;
use crate::event::Time;
use crate::message::{Message, Properties};
use crate::redact;
use crate::supervisor::Part;
use crate::verdict::Reason;

/// Receipts that wait to be published; about four megabytes.
const MOST_WAITING: usize = 4096;
/// Receipts published at a time.
const AT_ONCE: usize = 512;
/// Receipts go out in bursts with this time between: a burst wakes the connection once, and the broker confirms it as one. Sent one by one,
/// they would cost half as much again.
const BURSTS: Duration = Duration::from_millis(10);
/// The pause before a receipt that was not confirmed is published again.
const PAUSE: Duration = Duration::from_secs(1);
/// One that the broker has not taken by then is dropped: an exchange that is missing must be seen.
const TRIED_FOR: Duration = Duration::from_secs(60);
/// A routing key's longest, in bytes: AMQP's short string.
const MOST_KEY_BYTES: usize = 255;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// The vendor took it.
    Delivered,
    /// It will not be delivered without a person.
    DeadLettered,
    /// Of no single event: the destination sends nothing more until a person has seen to it, and its events wait.
    Parked,
    /// A person put the dead letter back on its way.
    Replayed,
    /// Its time was over before it was sent, and the destination drops such events.
    Dropped,
    /// Its person must not be written to.
    Suppressed,
}

impl ReceiptKind {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Delivered, Self::DeadLettered, Self::Parked, Self::Replayed, Self::Dropped, Self::Suppressed];

    /// The type of the CloudEvent that tells it.
    fn kind(self) -> &'static str {
        match self {
            Self::Delivered => "sluice.receipt.delivered",
            Self::DeadLettered => "sluice.receipt.dead_lettered",
            Self::Parked => "sluice.receipt.parked",
            Self::Replayed => "sluice.receipt.replayed",
            Self::Dropped => "sluice.receipt.dropped",
            Self::Suppressed => "sluice.receipt.suppressed",
        }
    }

    /// The name in routing keys and receipts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Parked => "parked",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
            Self::Suppressed => "suppressed",
        }
    }
}

/// The event that a receipt is about.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Its id; none where it has none that can be read.
    pub id: Option<String>,
    /// Its source; empty where that cannot be read.
    pub source: String,
    /// Its type.
    pub r#type: String,
    /// Its time.
    pub time: Time,
}

/// A receipt's own words.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// What became of it.
    pub outcome: ReceiptKind,
    /// Where it was to go.
    pub destination: String,
    /// Which event; none where the receipt is about the destination.
    pub event: Option<About>,
    /// HTTP requests that were made for it and failed.
    pub failed_attempts: u64,
    /// Why it is a dead letter, from the closed list.
    pub reason: Option<Reason>,
    /// Why, as a sentence.
    pub sentence: Option<String>,
}

/// The CloudEvent around it.
#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: Source<'a>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Timestamp,
    datacontenttype: &'static str,
    data: &'a Receipt,
}

/// `sluice/<destination>`.
struct Source<'a>(&'a str);

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("sluice/{}", self.0))
    }
}

impl Receipt {
    /// `<outcome>.<destination>.<type>`, the type cut where AMQP allows no more; `-` where there is no event.
    #[must_use]
    pub fn routing_key(&self) -> String {
        let kind = self.event.as_ref().map_or("-", |event| &event.r#type);
        let mut key = format!("{}.{}.{kind}", self.outcome.name(), self.destination);
        key.truncate(key.floor_char_boundary(MOST_KEY_BYTES));
        key
    }

    /// The message of it, as a CloudEvent in structured form.
    #[must_use]
    pub fn message(&self, id: Uuid, time: Timestamp) -> Message {
        let (id, kind) = (id.to_string(), self.outcome.kind());
        let envelope = Envelope {
            specversion: "1.0",
            id: &id,
            source: Source(&self.destination),
            r#type: kind,
            subject: self.event.as_ref().and_then(|event| event.id.as_deref()).filter(|id| !id.is_empty()),
            time,
            datacontenttype: "application/json",
            data: self,
        };
        let body = serde_json::to_vec(&envelope).unwrap_or_default().into();
        let properties = Properties {
            content_type: Some("application/cloudevents+json".to_owned()),
            message_id: Some(id),
            kind: Some(kind.to_owned()),
            ..Properties::default()
        };
        Message { body, properties }
    }
}

/// A receipt, and when it was handed in.
#[derive(Debug)]
struct Told {
    receipt: Receipt,
    at: Timestamp,
}

/// Where receipts are handed in. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct Receipts {
    queue: mpsc::Sender<Told>,
    counted: IntCounterVec,
}

impl Receipts {
    /// Hands one in, or drops it where too many wait.
    pub fn tell(&self, receipt: Receipt) {
        let Ok(room) = self.queue.try_reserve() else {
            self.counted.with_label_values(&["dropped"]).inc();
            return;
        };
        room.send(Told { receipt, at: clock::wall() });
    }
}

/// What publishes them, for as long as the worker runs.
#[derive(Debug)]
pub struct ReceiptsTask {
    queue: mpsc::Receiver<Told>,
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

impl Part for ReceiptsTask {
    /// Publishes until `ending`, and then what is left. What an earlier run had under way is not told again.
    async fn run(&mut self) -> Result<(), String> {
        let Self { queue, publisher, exchange, counted, ending } = self;
        let (publisher, exchange, ending) = (&*publisher, exchange.as_str(), &*ending);
        let (mut under_way, mut all_taken) = (FuturesUnordered::new(), false);
        // Counted on from a random one: as unique, and the system is not asked for each.
        let mut id = Uuid::new_v4().as_u128();
        let mut next_burst = clock::now();
        loop {
            let (room, closed) = (AT_ONCE - under_way.len(), queue.is_closed());
            let burst = async {
                if !closed {
                    clock::sleep_until(next_burst).await;
                }
                let mut burst = Vec::new();
                queue.recv_many(&mut burst, room).await;
                burst
            };
            tokio::select! {
                Some(outcome) = under_way.next(), if !under_way.is_empty() => {
                    let mut outcome = Some(outcome);
                    // Those of a burst are confirmed together.
                    while let Some(ended) = outcome {
                        counted.with_label_values(&[ended]).inc();
                        outcome = under_way.next().now_or_never().flatten();
                    }
                }
                burst = burst, if !all_taken && room > 0 => {
                    all_taken = burst.is_empty();
                    next_burst = clock::now() + BURSTS;
                    for told in burst {
                        id = id.wrapping_add(1);
                        under_way.push(publish(publisher, exchange, told, Uuid::from_u128(id), ending));
                    }
                }
                () = ending.cancelled(), if !closed => queue.close(),
                else => return Ok(()),
            }
        }
    }
}

/// Publishes until the broker has it; what came of it, as the metric's label says.
async fn publish(
    publisher: &Publisher,
    exchange: &str,
    Told { receipt, at }: Told,
    id: Uuid,
    ending: &CancellationToken,
) -> &'static str {
    let (routing_key, until) = (receipt.routing_key(), clock::now() + TRIED_FOR);
    loop {
        // Made anew for each try: nearly all need but one.
        match publisher.publish(exchange, &routing_key, receipt.message(id, at)).await {
            Ok(()) => return "sent",
            // Nobody has asked for such receipts.
            Err(PublishError::Unroutable { .. }) => return "unrouted",
            Err(error @ PublishError::Unsendable(_)) => {
                tracing::warn!(routing_key = &*redact::without_addresses(&routing_key), %error, "a receipt is dropped");
                return "dropped";
            }
            Err(
                PublishError::Refused
                | PublishError::Closed(_)
                | PublishError::Lost
                | PublishError::NotMade { .. }
                | PublishError::TimedOut(_),
            ) if ending.is_cancelled() || clock::now() >= until => {
                return "dropped";
            }
            Err(
                error @ (PublishError::Refused
                | PublishError::Closed(_)
                | PublishError::Lost
                | PublishError::NotMade { .. }
                | PublishError::TimedOut(_)),
            ) => {
                tracing::debug!(routing_key = &*redact::without_addresses(&routing_key), %error, "a receipt is published again");
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

    fn dead(kind: &str) -> Receipt {
        let event = About { id: Some("e-1".into()), source: "shop".into(), r#type: kind.into(), time: NOW.into() };
        Receipt {
            outcome: ReceiptKind::DeadLettered,
            destination: "px".into(),
            event: Some(event),
            failed_attempts: 2,
            reason: Some(Reason::Rejected),
            sentence: Some("Gainsight PX answered 400".into()),
        }
    }

    fn about_nothing(outcome: ReceiptKind) -> Receipt {
        let (destination, sentence) = ("px".into(), Some("why".into()));
        Receipt { outcome, destination, event: None, failed_attempts: 0, reason: None, sentence }
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

    fn running(mut task: ReceiptsTask) -> tokio::task::JoinHandle<Result<(), String>> {
        tokio::spawn(async move { task.run().await })
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
        assert_eq!(about_nothing(ReceiptKind::Parked).routing_key(), "parked.px.-");
        let long = "ü".repeat(200);
        let key = dead(&long).routing_key();
        assert!((254..=255).contains(&key.len()) && key.ends_with('ü'), "{key}");
    }

    #[tokio::test]
    async fn too_many_are_dropped_and_counted_and_nobody_waits() {
        let (receipts, _task, _broker, counted, _) = opened();
        for _ in 0..MOST_WAITING + 3 {
            receipts.tell(about_nothing(ReceiptKind::Parked));
        }
        assert_eq!(counted.with_label_values(&["dropped"]).get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_lost_is_published_again_and_what_nobody_wants_is_not() {
        let (receipts, task, mut broker, counted, ending) = opened();
        let running = running(task);
        receipts.tell(dead("a"));
        let mut keys = Vec::new();
        for answer in [Err(PublishError::Lost), Ok(())] {
            let Some(Publication { outcome, routing_key, exchange, .. }) = broker.recv().await else { panic!() };
            keys.push(format!("{exchange} {routing_key}"));
            assert!(outcome.send(answer).is_ok());
        }
        assert_eq!(keys, ["sluice.receipts dead_lettered.px.a", "sluice.receipts dead_lettered.px.a"]);
        receipts.tell(dead("b"));
        let Some(Publication { outcome, exchange, routing_key, .. }) = broker.recv().await else { panic!() };
        assert!(outcome.send(Err(PublishError::Unroutable { exchange, routing_key })).is_ok());
        ending.cancel();
        assert!(running.await.is_ok());
        let count = |outcome: &str| counted.with_label_values(&[outcome]).get();
        assert_eq!((count("sent"), count("unrouted"), count("dropped")), (1, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receipt_alone_goes_out_at_once_and_those_that_follow_soon_go_together() {
        let (receipts, task, mut broker, ..) = opened();
        let _running = running(task);
        let begun = clock::now();
        let mut times = Vec::new();
        for told in [&["a"][..], &["b", "c"]] {
            told.iter().for_each(|kind| receipts.tell(dead(kind)));
            for _ in told {
                let Some(publication) = broker.recv().await else { panic!() };
                times.push(clock::now().saturating_duration_since(begun));
                assert!(publication.outcome.send(Ok(())).is_ok());
            }
        }
        let [alone, second, third] = times[..] else { panic!("{times:?}") };
        assert!(alone.is_zero() && second == third && second >= BURSTS, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_what_was_handed_in_is_published_once() {
        let (receipts, task, mut broker, counted, ending) = opened();
        receipts.tell(dead("a"));
        receipts.tell(dead("b"));
        ending.cancel();
        let running = running(task);
        for answer in [Ok(()), Err(PublishError::Lost)] {
            let Some(publication) = broker.recv().await else { panic!() };
            assert!(publication.outcome.send(answer).is_ok());
        }
        assert!(running.await.is_ok());
        let count = |outcome: &str| counted.with_label_values(&[outcome]).get();
        assert_eq!((count("sent"), count("dropped")), (1, 1));
    }
}
