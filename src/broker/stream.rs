//! Streams: messages stay in them until they are too old or too many, and any number of readers read them without taking anything away.
//! Declared by whoever publishes to one, read over a connection of its own that is opened again at the place where it was.
//!
//! The broker does not tell where a stream ends. So a reader publishes a mark and reads until it meets it: everything that was confirmed before
//! lies before the mark.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::arguments::{table, text, whole};
use super::connection::{AmqpTrouble, NOT_FOUND, Opened, TRIES, close, code, connect, open_channel, within};
use super::fields::{from_amqp, short};
use super::nodes::NodeUrls;
use super::port::Publisher;
use super::status::BrokerStatus;
use super::{Broker, outbox};
use crate::backoff::Backoff;
use crate::clock;
use crate::message::header::{PUBLISH, STREAM_MARK};
use crate::message::{Field, Message, Properties};
use crate::supervisor::Part;

/// Deliveries on their way; acked in parts, so that the broker never waits for the last of them.
const PREFETCH: u16 = 2_000;
const ACK_EVERY: u32 = 200;
/// What is left to ack is acked when nothing came for so long: the broker's consumer time-out counts from the oldest.
const ACK_AFTER: Duration = Duration::from_secs(1);
/// Messages between the reading task and whoever takes them.
const HANDOVER: usize = 512;
/// Between two tries to publish a mark.
const MARK_AGAIN: Duration = Duration::from_millis(500);
/// While the broker takes no messages, the end is where nothing came for so long.
const QUIET: Duration = Duration::from_secs(2);
/// A mark that was confirmed and does not come within so long lies in another stream of the same name.
const MARK_COMES: Duration = Duration::from_secs(10);
/// The place of a message, as the broker tells it, and where a reader wants to begin.
const OFFSET: &str = "x-stream-offset";

/// A stream, as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Its name at the broker.
    pub name: String,
    /// Older messages go, a whole segment at a time, when a segment is full.
    pub max_age: Option<Duration>,
    /// The oldest segments go when it is larger.
    pub max_bytes: Option<u64>,
    /// How large a segment is; the broker's own 500 MB unless said.
    pub segment_bytes: Option<u64>,
}

impl StreamSettings {
    /// The arguments that it is declared with.
    pub(super) fn arguments(&self) -> lapin::types::FieldTable {
        let bytes = |bytes: u64| whole(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut arguments = vec![("x-queue-type", text("stream"))];
        if let Some(age) = self.max_age {
            arguments.push(("x-max-age", text(&format!("{}s", age.as_secs()))));
        }
        arguments.extend(self.max_bytes.map(|most| ("x-max-length-bytes", bytes(most))));
        arguments.extend(self.segment_bytes.map(|most| ("x-stream-max-segment-size-bytes", bytes(most))));
        table(&arguments)
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// At the oldest message that is there.
    First,
    /// At that place; at the oldest where it is gone.
    Offset(u64),
    /// At what came in at that time, or some messages before.
    At(Timestamp),
    /// Behind all that is there.
    Next,
}

impl StreamStart {
    fn argument(self) -> AMQPValue {
        match self {
            Self::First => text("first"),
            Self::Offset(offset) => whole(i64::try_from(offset).unwrap_or(i64::MAX)),
            Self::At(time) => AMQPValue::Timestamp(u64::try_from(time.as_second()).unwrap_or(0)),
            Self::Next => text("next"),
        }
    }

    /// Where to begin in a stream that was made anew.
    fn anew(self) -> Self {
        match self {
            Self::First | Self::Offset(_) | Self::Next => Self::First,
            Self::At(time) => Self::At(time),
        }
    }
}

/// A message of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamMessage {
    /// Its place. Each is higher than the one before; some are missing.
    pub offset: u64,
    /// The message as it was published.
    pub message: Message,
}

/// What a reader tells.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages, and none is kept")]
pub enum StreamEvent {
    /// The next message.
    Message(StreamMessage),
    /// All has come that was confirmed before the reader began, or last connected again. What follows is told as it comes.
    CaughtUp {
        /// While the broker takes no messages the end is where nothing more comes: likely, but not certain. It is told again when it is.
        is_certain: bool,
    },
    /// Nothing comes for now, and the reader may be behind until it is caught up again; it goes on by itself where it was.
    Interrupted(StreamTrouble),
    /// The stream was deleted and made anew. All that is in it comes, some of it perhaps again.
    Renewed,
}

/// Why a stream cannot be read for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamTrouble {
    /// The broker has none of that name.
    #[error("the broker has no stream {0:?}")]
    Missing(String),
    /// The connection is lost, or the broker said no.
    #[error("reading {stream:?} broke off: {why}")]
    Broken {
        /// The stream.
        stream: String,
        /// What the broker or the client said.
        why: String,
    },
}

impl Broker {
    /// A way to publish to a stream, on a channel of its own: its name is the routing key on the default exchange. The stream is declared as
    /// `[broker] declare` says, and again when it was deleted; one that the broker has with other settings is used as it is.
    #[must_use]
    pub fn stream_publisher(&self, stream: &StreamSettings) -> Publisher {
        let name = format!("publisher to {}", stream.name);
        self.publisher_of(&name, self.topology.with_stream(stream), outbox::SHARE)
    }

    /// Reads a stream from `start` on and follows it, until the receiver is dropped or the broker is closed. Declares nothing. `marks` is what
    /// its marks are published with.
    #[must_use]
    pub fn read_stream(&self, stream: &str, start: StreamStart, marks: Publisher) -> mpsc::Receiver<StreamEvent> {
        let (events, receiver) = mpsc::channel(HANDOVER);
        let task = StreamTask {
            url: self.url.clone(),
            name: format!("{} (reading {stream})", self.name),
            stream: stream.to_owned(),
            start,
            next: None,
            node: None,
            marks,
            status: self.status.clone(),
            events,
            closing: self.closing.clone(),
        };
        self.work.spawn(self.supervisor.keep_trying(&format!("reader of {stream}"), &self.closing, task));
        receiver
    }
}

/// The task that reads.
struct StreamTask {
    url: NodeUrls,
    name: String,
    stream: String,
    start: StreamStart,
    /// The place of the next message, once one was read.
    next: Option<u64>,
    /// The node that it was connected to last: another has perhaps what this one lacks.
    node: Option<usize>,
    marks: Publisher,
    status: watch::Receiver<BrokerStatus>,
    events: mpsc::Sender<StreamEvent>,
    closing: CancellationToken,
}

/// Why a connection's reading ended.
enum Ended {
    Trouble(StreamTrouble),
    /// The mark shows that this is another stream.
    Renewed,
    /// Nobody takes anything any more.
    Unwanted,
}

impl Part for StreamTask {
    /// Reads until nobody wants it or the broker is closed.
    async fn run(&mut self) -> Result<(), String> {
        let (mut backoff, mut told) = (Backoff::new(TRIES), None);
        let (events, closing) = (self.events.clone(), self.closing.clone());
        loop {
            let was = self.next;
            let pause = match self.read_once().await {
                Ended::Unwanted => return Ok(()),
                Ended::Renewed => {
                    (self.start, self.next) = (self.start.anew(), None);
                    if events.send(StreamEvent::Renewed).await.is_err() {
                        return Ok(());
                    }
                    Duration::ZERO
                }
                Ended::Trouble(trouble) => {
                    if self.next != was {
                        (backoff, told) = (Backoff::new(TRIES), None);
                    }
                    if told.as_ref() != Some(&trouble) {
                        tracing::debug!(%trouble, "a stream is not read, trying again");
                        told = Some(trouble.clone());
                        if events.send(StreamEvent::Interrupted(trouble)).await.is_err() {
                            return Ok(());
                        }
                    }
                    backoff.pause()
                }
            };
            tokio::select! {
                () = closing.cancelled() => return Ok(()),
                () = events.closed() => return Ok(()),
                () = clock::sleep(pause) => {}
            }
        }
    }
}

impl StreamTask {
    /// One connection from opening to closing.
    async fn read_once(&mut self) -> Ended {
        let (events, closing) = (self.events.clone(), self.closing.clone());
        let unwanted = async {
            tokio::select! {
                () = events.closed() => {}
                () = closing.cancelled() => {}
            }
        };
        tokio::pin!(unwanted);
        let (url, name, lost) = (self.url.clone(), self.name.clone(), self.node);
        let opened = tokio::select! {
            () = &mut unwanted => return Ended::Unwanted,
            opened = connect(&url, &name, lost) => opened,
        };
        let Opened { connection, node, .. } = match opened {
            Ok(opened) => opened,
            Err(error) => return Ended::Trouble(self.broken(&error)),
        };
        self.node = Some(node);
        // lapin cancels a consumer that is dropped, and takes the connection with it where its channel ends meanwhile: it is kept.
        let mut kept = None;
        let ended = tokio::select! {
            () = &mut unwanted => Ended::Unwanted,
            ended = async {
                let channel = open_channel(&connection).await?;
                let consumer = kept.insert(self.consume(&channel).await?);
                self.pass_on(&channel, consumer).await
            } => ended.unwrap_or_else(|trouble| Ended::Trouble(self.trouble(&trouble))),
        };
        close(&connection).await;
        drop(kept);
        ended
    }

    async fn consume(&self, channel: &Channel) -> Result<Consumer, AmqpTrouble> {
        let start = self.next.map_or(self.start, StreamStart::Offset);
        within(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let tag = ShortString::from(Uuid::new_v4().to_string());
        let (stream, from) = (short("the stream's name", &self.stream)?, table(&[(OFFSET, start.argument())]));
        within(channel.basic_consume(stream, tag, BasicConsumeOptions::default(), from)).await
    }

    /// Hands over what comes until the channel ends.
    async fn pass_on(&mut self, channel: &Channel, consumer: &mut Consumer) -> Result<Ended, AmqpTrouble> {
        let mark = Uuid::new_v4().to_string();
        let marking = publish_mark(self.marks.clone(), self.stream.clone(), mark.clone());
        tokio::pin!(marking);
        let (mut marked_at, mut is_met, mut is_quiet): (Option<Instant>, _, _) = (None, false, false);
        let (mut unacked, mut last_tag, mut heard) = (0_u32, 0, clock::now());
        loop {
            let lost_at = marked_at.filter(|_| !is_met).map(|at| at.max(heard) + MARK_COMES);
            let likely_at = (!is_met && !is_quiet && marked_at.is_none()).then_some(heard + QUIET);
            tokio::select! {
                biased;
                delivery = consumer.next() => {
                    let Some(delivery) = delivery else { return Ok(Ended::Trouble(self.broken(&"the broker cancelled it"))) };
                    let delivery = delivery?;
                    (unacked, last_tag) = (unacked + 1, delivery.delivery_tag);
                    let Some((offset, is_mark)) = self.place(&delivery, &mark) else { continue };
                    if is_mark && self.next.is_some_and(|next| offset < next) {
                        return Ok(Ended::Renewed);
                    }
                    let event = if is_mark {
                        (!std::mem::replace(&mut is_met, true)).then_some(StreamEvent::CaughtUp { is_certain: true })
                    } else {
                        self.message(offset, delivery).map(StreamEvent::Message)
                    };
                    self.next = self.next.max(Some(offset + 1));
                    if let Some(event) = event && self.events.send(event).await.is_err() {
                        return Ok(Ended::Unwanted);
                    }
                    heard = clock::now();
                    if unacked >= ACK_EVERY {
                        unacked = 0;
                        ack(channel, last_tag).await?;
                    }
                }
                () = &mut marking, if marked_at.is_none() && !is_met => marked_at = Some(clock::now()),
                () = clock::sleep_until(heard + ACK_AFTER), if unacked > 0 => {
                    unacked = 0;
                    ack(channel, last_tag).await?;
                }
                () = until(likely_at) => {
                    if self.status.borrow().takes_publications() {
                        heard = clock::now();
                        continue;
                    }
                    is_quiet = true;
                    if self.events.send(StreamEvent::CaughtUp { is_certain: false }).await.is_err() {
                        return Ok(Ended::Unwanted);
                    }
                }
                () = until(lost_at) => return Ok(Ended::Renewed),
            }
        }
    }

    /// The place of a message, and whether it is this mark. None where the broker tells no place, which no stream does.
    fn place(&self, delivery: &AmqpDelivery, mark: &str) -> Option<(u64, bool)> {
        let headers = delivery.properties.headers().as_ref()?.inner();
        let offset = headers.get(OFFSET).and_then(AMQPValue::as_long_long_int);
        let offset = offset.and_then(|offset| u64::try_from(offset).ok())?;
        let found = headers.get(STREAM_MARK).and_then(AMQPValue::as_long_string);
        Some((offset, found.is_some_and(|found| found.as_bytes() == mark.as_bytes())))
    }

    /// A message that somebody published; none where it is a mark, or was read before.
    fn message(&self, offset: u64, delivery: AmqpDelivery) -> Option<StreamMessage> {
        if self.next.is_some_and(|next| offset < next) {
            return None;
        }
        let mut properties = from_amqp(&delivery.properties);
        properties.headers.remove(OFFSET);
        properties.headers.remove(PUBLISH);
        let is_mark = properties.headers.contains_key(STREAM_MARK);
        let message = Message { body: Bytes::from(delivery.data), properties };
        (!is_mark).then_some(StreamMessage { offset, message })
    }

    fn trouble(&self, trouble: &AmqpTrouble) -> StreamTrouble {
        match trouble {
            AmqpTrouble::Amqp(error) if code(error) == Some(NOT_FOUND) => StreamTrouble::Missing(self.stream.clone()),
            AmqpTrouble::Amqp(_) | AmqpTrouble::TimedOut | AmqpTrouble::NoChannel | AmqpTrouble::Away => {
                self.broken(trouble)
            }
        }
    }

    fn broken(&self, why: &impl std::fmt::Display) -> StreamTrouble {
        StreamTrouble::Broken { stream: self.stream.clone(), why: why.to_string() }
    }
}

/// Returns once a mark is confirmed.
async fn publish_mark(marks: Publisher, stream: String, mark: String) {
    loop {
        let headers = [(STREAM_MARK.to_owned(), Field::text(&mark))].into();
        let properties = Properties { headers, ..Properties::default() };
        match marks.publish("", &stream, Message { body: Bytes::new(), properties }).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, stream, "the mark of a reader is published again"),
        }
        clock::sleep(MARK_AGAIN).await;
    }
}

async fn ack(channel: &Channel, tag: u64) -> Result<(), AmqpTrouble> {
    within(channel.basic_ack(tag, BasicAckOptions { multiple: true })).await.map(|_| ())
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => clock::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_declared_with_what_bounds_it() {
        let week = Duration::from_hours(7 * 24);
        let bounded = StreamSettings {
            name: "sluice.history".into(),
            max_age: Some(week),
            max_bytes: Some(1_000_000),
            segment_bytes: Some(10_000),
        };
        let arguments = bounded.arguments();
        let told = arguments.inner();
        assert_eq!(told.len(), 4);
        assert_eq!(told.get("x-max-age"), Some(&text("604800s")));
        let plain = StreamSettings { max_age: None, max_bytes: None, segment_bytes: None, ..bounded };
        assert_eq!(plain.arguments().into_iter().count(), 1);
    }

    #[test]
    fn a_stream_that_was_made_anew_is_read_from_its_beginning() {
        let time = StreamStart::At(Timestamp::UNIX_EPOCH);
        let anew = [StreamStart::First, StreamStart::Offset(7), StreamStart::Next, time].map(StreamStart::anew);
        assert_eq!(anew, [StreamStart::First, StreamStart::First, StreamStart::First, time]);
    }
}
