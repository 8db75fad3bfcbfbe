//! A destination's lease queue: notes out, what becomes of them in. Opened anew after every loss, for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{AmqpTrouble, TRIES, close_channel, within};
use super::depths::{is_consumed, is_untouched};
use super::fields::short;
use super::link::{Link, Live};
use super::place::Place;
use super::topology::{DestinationQueues, Topology, TopologyError};
use crate::backoff::Backoff;
use crate::clock;
use crate::supervisor::Part;

/// Notes held at once. Two are usual; more meet where workers lost each other.
const WINDOW: u16 = 20;
/// Whoever has left goes to the end of the line after this.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a queue may take to start that another worker is declaring. RabbitMQ answers about it before that, and then closes the whole
/// connection of whoever consumes it (INTERNAL_ERROR; 3.10.8).
const STARTS_WITHIN: Duration = Duration::from_millis(500);
/// Whoever loses a connection is told so within this.
const GONE_WITHIN: Duration = Duration::from_millis(100);
pub(super) const HANDOVER: usize = 64;

/// What is seen of the queue.
#[derive(Debug)]
pub enum LeaseEvent {
    /// It is consumed.
    Opened {
        /// The destination's own queue was not there before it was first opened here: it has never been driven. False where nobody asks.
        is_new: bool,
    },
    /// A message came.
    Note {
        /// What it is acked or returned by.
        tag: u64,
        /// Its body.
        body: Bytes,
        /// It was out before.
        again: bool,
    },
    /// It is not consumed any more, and what was not acked is somebody else's.
    Closed,
    /// The queue, or what belongs to the destination beside it, cannot be used: why. It is tried again.
    Refused(String),
}

/// What is done with the queue.
#[derive(Debug)]
pub enum LeaseAct {
    /// Removes a message.
    Ack(u64),
    /// Gives a message back: it is the first again.
    Return(u64),
    /// Leaves the queue, so that the next worker has its turn, and goes to the end of the line.
    Leave,
}

/// One worker's end of a lease queue.
#[derive(Debug)]
pub struct LeaseQueue {
    /// What is seen of it.
    pub events: mpsc::Receiver<LeaseEvent>,
    /// What is done with it. What is for a message of an earlier opening is passed over.
    pub acts: mpsc::UnboundedSender<LeaseAct>,
}

/// The task's belongings.
pub(super) struct LeaseTask {
    pub(super) link: Link,
    pub(super) topology: Topology,
    pub(super) place: Arc<Place>,
    /// What is declared beside it, so that no event is missed before the destination is driven.
    pub(super) queues: DestinationQueues,
    /// Whether it has to be known if the destination is new; a "no" costs a channel's number. Asked once.
    pub(super) asks_whether_new: bool,
    /// It is new, and nobody was told yet.
    pub(super) is_new: bool,
    pub(super) is_declared: bool,
    pub(super) events: mpsc::Sender<LeaseEvent>,
    pub(super) acts: mpsc::UnboundedReceiver<LeaseAct>,
    pub(super) closing: CancellationToken,
    /// The last tag that was given. Never the same again, whatever the channel.
    pub(super) last_tag: u64,
}

/// Why a channel ended.
enum Ended {
    Left,
    Broken(String),
}

impl Part for LeaseTask {
    /// Works until nobody looks any more or the broker closes.
    async fn run(&mut self) -> Result<(), String> {
        let (events, closing) = (self.events.clone(), self.closing.clone());
        tokio::select! {
            () = closing.cancelled() => {}
            () = events.closed() => {}
            () = self.keep_open() => {}
        }
        Ok(())
    }
}

impl LeaseTask {
    async fn keep_open(&mut self) {
        let mut backoff = Backoff::new(TRIES);
        let mut last_error = String::new();
        while let Some(live) = self.link.up().await {
            match self.live_through(&live).await {
                Ok(Ended::Left) => {
                    self.place.forget();
                    (backoff, last_error) = (Backoff::new(TRIES), String::new());
                    clock::sleep(AGAIN).await;
                    continue;
                }
                Ok(Ended::Broken(why)) => {
                    backoff.reset();
                    tracing::debug!(destination = self.queues.name, why, "the lease queue is opened anew");
                }
                Err(error) => {
                    let error = error.to_string();
                    // A lost connection is told of by the link, once and not for each of its leases.
                    let is_gone = tokio::time::timeout(GONE_WITHIN, live.gone.cancelled()).await.is_ok();
                    if !is_gone {
                        self.tell(LeaseEvent::Refused(error.clone())).await;
                    }
                    if error != last_error && !is_gone {
                        let destination = self.queues.name.as_str();
                        tracing::error!(
                            destination,
                            "no lease, so nothing is sent, trying again until it works: {error}"
                        );
                    }
                    last_error = error;
                }
            }
            clock::sleep(backoff.pause()).await;
        }
    }

    /// One channel from opening to closing.
    async fn live_through(&mut self, live: &Live) -> Result<Ended, TopologyError> {
        let destination = self.queues.name.clone();
        let events = self.topology.names.queue(&destination);
        if self.asks_whether_new {
            self.is_new = !self.topology.has_queue(live, &events).await?;
            self.asks_whether_new = false;
        }
        if !self.is_declared {
            self.topology.ensure_destination(live, &self.queues).await?;
            self.is_declared = true;
        }
        self.topology.ensure_lease(live, &destination).await?;
        let queue = self.topology.names.lease(&destination);
        let queue = short("a queue", &queue)?;
        let channel = live.channel().await?;
        if is_untouched(&channel, &queue).await? {
            // A queue that is not there would end the lease's own channel.
            let looking = live.channel().await?;
            let is_consumed = is_consumed(&looking, &short("a queue", &events)?).await?;
            close_channel(&looking).await;
            clock::sleep(STARTS_WITHIN).await;
            // One that has the lease consumes both.
            if is_consumed && is_untouched(&channel, &queue).await? {
                close_channel(&channel).await;
                return Err(TopologyError::Consumed(events));
            }
        }
        within(channel.basic_qos(WINDOW, BasicQosOptions::default())).await?;
        let tag = ShortString::from(Uuid::new_v4().to_string());
        let mut consumer =
            within(channel.basic_consume(queue, tag.clone(), BasicConsumeOptions::default(), FieldTable::default()))
                .await?;
        // What was meant for the channel before is passed over.
        while self.acts.try_recv().is_ok() {}
        let is_new = std::mem::take(&mut self.is_new);
        self.tell(LeaseEvent::Opened { is_new }).await;
        let ended = self
            .pass_on(&channel, &mut consumer, tag)
            .await
            .unwrap_or_else(|trouble| Ended::Broken(trouble.to_string()));
        // lapin cancels a consumer that is dropped, and takes the whole connection with it where its channel ends meanwhile.
        close_channel(&channel).await;
        drop(consumer);
        self.tell(LeaseEvent::Closed).await;
        Ok(ended)
    }

    /// Notes out and acts in, until the channel ends or is left.
    async fn pass_on(
        &mut self,
        channel: &Channel,
        consumer: &mut Consumer,
        name: ShortString,
    ) -> Result<Ended, AmqpTrouble> {
        let mut out: BTreeMap<u64, u64> = BTreeMap::new();
        loop {
            tokio::select! {
                delivery = consumer.next() => {
                    let Some(delivery) = delivery else { return Ok(Ended::Broken("the broker cancelled its consumer".into())) };
                    let delivery = delivery?;
                    self.place.heard();
                    self.last_tag += 1;
                    out.insert(self.last_tag, delivery.delivery_tag);
                    let (body, again) = (Bytes::from(delivery.data), delivery.redelivered);
                    self.tell(LeaseEvent::Note { tag: self.last_tag, body, again }).await;
                }
                act = self.acts.recv() => match act {
                    Some(LeaseAct::Ack(tag)) => if let Some(tag) = out.remove(&tag) {
                        within(channel.basic_ack(tag, BasicAckOptions::default())).await?;
                    },
                    Some(LeaseAct::Return(tag)) => if let Some(tag) = out.remove(&tag) {
                        give_back(channel, tag).await?;
                        self.place.asked(clock::now());
                    },
                    // A worker that stops leaves too.
                    Some(LeaseAct::Leave) | None => {
                        within(channel.basic_cancel(name, BasicCancelOptions::default())).await?;
                        for tag in out.into_values() {
                            give_back(channel, tag).await?;
                        }
                        return Ok(Ended::Left);
                    }
                },
            }
        }
    }

    async fn tell(&self, event: LeaseEvent) {
        // Nobody looks any more: the task is about to end.
        drop(self.events.send(event).await);
    }
}

async fn give_back(channel: &Channel, tag: u64) -> Result<(), AmqpTrouble> {
    within(channel.basic_nack(tag, BasicNackOptions { requeue: true, ..BasicNackOptions::default() })).await.map(|_| ())
}
