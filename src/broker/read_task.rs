//! The task that reads a locked queue: messages in order, each held until it is acked or the read ends. Never takes more than is there.
//!
//! The broker sends a consumer no more than its prefetch before something is acked, and that ends at 65,535: what holds more reads
//! through one consumer after the other. A quorum queue puts what comes back behind what came back before, and both before what has
//! never been out (seen on 3.10.8). So whoever takes a part of what has been out must take all of it before giving it back, or the order is
//! another. A reader that is killed half way leaves another order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::BasicCancelOptions;
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{within, words};
use super::consumer::{consume, delivery, published_as};
use super::depths::ready;
use super::port::{Delivery, Disposition};
use super::read_error::{ReadError, broken};

/// Bytes of messages that may be on their way to the reader, about.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that a message takes besides its body, about.
const OVERHEAD_BYTES: usize = 2_000;
/// Messages on their way before their size is known.
const FIRST_WINDOW: u32 = 8;
/// The same where messages are acted on.
const FIRST_TO_ACT: u32 = 256;
/// Consumers of one read, where their windows can be large enough: 3.10 gives back in order what up to 32 consumers of one
/// channel held (seen: it keeps them in an Erlang map, which is in order up to that size).
const CONSUMERS: u32 = 31;
/// Over this a window grows only with what its bytes allow: memory stays bounded, and parts of a queue of more than a quarter of a
/// million may come back in another order. (A tag that is used again while its messages are held crashes 3.10's channel: seen.)
const LARGEST_FOR_ORDER: u32 = 8192;
/// How often a message has been out. 4.3 counts that apart from failed deliveries, brokers before it have one count for both.
const COUNTS: [&str; 2] = ["x-acquired-count", "x-delivery-count"];
/// When nothing came for so long, the queue is asked whether anything is left.
const QUIET: Duration = Duration::from_secs(1);

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPurpose {
    /// To look: everything that is read is held until the end.
    Look,
    /// To act on some of the messages.
    Act,
}

/// One read.
pub(super) struct ReadTask {
    pub(super) channel: Channel,
    pub(super) queue: ShortString,
    pub(super) purpose: ReadPurpose,
    pub(super) count: u32,
    pub(super) settle: mpsc::UnboundedSender<(u64, Disposition)>,
    pub(super) token: CancellationToken,
    /// Messages kept since the present consumer began.
    pub(super) held: Arc<AtomicU32>,
    pub(super) so_far: ReadSoFar,
}

/// How far a read has come.
#[derive(Default)]
pub(super) struct ReadSoFar {
    seen: u32,
    bytes: usize,
    consumers: u32,
    /// The last message that was read had never been out, and so none behind it has.
    last_is_fresh: bool,
}

/// Why reading stops.
enum ReadEnd {
    /// All that has to be read has been.
    Done(Consumer),
    Failed(ReadError),
}

impl ReadTask {
    /// Hands over all messages that were there. When nobody takes them any more it reads on, as far as the order needs it. Returns
    /// its last consumer, which must outlive the channel: lapin cancels a consumer that is dropped, and where the channel ends before that is
    /// answered, lapin ends the whole connection. An error when the read failed.
    pub(super) async fn run(mut self, hand: mpsc::Sender<Result<Delivery, ReadError>>) -> Result<Option<Consumer>, ()> {
        while self.so_far.seen < self.count {
            match self.through_one_consumer(&hand).await {
                Ok(()) => {}
                Err(ReadEnd::Done(consumer)) => return Ok(Some(consumer)),
                Err(ReadEnd::Failed(error)) => {
                    self.token.cancel();
                    // With nobody left to tell, the end of the read finds the channel broken.
                    drop(hand.send(Err(error)).await);
                    return Err(());
                }
            }
        }
        Ok(None)
    }

    async fn through_one_consumer(&mut self, hand: &mpsc::Sender<Result<Delivery, ReadError>>) -> Result<(), ReadEnd> {
        let window = self.window();
        self.so_far.consumers += 1;
        // The broker gives back in the order of the tags.
        let tag = ShortString::from(format!("read-{:09}", self.so_far.consumers));
        let mut consumer =
            consume(&self.channel, &self.queue, tag.clone(), window).await.map_err(|trouble| self.failed(&trouble))?;
        self.held.store(0, Ordering::Relaxed);
        let (first, window) = (self.so_far.seen, u32::from(window));
        while !self.used_up(self.so_far.seen - first, window) && !self.is_done(hand) {
            let next = tokio::select! {
                biased;
                () = self.token.cancelled() => return Err(self.failed(&"the channel ended")),
                () = hand.closed(), if !hand.is_closed() => continue,
                next = tokio::time::timeout(QUIET, consumer.next()) => next,
            };
            match next {
                Ok(Some(amqp)) => self.hand_over(amqp, hand).await?,
                Ok(None) => return Err(self.failed(&"the broker cancelled the consumer")),
                Err(_) if ready(&self.channel, &self.queue).await.map_err(|trouble| self.failed(&trouble))? == 0 => {
                    // Others took some away, or some expired.
                    return Err(ReadEnd::Done(consumer));
                }
                Err(_) => break,
            }
        }
        if self.is_done(hand) {
            return Err(ReadEnd::Done(consumer));
        }
        let cancelled = within(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await;
        cancelled.map_err(|trouble| self.failed(&trouble))?;
        // What was on its way when the consumer was cancelled.
        while let Some(amqp) = consumer.next().await {
            self.hand_over(amqp, hand).await?;
        }
        Ok(())
    }

    /// Everything has been read; or nobody takes messages any more, and all that had been out before has been read.
    fn is_done(&self, hand: &mpsc::Sender<Result<Delivery, ReadError>>) -> bool {
        self.so_far.seen >= self.count || (hand.is_closed() && self.so_far.last_is_fresh)
    }

    async fn hand_over(
        &mut self,
        amqp: lapin::Result<lapin::message::Delivery>,
        hand: &mpsc::Sender<Result<Delivery, ReadError>>,
    ) -> Result<(), ReadEnd> {
        let amqp = amqp.map_err(|error| self.failed(&words(&error)))?;
        self.so_far.seen += 1;
        self.so_far.bytes += amqp.data.len();
        let class = published_as(&amqp);
        let mut message = delivery(amqp, class, &self.token, &self.settle);
        // The broker's own, and another at each look.
        let headers = &mut message.message.properties.headers;
        let times_out = COUNTS.iter().filter_map(|count| headers.remove(*count)?.as_i64()).max();
        self.so_far.last_is_fresh = times_out.unwrap_or(0) == 0;
        if let Err(unsent) = hand.send(Ok(message)).await {
            // Nobody will ack it, so it makes no room.
            self.held.fetch_add(1, Ordering::Relaxed);
            drop(unsent.0.map(|delivery| delivery.ticket.leave()));
        }
        Ok(())
    }

    /// Whether the present consumer gets nothing more. What is acked makes room for more, what is kept does not. One that is cancelled
    /// while more is on its way to it leaves those out of order.
    fn used_up(&self, read: u32, window: u32) -> bool {
        match self.purpose {
            ReadPurpose::Look => read >= window,
            ReadPurpose::Act => self.held.load(Ordering::Relaxed) >= window,
        }
    }

    /// The next consumer's prefetch: enough that few consumers are needed, and else what its bytes allow. Where messages are acted on
    /// the first is small, and lasts as long as most are removed.
    fn window(&self) -> u16 {
        let left = self.count - self.so_far.seen;
        let mean = self.so_far.bytes / usize::try_from(self.so_far.seen.max(1)).unwrap_or(usize::MAX) + OVERHEAD_BYTES;
        let by_bytes = u32::try_from(WINDOW_BYTES / mean).unwrap_or(u32::MAX);
        let few = left.div_ceil(CONSUMERS.saturating_sub(self.so_far.consumers).max(1)).min(LARGEST_FOR_ORDER);
        let window = match self.purpose {
            ReadPurpose::Look if self.so_far.consumers == 0 => FIRST_WINDOW,
            ReadPurpose::Look => by_bytes.max(few),
            ReadPurpose::Act if self.so_far.consumers == 0 => FIRST_TO_ACT,
            ReadPurpose::Act => by_bytes.max(few.saturating_mul(2)),
        };
        u16::try_from(window.min(left).max(1)).unwrap_or(u16::MAX)
    }

    fn failed(&self, why: &impl std::fmt::Display) -> ReadEnd {
        ReadEnd::Failed(broken(&self.queue.to_string(), why))
    }
}
