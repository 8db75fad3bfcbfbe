//! The only place that settles: a delivery and a settlement come in, and the broker is told. A copy is confirmed before the original is acked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::notice::OutcomeNotice;
use crate::backoff::{Backoff, Bounds};
use crate::broker::port::{Delivery, Disposition, PublishError, Publisher, Ticket};
use crate::broker::{DelayQueue, Names, later};
use crate::class::Class;
use crate::clock;
use crate::event::{Event, Identity, Time};
use crate::message::{Field, Message, header};
use crate::metrics::DestinationMetrics;
use crate::receipts::{self, About, Receipt, Receipts};
use crate::record::death::Death;
use crate::record::fit::fit;
use crate::record::history::History;
use crate::record::replay::{ReplayOutcome, end_replay};
use crate::verdict::{Reason, Settlement};

/// First and longest pause between tries to publish a copy.
const PUBLISH_PAUSES: Bounds = Bounds::doubling(Duration::from_millis(100), Duration::from_secs(5), 0.0);

/// After a time between these, an event whose copy still waits goes back, well before the broker's consumer time-out. The time varies, so
/// that the events do not all come again in a row.
const COPIES_WAIT: (Duration, Duration) = (Duration::from_secs(400), Duration::from_secs(1_200));

/// Which event it is, for logs and dead letters.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub id: Option<String>,
    pub source: String,
    pub kind: String,
    pub time: Time,
    /// The id of its producer's trace, where it has one.
    pub trace_id: Option<String>,
    /// When a worker took it first, where that is known.
    pub received: Option<Timestamp>,
    /// What it says that it is about, where that is recorded.
    pub subject: Option<String>,
}

impl Tag {
    pub fn of(event: Event) -> Self {
        let Event { id, source, kind, time, trace, .. } = event;
        Self {
            id: Some(id),
            source,
            kind,
            time,
            trace_id: trace.map(|trace| trace.id().to_owned()),
            received: None,
            subject: None,
        }
    }

    /// Of a message whose body has not been looked at, or cannot be: what headers and properties say.
    pub fn unchecked(message: &Message, history: &History) -> Self {
        Identity::of(message, &history.routing_key, history.received).into()
    }
}

impl From<Identity> for Tag {
    fn from(Identity { id, source, kind, time }: Identity) -> Self {
        Self { id, source, kind, time, trace_id: None, received: None, subject: None }
    }
}

/// What is known of a delivery before its event has been checked.
pub(super) fn unchecked(delivery: &Delivery, wall: Timestamp) -> (History, Tag) {
    let history = History::read(&delivery.message, &delivery.routing_key, wall);
    let tag = Tag::unchecked(&delivery.message, &history);
    (history, tag)
}

/// What settling needs; one for each destination.
#[derive(Debug)]
pub(super) struct Settler {
    pub destination: String,
    pub names: Names,
    pub publisher: Publisher,
    pub metrics: DestinationMetrics,
    pub receipts: Option<Receipts>,
    pub delivery_limit: u32,
    /// The delays of its retry queues.
    pub retry_delays: Vec<Duration>,
    /// Cancelled when nothing more is waited for: what is not settled by then is left to the broker.
    pub leaving: CancellationToken,
    /// Why copies for a queue could not be published when that was last tried.
    pub trouble: Mutex<BTreeMap<String, String>>,
}

/// What is settled.
#[derive(Debug)]
pub(super) struct ToSettle {
    pub delivery: Delivery,
    pub history: History,
    pub tag: Tag,
    pub settlement: Settlement,
}

/// Where a copy goes.
enum To {
    Queue(String),
    /// One that is made where it is missing.
    Delay(DelayQueue),
    /// One of those for what may not be sent yet: which one depends on when the broker takes it.
    Later {
        queue: String,
        due: Timestamp,
    },
}

impl To {
    fn name(&self) -> &str {
        match self {
            Self::Queue(name) => name,
            Self::Delay(queue) => &queue.name,
            Self::Later { queue, .. } => queue,
        }
    }
}

impl Settler {
    /// The copy that waits for the next attempt, and where it does.
    fn retry(&self, message: &Message, class: Class, history: &History, delay: Duration) -> (To, Message) {
        let mut copy = history.write(message);
        copy.properties.expiration = Some(jittered(delay).as_millis().to_string());
        let returns_to = self.names.queue_of(&self.destination, class);
        (To::Delay(DelayQueue::retry(&returns_to, delay, &self.retry_delays)), copy)
    }

    /// Carries out a settlement. Returns once the broker has what it needs, or the delivery's channel is gone and the
    /// broker gives the message to someone again. What comes out is to be told to whoever replayed the event.
    pub async fn settle(self: Arc<Self>, case: ToSettle) -> Option<OutcomeNotice> {
        let ToSettle { delivery, history, tag, settlement } = case;
        let Delivery { message, class, ticket, returns, .. } = delivery;
        // Brokers before 4.3 count every return towards the delivery limit, which is meant for messages that crash workers.
        let may_return = returns.saturating_mul(2) < self.delivery_limit;
        match settlement {
            Settlement::Ack => {
                if self.dispose(ticket, Disposition::Ack) {
                    self.receipt(receipts::ReceiptKind::Delivered, tag, &history, None);
                    return OutcomeNotice::on(&message, ReplayOutcome::Delivered);
                }
            }
            Settlement::RetryLater(delay) => {
                let (to, copy) = self.retry(&message, class, &history, delay);
                if self.move_to(&to, copy, ticket, may_return).await {
                    self.metrics.retried.inc();
                    return OutcomeNotice::on(&message, ReplayOutcome::Retrying);
                }
            }
            Settlement::Later(due) => {
                let to = To::Later { queue: self.names.queue_of(&self.destination, class), due };
                // Whoever replayed it need not hear of each wait.
                let is_first = !message.properties.headers.contains_key(header::DUE);
                if self.move_to(&to, history.write(&message), ticket, may_return).await && is_first {
                    return OutcomeNotice::on(&message, ReplayOutcome::Retrying);
                }
            }
            Settlement::DeadLetter(reason, sentence) => {
                let mut letter = self.letter(&message, &history, &tag, reason, &sentence);
                mark(&mut letter, class);
                let word = OutcomeNotice::on(&message, ReplayOutcome::Dead).map(|word| word.why(&letter));
                if self.move_to(&To::Queue(self.names.dead(&self.destination)), letter, ticket, may_return).await {
                    self.metrics.dead_letter(reason);
                    self.receipt(receipts::ReceiptKind::DeadLettered, tag, &history, Some((reason, sentence)));
                    return word;
                }
            }
            Settlement::Drop(sentence) => {
                if self.dispose(ticket, Disposition::Ack) {
                    self.metrics.dropped.inc();
                    self.receipt(receipts::ReceiptKind::Dropped, tag, &history, Some((Reason::TooOld, sentence)));
                }
            }
            Settlement::Suppress => {
                if self.dispose(ticket, Disposition::Ack) {
                    self.metrics.suppressed.inc();
                    self.receipt(receipts::ReceiptKind::Suppressed, tag, &history, None);
                    return OutcomeNotice::on(&message, ReplayOutcome::Suppressed);
                }
            }
            Settlement::Release => {
                self.metrics.released.inc();
                // One that was given back often through no fault of its own starts afresh as a copy.
                if may_return {
                    self.dispose(ticket, Disposition::Requeue);
                } else {
                    let queue = To::Queue(self.names.queue_of(&self.destination, class));
                    let _moved = self.move_to(&queue, history.write(&message), ticket, false).await;
                }
            }
        }
        None
    }

    /// Sends an event behind what waits in its queue, with its history, so that others come to hand. Where that cannot be done at once
    /// it is only given back.
    pub async fn send_behind(self: Arc<Self>, delivery: Delivery, history: History) -> Option<OutcomeNotice> {
        self.metrics.released.inc();
        let Delivery { message, class, ticket, .. } = delivery;
        if !ticket.is_live() {
            return None;
        }
        let queue = self.names.queue_of(&self.destination, class);
        let mut copy = history.write(&message);
        fit(&mut copy);
        tokio::select! {
            biased;
            sent = self.publisher.publish("", &queue, copy) => {
                self.dispose(ticket, if sent.is_ok() { Disposition::Ack } else { Disposition::Requeue });
            }
            () = self.leaving.cancelled() => ticket.leave(),
        }
        None
    }

    /// Moves an event of the queue of live ones to that of those which may wait.
    pub async fn move_to_bulk(self: Arc<Self>, delivery: Delivery) -> Option<OutcomeNotice> {
        let history = History::read(&delivery.message, &delivery.routing_key, clock::wall());
        let Delivery { message, ticket, returns, .. } = delivery;
        let may_return = returns.saturating_mul(2) < self.delivery_limit;
        let queue = To::Queue(self.names.bulk(&self.destination));
        let _moved = self.move_to(&queue, history.write(&message), ticket, may_return).await;
        None
    }

    /// Tells what became of an event, where receipts are wanted.
    pub fn receipt(&self, outcome: receipts::ReceiptKind, tag: Tag, history: &History, why: Option<(Reason, String)>) {
        let Some(receipts) = &self.receipts else { return };
        let (reason, sentence) = why.unzip();
        receipts.tell(Receipt {
            outcome,
            destination: self.destination.clone(),
            event: Some(About { id: tag.id, source: tag.source, r#type: tag.kind, time: tag.time }),
            failed_attempts: history.made(),
            reason,
            sentence,
        });
    }

    /// Tells that the destination is parked, where receipts are wanted.
    pub fn receipt_of_parking(&self, why: &str) {
        let Some(receipts) = &self.receipts else { return };
        receipts.tell(Receipt {
            outcome: receipts::ReceiptKind::Parked,
            destination: self.destination.clone(),
            event: None,
            failed_attempts: 0,
            reason: None,
            sentence: Some(why.to_owned()),
        });
    }

    fn letter(&self, message: &Message, history: &History, tag: &Tag, reason: Reason, sentence: &str) -> Message {
        let death = Death {
            reason,
            sentence,
            destination: &self.destination,
            event_id: tag.id.as_deref(),
            event_type: &tag.kind,
            at: clock::wall(),
        };
        let mut letter = death.write(message, history);
        end_replay(&mut letter);
        letter
    }

    /// Publishes a copy until it is confirmed, then acks the original. False when the original's channel went first; or, where that
    /// `may_return`, when it was given back before its time at the broker was up.
    async fn move_to(&self, to: &To, mut copy: Message, ticket: Ticket, may_return: bool) -> bool {
        let queue = to.name();
        let (mut backoff, until) = (Backoff::new(PUBLISH_PAUSES), clock::now() + spread(COPIES_WAIT));
        fit(&mut copy);
        // The broker sends the original again: a copy beside it would be a second event.
        if !ticket.is_live() {
            return false;
        }
        loop {
            let result = tokio::select! {
                biased;
                result = self.publish(to, copy.clone()) => result,
                () = ticket.epoch().cancelled() => return false,
                () = self.leaving.cancelled() => return leave(ticket),
            };
            let Err(error) = result else { break };
            self.metrics.publish_failures.inc();
            self.note_trouble(queue, &error);
            let is_due = matches!(to, To::Later { due, .. } if *due <= clock::wall());
            if may_return && (is_due || clock::now() >= until) {
                self.metrics.released.inc();
                self.dispose(ticket, Disposition::Requeue);
                return false;
            }
            tokio::select! {
                () = clock::sleep(backoff.pause()) => {}
                () = ticket.epoch().cancelled() => return false,
                () = self.leaving.cancelled() => return leave(ticket),
            }
        }
        self.note_success(queue);
        self.dispose(ticket, Disposition::Ack);
        true
    }

    async fn publish(&self, to: &To, mut copy: Message) -> Result<(), PublishError> {
        match to {
            To::Queue(queue) => self.publisher.publish("", queue, copy).await,
            To::Delay(queue) => self.publisher.publish_delayed(queue, copy).await,
            To::Later { queue, due } => {
                let left = Duration::try_from(due.duration_since(clock::wall())).unwrap_or_default();
                let (delay, wait) = later::next(left);
                copy.properties.expiration = Some(wait.as_millis().to_string());
                self.publisher.publish_delayed(&DelayQueue::later(queue, delay), copy).await
            }
        }
    }

    /// Said once for all that wait for a queue, until the reason is another.
    fn note_trouble(&self, queue: &str, error: &PublishError) {
        let (destination, reason) = (&self.destination, error.to_string());
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.insert(queue.to_owned(), reason).as_ref() != trouble.get(queue) {
            tracing::warn!(
                destination,
                queue,
                %error,
                "a copy could not be published; its event stays unsettled, and the copy is tried again until the broker takes it"
            );
        }
    }

    fn note_success(&self, queue: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.remove(queue).is_some() {
            tracing::info!(destination = self.destination, queue, "copies are published again");
        }
    }

    /// Whether copies could not be published when that was last tried.
    pub fn is_in_trouble(&self) -> bool {
        !self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Acks or gives back at once. False when the channel had already gone.
    pub fn dispose(&self, ticket: Ticket, disposition: Disposition) -> bool {
        let settled = ticket.settle(disposition);
        if !settled {
            tracing::debug!(
                destination = self.destination,
                "the channel was gone before a delivery was settled; the broker sends it again"
            );
        }
        settled
    }
}

/// A letter says that it was a bulk event.
fn mark(letter: &mut Message, class: Class) {
    if class == Class::Bulk {
        letter.properties.headers.insert(header::CLASS.to_owned(), Field::text(class.name()));
    }
}

/// The broker sends it again once its channel ends. It has not been moved.
fn leave(ticket: Ticket) -> bool {
    ticket.leave();
    false
}

fn spread((from, to): (Duration, Duration)) -> Duration {
    from + to.saturating_sub(from).mul_f64(fastrand::f64())
}

/// 80 to 100 % of a delay: retries of one moment spread out, and the queue's own TTL stays the upper bound.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.8 + 0.2 * fastrand::f64())
}
