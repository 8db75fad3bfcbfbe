//! What the rest of Sluice sees of the broker: channels of plain values, no client crate.
//!
//! `broker/` feeds and drains these against RabbitMQ; `tests/it` does the same in memory.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::names::DelayQueue;
use crate::class::Class;
use crate::clock;
use crate::message::Message;

/// How much a destination wants to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// Nothing: no consumer at all.
    None,
    /// A consumer that holds at most this many unsettled deliveries.
    Of(u16),
}

/// A destination's end of its queues.
#[derive(Debug)]
pub struct Inbox {
    /// Deliveries of its queue, in their order.
    pub deliveries: mpsc::Receiver<Box<Delivery>>,
    /// The same of its queue of events that may wait. They are not in one line with the others, which would have to wait until those before
    /// them are checked; and boxed, since the room for some is there for each destination.
    pub bulk_deliveries: mpsc::Receiver<Box<Delivery>>,
    /// What is taken from its queue.
    pub live: Feed,
    /// What is taken from its queue of events that may wait. That has no channel until something is wanted of it.
    pub bulk: Feed,
    /// When the broker was last heard on the deliveries' channels.
    pub proof: Proof,
}

/// How much is taken from one queue.
#[derive(Debug)]
pub struct Feed {
    /// Set to change how much is consumed. A change takes effect within a moment; what was already
    /// delivered stays valid and has to be settled.
    pub prefetch: watch::Sender<Prefetch>,
    /// True while a consumer is registered at the broker.
    pub consuming: watch::Receiver<bool>,
}

/// The broker's end of a [`Feed`].
#[derive(Debug)]
pub struct FeedEnds {
    /// How much is wanted.
    pub prefetch: watch::Receiver<Prefetch>,
    /// Whether a consumer is registered.
    pub consuming: watch::Sender<bool>,
}

impl Feed {
    /// One that takes nothing yet, and its other end.
    #[must_use]
    pub fn new() -> (Self, FeedEnds) {
        let (prefetch, wanted) = watch::channel(Prefetch::None);
        let (consuming, is_consuming) = watch::channel(false);
        (Self { prefetch, consuming: is_consuming }, FeedEnds { prefetch: wanted, consuming })
    }

    /// Wants that much from now on.
    pub fn want(&self, wanted: Prefetch) {
        self.prefetch.send_if_modified(|current| std::mem::replace(current, wanted) != wanted);
    }

    /// Takes nothing more.
    pub fn stop(&self) {
        self.want(Prefetch::None);
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self.prefetch.borrow() == Prefetch::None
    }
}

impl Inbox {
    /// Ends consuming. What was sent here and not yet taken goes back to the broker; what was taken can still be
    /// settled.
    pub fn close(mut self) {
        self.deliveries.close();
        self.bulk_deliveries.close();
        for class in Class::ALL {
            while let Ok(delivery) = self.deliveries_of(class).try_recv() {
                delivery.give_back();
            }
        }
    }

    /// Deliveries of one class.
    pub fn deliveries_of(&mut self, class: Class) -> &mut mpsc::Receiver<Box<Delivery>> {
        match class {
            Class::Live => &mut self.deliveries,
            Class::Bulk => &mut self.bulk_deliveries,
        }
    }
}

/// Tells whether the connection to the broker still works: over a cut one no ack arrives, and what is sent meanwhile comes again.
#[derive(Debug)]
pub struct Proof {
    heard: watch::Receiver<Heard>,
    wanted: watch::Sender<Option<Duration>>,
}

/// The broker's end of a [`Proof`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Witness {
    heard: watch::Sender<Heard>,
    wanted: watch::Receiver<Option<Duration>>,
}

/// When the broker was last heard, and how long it took to answer when it was last asked.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    at: Option<Instant>,
    round_trip: Duration,
}

impl Proof {
    /// A proof and its witness.
    #[must_use]
    pub fn new() -> (Self, Witness) {
        let (heard, is_heard) = watch::channel(Heard::default());
        let (wanted, is_wanted) = watch::channel(None);
        (Self { heard: is_heard, wanted }, Witness { heard, wanted: is_wanted })
    }

    /// Whether the broker was heard within `age` before `now`, or two round trips where these take longer.
    #[must_use]
    pub fn is_fresh(&self, age: Duration, now: Instant) -> bool {
        let Heard { at, round_trip } = *self.heard.borrow();
        at.is_some_and(|at| now.saturating_duration_since(at) <= age + round_trip * 2)
    }

    /// Wants it to be no older than that from now on, or nothing.
    pub fn want(&self, age: Option<Duration>) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, age) != age);
    }

    /// Returns once the broker has been heard again; never once it is closed.
    pub async fn renewed(&mut self) {
        if self.heard.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Witness {
    /// Something came from the broker.
    pub fn heard(&self, at: Instant) {
        self.heard.send_modify(|heard| heard.at = Some(at));
    }

    /// It answered to a question.
    pub fn answered(&self, asked: Instant, at: Instant) {
        self.heard.send_replace(Heard { at: Some(at), round_trip: at.saturating_duration_since(asked) });
    }

    /// Returns when the broker has to be asked: after half of the wanted age. Never while nobody wants to know.
    pub async fn due(&mut self) {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            let heard = self.heard.borrow().at;
            let at = wanted.map(|age| heard.map_or_else(clock::now, |at| at + age / 2));
            if at.is_some_and(|at| at <= clock::now()) {
                return;
            }
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { std::future::pending().await },
                () = clock::sleep_until(at.unwrap_or_else(clock::now)), if at.is_some() => {}
            }
        }
    }
}

/// One message taken from a destination's queue and not yet settled.
#[derive(Debug)]
pub struct Delivery {
    /// The message as it lay in the queue.
    pub message: Message,
    /// Which of the destination's queues that was.
    pub class: Class,
    /// The routing key it came with (a returned retry carries the queue's name).
    pub routing_key: String,
    /// Whether the broker sent it before.
    pub redelivered: bool,
    /// How often the broker took it back (`x-delivery-count`), 0 at first.
    pub returns: u32,
    /// The right to settle it.
    pub ticket: Ticket,
}

impl Delivery {
    /// Gives it back to the broker.
    pub(super) fn give_back(self) {
        self.ticket.settle(Disposition::Requeue);
    }
}

/// What a [`Ticket`] tells the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// `basic.ack`: done with it.
    Ack,
    /// `basic.nack` with requeue: the broker may deliver it again.
    Requeue,
}

/// The right to settle one delivery, once. Dropping it unsettled is a bug that is logged;
/// the broker gives such a message back when the channel ends.
#[derive(Debug)]
#[must_use = "a delivery has to be settled"]
pub struct Ticket {
    tag: u64,
    epoch: CancellationToken,
    /// The event was rejected and then checked against a new lookup: once is enough.
    checked_again: bool,
    settle: Option<mpsc::UnboundedSender<(u64, Disposition)>>,
}

impl Ticket {
    /// A ticket for delivery tag `tag` of the channel whose life `epoch` is; `settle` leads to its ack task.
    pub fn new(tag: u64, epoch: CancellationToken, settle: mpsc::UnboundedSender<(u64, Disposition)>) -> Self {
        Self { tag, epoch, checked_again: false, settle: Some(settle) }
    }

    /// False once the channel is gone: the broker gives the message to someone else, so sending it
    /// would only make a duplicate.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.epoch.is_cancelled()
    }

    /// The broker's number for the delivery: higher for one that came later on the same channel.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// Whether [`Ticket::check_again`] was called.
    #[must_use]
    pub fn was_checked_again(&self) -> bool {
        self.checked_again
    }

    /// Notes that its event was rejected and is checked against a new lookup. A list of tags would not do: the next channel has the same.
    pub fn check_again(&mut self) {
        self.checked_again = true;
    }

    /// The end of the channel that this delivery came on.
    #[must_use]
    pub fn epoch(&self) -> &CancellationToken {
        &self.epoch
    }

    /// Leaves the delivery unsettled: the broker gives it back with the others of its channel, in their order, when the channel ends.
    pub fn leave(mut self) {
        self.settle = None;
    }

    /// Settles the delivery. False when the channel had already gone: the broker will deliver it again.
    pub fn settle(mut self, disposition: Disposition) -> bool {
        match self.settle.take() {
            Some(settle) => self.is_live() && settle.send((self.tag, disposition)).is_ok(),
            None => false,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.settle.is_some() && self.is_live() {
            tracing::error!(delivery.tag = self.tag, "a delivery was dropped unsettled; this is a bug in Sluice");
        }
    }
}

/// One message on its way to the broker.
#[derive(Debug)]
pub struct Publication {
    /// Exchange; empty for the default one, which routes by queue name.
    pub exchange: String,
    /// Routing key, or the queue's name on the default exchange.
    pub routing_key: String,
    /// What to publish. Always sent persistent and mandatory.
    pub message: Message,
    /// The queue that it goes to, where that is made when something is first published to it.
    pub delay: Option<Box<DelayQueue>>,
    /// Where the outcome goes, once.
    pub outcome: oneshot::Sender<Result<(), PublishError>>,
}

/// Why a publication is not known to be safe at the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue took it.
    #[error("no queue is bound for it (exchange {exchange:?}, routing key {routing_key:?})")]
    Unroutable {
        /// Exchange it was published to.
        exchange: String,
        /// Routing key it was published with.
        routing_key: String,
    },
    /// The broker answered with `basic.nack`.
    #[error("the broker refused it (basic.nack)")]
    Refused,
    /// The connection was lost before the confirm came: it may or may not be there.
    #[error("the connection to the broker was lost before it was confirmed")]
    Lost,
    /// The broker closed the channel: for this one or for another that was under way.
    #[error("the broker closed the channel before it was confirmed: {0}")]
    Closed(String),
    /// It cannot be put on the wire; the sentence says what to shorten.
    #[error("it cannot be published: {0}")]
    Unsendable(String),
    /// The queue that it goes to is not there and could not be made; says why.
    #[error("its queue {queue:?} could not be made: {why}")]
    NotMade {
        /// The queue.
        queue: String,
        /// What the broker said.
        why: String,
    },
    /// No confirm within the time allowed.
    #[error("no confirm within {0:?}")]
    TimedOut(Duration),
}

/// A way to publish with confirms. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Publication>,
}

impl Publisher {
    /// A publisher whose publications come out of `queue`'s other end.
    #[must_use]
    pub fn new(queue: mpsc::Sender<Publication>) -> Self {
        Self { queue }
    }

    /// Publishes, and returns once the broker has confirmed it.
    ///
    /// # Errors
    /// Any [`PublishError`]: the message must then be taken as not published.
    pub async fn publish(&self, exchange: &str, routing_key: &str, message: Message) -> Result<(), PublishError> {
        self.submit(exchange, routing_key, message).await?.await
    }

    /// The same to a queue where messages lie for a time, which is made where it is not known to be there.
    ///
    /// # Errors
    /// Any [`PublishError`]: the message must then be taken as not published.
    pub async fn publish_delayed(&self, queue: &DelayQueue, message: Message) -> Result<(), PublishError> {
        let to = (String::new(), queue.name.clone());
        self.hand_over(to, message, Some(Box::new(queue.clone()))).await?.await
    }

    /// Hands a message over to be published after those that were handed over before; what comes out waits for its confirm.
    ///
    /// # Errors
    /// Any [`PublishError`]: the message must then be taken as not published.
    pub async fn submit(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
    ) -> Result<impl Future<Output = Result<(), PublishError>> + use<>, PublishError> {
        self.hand_over((exchange.to_owned(), routing_key.to_owned()), message, None).await
    }

    async fn hand_over(
        &self,
        (exchange, routing_key): (String, String),
        message: Message,
        delay: Option<Box<DelayQueue>>,
    ) -> Result<impl Future<Output = Result<(), PublishError>> + use<>, PublishError> {
        let (outcome, answer) = oneshot::channel();
        let publication = Publication { exchange, routing_key, message, delay, outcome };
        self.queue.send(publication).await.map_err(|_| PublishError::Lost)?;
        Ok(async move { answer.await.unwrap_or(Err(PublishError::Lost)) })
    }
}
