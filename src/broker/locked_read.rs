//! Reading a queue under its read lock: one reader at a time, on whatever machine. Messages come out in order; what is not acked goes back
//! in order at the end. Looking changes nothing.
//!
//! Two readers at once would each see a part of the messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lapin::options::BasicGetOptions;
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{AmqpTrouble, ConnectError, NOT_FOUND, PATIENCE, close_channel, code, open_channel, within};
use super::depths::{is_consumed, ready};
use super::port::{Delivery, Disposition};
use super::read_error::{ReadError, broken};
use super::read_lock::{LockNames, ReadLock, Waited, Waiter};
use super::read_task::{ReadPurpose, ReadSoFar, ReadTask};
use super::{Broker, BrokerError, acks, connection, read_lock};
use crate::clock;

/// Between two looks at what another reader's end gives back.
const SETTLED_FOR: Duration = Duration::from_millis(50);
/// After a loss of the broker: how long it may take until all that was there is there again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// The longest read: no message may stay out near the broker's consumer time-out of 30 minutes.
pub const LONGEST: Duration = Duration::from_mins(10);
/// Messages between the reading task and whoever takes them.
const HANDOVER: usize = 64;

/// A connection of its own, to read one queue after the other.
pub struct Reader {
    broker: Broker,
    pub(super) connection: lapin::Connection,
    at_least: u32,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens a connection to read queues.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn reader(&self) -> Result<Reader, ConnectError> {
        let opened = connection::connect(&self.url, &format!("{} (reading)", self.name), None).await?;
        Ok(Reader { broker: self.clone(), connection: opened.connection, at_least: 0 })
    }

    /// Whether somebody reads a queue, and so holds messages of it for a while.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn is_read(&self, queue: &str) -> Result<bool, BrokerError> {
        let Ok(names) = LockNames::of(queue) else { return Ok(false) };
        let read = async {
            // Where nobody ever read the queue the broker closes the channel: so not on a reader's connection.
            let (_live, channel) = self.consuming.clone().channel().await?;
            let is_read = is_consumed(&channel, &names.lock).await?;
            close_channel(&channel).await;
            Ok(is_read)
        };
        read.await.map_err(BrokerError::from_trouble)
    }
}

impl Reader {
    /// After a read that broke off: so many messages must be there unless others took some. A broker that has just started tells of fewer
    /// for a while; they are waited for, but not for ever.
    #[must_use]
    pub fn expecting(self, at_least: u32) -> Self {
        Self { at_least, ..self }
    }

    /// Waits for the read lock of `queue`, for at most `patience`, and begins to read. Where its holder lets nobody look, whoever would not
    /// wait for the [`LONGEST`] read is told so at once.
    ///
    /// # Errors
    /// [`ReadError`]; nothing has changed then.
    pub async fn lock(
        &mut self,
        queue: &str,
        purpose: ReadPurpose,
        patience: Duration,
    ) -> Result<LockedRead, ReadError> {
        let names = LockNames::of(queue).map_err(|too_long| broken(queue, &too_long))?;
        // Where there is no queue, no lock queue is declared.
        let channel = self.channel(queue).await?;
        ready(&channel, &names.queue).await.map_err(|trouble| in_queue(queue, &trouble))?;
        close_channel(&channel).await;
        let (lost, waiter) = (CancellationToken::new(), self.wait(queue, &names, patience).await?);
        let lock = waiter.hold(lost.clone());
        match self.count(queue, &names).await {
            Ok(count) => self.begin(queue, names, (lock, lost), count, purpose).await,
            Err(error) => {
                // It must not outlive the failure.
                lock.release().await;
                Err(error)
            }
        }
    }

    /// Waits for the lock, whatever becomes of its queue meanwhile.
    async fn wait(&self, queue: &str, names: &LockNames, patience: Duration) -> Result<Waiter, ReadError> {
        let until = clock::now() + patience;
        loop {
            match self.wait_once(queue, names, until, patience).await {
                Ok(waited) => return waited,
                // Somebody else is just declaring the lock queue.
                Err(AmqpTrouble::Away) if clock::now() < until => clock::sleep(SETTLED_FOR).await,
                // Declared within a second of a broker's death, a quorum queue may never have a leader. A holder loses the lock.
                Err(AmqpTrouble::TimedOut) if clock::now() < until => {
                    tracing::warn!(queue = %names.lock, "the queue of a read lock does not answer: it is deleted and declared again");
                    read_lock::delete(&self.connection, &names.lock).await;
                }
                Err(trouble) => {
                    return Err(broken(queue, &format!("{trouble} (about its read lock {:?})", names.lock.as_str())));
                }
            }
        }
    }

    async fn wait_once(
        &self,
        queue: &str,
        names: &LockNames,
        until: Instant,
        patience: Duration,
    ) -> Result<Result<Waiter, ReadError>, AmqpTrouble> {
        let mut waiter = Waiter::join(&self.connection, self.broker.publisher(), names.lock.clone()).await?;
        let refused = loop {
            match waiter.wait(patience >= LONGEST).await {
                Ok(Waited::Acquired) => return Ok(Ok(waiter)),
                Ok(Waited::Closed) => break Ok(Err(ReadError::Closed(queue.to_owned()))),
                Ok(Waited::NotYet) if clock::now() < until => {}
                Ok(Waited::NotYet) => {
                    break Ok(Err(ReadError::Busy { queue: queue.to_owned(), waited: patience }));
                }
                Err(trouble) => break Err(trouble),
            }
        };
        waiter.leave().await;
        refused
    }

    /// How many messages there are to read.
    async fn count(&self, queue: &str, names: &LockNames) -> Result<u32, ReadError> {
        let in_queue = |trouble: AmqpTrouble| in_queue(queue, &trouble);
        let channel = self.channel(queue).await?;
        let until = clock::now() + RECOVERED_WITHIN;
        let mut count = settled_count(&channel, &names.queue).await.map_err(in_queue)?;
        while count < self.at_least && clock::now() < until {
            clock::sleep(SETTLED_FOR).await;
            count = settled_count(&channel, &names.queue).await.map_err(in_queue)?;
        }
        close_channel(&channel).await;
        if count == 0 { self.truly_none(queue, names).await } else { Ok(count) }
    }

    async fn begin(
        &self,
        queue: &str,
        names: LockNames,
        (lock, token): (ReadLock, CancellationToken),
        count: u32,
        purpose: ReadPurpose,
    ) -> Result<LockedRead, ReadError> {
        let channel = self.channel(queue).await?;
        let (settle, settled) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicU32::new(0));
        let acks = acks::run(channel.clone(), settled, token.clone(), CancellationToken::new());
        let (hand, messages) = mpsc::channel(HANDOVER);
        let task = ReadTask {
            channel: channel.clone(),
            queue: names.queue.clone(),
            purpose,
            count,
            settle,
            token: token.clone(),
            held: Arc::clone(&held),
            so_far: ReadSoFar::default(),
        };
        Ok(LockedRead {
            queue: queue.to_owned(),
            names,
            count,
            acked: 0,
            lock,
            channel,
            token,
            held,
            messages,
            reading: tokio::spawn(task.run(hand)),
            acks: tokio::spawn(acks),
        })
    }

    /// Of a queue that has no leader yet after its start, the broker says that it is empty: a `get` tells whether it is.
    async fn truly_none(&self, queue: &str, names: &LockNames) -> Result<u32, ReadError> {
        let until = clock::now() + PATIENCE;
        loop {
            let channel = self.channel(queue).await?;
            let got = within(channel.basic_get(names.queue.clone(), BasicGetOptions::default())).await;
            let is_empty = matches!(got, Ok(None));
            close_channel(&channel).await;
            if is_empty {
                return Ok(0);
            }
            let channel = self.channel(queue).await?;
            let count = settled_count(&channel, &names.queue).await.map_err(|trouble| broken(queue, &trouble))?;
            close_channel(&channel).await;
            if count > 0 {
                return Ok(count);
            }
            if clock::now() > until {
                return Err(broken(queue, &"the broker cannot tell what is in it"));
            }
        }
    }

    async fn channel(&self, queue: &str) -> Result<Channel, ReadError> {
        open_channel(&self.connection).await.map_err(|trouble| broken(queue, &trouble))
    }

    /// Closes the connection; a read that still goes on ends.
    pub async fn close(self) {
        connection::close(&self.connection).await;
    }
}

/// Ready messages, once what an earlier reader held is back.
async fn settled_count(channel: &Channel, queue: &ShortString) -> Result<u32, AmqpTrouble> {
    let mut count = ready(channel, queue).await?;
    loop {
        clock::sleep(SETTLED_FOR).await;
        let now = ready(channel, queue).await?;
        if now <= count {
            return Ok(now);
        }
        count = now;
    }
}

pub(super) fn in_queue(queue: &str, trouble: &AmqpTrouble) -> ReadError {
    match trouble {
        AmqpTrouble::Amqp(error) if code(error) == Some(NOT_FOUND) => ReadError::Missing(queue.to_owned()),
        AmqpTrouble::Amqp(_) | AmqpTrouble::TimedOut | AmqpTrouble::NoChannel | AmqpTrouble::Away => {
            broken(queue, trouble)
        }
    }
}

/// A read of one queue by its only reader, for as long as it lasts.
pub struct LockedRead {
    queue: String,
    names: LockNames,
    count: u32,
    acked: u32,
    lock: ReadLock,
    channel: Channel,
    token: CancellationToken,
    held: Arc<AtomicU32>,
    messages: mpsc::Receiver<Result<Delivery, ReadError>>,
    reading: JoinHandle<Result<Option<Consumer>, ()>>,
    acks: JoinHandle<Option<Instant>>,
}

impl std::fmt::Debug for LockedRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockedRead").field("queue", &self.queue).field("count", &self.count).finish_non_exhaustive()
    }
}

impl LockedRead {
    /// How many messages there were when the read began. Those that come later are not read.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many of them were not [`LockedRead::remove`]d.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.count.saturating_sub(self.acked)
    }

    /// The next message, or `None` when all that were there have been read. Each has to be [`LockedRead::keep`]t or
    /// [`LockedRead::remove`]d. May be dropped while it waits.
    ///
    /// # Errors
    /// [`ReadError::Broken`]: the read is over.
    pub async fn next(&mut self) -> Result<Option<Delivery>, ReadError> {
        self.messages.recv().await.transpose()
    }

    /// The message goes back at the end of the read.
    pub fn keep(&self, delivery: Delivery) {
        self.held.fetch_add(1, Ordering::Relaxed);
        delivery.ticket.leave();
    }

    /// The message is acked: the broker has a copy of it elsewhere, or it is to be gone. False where the channel ended first: it is still there.
    pub fn remove(&mut self, delivery: Delivery) -> bool {
        let removed = delivery.ticket.settle(Disposition::Ack);
        self.acked += u32::from(removed);
        removed
    }

    /// Whether somebody else waits for the lock.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.lock.is_waited_for()
    }

    /// Whether whoever comes to look from now on is told at once that waiting is in vain. At the beginning it is not so.
    pub fn set_closed(&self, is_closed: bool) {
        self.lock.set_closed(is_closed);
    }

    /// Ends the read: acks reach the broker, the rest goes back in order, and the lock is released. Every message that came out must have
    /// been kept or removed.
    ///
    /// # Errors
    /// [`ReadError::Broken`] when the connection broke meanwhile: the broker gives back what it had not seen acked.
    pub async fn end(mut self) -> Result<(), ReadError> {
        // Giving back takes a while: whoever comes now may wait for it.
        self.set_closed(false);
        self.messages.close();
        while let Some(message) = self.messages.recv().await {
            self.held.fetch_add(1, Ordering::Relaxed);
            drop(message.map(|delivery| delivery.ticket.leave()));
        }
        let last_consumer = (&mut self.reading).await.unwrap_or(Err(()));
        let carried_out = (&mut self.acks).await.unwrap_or_else(|_| {
            self.token.cancel();
            None
        });
        let (Ok(last_consumer), false) = (last_consumer, self.token.is_cancelled()) else {
            return Err(broken(&self.queue, &"the channel ended"));
        };
        if let Some(carried_out) = carried_out {
            // What the broker has not carried out when the channel closes comes back.
            clock::sleep_until(carried_out).await;
        }
        self.token.cancel();
        close_channel(&self.channel).await;
        drop(last_consumer);
        self.returned().await.map_err(|trouble| broken(&self.queue, &trouble))?;
        self.lock.release().await;
        Ok(())
    }

    /// The channel's end is carried out a moment after it is answered: the next reader must find everything.
    async fn returned(&self) -> Result<(), AmqpTrouble> {
        let expected = self.left();
        let until = clock::now() + PATIENCE;
        while clock::now() < until && ready(self.lock.channel(), &self.names.queue).await? < expected {
            clock::sleep(SETTLED_FOR / 5).await;
        }
        Ok(())
    }
}
