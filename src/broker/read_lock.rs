//! The read lock of a queue: a second quorum queue with a single active consumer. One message stays in it, and whoever the broker sends it
//! to holds the lock for as long as they consume. So the lock ends with its holder, also when the node that the holder was connected to
//! dies. (An exclusive queue of a dead node stays locked until the node is back, from RabbitMQ 4.2 on.)
//!
//! Whoever waits publishes requests to the lock queue: the broker sends them to the holder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::arguments::{NO_DELIVERY_LIMIT, disconnected, quorum, whole};
use super::connection::{AmqpTrouble, close_channel, open_channel, within};
use super::consumer::consume;
use super::fields::{TooLong, short};
use super::port::Publisher;
use crate::clock;
use crate::message::{Message, Properties};

/// Between two requests of whoever waits.
const REQUEST_EVERY: Duration = Duration::from_millis(250);
/// How long the broker keeps a request.
const REQUEST_LIVES: Duration = Duration::from_millis(1_000);
/// How long the holder takes the sender of a request for waiting.
const REQUEST_COUNTS: Duration = Duration::from_millis(1_500);
/// The types of messages in the lock queue; the one that stays has none.
const WAITS: &str = "waits";
const GIVES_UP: &str = "gives up";
/// Requests on their way to the holder, and the message that stays.
const PREFETCH: u16 = 64;
/// The broker deletes the lock queue when nobody has consumed it for so long (30 days, in ms).
const UNUSED: i64 = 30 * 86_400_000;
/// How long the holder stays the holder when the node of its connection is gone (ms).
const DISCONNECTED: i64 = 5_000;

/// The names of a queue and of its lock queue.
#[derive(Clone)]
pub(super) struct LockNames {
    pub(super) queue: ShortString,
    pub(super) lock: ShortString,
}

impl LockNames {
    pub(super) fn of(queue: &str) -> Result<Self, TooLong> {
        let name = |end: &str| short("the queue's name", &format!("{queue}{end}"));
        Ok(Self { queue: name("")?, lock: name(".lock")? })
    }
}

/// What waiting for a moment brought.
pub(super) enum Waited {
    /// The lock.
    Acquired,
    /// The holder lets nobody look for now.
    Closed,
    /// Nothing yet.
    NotYet,
}

/// One who waits for the lock.
pub(super) struct Waiter {
    channel: Channel,
    publisher: Publisher,
    lock: ShortString,
    /// Tells its requests from others'.
    name: String,
    deliveries: Consumer,
    first: Option<Delivery>,
    /// Where the holder answers that it lets nobody look, once it has been asked.
    answers: Option<(ShortString, Consumer)>,
}

impl Waiter {
    pub(super) async fn join(
        connection: &Connection,
        publisher: Publisher,
        lock: ShortString,
    ) -> Result<Self, AmqpTrouble> {
        let channel = open_channel(connection).await?;
        let name = Uuid::new_v4().to_string();
        match queue_up(&channel, &publisher, &lock, &name).await {
            Ok(deliveries) => Ok(Self { channel, publisher, lock, name, deliveries, first: None, answers: None }),
            Err(trouble) => {
                // It must not be sent the lock.
                close_channel(&channel).await;
                Err(trouble)
            }
        }
    }

    /// Waits for the lock for a moment, and sends the holder a request where it does not come.
    pub(super) async fn wait(&mut self, is_patient: bool) -> Result<Waited, AmqpTrouble> {
        let answer = async {
            match &mut self.answers {
                Some((_, answers)) => drop(answers.next().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // A consumer that the broker ended waits no more.
            first = self.deliveries.next() => {
                self.first = Some(first.ok_or(AmqpTrouble::Away)??);
                return Ok(Waited::Acquired);
            }
            () = answer => return Ok(Waited::Closed),
            () = clock::sleep(REQUEST_EVERY) => {}
        }
        self.request(is_patient).await?;
        Ok(Waited::NotYet)
    }

    /// Lets the holder know that somebody waits. Who is not patient gets an answer where waiting is in vain.
    async fn request(&mut self, is_patient: bool) -> Result<(), AmqpTrouble> {
        if !is_patient && self.answers.is_none() {
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let queue = within(self.channel.queue_declare("".into(), options, FieldTable::default())).await?;
            let answers = consume(&self.channel, queue.name(), "answers".into(), 1).await?;
            self.answers = Some((queue.name().clone(), answers));
        }
        self.tell(WAITS).await;
        Ok(())
    }

    /// Waits no more.
    pub(super) async fn leave(self) {
        self.tell(GIVES_UP).await;
        close_channel(&self.channel).await;
    }

    /// While the broker takes no messages the holder hears nothing; waiting goes on all the same.
    async fn tell(&self, kind: &str) {
        let reply_to = self.answers.as_ref().map(|(queue, _)| queue.to_string());
        let told = self.publisher.publish("", self.lock.as_str(), short_lived(kind, &self.name, reply_to));
        if !matches!(tokio::time::timeout(REQUEST_EVERY, told).await, Ok(Ok(()))) {
            tracing::debug!(queue = %self.lock, kind, "the holder of the read lock may not have been told");
        }
    }

    /// The lock, once it was acquired. `lost` is cancelled where the lock ends without its holder's doing.
    pub(super) fn hold(self, lost: CancellationToken) -> ReadLock {
        let waiters = Arc::new(Waiters::default());
        let ended = CancellationToken::new();
        let listening = listen(self.publisher, self.name, self.first, self.deliveries, Arc::clone(&waiters));
        let task = ended.clone();
        tokio::spawn(async move {
            // Also where it panics.
            let lost = lost.drop_guard();
            if task.run_until_cancelled(listening).await.is_none() {
                lost.disarm();
            }
        });
        ReadLock { channel: self.channel, waiters, _listening: ended.drop_guard() }
    }
}

/// The right to read a queue.
pub(super) struct ReadLock {
    channel: Channel,
    waiters: Arc<Waiters>,
    _listening: DropGuard,
}

impl ReadLock {
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether somebody waits for it.
    pub(super) fn is_waited_for(&self) -> bool {
        let now = clock::now();
        self.waiters.requests.borrow().values().any(|at| now.saturating_duration_since(*at) < REQUEST_COUNTS)
    }

    /// Whether those who ask from now on and are not patient are told that waiting is in vain.
    pub(super) fn set_closed(&self, is_closed: bool) {
        self.waiters.are_refused.store(is_closed, Ordering::Relaxed);
    }

    /// Releases it: the message that stays goes back with the channel, and the broker sends it to the next.
    pub(super) async fn release(self) {
        close_channel(&self.channel).await;
    }
}

/// Those who wait for a lock, as its holder knows them.
#[derive(Debug, Default)]
struct Waiters {
    /// When the last request of each came.
    requests: watch::Sender<BTreeMap<String, Instant>>,
    are_refused: AtomicBool,
}

/// Takes requests for as long as the lock lasts.
async fn listen(
    publisher: Publisher,
    own: String,
    first: Option<Delivery>,
    deliveries: Consumer,
    waiters: Arc<Waiters>,
) {
    let mut deliveries = stream::iter(first.map(Ok)).chain(deliveries);
    while let Some(Ok(delivery)) = deliveries.next().await {
        let properties = &delivery.properties;
        let Some(kind) = properties.kind().as_ref().map(ShortString::as_str) else {
            // The message that stays: it is held until the lock is released.
            continue;
        };
        let name = properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default();
        match (kind, properties.reply_to()) {
            _ if name == own => {}
            (WAITS, Some(answers)) if waiters.are_refused.load(Ordering::Relaxed) => {
                let (publisher, answers) = (publisher.clone(), answers.to_string());
                // Whoever is gone needs no answer.
                tokio::spawn(async move { publisher.publish("", &answers, short_lived("closed", "", None)).await });
            }
            (WAITS, _) => waiters.requests.send_modify(|requests| {
                requests.insert(name, clock::now());
            }),
            _ => waiters.requests.send_modify(|requests| {
                requests.remove(&name);
            }),
        }
        if within(delivery.ack(BasicAckOptions::default())).await.is_err() {
            return;
        }
    }
}

fn short_lived(kind: &str, name: &str, reply_to: Option<String>) -> Message {
    let properties = Properties {
        kind: Some(kind.to_owned()),
        correlation_id: Some(name.to_owned()),
        reply_to,
        expiration: Some(REQUEST_LIVES.as_millis().to_string()),
        ..Properties::default()
    };
    Message { properties, ..Message::default() }
}

async fn queue_up(
    channel: &Channel,
    publisher: &Publisher,
    lock: &ShortString,
    name: &str,
) -> Result<Consumer, AmqpTrouble> {
    if declare(channel, lock).await? {
        // Where two do this at once there are two: the one who consumes is sent both, and nobody else is sent any.
        let stays = publisher.publish("", lock.as_str(), Message::default());
        within(async { Ok(stays.await) }).await?.map_err(|_| AmqpTrouble::Away)?;
    }
    consume(channel, lock, name.into(), PREFETCH).await
}

/// Declares the lock queue. True where nothing is in it and nobody consumes it.
async fn declare(channel: &Channel, lock: &ShortString) -> Result<bool, AmqpTrouble> {
    let arguments = quorum(&[
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-expires", whole(UNUSED)),
        // The message that stays goes back whenever the lock is released.
        NO_DELIVERY_LIMIT,
        disconnected(DISCONNECTED),
    ]);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let queue = within(channel.queue_declare(lock.clone(), options, arguments)).await?;
    Ok(queue.message_count() == 0 && queue.consumer_count() == 0)
}

/// Deletes the lock queue: whoever comes next declares it anew.
pub(super) async fn delete(connection: &Connection, lock: &ShortString) {
    let deleted = async {
        let channel = open_channel(connection).await?;
        within(channel.queue_delete(lock.clone(), QueueDeleteOptions::default())).await?;
        close_channel(&channel).await;
        Ok(())
    };
    let deleted: Result<(), AmqpTrouble> = deleted.await;
    if let Err(trouble) = deleted {
        tracing::debug!(queue = %lock, %trouble, "not deleted");
    }
}
