//! What says at the broker that a queue is being read: exclusive queues beside it, which the broker deletes with the connection
//! of their owner, however that ends.

use std::time::Duration;

use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};

use super::connection::{LOCKED, NOT_FOUND, Trouble, code, within};
use super::fields::{TooLong, short};

/// Between tries for a turn that somebody else has.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(100);

/// A queue that is read, and the names of the exclusive queues beside it.
#[derive(Clone)]
pub(super) struct Beside {
    pub(super) queue: ShortString,
    /// Who has it, has the turn.
    pub(super) turn: ShortString,
    /// There while somebody waits for the turn.
    pub(super) wanted: ShortString,
    /// There while whoever has the turn lets nobody else in.
    pub(super) shut: ShortString,
}

impl Beside {
    pub(super) fn of(queue: &str) -> Result<Self, TooLong> {
        let name = |end: &str| short("the queue's name", &format!("{queue}{end}"));
        Ok(Self { queue: name("")?, turn: name(".turn")?, wanted: name(".turn.wanted")?, shut: name(".turn.shut")? })
    }
}

/// Ready messages of a queue.
pub(super) async fn ready(channel: &Channel, queue: &ShortString) -> Result<u32, Trouble> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(within(channel.queue_declare(queue.clone(), options, FieldTable::default())).await?.message_count())
}

/// Takes an exclusive queue for this connection. False when another has it; the channel has then ended.
pub(super) async fn declare_exclusive(channel: &Channel, name: ShortString) -> Result<bool, Trouble> {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    match within(channel.queue_declare(name, options, FieldTable::default())).await {
        Ok(_) => Ok(true),
        Err(Trouble::Amqp(error)) if code(&error) == Some(LOCKED) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// Whether any connection has that exclusive queue. Unless it is this one's, the channel has then ended.
pub(super) async fn is_there(channel: &Channel, name: ShortString) -> Result<bool, Trouble> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match within(channel.queue_declare(name, options, FieldTable::default())).await {
        Ok(_) => Ok(true),
        Err(Trouble::Amqp(error)) if code(&error) == Some(LOCKED) => Ok(true),
        Err(Trouble::Amqp(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// Deletes an exclusive queue of this connection's.
pub(super) async fn delete(channel: &Channel, name: ShortString) {
    if let Err(trouble) = within(channel.queue_delete(name, QueueDeleteOptions::default())).await {
        tracing::debug!(%trouble, "not deleted: it goes with its connection");
    }
}
