//! Who may read a queue: a quorum queue beside it, with a single active consumer. One message stays in it; whoever is sent it has the
//! turn for as long as they consume. So a turn ends with its holder, also when the node that the holder was connected to dies. (An
//! exclusive queue of a dead node stays locked until the node is back, from RabbitMQ 4.2 on.)
//!
//! Whoever waits knocks by a message to the same queue: the broker sends it to whoever has the turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::connection::{Trouble, close_channel, open_channel, within};
use super::fields::{TooLong, short};
use super::port::Publisher;
use crate::clock;
use crate::message::{Message, Properties};

/// Between two knocks; the broker keeps one for so long,
const KNOCK_EVERY: Duration = Duration::from_millis(250);
const KNOCK_LIVES: Duration = Duration::from_millis(1_000);
/// and whoever has the turn believes it for so long.
const KNOCK_COUNTS: Duration = Duration::from_millis(1_500);
/// The types of messages in the queue; the one that stays has none.
const WAITS: &str = "waits";
const GIVES_UP: &str = "gives up";
/// Knocks on their way to whoever has the turn, and the message that stays.
const PREFETCH: u16 = 64;
/// The broker deletes it when nobody has read for so long (30 days, in ms).
const UNUSED: i64 = 30 * 86_400_000;
/// From 4.3 on a consumer whose node went down keeps its place for so long (ms); 60 s if not said. Brokers before take no notice.
const DISCONNECTED: i64 = 5_000;
/// Never reached: the message that stays goes back at each end of a turn.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// A queue that is read, and the one beside it that tells who may.
#[derive(Clone)]
pub(super) struct Beside {
    pub(super) queue: ShortString,
    pub(super) turn: ShortString,
}

impl Beside {
    pub(super) fn of(queue: &str) -> Result<Self, TooLong> {
        let name = |end: &str| short("the queue's name", &format!("{queue}{end}"));
        Ok(Self { queue: name("")?, turn: name(".turn")? })
    }
}

/// What a moment of waiting brought.
pub(super) enum Waited {
    /// The turn.
    Turn,
    /// Whoever has it lets nobody in.
    Shut,
    /// Nothing yet.
    Nothing,
}

/// A place among those who wait for a turn.
pub(super) struct Place {
    channel: Channel,
    publisher: Publisher,
    turn: ShortString,
    /// Tells its knocks from others'.
    name: String,
    deliveries: Consumer,
    first: Option<Delivery>,
    /// Where it is told that nobody is let in, once it has knocked.
    answers: Option<(ShortString, Consumer)>,
}

impl Place {
    pub(super) async fn take(
        connection: &Connection,
        publisher: Publisher,
        turn: ShortString,
    ) -> Result<Self, Trouble> {
        let channel = open_channel(connection).await?;
        let name = Uuid::new_v4().to_string();
        match queue_up(&channel, &publisher, &turn, &name).await {
            Ok(deliveries) => Ok(Self { channel, publisher, turn, name, deliveries, first: None, answers: None }),
            Err(trouble) => {
                // It must not be sent the turn.
                close_channel(&channel).await;
                Err(trouble)
            }
        }
    }

    /// Waits a moment for the turn, and knocks where it does not come.
    pub(super) async fn wait(&mut self, is_patient: bool) -> Result<Waited, Trouble> {
        let answer = async {
            match &mut self.answers {
                Some((_, answers)) => drop(answers.next().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // A consumer that the broker ended has lost its place.
            first = self.deliveries.next() => {
                self.first = Some(first.ok_or(Trouble::Away)??);
                return Ok(Waited::Turn);
            }
            () = answer => return Ok(Waited::Shut),
            () = clock::sleep(KNOCK_EVERY) => {}
        }
        self.knock(is_patient).await?;
        Ok(Waited::Nothing)
    }

    /// Lets whoever has the turn know that somebody waits; who has little patience learns whether that is in vain.
    async fn knock(&mut self, is_patient: bool) -> Result<(), Trouble> {
        if !is_patient && self.answers.is_none() {
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let queue = within(self.channel.queue_declare("".into(), options, FieldTable::default())).await?;
            let answers = consume(&self.channel, queue.name(), "answers").await?;
            self.answers = Some((queue.name().clone(), answers));
        }
        self.tell(WAITS).await;
        Ok(())
    }

    /// Gives the place up.
    pub(super) async fn leave(self) {
        self.tell(GIVES_UP).await;
        close_channel(&self.channel).await;
    }

    /// A broker that takes no messages now is told nothing; the place is kept all the same.
    async fn tell(&self, kind: &str) {
        let reply_to = self.answers.as_ref().map(|(queue, _)| queue.to_string());
        let told = self.publisher.publish("", self.turn.as_str(), short_lived(kind, &self.name, reply_to));
        if !matches!(tokio::time::timeout(KNOCK_EVERY, told).await, Ok(Ok(()))) {
            tracing::debug!(queue = %self.turn, kind, "whoever has the turn may not have been told");
        }
    }

    /// The turn, once it is there. `lost` is cancelled where it ends without its holder's doing.
    pub(super) fn hold(self, lost: CancellationToken) -> Lock {
        let door = Arc::new(Door::default());
        let ended = CancellationToken::new();
        let hearing = hear(self.publisher, self.name, self.first, self.deliveries, Arc::clone(&door));
        let task = ended.clone();
        tokio::spawn(async move {
            // Also where it panics.
            let lost = lost.drop_guard();
            if task.run_until_cancelled(hearing).await.is_none() {
                lost.disarm();
            }
        });
        Lock { channel: self.channel, door, _hearing: ended.drop_guard() }
    }
}

/// The turn.
pub(super) struct Lock {
    channel: Channel,
    door: Arc<Door>,
    _hearing: DropGuard,
}

impl Lock {
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        let now = clock::now();
        self.door.waiting.borrow().values().any(|knocked| now.saturating_duration_since(*knocked) < KNOCK_COUNTS)
    }

    /// Lets nobody in, or those again who come from now on.
    pub(super) fn shut(&self, shut: bool) {
        self.door.is_shut.store(shut, Ordering::Relaxed);
    }

    /// Gives the turn to the next: the message that stays goes back with the channel.
    pub(super) async fn leave(self) {
        close_channel(&self.channel).await;
    }
}

#[derive(Debug, Default)]
struct Door {
    /// When each of those who wait knocked last.
    waiting: watch::Sender<BTreeMap<String, Instant>>,
    is_shut: AtomicBool,
}

/// Hears who knocks, for as long as the turn lasts.
async fn hear(publisher: Publisher, own: String, first: Option<Delivery>, mut deliveries: Consumer, door: Arc<Door>) {
    let mut next = first;
    loop {
        let delivery = match next.take() {
            Some(delivery) => delivery,
            None => match deliveries.next().await {
                Some(Ok(delivery)) => delivery,
                Some(Err(_)) | None => return,
            },
        };
        let properties = &delivery.properties;
        let Some(kind) = properties.kind().as_ref().map(ShortString::as_str) else {
            // It stays, and is held until the turn ends.
            continue;
        };
        let name = properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default();
        match (kind, properties.reply_to()) {
            _ if name == own => {}
            (WAITS, Some(answers)) if door.is_shut.load(Ordering::Relaxed) => {
                let (publisher, answers) = (publisher.clone(), answers.to_string());
                // Whoever is gone needs no answer.
                tokio::spawn(async move { publisher.publish("", &answers, short_lived("shut", "", None)).await });
            }
            (WAITS, _) => door.waiting.send_modify(|waiting| {
                waiting.insert(name, clock::now());
            }),
            _ => door.waiting.send_modify(|waiting| {
                waiting.remove(&name);
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
        expiration: Some(KNOCK_LIVES.as_millis().to_string()),
        ..Properties::default()
    };
    Message { properties, ..Message::default() }
}

async fn queue_up(
    channel: &Channel,
    publisher: &Publisher,
    turn: &ShortString,
    name: &str,
) -> Result<Consumer, Trouble> {
    if declare(channel, turn).await? {
        // Where two do this at once there are two: the one who consumes is sent both, and nobody else is sent any.
        let stays = publisher.publish("", turn.as_str(), Message::default());
        within(async { Ok(stays.await) }).await?.map_err(|_| Trouble::Away)?;
    }
    within(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    consume(channel, turn, name).await
}

async fn consume(channel: &Channel, queue: &ShortString, tag: &str) -> Result<Consumer, Trouble> {
    let options = BasicConsumeOptions::default();
    within(channel.basic_consume(queue.clone(), tag.into(), options, FieldTable::default())).await
}

/// True where nothing is in it and nobody consumes.
async fn declare(channel: &Channel, turn: &ShortString) -> Result<bool, Trouble> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    for (name, value) in [
        ("x-expires", UNUSED),
        ("x-delivery-limit", NO_DELIVERY_LIMIT),
        ("x-consumer-disconnected-timeout", DISCONNECTED),
    ] {
        arguments.insert(name.into(), AMQPValue::LongLongInt(value));
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let queue = within(channel.queue_declare(turn.clone(), options, arguments)).await?;
    Ok(queue.message_count() == 0 && queue.consumer_count() == 0)
}

/// Deletes it: the next to ask makes it anew.
pub(super) async fn delete(connection: &Connection, turn: &ShortString) {
    let deleted = async {
        let channel = open_channel(connection).await?;
        within(channel.queue_delete(turn.clone(), QueueDeleteOptions::default())).await?;
        close_channel(&channel).await;
        Ok(())
    };
    let deleted: Result<(), Trouble> = deleted.await;
    if let Err(trouble) = deleted {
        tracing::debug!(queue = %turn, %trouble, "not deleted");
    }
}
