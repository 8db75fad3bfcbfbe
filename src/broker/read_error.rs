//! Why a queue could not be read.

use std::time::Duration;

use super::connection::ConnectError;

/// Why a queue could not be read, or not to the end. What was not acked is back in the queue.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no such queue.
    #[error("the broker has no queue {0:?}; it is created when a worker first runs with that destination")]
    Missing(String),
    /// Somebody else held the read lock all the time.
    #[error("somebody else has been reading {queue:?} for {waited:?}; try again when they are done")]
    Busy {
        /// The queue.
        queue: String,
        /// How long the lock was waited for.
        waited: Duration,
    },
    /// The holder of the read lock is an operation that lets nobody look for now.
    #[error(
        "an operation is at work on {0:?}, and looking would hold it up for long: pause it to look, or look again later \
         (`sluice dead operations` and the console name it)"
    )]
    Closed(String),
    /// The connection or the channel broke, or the broker said no.
    #[error("reading {queue:?} broke off: {why}")]
    Broken {
        /// The queue.
        queue: String,
        /// What the broker or the client said.
        why: String,
    },
}

pub(super) fn broken(queue: &str, why: &impl std::fmt::Display) -> ReadError {
    ReadError::Broken { queue: queue.to_owned(), why: why.to_string() }
}
