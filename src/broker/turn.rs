//! Turns: one reader of a queue at a time, whoever and wherever it is. Messages come out in order; what is not acked goes back in
//! order at the end. Looking changes nothing.
//!
//! Two readers at once would each see a part, and give their parts back in the wrong order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::BasicGetOptions;
use lapin::types::ShortString;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{ConnectError, NOT_FOUND, PATIENCE, Trouble, close_channel, code, open_channel, within};
use super::depths::{is_consumed, ready};
use super::port::{Delivery, Disposition};
use super::reading::{Purpose, Reading};
use super::turn_error::{TurnError, broken};
use super::turn_lock::{Beside, Lock, Place, Waited};
use super::{Broker, BrokerError, acks, connection, turn_lock};
use crate::clock;

/// Between two looks at what another reader's end gives back.
const SETTLED_FOR: Duration = Duration::from_millis(50);
/// After a loss of the broker: how long it may take until all that was there is there again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// The longest turn: no message may stay out near the broker's consumer time-out of 30 minutes.
pub const LONGEST: Duration = Duration::from_mins(10);
/// Messages between the reading task and whoever takes them.
const HANDOVER: usize = 64;

/// A connection of its own for turns, one at a time.
pub struct Reader {
    broker: Broker,
    connection: lapin::Connection,
    at_least: u32,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens a connection for turns.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn reader(&self) -> Result<Reader, ConnectError> {
        let connection = connection::connect(&self.url, &format!("{} (reading)", self.name)).await?;
        Ok(Reader { broker: self.clone(), connection, at_least: 0 })
    }

    /// Whether somebody reads a queue, and so holds messages of it for a while.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn is_read(&self, queue: &str) -> Result<bool, BrokerError> {
        let Ok(beside) = Beside::of(queue) else { return Ok(false) };
        let read = async {
            // A "no" costs a channel: it wears out no reader's connection.
            let (_live, channel) = self.consuming.clone().channel().await?;
            let is_read = is_consumed(&channel, &beside.turn).await?;
            close_channel(&channel).await;
            Ok(is_read)
        };
        read.await.map_err(BrokerError::from_trouble)
    }
}

impl Reader {
    /// A turn that comes after one that broke off: so many messages must be there unless others took some. A broker that has just started
    /// tells of fewer for a while; they are waited for, but not for ever.
    #[must_use]
    pub fn expecting(self, at_least: u32) -> Self {
        Self { at_least, ..self }
    }

    /// Waits for the turn to read `queue`, for at most `patience`. Where it is shut, whoever would not wait for the [`LONGEST`] turn is
    /// told so at once.
    ///
    /// # Errors
    /// [`TurnError`]; nothing has changed then.
    pub async fn turn(&mut self, queue: &str, purpose: Purpose, patience: Duration) -> Result<Turn, TurnError> {
        let beside = Beside::of(queue).map_err(|too_long| broken(queue, &too_long))?;
        // What is not there is told before anything is put beside it.
        let channel = self.channel(queue).await?;
        ready(&channel, &beside.queue).await.map_err(|trouble| in_queue(queue, &trouble))?;
        close_channel(&channel).await;
        let (lost, place) = (CancellationToken::new(), self.place(queue, &beside, patience).await?);
        let lock = place.hold(lost.clone());
        match self.count(queue, &beside).await {
            Ok(count) => self.begin(queue, beside, (lock, lost), count, purpose).await,
            Err(error) => {
                // It must not outlive the failure.
                lock.leave().await;
                Err(error)
            }
        }
    }

    /// Waits for the turn.
    async fn place(&self, queue: &str, beside: &Beside, patience: Duration) -> Result<Place, TurnError> {
        let until = clock::now() + patience;
        loop {
            match self.wait(queue, beside, until, patience).await {
                Ok(had) => return had,
                // Somebody else is just declaring what is beside the queue.
                Err(Trouble::Away) if clock::now() < until => clock::sleep(SETTLED_FOR).await,
                // Declared within a second of a broker's death, a quorum queue may never have a leader. Whoever has the turn loses it.
                Err(Trouble::TimedOut) if clock::now() < until => {
                    tracing::warn!(queue = %beside.turn, "it tells who may read a queue and does not answer: it is made anew");
                    turn_lock::delete(&self.connection, &beside.turn).await;
                }
                Err(trouble) => {
                    let why = format!("{trouble} (of {:?}, which tells who may read it)", beside.turn.as_str());
                    return Err(broken(queue, &why));
                }
            }
        }
    }

    async fn wait(
        &self,
        queue: &str,
        beside: &Beside,
        until: Instant,
        patience: Duration,
    ) -> Result<Result<Place, TurnError>, Trouble> {
        let mut place = Place::take(&self.connection, self.broker.publisher(), beside.turn.clone()).await?;
        let refused = loop {
            match place.wait(patience >= LONGEST).await {
                Ok(Waited::Turn) => return Ok(Ok(place)),
                Ok(Waited::Shut) => break Ok(Err(TurnError::Shut(queue.to_owned()))),
                Ok(Waited::Nothing) if clock::now() < until => {}
                Ok(Waited::Nothing) => {
                    break Ok(Err(TurnError::Busy { queue: queue.to_owned(), waited: patience }));
                }
                Err(trouble) => break Err(trouble),
            }
        };
        place.leave().await;
        refused
    }

    /// How many messages there are for this turn.
    async fn count(&self, queue: &str, beside: &Beside) -> Result<u32, TurnError> {
        let in_queue = |trouble: Trouble| in_queue(queue, &trouble);
        let channel = self.channel(queue).await?;
        let until = clock::now() + RECOVERED_WITHIN;
        let mut count = settled_count(&channel, &beside.queue).await.map_err(in_queue)?;
        while count < self.at_least && clock::now() < until {
            clock::sleep(SETTLED_FOR).await;
            count = settled_count(&channel, &beside.queue).await.map_err(in_queue)?;
        }
        close_channel(&channel).await;
        if count == 0 { self.truly_none(queue, beside).await } else { Ok(count) }
    }

    async fn begin(
        &self,
        queue: &str,
        beside: Beside,
        (lock, token): (Lock, CancellationToken),
        count: u32,
        purpose: Purpose,
    ) -> Result<Turn, TurnError> {
        let channel = self.channel(queue).await?;
        let (settle, settled) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicU32::new(0));
        let acks = acks::run(channel.clone(), settled, token.clone(), CancellationToken::new());
        let (hand, messages) = mpsc::channel(HANDOVER);
        let reading = Reading::new(
            channel.clone(),
            beside.queue.clone(),
            purpose,
            count,
            settle,
            token.clone(),
            Arc::clone(&held),
        );
        Ok(Turn {
            queue: queue.to_owned(),
            beside,
            count,
            acked: 0,
            lock,
            channel,
            token,
            held,
            messages,
            reading: tokio::spawn(reading.run(hand)),
            acks: tokio::spawn(acks),
        })
    }

    /// A queue that has no leader yet after a broker's start is told to be empty: whether it is, a `get` tells.
    async fn truly_none(&self, queue: &str, beside: &Beside) -> Result<u32, TurnError> {
        let until = clock::now() + PATIENCE;
        loop {
            let channel = self.channel(queue).await?;
            let got = within(channel.basic_get(beside.queue.clone(), BasicGetOptions::default())).await;
            let is_empty = matches!(got, Ok(None));
            close_channel(&channel).await;
            if is_empty {
                return Ok(0);
            }
            let channel = self.channel(queue).await?;
            let count = settled_count(&channel, &beside.queue).await.map_err(|trouble| broken(queue, &trouble))?;
            close_channel(&channel).await;
            if count > 0 {
                return Ok(count);
            }
            if clock::now() > until {
                return Err(broken(queue, &"the broker cannot tell what is in it"));
            }
        }
    }

    async fn channel(&self, queue: &str) -> Result<Channel, TurnError> {
        open_channel(&self.connection).await.map_err(|trouble| broken(queue, &trouble))
    }

    /// Closes the connection; a turn that it still has ends.
    pub async fn close(self) {
        connection::close(&self.connection).await;
    }
}

/// Ready messages, once what an earlier reader held is back.
async fn settled_count(channel: &Channel, queue: &ShortString) -> Result<u32, Trouble> {
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

fn in_queue(queue: &str, trouble: &Trouble) -> TurnError {
    match trouble {
        Trouble::Amqp(error) if code(error) == Some(NOT_FOUND) => TurnError::Missing(queue.to_owned()),
        Trouble::Amqp(_) | Trouble::TimedOut | Trouble::NoChannel | Trouble::Away => broken(queue, trouble),
    }
}

/// The right to read one queue alone, for as long as it lasts.
pub struct Turn {
    queue: String,
    beside: Beside,
    count: u32,
    acked: u32,
    lock: Lock,
    channel: Channel,
    token: CancellationToken,
    held: Arc<AtomicU32>,
    messages: mpsc::Receiver<Result<Delivery, TurnError>>,
    reading: JoinHandle<bool>,
    acks: JoinHandle<Option<Instant>>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("queue", &self.queue).field("count", &self.count).finish_non_exhaustive()
    }
}

impl Turn {
    /// How many messages there were when the turn began. Those that come later are not read.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many of them are not [`Turn::remove`]d.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.count.saturating_sub(self.acked)
    }

    /// The next message, or `None` when all that were there have been read. Each has to be [`Turn::keep`]t or [`Turn::remove`]d. May be
    /// dropped while it waits.
    ///
    /// # Errors
    /// [`TurnError::Broken`]: the turn is over.
    pub async fn next(&mut self) -> Result<Option<Delivery>, TurnError> {
        self.messages.recv().await.transpose()
    }

    /// It goes back at the end of the turn.
    pub fn keep(&self, delivery: Delivery) {
        self.held.fetch_add(1, Ordering::Relaxed);
        delivery.ticket.leave();
    }

    /// It is done with: the broker has a copy of it elsewhere, or it is to be gone. False where the channel went first: it is still there.
    pub fn remove(&mut self, delivery: Delivery) -> bool {
        let removed = delivery.ticket.settle(Disposition::Ack);
        self.acked += u32::from(removed);
        removed
    }

    /// Whether somebody else waits for the turn.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.lock.is_wanted()
    }

    /// Shuts it, so that whoever asks for a turn meanwhile need not wait; or opens it again, as it is at its beginning.
    pub fn shut(&self, shut: bool) {
        self.lock.shut(shut);
    }

    /// Ends the turn: acks reach the broker, the rest goes back in order, and the next reader has its turn. Every message that came
    /// out must have been kept or removed.
    ///
    /// # Errors
    /// [`TurnError::Broken`] when the connection broke meanwhile: the broker gives back what it had not seen acked.
    pub async fn end(mut self) -> Result<(), TurnError> {
        // Giving back takes a while: whoever comes now may wait for it.
        self.shut(false);
        self.messages.close();
        while let Some(message) = self.messages.recv().await {
            self.held.fetch_add(1, Ordering::Relaxed);
            drop(message.map(|delivery| delivery.ticket.leave()));
        }
        let was_read = (&mut self.reading).await.unwrap_or(false);
        let carried_out = (&mut self.acks).await.unwrap_or_else(|_| {
            self.token.cancel();
            None
        });
        if !was_read || self.token.is_cancelled() {
            return Err(broken(&self.queue, &"the channel ended"));
        }
        if let Some(carried_out) = carried_out {
            // What the broker has not carried out when the channel closes comes back.
            clock::sleep_until(carried_out).await;
        }
        self.token.cancel();
        close_channel(&self.channel).await;
        self.returned().await.map_err(|trouble| broken(&self.queue, &trouble))?;
        self.lock.leave().await;
        Ok(())
    }

    /// The channel's end is carried out a moment after it is answered: the next reader must find everything.
    async fn returned(&self) -> Result<(), Trouble> {
        let expected = self.left();
        let until = clock::now() + PATIENCE;
        while clock::now() < until && ready(self.lock.channel(), &self.beside.queue).await? < expected {
            clock::sleep(SETTLED_FOR / 5).await;
        }
        Ok(())
    }
}
