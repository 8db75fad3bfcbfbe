//! Settles deliveries in the background: copies and acks on their way, notices to whoever replayed an event, and what was delivered lately.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use lru::LruCache;

use super::bulk::BulkCounts;
use super::check::Pending;
use super::demand::CopiesWaiting;
use super::growing_cache::growing_cache;
use super::notice::{Notices, OutcomeNotice};
use super::settler::{self, Settler, Tag, ToSettle};
use crate::broker::port::{Delivery, Disposition};
use crate::class::Class;
use crate::clock;
use crate::event::Time;
use crate::receipts;
use crate::record::history::History;
use crate::record::replay::ReplayOutcome;
use crate::verdict::Settlement;

/// How many events just delivered are remembered, in case the broker lost their acks and sends them again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// What settles.
pub(super) struct Settlements {
    settler: Arc<Settler>,
    /// What is on its way to the broker, with the bytes that it holds.
    settling: FuturesUnordered<BoxFuture<'static, (usize, Option<OutcomeNotice>)>>,
    /// Copies on their way, and the places that they need.
    pub copies: CopiesWaiting,
    /// What became of bulk events.
    pub bulk: BulkCounts,
    /// Notices on their way to whoever replayed an event.
    notices: Notices,
    delivered: LruCache<u64, ()>,
}

impl Settlements {
    /// One that remembers `remembered` events just delivered, or more.
    pub fn new(settler: Settler, remembered: NonZeroUsize) -> Self {
        Self {
            notices: Notices::new(settler.publisher.clone()),
            settler: Arc::new(settler),
            settling: FuturesUnordered::new(),
            copies: CopiesWaiting::default(),
            bulk: BulkCounts::default(),
            delivered: growing_cache(REMEMBERED.max(remembered)),
        }
    }

    /// Settles an event.
    pub fn settle(&mut self, pending: Pending, settlement: Settlement) {
        let Pending { delivery, history, tag, replay, .. } = pending;
        match settlement {
            // The common case needs no future: the ack task takes it from here.
            Settlement::Ack => {
                self.bulk.left += u64::from(delivery.class == Class::Bulk);
                if self.settler.dispose(delivery.ticket, Disposition::Ack) {
                    self.settler.receipt(receipts::ReceiptKind::Delivered, tag, &history, None);
                    if replay {
                        self.tell(OutcomeNotice::on(&delivery.message, ReplayOutcome::Delivered));
                    }
                }
            }
            Settlement::RetryLater(_)
            | Settlement::Later(_)
            | Settlement::DeadLetter(..)
            | Settlement::Drop(_)
            | Settlement::Suppress
            | Settlement::Release => {
                self.settle_delivery(delivery, history, tag, settlement);
            }
        }
    }

    /// Settles a delivery whose event need not have been read.
    pub fn settle_delivery(&mut self, delivery: Delivery, history: History, tag: Tag, settlement: Settlement) {
        // What is put aside comes back, and is in no count of those that left.
        let leaves = !matches!(settlement, Settlement::Release | Settlement::Later(_));
        self.bulk.left += u64::from(delivery.class == Class::Bulk && leaves);
        let bytes = delivery.message.body.len();
        self.go_on(bytes, Arc::clone(&self.settler).settle(ToSettle { delivery, history, tag, settlement }));
    }

    /// Gives a delivery back that was not read.
    pub fn give_back(&mut self, delivery: Delivery) {
        let (history, tag) = settler::unchecked(&delivery, clock::wall());
        self.settle_delivery(delivery, history, tag, Settlement::Release);
    }

    /// Sends an event behind what waits in its queue.
    pub fn send_behind(&mut self, delivery: Delivery, history: History) {
        let bytes = delivery.message.body.len();
        self.go_on(bytes, Arc::clone(&self.settler).send_behind(delivery, history));
    }

    /// Moves an event that was published as live, and may wait, to the queue of those.
    pub fn move_to_bulk(&mut self, delivery: Delivery) {
        let bytes = delivery.message.body.len();
        self.go_on(bytes, Arc::clone(&self.settler).move_to_bulk(delivery));
    }

    /// Tells that an event was replayed, where receipts are wanted.
    pub fn replayed(&self, tag: Tag, history: &History) {
        self.settler.receipt(receipts::ReceiptKind::Replayed, tag, history, None);
    }

    /// Tells that the destination is parked, where receipts are wanted.
    pub fn parked(&self, why: &str) {
        self.settler.receipt_of_parking(why);
    }

    fn go_on(&mut self, bytes: usize, settling: impl Future<Output = Option<OutcomeNotice>> + Send + 'static) {
        self.copies.add(bytes);
        self.settling.push(Box::pin(async move { (bytes, settling.await) }));
    }

    /// Returns when one more is settled, or a notice has been sent; never while nothing is on its way.
    pub async fn progress(&mut self) {
        tokio::select! {
            biased;
            Some((bytes, notice)) = self.settling.next(), if !self.settling.is_empty() => {
                self.copies.remove(bytes);
                self.tell(notice);
            }
            () = self.notices.sent(), if !self.notices.is_empty() => {}
            else => std::future::pending().await,
        }
    }

    /// How many are not settled yet.
    pub fn unsettled(&self) -> usize {
        self.settling.len()
    }

    /// Waits no longer: what is not settled by now is left to the broker.
    pub async fn leave(&mut self) {
        self.settler.leaving.cancel();
        while self.settling.next().await.is_some() {}
    }

    /// Returns when all notices have been sent.
    pub async fn all_told(&mut self) {
        self.notices.all_sent().await;
    }

    /// Copies that the broker does not take for now.
    pub fn copies_waiting(&self) -> usize {
        if self.settler.is_in_trouble() { self.copies.copies() } else { 0 }
    }

    /// Whether a delivery was given back so often that it should start afresh as a copy before its channel ends.
    pub fn was_returned_often(&self, delivery: &Delivery) -> bool {
        delivery.returns.saturating_mul(2) >= self.settler.delivery_limit
    }

    /// Tells whoever replayed an event, where there is something to tell.
    fn tell(&mut self, notice: Option<OutcomeNotice>) {
        if let Some(notice) = notice {
            self.notices.tell(notice);
        }
    }

    /// Counts an event as delivered, and remembers it. What may not be sent before a time is as late as it came after that; so is what
    /// could not be sent before the destination `opened`.
    pub fn delivered(&mut self, pending: &Pending, opened: Option<Timestamp>, wall: Timestamp) {
        let metrics = &self.settler.metrics;
        metrics.delivered.inc();
        match pending.delivery.class {
            Class::Live => {
                let held_back = pending.history.due.max(opened).map(Time::from);
                let since = held_back.map_or(pending.tag.time, |held_back| pending.tag.time.max(held_back));
                metrics.delivery_latency.observe(since.until(wall).as_secs_f64().max(0.0));
            }
            // How long those waited that may wait says nothing of the others.
            Class::Bulk => {
                self.bulk.delivered += 1;
                metrics.bulk_delivered();
            }
        }
        if let Some(key) = key(pending) {
            self.delivered.put(key, ());
        }
    }

    /// Whether this very event was delivered a moment ago: the broker lost its ack.
    pub fn was_delivered(&self, pending: &Pending) -> bool {
        pending.delivery.redelivered && key(pending).is_some_and(|key| self.delivered.contains(&key))
    }
}

/// Tells one event from every other. None where the producer gave no id: equal content may then be two events.
fn key(pending: &Pending) -> Option<u64> {
    let message = &pending.delivery.message;
    let structured = message.properties.content_type.as_deref().is_some_and(|kind| kind.contains("cloudevents"));
    let named = structured
        || message.properties.message_id.as_deref().is_some_and(|id| !id.is_empty())
        || message.properties.headers.keys().any(|name| name.to_ascii_lowercase().starts_with("cloudevents"));
    named.then_some(pending.key)
}
