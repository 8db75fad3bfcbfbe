//! Publications in, their outcomes out: one task owns the confirm channel that is sent over. Every publication has an
//! outcome within ten seconds, and none is reported safe that the broker has not confirmed and routed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{NOT_FOUND, TRIES, close_channel, code, told, within};
use super::link::{Link, Live};
use super::makes::{Made, Makes, Making};
use super::outbox::{self, ALLOWED, Outbox, SentTo, WINDOW, Way};
use super::port::{Publication, PublishError};
use super::sending::{Finished, WireMessage, mark, returned_mark, send, wire_message};
use super::status::BrokerStatus;
use super::topology::{Topology, TopologyError};
use crate::backoff::Backoff;
use crate::clock;
use crate::supervisor::Part;

/// Once a channel is closed all that was under way on it ends within so long.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Between two tries for another channel.
const OPEN_EVERY: Duration = Duration::from_secs(1);
/// Tries for a channel in a row that get no answer, after which the connection itself is given up.
const TIMEOUTS: u32 = 2;

/// The task that publishes.
pub(super) struct PublisherTask {
    queue: mpsc::Receiver<Publication>,
    link: Link,
    status: watch::Receiver<BrokerStatus>,
    topology: Topology,
    closing: CancellationToken,
    /// Most that is under way at a time.
    window: usize,
    outbox: Outbox,
    makes: Makes,
    /// No more publications will come.
    ended: bool,
    /// How often in a row the broker has not answered to a new channel.
    timeouts: u32,
    /// Whether the shared exchanges and queues were declared, and no loss of them is known: then they are not declared again.
    declared: bool,
}

impl Part for PublisherTask {
    /// Works until the broker is closed and nothing is left to publish. What an earlier run had taken over is reported lost, since nobody
    /// knows what became of it.
    async fn run(&mut self) -> Result<(), String> {
        (self.outbox, self.timeouts, self.declared) = (Outbox::new(self.window), 0, false);
        self.makes.forget_waiting();
        self.publish().await;
        Ok(())
    }
}

impl PublisherTask {
    /// With `window` publications under way at most.
    pub(super) fn new(
        queue: mpsc::Receiver<Publication>,
        link: Link,
        status: watch::Receiver<BrokerStatus>,
        topology: Topology,
        closing: CancellationToken,
        window: usize,
    ) -> Self {
        Self {
            queue,
            link,
            status,
            makes: Makes::new(topology.delay_queues.clone()),
            topology,
            closing,
            window,
            outbox: Outbox::new(window),
            ended: false,
            timeouts: 0,
            declared: false,
        }
    }

    /// Works until nothing is left to publish, or the connection was ended for good.
    async fn publish(&mut self) {
        let mut backoff = Backoff::new(TRIES);
        let mut last_error = String::new();
        while !self.finished() {
            let mut link = self.link.clone();
            // Nothing left to do, or the connection was ended for good: what is left is dropped, and so reported lost.
            let Some(live) = self.meanwhile(async move { link.up().await }).await.flatten() else { return };
            let opening = self.open(&live);
            match self.meanwhile(opening).await {
                Some(Ok(channel)) => {
                    backoff.reset();
                    last_error.clear();
                    (self.timeouts, self.declared) = (0, true);
                    self.serve(channel, &live).await;
                }
                Some(Err(error)) => {
                    self.note_timeout(&error, &live);
                    let error = error.to_string();
                    if error != last_error && !live.gone.is_cancelled() {
                        tracing::error!("publishing waits, {error}");
                        last_error = error;
                    }
                }
                None => return,
            }
            self.meanwhile(clock::sleep(backoff.pause())).await;
        }
    }

    /// A confirm channel.
    fn open(&self, live: &Live) -> impl Future<Output = Result<Channel, TopologyError>> + Send + use<> {
        let (live, topology) = (live.clone(), (!self.declared).then(|| self.topology.clone()));
        async move {
            if let Some(topology) = topology {
                topology.ensure_shared(&live).await?;
            }
            let channel = live.channel().await?;
            within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
            Ok(channel)
        }
    }

    fn finished(&self) -> bool {
        self.ended && self.outbox.is_empty() && self.makes.is_empty()
    }

    /// A connection on which the broker does not even answer to a new channel is given up; one that an alarm holds up answers later.
    fn note_timeout(&mut self, error: &TopologyError, live: &Live) {
        self.timeouts = if error.is_timeout() && !self.is_blocked() { self.timeouts + 1 } else { 0 };
        if self.timeouts >= TIMEOUTS {
            self.timeouts = 0;
            live.give_up();
        }
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
        let due = self.outbox.next_due(clock::now()).into_iter().chain(self.makes.next_due()).min();
        tokio::select! {
            received = self.queue.recv_many(&mut arrived, WINDOW), if !self.ended => {
                self.ended = received == 0;
                let now = clock::now();
                let ready = arrived.into_iter().filter_map(|publication| self.makes.pass(publication, now));
                ready.for_each(|publication| self.outbox.take(publication, now));
            }
            () = wait_until(due) => {
                let now = clock::now();
                let expired = self.outbox.expire(now).into_iter().chain(self.makes.expire(now));
                expired.for_each(|publication| report(publication, Err(outbox::timed_out())));
            }
            () = self.closing.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            // Whether the broker takes messages may have changed. Its sender lives as long as the link.
            Ok(()) = self.status.changed() => {}
        }
        if self.ended {
            // Whoever gave up waiting does not hold up the end.
            self.outbox.forget_unwanted();
            self.makes.forget_unwanted();
        }
    }

    /// Publishes until the connection or the main channel breaks, or nothing is left.
    async fn serve(&mut self, main: Channel, live: &Live) {
        let (mut main, mut side) = (main, None);
        let (mut sending, mut leaving) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut making = self.makes.begin_anew();
        let mut opening: Opening = None;
        self.outbox.begin_channel(Way::Main);
        self.outbox.begin_channel(Way::Side);
        loop {
            let channels = [(Way::Main, Some(&main)), (Way::Side, side.as_ref())];
            for (way, channel) in channels.into_iter().filter_map(|(way, channel)| Some((way, channel?))) {
                while !self.is_blocked()
                    && let Some(next) = self.next(way)
                {
                    sending.push(send(channel.clone(), next));
                }
            }
            if self.finished() {
                break;
            }
            making.extend(self.make_queues(live));
            if opening.is_none() {
                opening = self.another(side.is_some(), live);
            }
            tokio::select! {
                biased;
                () = live.gone.cancelled() => return self.lose_all(),
                Some(finished) = sending.next() => {
                    // A return comes out with the first confirm that completes after it, maybe another message's, and no
                    // later than its own: nothing is known to be routed until every ready confirm has been looked at.
                    let mut batch = vec![finished];
                    drain_ready(&mut sending, &mut batch);
                    match self.settle(batch) {
                        Some(Way::Main) => {
                            // Why the channel was closed may come with another confirm than the first.
                            while let Ok(Some(finished)) = tokio::time::timeout(LAST_WORDS, sending.next()).await {
                                self.settle(vec![finished]);
                            }
                            self.lose_all();
                            break;
                        }
                        Some(Way::Side) => {
                            side = None;
                            self.outbox.begin_channel(Way::Side);
                        }
                        None => {}
                    }
                }
                (way, opened) = arrival(&mut opening) => {
                    opening = None;
                    match opened {
                        Ok(next) => leaving.extend(self.begin(way, next, &mut main, &mut side).map(leave)),
                        Err(error) => self.note_timeout(&error, live),
                    }
                }
                Some(made) = making.next(), if !making.is_empty() => self.made(made),
                Some(()) = leaving.next(), if !leaving.is_empty() => {}
                () = self.step() => {}
            }
        }
        close_channel(&main).await;
        close_if_any(side).await;
    }

    /// Makes what something waits for, unless the broker takes nothing.
    fn make_queues(&mut self, live: &Live) -> Vec<Making> {
        if self.is_blocked() { Vec::new() } else { self.makes.begin(&self.topology, live) }
    }

    /// Goes on over `next`; what comes out is the channel that it replaces.
    fn begin(&mut self, way: Way, next: Channel, main: &mut Channel, side: &mut Option<Channel>) -> Option<Channel> {
        self.timeouts = 0;
        self.outbox.begin_channel(way);
        match way {
            Way::Main => Some(std::mem::replace(main, next)),
            Way::Side => side.replace(next),
        }
    }

    /// Opens another channel where one is wanted.
    fn another(&self, has_side: bool, live: &Live) -> Opening {
        if self.is_blocked() {
            return None;
        }
        let now = clock::now();
        let wants_side = if has_side { self.outbox.wants_channel(Way::Side, now) } else { self.outbox.wants_side(now) };
        let way = if self.outbox.wants_channel(Way::Main, now) {
            tracing::warn!("a queue does not confirm; what goes to others is published over another channel");
            Way::Main
        } else if wants_side {
            Way::Side
        } else {
            return None;
        };
        let opened = self.open(live);
        Some(Box::pin(async move {
            let opened = opened.await;
            if opened.is_err() {
                clock::sleep(OPEN_EVERY).await;
            }
            (way, opened)
        }))
    }

    fn is_blocked(&self) -> bool {
        self.status.borrow().publishing.blocked.is_some()
    }

    /// What to send, or nothing when there is nothing that may be sent.
    fn next(&mut self, way: Way) -> Option<(i64, SentTo, i64, WireMessage)> {
        loop {
            let (id, sent_to, publication) = self.outbox.next(way, clock::now())?;
            let mark = mark(publication);
            match wire_message(mark, publication) {
                Ok(wire_message) => return Some((id, sent_to, mark, wire_message)),
                Err(error) => {
                    let unsent = self.outbox.lost(id, sent_to);
                    unsent.into_iter().for_each(|it| report(it, Err(PublishError::Unsendable(error.to_string()))));
                }
            }
        }
    }

    /// Reports a batch of confirms; returns which channel one of them says to be broken, the main one first.
    fn settle(&mut self, batch: Vec<Finished>) -> Option<Way> {
        let mut returned = HashSet::new();
        let mut ended = Vec::with_capacity(batch.len());
        let mut broken = None;
        for Finished { id, sent_to, mark, confirmation } in batch {
            let (outcome, message) = match confirmation {
                Ok(Confirmation::Ack(message)) => (Ok(()), message),
                Ok(Confirmation::Nack(message)) => (Err(PublishError::Refused), message),
                Ok(Confirmation::NotRequested) => (Err(PublishError::Lost), None),
                Err(error) => {
                    // One loss of the channel is the loss of all that were under way; that an earlier one is closed says nothing.
                    if self.outbox.is_present(sent_to) && broken != Some(Way::Main) && broken != Some(sent_to.way()) {
                        tracing::warn!(reason = told(&error), "publications were lost on their way");
                        self.declared &= code(&error) != Some(NOT_FOUND);
                        broken = Some(sent_to.way());
                    }
                    let why = match code(&error) {
                        Some(NOT_FOUND) => {
                            PublishError::Closed(told(&error) + "; a worker creates what is missing when it starts")
                        }
                        Some(_) => PublishError::Closed(told(&error)),
                        None => PublishError::Lost,
                    };
                    self.outbox.lost(id, sent_to).into_iter().for_each(|it| report(it, Err(why.clone())));
                    continue;
                }
            };
            returned.extend(message.as_ref().and_then(returned_mark));
            ended.push((id, sent_to, mark, outcome));
        }
        for (id, sent_to, mark, outcome) in ended {
            if let Some(publication) = self.outbox.answered(id, sent_to, outcome.is_ok()) {
                let outcome = if returned.contains(&mark) {
                    self.makes.is_gone(&publication);
                    Err(unroutable(&publication))
                } else {
                    outcome
                };
                report(publication, outcome);
            }
        }
        broken
    }

    /// What waited for a queue goes on, or is told why there is none.
    fn made(&mut self, made: Made) {
        let now = clock::now();
        for (publication, trouble) in self.makes.made(made) {
            match trouble {
                None => self.outbox.take(publication, now),
                Some(error) => report(publication, Err(error)),
            }
        }
    }

    fn lose_all(&mut self) {
        self.outbox.lose_all().for_each(|publication| report(publication, Err(PublishError::Lost)));
    }
}

/// Another channel that is being opened.
type Opening = Option<BoxFuture<'static, (Way, Result<Channel, TopologyError>)>>;

/// A channel that has come; never where none is awaited.
async fn arrival(opening: &mut Opening) -> (Way, Result<Channel, TopologyError>) {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn close_if_any(channel: Option<Channel>) {
    if let Some(channel) = channel {
        close_channel(&channel).await;
    }
}

/// Closes a channel that another has replaced, once everything on it has been confirmed or has run out of time.
async fn leave(channel: Channel) {
    clock::sleep(ALLOWED).await;
    close_channel(&channel).await;
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

fn unroutable(publication: &Publication) -> PublishError {
    PublishError::Unroutable { exchange: publication.exchange.clone(), routing_key: publication.routing_key.clone() }
}

fn report(publication: Publication, outcome: Result<(), PublishError>) {
    if publication.outcome.send(outcome).is_err() {
        tracing::debug!("a publication's outcome came when nobody waited for it any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::port::Publisher;
    use crate::broker::{Declare, Names};
    use crate::message::Message;

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_what_was_taken_over_is_lost_and_what_comes_then_is_taken() {
        let ((queue, publications), (_up, link)) = (mpsc::channel(1), Link::away());
        let (_status, status) = watch::channel(BrokerStatus::default());
        let topology = Topology::new(Names::new("test"), Declare::Create, 20);
        let mut task = PublisherTask::new(publications, link, status, topology, CancellationToken::new(), WINDOW);
        let publisher = Publisher::new(queue);
        let before = publisher.submit("", "px", Message::default()).await.unwrap();
        // As a panic breaks it off.
        assert!(tokio::time::timeout(Duration::from_secs(1), task.run()).await.is_err());
        tokio::spawn(async move { task.run().await });
        let after = publisher.submit("", "px", Message::default()).await.unwrap();
        assert_eq!((before.await, after.await), (Err(PublishError::Lost), Err(outbox::timed_out())));
    }
}
