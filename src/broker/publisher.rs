//! Publications in, their outcomes out: one task owns one confirm channel at a time. Every publication has an
//! outcome within ten seconds, and none is reported safe that the broker has not confirmed and routed.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{close_channel, within};
use super::fields::{TooLong, short, to_amqp};
use super::link::{Link, Live};
use super::pause::Pause;
use super::port::{Publication, PublishError};
use super::status::Status;
use super::topology::{Topology, TopologyError};
use crate::clock;
use crate::message::{Field, MOST_HEADER_BYTES, wire_bytes};

/// Set by the publisher, stripped at consumption: tells which publication a returned message was. The same for the same message to the
/// same place, so that one that is put back lies there as it lay before.
pub(super) const ID_HEADER: &str = "x-sluice-publish";
/// Unconfirmed publications at a time; the client crate walks all of them at every multiple confirm.
const WINDOW: usize = 256;
/// From taking a publication over to its outcome.
const ALLOWED: Duration = Duration::from_secs(10);
const PERSISTENT: u8 = 2;

/// The publisher task's belongings.
pub(super) struct PublisherTask {
    queue: mpsc::Receiver<Publication>,
    link: Link,
    status: watch::Receiver<Status>,
    topology: Topology,
    closing: CancellationToken,
    waiting: VecDeque<(Instant, Publication)>,
    outstanding: BTreeMap<i64, Outstanding>,
    last_id: i64,
    /// No more publications will come.
    ended: bool,
    /// Something timed out on this channel: it is finished and replaced.
    retiring: bool,
}

/// Sent and not yet confirmed.
struct Outstanding {
    due: Instant,
    mark: i64,
    publication: Publication,
}

struct Finished {
    id: i64,
    confirmation: lapin::Result<Confirmation>,
}

/// What goes out on the wire for one publication.
struct Envelope {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
}

impl PublisherTask {
    pub(super) fn new(
        queue: mpsc::Receiver<Publication>,
        link: Link,
        status: watch::Receiver<Status>,
        topology: Topology,
        closing: CancellationToken,
    ) -> Self {
        Self {
            queue,
            link,
            status,
            topology,
            closing,
            waiting: VecDeque::new(),
            outstanding: BTreeMap::new(),
            last_id: 0,
            ended: false,
            retiring: false,
        }
    }

    /// Works until the broker is closed and nothing is left to publish.
    pub(super) async fn run(mut self) {
        let mut pause = Pause::new();
        let mut last_error = String::new();
        while !self.finished() {
            let mut link = self.link.clone();
            // Nothing left to do, or the connection was ended for good: what is left is dropped, and so reported lost.
            let Some(live) = self.meanwhile(async move { link.up().await }).await.flatten() else { return };
            let opening = open(live.clone(), self.topology.clone());
            match self.meanwhile(opening).await {
                Some(Ok(channel)) => {
                    (pause, last_error) = (Pause::new(), String::new());
                    self.serve(&channel, &live.gone).await;
                    close_channel(&channel).await;
                }
                Some(Err(error)) => {
                    let error = error.to_string();
                    if error != last_error && !live.gone.is_cancelled() {
                        tracing::error!("publishing waits, {error}");
                        last_error = error;
                    }
                }
                None => return,
            }
            self.meanwhile(clock::sleep(pause.next())).await;
        }
    }

    fn finished(&self) -> bool {
        self.ended && self.waiting.is_empty() && self.outstanding.is_empty()
    }

    /// Awaits something else while publications are taken over and timed. `None` when there is nothing left to do.
    async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(other);
        loop {
            tokio::select! {
                done = &mut other => return Some(done),
                () = self.step() => if self.finished() { return None },
            }
        }
    }

    /// One thing that can happen without a channel: publications come, one runs out of time, the broker closes.
    async fn step(&mut self) {
        let mut arrived = Vec::new();
        let due = self.earliest();
        tokio::select! {
            received = self.queue.recv_many(&mut arrived, WINDOW), if !self.ended => {
                self.ended = received == 0;
                let due = clock::now() + ALLOWED;
                self.waiting.extend(arrived.into_iter().map(|publication| (due, publication)));
            }
            () = wait_until(due) => self.expire(),
            () = self.closing.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            // Whether the broker takes messages may have changed. Its sender lives as long as the link.
            Ok(()) = self.status.changed() => {}
        }
        if self.ended {
            // Whoever gave up waiting does not hold up the end.
            self.waiting.retain(|(_, publication)| !publication.outcome.is_closed());
            self.outstanding.retain(|_, sent| !sent.publication.outcome.is_closed());
        }
    }

    fn earliest(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|(due, _)| *due);
        let outstanding = self.outstanding.first_key_value().map(|(_, sent)| sent.due);
        [waiting, outstanding].into_iter().flatten().min()
    }

    fn expire(&mut self) {
        let now = clock::now();
        while self.waiting.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, publication)) = self.waiting.pop_front()
        {
            report(publication, Err(PublishError::TimedOut(ALLOWED)));
        }
        while let Some(sent) = self.outstanding.first_entry()
            && sent.get().due <= now
        {
            report(sent.remove().publication, Err(PublishError::TimedOut(ALLOWED)));
            self.retiring = true;
        }
    }

    /// Publishes over one channel until it breaks, retires, or nothing is left.
    async fn serve(&mut self, channel: &Channel, gone: &CancellationToken) {
        self.retiring = false;
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < WINDOW
                && self.may_send()
                && let Some((due, publication)) = self.waiting.pop_front()
            {
                if let Some((id, envelope)) = self.prepare(due, publication) {
                    in_flight.push(send(channel, id, envelope));
                }
            }
            if self.finished() || (self.retiring && in_flight.is_empty()) {
                return;
            }
            let finished = tokio::select! {
                biased;
                () = gone.cancelled() => return self.lose_all(),
                Some(finished) = in_flight.next() => finished,
                () = self.step() => continue,
            };
            // A return comes out with the first confirm that completes after it, maybe another message's, and no
            // later than its own: nothing is known to be routed until every ready confirm has been looked at.
            let mut batch = vec![finished];
            drain_ready(&mut in_flight, &mut batch);
            if self.settle(batch).is_err() {
                return self.lose_all();
            }
        }
    }

    fn may_send(&self) -> bool {
        !self.retiring && self.status.borrow().publishing.blocked.is_none()
    }

    /// What to send, or nothing when nobody waits for it any more or it cannot be put on the wire.
    fn prepare(&mut self, due: Instant, mut publication: Publication) -> Option<(i64, Envelope)> {
        if publication.outcome.is_closed() {
            return None;
        }
        self.last_id += 1;
        let mark = mark(&publication);
        match envelope(mark, &mut publication) {
            Ok(envelope) => {
                self.outstanding.insert(self.last_id, Outstanding { due, mark, publication });
                Some((self.last_id, envelope))
            }
            Err(error) => {
                report(publication, Err(PublishError::Unsendable(error.to_string())));
                None
            }
        }
    }

    /// Reports a batch of confirms; an error when one says that the channel is broken.
    fn settle(&mut self, batch: Vec<Finished>) -> Result<(), ()> {
        let mut returned = HashSet::new();
        let mut ended = Vec::with_capacity(batch.len());
        let mut broken = Ok(());
        for Finished { id, confirmation } in batch {
            let (outcome, message) = match confirmation {
                Ok(Confirmation::Ack(message)) => (Ok(()), message),
                Ok(Confirmation::Nack(message)) => (Err(PublishError::Refused), message),
                Ok(Confirmation::NotRequested) => (Err(PublishError::Lost), None),
                Err(error) => {
                    // One loss of the channel is the loss of all that were under way.
                    if broken.is_ok() {
                        tracing::warn!(
                            reason = super::connection::words(&error),
                            "publications were lost on their way"
                        );
                    }
                    broken = Err(());
                    (Err(PublishError::Lost), None)
                }
            };
            returned.extend(message.as_ref().and_then(returned_mark));
            ended.push((id, outcome));
        }
        for (id, outcome) in ended {
            if let Some(Outstanding { publication, mark, .. }) = self.outstanding.remove(&id) {
                let outcome = if returned.contains(&mark) { Err(unroutable(&publication)) } else { outcome };
                report(publication, outcome);
            }
        }
        broken
    }

    fn lose_all(&mut self) {
        for (_, sent) in std::mem::take(&mut self.outstanding) {
            report(sent.publication, Err(PublishError::Lost));
        }
    }
}

/// Takes every future that is ready. The set says "pending" early when it has polled for long, to let other tasks run:
/// it then wakes its waker, which is how a set with nothing ready is told from one that only pauses.
fn drain_ready<F: Future<Output = Finished>>(in_flight: &mut FuturesUnordered<F>, batch: &mut Vec<Finished>) {
    let paused = Arc::new(Paused::default());
    let waker = Waker::from(Arc::clone(&paused));
    loop {
        match in_flight.poll_next_unpin(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(finished)) => batch.push(finished),
            Poll::Ready(None) => return,
            Poll::Pending if paused.0.swap(false, Ordering::AcqRel) => {}
            Poll::Pending => return,
        }
    }
}

/// Whether it was woken.
#[derive(Default)]
struct Paused(AtomicBool);

impl Wake for Paused {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => clock::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn open(live: Live, topology: Topology) -> Result<Channel, TopologyError> {
    topology.ensure_shared(&live).await?;
    let channel = live.channel().await?;
    within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// What tells a publication from others; two that are alike in it may stand for each other, as they go the same way.
fn mark(publication: &Publication) -> i64 {
    let Publication { exchange, routing_key, message, .. } = publication;
    let mut hasher = DefaultHasher::new();
    (exchange, routing_key, &message.body, &message.properties.message_id).hash(&mut hasher);
    for (name, field) in &message.properties.headers {
        (name, field.as_str(), field.as_i64()).hash(&mut hasher);
    }
    i64::from_ne_bytes(hasher.finish().to_ne_bytes())
}

fn envelope(mark: i64, publication: &mut Publication) -> Result<Envelope, TooLong> {
    let message = std::mem::take(&mut publication.message);
    let mut properties = message.properties;
    properties.delivery_mode = Some(PERSISTENT);
    properties.headers.insert(ID_HEADER.to_owned(), Field::I64(mark));
    let bytes = wire_bytes(&properties.headers);
    if bytes > MOST_HEADER_BYTES {
        return Err(TooLong { what: "the header table".to_owned(), bytes, most: MOST_HEADER_BYTES });
    }
    Ok(Envelope {
        exchange: short("the exchange", &publication.exchange)?,
        routing_key: short("the routing key", &publication.routing_key)?,
        properties: to_amqp(&properties)?,
        body: message.body,
    })
}

async fn send(channel: &Channel, id: i64, envelope: Envelope) -> Finished {
    let Envelope { exchange, routing_key, properties, body } = envelope;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirmation = match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    Finished { id, confirmation }
}

fn returned_mark(message: &BasicReturnMessage) -> Option<i64> {
    message.properties.headers().as_ref()?.inner().get(ID_HEADER)?.as_long_long_int()
}

fn unroutable(publication: &Publication) -> PublishError {
    PublishError::Unroutable { exchange: publication.exchange.clone(), routing_key: publication.routing_key.clone() }
}

fn report(publication: Publication, outcome: Result<(), PublishError>) {
    if publication.outcome.send(outcome).is_err() {
        tracing::debug!("a publication's outcome came when nobody waited for it any more");
    }
}
