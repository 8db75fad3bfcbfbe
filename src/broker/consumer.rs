//! A destination's queue at the broker in, its inbox out. Rebuilds channel and consumer on any error or end,
//! for ever; never lets a delivery outlive its channel unnoticed.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::acks;
use super::connection::{AmqpTrouble, NOT_FOUND, TRIES, close_channel, code, within};
use super::depths::depths;
use super::fields::{TooLong, from_amqp, short};
use super::link::{Link, Live};
use super::port::{Delivery, Disposition, Prefetch, Ticket, Witness};
use super::pulse;
use super::topology::{DestinationQueues, Topology, TopologyError};
use crate::backoff::Backoff;
use crate::class::Class;
use crate::clock;
use crate::message::header::PUBLISH;
use crate::message::{Field, Message};
use crate::supervisor::Part;

/// How many deliveries wait between the broker's channel and the destination.
pub(super) const HANDOVER: usize = 1024;
/// Deliveries that are handed over before anything else is looked at.
const AT_ONCE: usize = 32;
/// An epoch that ends sooner was cut short, perhaps by a message that cannot even be read.
const SHORT_LIFE: Duration = Duration::from_secs(5);
/// After so many short lives in a row, deliveries are taken one at a time: then the message that costs the connection is the
/// only one that the broker counts a return for, and the others do not follow it to the dead letters.
const SHORT_LIVES: u32 = 2;
/// Epochs in a row that end without an answer, after which the connection itself is given up.
const TIMEOUTS: u32 = 2;
/// How often, and how long apart, it is looked whether a queue is gone: RabbitMQ 4.0 cancels the consumers of one that is deleted before others
/// see that it is gone.
const LOOKS: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const RETURNS_HEADER: &str = "x-delivery-count";

/// The task that consumes a destination's queue.
pub(super) struct ConsumerTask {
    pub(super) link: Link,
    pub(super) topology: Topology,
    pub(super) queues: DestinationQueues,
    /// Which of its queues is consumed.
    pub(super) class: Class,
    pub(super) deliveries: mpsc::Sender<Box<Delivery>>,
    pub(super) prefetch: watch::Receiver<Prefetch>,
    pub(super) consuming: watch::Sender<bool>,
    /// Take nothing more.
    pub(super) stop: CancellationToken,
    /// Ack what has been handed over, and end.
    pub(super) closing: CancellationToken,
    /// How many epochs in a row were cut short.
    pub(super) short_lives: u32,
    /// Where it tells that the broker was heard.
    pub(super) witness: Witness,
    /// Whether everything was declared, and no loss of it is known. After a loss of the connection it consumes first: a cluster with a
    /// frozen node delivers long before it declares anything.
    pub(super) declared: bool,
}

/// Why a consumer or its channel ended.
#[derive(Debug, thiserror::Error)]
enum ConsumerError {
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(transparent)]
    Trouble(#[from] AmqpTrouble),
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("the broker cancelled the consumer")]
    Cancelled,
    #[error("the channel ended")]
    Gone,
}

impl ConsumerError {
    fn is_out_of_channels(&self) -> bool {
        matches!(
            self,
            Self::Trouble(AmqpTrouble::NoChannel) | Self::Topology(TopologyError::Trouble(AmqpTrouble::NoChannel))
        )
    }

    /// Whether the queue is gone, or may be.
    fn may_lack_its_queue(&self) -> bool {
        match self {
            Self::Trouble(AmqpTrouble::Amqp(error)) => code(error) == Some(NOT_FOUND),
            Self::Cancelled => true,
            Self::Topology(_) | Self::Trouble(_) | Self::TooLong(_) | Self::Gone => false,
        }
    }

    /// Whether the broker did not answer in time.
    fn is_timeout(&self) -> bool {
        match self {
            Self::Topology(error) => error.is_timeout(),
            Self::Trouble(trouble) => matches!(trouble, AmqpTrouble::TimedOut),
            Self::TooLong(_) | Self::Cancelled | Self::Gone => false,
        }
    }
}

/// Why forwarding paused with the channel still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeedEnd {
    /// The prefetch changed.
    Again,
    /// The inbox was dropped, or the worker stops.
    Finish,
}

/// The sender's half of one channel's life.
struct Epoch<'a> {
    channel: &'a Channel,
    class: Class,
    token: CancellationToken,
    settle: mpsc::UnboundedSender<(u64, Disposition)>,
}

impl Part for ConsumerTask {
    /// Works until the inbox is dropped or the worker stops, and until what it took has been settled.
    async fn run(&mut self) -> Result<(), String> {
        // An earlier run was broken off, perhaps by a message: then those that follow are taken one at a time, too.
        if self.consuming.send_replace(false) {
            self.short_lives = self.short_lives.saturating_add(1);
        }
        self.consume_for_ever().await;
        Ok(())
    }
}

impl ConsumerTask {
    async fn consume_for_ever(&mut self) {
        let mut backoff = Backoff::new(TRIES);
        let mut last_error = String::new();
        let mut timeouts = 0_u32;
        loop {
            tokio::select! {
                () = self.finish() => return,
                is_wanted = self.is_wanted() => if !is_wanted { return },
            }
            let mut link = self.link.clone();
            let live = tokio::select! {
                () = self.finish() => return,
                live = link.up() => live,
            };
            let Some(live) = live else { return };
            let began = clock::now();
            let ended = self.live_through(&live).await;
            let was_consuming = self.consuming.send_replace(false);
            let Err(broken) = ended else { return };
            if was_consuming {
                let cut_short = clock::now().saturating_duration_since(began) < SHORT_LIFE;
                self.short_lives = if cut_short { self.short_lives.saturating_add(1) } else { 0 };
                backoff.reset();
                last_error.clear();
            }
            self.declared &= !broken.may_lack_its_queue();
            timeouts = if broken.is_timeout() { timeouts + 1 } else { 0 };
            if timeouts >= TIMEOUTS && !live.gone.is_cancelled() {
                timeouts = 0;
                live.give_up();
            }
            if matches!(broken, ConsumerError::Cancelled) {
                tokio::select! {
                    () = self.finish() => return,
                    () = self.tell_whether_deleted() => {}
                }
            }
            let error = broken.to_string();
            // Where there is no channel left another connection is about to come.
            if !broken.is_out_of_channels() && error != last_error && !live.gone.is_cancelled() {
                tracing::error!(destination = self.queues.name, "not consuming, trying again until it works: {error}");
                last_error = error;
            }
            tokio::select! {
                () = self.finish() => return,
                () = clock::sleep(backoff.pause()) => {}
            }
        }
    }

    /// Returns once there has to be a channel. A queue of events that may wait is mostly empty, and needs none then. False where the inbox is
    /// gone.
    async fn is_wanted(&self) -> bool {
        let mut prefetch = self.prefetch.clone();
        self.class == Class::Live || prefetch.wait_for(|wanted| *wanted != Prefetch::None).await.is_ok()
    }

    /// The name of the queue that is consumed.
    fn queue(&self) -> String {
        self.topology.names.queue_of(&self.queues.name, self.class)
    }

    /// A consumer is cancelled when its queue is deleted, which is told before the queue is declared again; or when its leader goes.
    async fn tell_whether_deleted(&self) {
        let queue = self.queue();
        for _ in 0..LOOKS {
            match depths(&mut self.link.clone(), std::slice::from_ref(&queue)).await.as_deref() {
                Ok([None]) => {
                    let destination = self.queues.name.as_str();
                    tracing::error!(
                        destination,
                        queue,
                        "the queue was deleted at the broker and what was in it is lost"
                    );
                    return;
                }
                Ok(_) => clock::sleep(LOOK_AGAIN).await,
                Err(_) => return,
            }
        }
    }

    /// Resolves when nothing more is to be taken.
    fn finish(&self) -> impl Future<Output = ()> + use<> {
        let (deliveries, stop, closing) = (self.deliveries.clone(), self.stop.clone(), self.closing.clone());
        async move {
            tokio::select! {
                () = deliveries.closed() => {}
                () = stop.cancelled() => {}
                () = closing.cancelled() => {}
            }
        }
    }

    /// Declares what may be missing, while the queue is consumed.
    fn declare_meanwhile(&self, live: Live) {
        let (topology, queues) = (self.topology.clone(), self.queues.clone());
        tokio::spawn(async move {
            let gone = live.gone.clone();
            if let Some(Err(error)) = gone.run_until_cancelled(topology.ensure_destination(&live, &queues)).await {
                tracing::warn!(
                    destination = queues.name,
                    "its queues are consumed but could not be looked at: {error}"
                );
            }
        });
    }

    /// One channel from opening to closing.
    async fn live_through(&mut self, live: &Live) -> Result<(), ConsumerError> {
        if self.declared {
            // The other consumer looks at the queues of both.
            if self.class == Class::Live {
                self.declare_meanwhile(live.clone());
            }
        } else {
            tokio::select! {
                () = self.finish() => return Ok(()),
                ensured = self.topology.ensure_destination(live, &self.queues) => ensured?,
            }
            self.declared = true;
        }
        let channel = live.channel().await?;
        let token = live.gone.child_token();
        // However this ends: what came over the channel comes again.
        let _ends = token.clone().drop_guard();
        let (settle, settled) = mpsc::unbounded_channel();
        let acks = acks::run(channel.clone(), settled, token.clone(), self.closing.clone());
        // lapin cancels a consumer that is dropped, and takes the whole connection with it where its channel ends meanwhile: it is kept.
        let mut consumer = None;
        let consuming = async {
            let epoch = Epoch { channel: &channel, class: self.class, token: token.clone(), settle };
            let witness = self.witness.clone();
            let ended = tokio::select! {
                ended = self.consume(&epoch, &mut consumer) => ended,
                trouble = pulse::run(&channel, witness) => Err(trouble.into()),
            };
            if ended.is_err() {
                token.cancel();
            }
            ended
        };
        // Once consuming has ended well, the acks go on until every ticket of this channel has been used.
        let (ended, carried_out) = tokio::join!(consuming, acks);
        if let Some(carried_out) = carried_out {
            tokio::select! {
                () = token.cancelled() => {}
                () = clock::sleep_until(carried_out) => {}
            }
        }
        let broken = token.is_cancelled();
        token.cancel();
        close_channel(&channel).await;
        drop(consumer);
        if broken && ended.is_ok() { Err(ConsumerError::Gone) } else { ended }
    }

    /// The present consumer is put into `kept`, to be there for as long as the channel.
    async fn consume(&mut self, epoch: &Epoch<'_>, kept: &mut Option<Consumer>) -> Result<(), ConsumerError> {
        loop {
            let prefetch = *self.prefetch.borrow_and_update();
            let next = match prefetch {
                Prefetch::None | Prefetch::Of(0) => self.idle(epoch).await?,
                Prefetch::Of(prefetch) => self.feed(epoch, prefetch, kept).await?,
            };
            if next == FeedEnd::Finish {
                return Ok(());
            }
        }
    }

    /// Holds the channel without a consumer.
    async fn idle(&mut self, epoch: &Epoch<'_>) -> Result<FeedEnd, ConsumerError> {
        tokio::select! {
            () = epoch.token.cancelled() => Err(ConsumerError::Gone),
            () = self.finish() => Ok(FeedEnd::Finish),
            changed = self.prefetch.changed() => Ok(if changed.is_ok() { FeedEnd::Again } else { FeedEnd::Finish }),
        }
    }

    /// One consumer from its registration to its cancellation.
    async fn feed(
        &mut self,
        epoch: &Epoch<'_>,
        prefetch: u16,
        kept: &mut Option<Consumer>,
    ) -> Result<FeedEnd, ConsumerError> {
        let channel = epoch.channel;
        let careful = self.short_lives >= SHORT_LIVES;
        let prefetch = if careful { 1 } else { prefetch };
        let queue = short("the queue's name", &self.queue())?;
        // A tag that was used before on a channel may be refused, which would cost the connection.
        let tag = ShortString::from(Uuid::new_v4().to_string());
        let consumer = kept.insert(consume(channel, &queue, tag.clone(), prefetch).await?);
        self.consuming.send_replace(true);
        tracing::debug!(destination = self.queues.name, class = self.class.name(), prefetch, "consuming");
        let next = {
            let mut finish = pin!(self.finish());
            let mut calm = pin!(clock::sleep(SHORT_LIFE));
            loop {
                tokio::select! {
                    biased;
                    () = epoch.token.cancelled() => return Err(ConsumerError::Gone),
                    () = &mut finish => break FeedEnd::Finish,
                    changed = self.prefetch.changed() => {
                        break if changed.is_ok() { FeedEnd::Again } else { FeedEnd::Finish };
                    }
                    () = &mut calm, if careful => {
                        self.short_lives = 0;
                        break FeedEnd::Again;
                    }
                    forwarded = forward_one(consumer, &self.deliveries, epoch, &self.witness) => {
                        forwarded?;
                        forward_more(consumer, &self.deliveries, epoch)?;
                    }
                }
            }
        };
        within(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        self.consuming.send_replace(false);
        self.empty(consumer, epoch, next).await?;
        Ok(next)
    }

    /// Forwards what had been sent before the cancellation, since it is still valid; or gives it back when consuming is over.
    async fn empty(&mut self, consumer: &mut Consumer, epoch: &Epoch<'_>, next: FeedEnd) -> Result<(), ConsumerError> {
        while let Some(delivery) = consumer.next().await {
            let delivery = epoch.delivery(delivery.map_err(AmqpTrouble::from)?);
            let forwarded = match next {
                FeedEnd::Again => tokio::select! {
                    () = epoch.token.cancelled() => return Err(ConsumerError::Gone),
                    sent = self.deliveries.send(Box::new(delivery)) => sent.map_err(|unsent| unsent.0),
                },
                FeedEnd::Finish => Err(Box::new(delivery)),
            };
            if let Err(delivery) = forwarded {
                delivery.give_back();
            }
        }
        Ok(())
    }
}

/// Takes the next delivery only when there is room for it, so that dropping this future loses none.
async fn forward_one(
    consumer: &mut Consumer,
    deliveries: &mpsc::Sender<Box<Delivery>>,
    epoch: &Epoch<'_>,
    witness: &Witness,
) -> Result<(), ConsumerError> {
    let Ok(room) = deliveries.reserve().await else {
        // The inbox is gone; the caller sees it at its next look.
        return std::future::pending().await;
    };
    let delivery = consumer.next().await.ok_or(ConsumerError::Cancelled)?.map_err(AmqpTrouble::from)?;
    // Where many wait to be taken this one may have come long ago.
    if deliveries.capacity() >= HANDOVER / 2 {
        witness.heard(clock::now());
    }
    hand_over(epoch.delivery(delivery), room, deliveries);
    Ok(())
}

/// Into the inbox, unless that was closed meanwhile.
fn hand_over(delivery: Delivery, room: mpsc::Permit<'_, Box<Delivery>>, deliveries: &mpsc::Sender<Box<Delivery>>) {
    if deliveries.is_closed() {
        delivery.give_back();
    } else {
        room.send(Box::new(delivery));
    }
}

/// Those that came with it, as far as there is room.
fn forward_more(
    consumer: &mut Consumer,
    deliveries: &mpsc::Sender<Box<Delivery>>,
    epoch: &Epoch<'_>,
) -> Result<(), ConsumerError> {
    for _ in 0..AT_ONCE {
        let Ok(room) = deliveries.try_reserve() else { return Ok(()) };
        let Some(delivery) = consumer.next().now_or_never() else { return Ok(()) };
        let delivery = delivery.ok_or(ConsumerError::Cancelled)?.map_err(AmqpTrouble::from)?;
        hand_over(epoch.delivery(delivery), room, deliveries);
    }
    Ok(())
}

impl Epoch<'_> {
    fn delivery(&self, amqp: AmqpDelivery) -> Delivery {
        delivery(amqp, self.class, &self.token, &self.settle)
    }
}

/// One more consumer on a channel, which holds `prefetch` unsettled messages at most.
pub(super) async fn consume(
    channel: &Channel,
    queue: &ShortString,
    tag: ShortString,
    prefetch: u16,
) -> Result<Consumer, AmqpTrouble> {
    within(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    within(channel.basic_consume(queue.clone(), tag, BasicConsumeOptions::default(), FieldTable::default())).await
}

/// The class that a message was published as, whichever queue it lies in: the exchange of bulk events is the one called so.
pub(super) fn published_as(amqp: &AmqpDelivery) -> Class {
    Class::bulk_if(amqp.exchange.as_str().ends_with(".bulk"))
}

/// A delivery as the rest of Sluice sees it, of the channel whose life `token` is.
pub(super) fn delivery(
    amqp: AmqpDelivery,
    class: Class,
    token: &CancellationToken,
    settle: &mpsc::UnboundedSender<(u64, Disposition)>,
) -> Delivery {
    let mut properties = from_amqp(&amqp.properties);
    properties.headers.remove(PUBLISH);
    let returns = properties.headers.get(RETURNS_HEADER).and_then(Field::as_i64);
    Delivery {
        message: Message { body: Bytes::from(amqp.data), properties },
        class,
        routing_key: amqp.routing_key.into(),
        redelivered: amqp.redelivered,
        returns: returns.and_then(|returns| u32::try_from(returns).ok()).unwrap_or(0),
        ticket: Ticket::new(amqp.delivery_tag, token.clone(), settle.clone()),
    }
}
