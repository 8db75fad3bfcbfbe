//! Why a turn is not to be had, or ends early.

use std::time::Duration;

use super::connection::ConnectError;

/// Why a turn could not be had, or ended early. What was not acked is back in the queue.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TurnError {
    /// The broker cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no such queue.
    #[error("the broker has no queue {0:?}; it is created when a worker first runs with that destination")]
    Missing(String),
    /// Somebody else has had the turn all the time.
    #[error("somebody else has been reading {queue:?} for {waited:?}; try again when they are done")]
    Busy {
        /// The queue.
        queue: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Whoever has the turn lets nobody else in for now.
    #[error(
        "an operation is at work on {0:?}, and looking would hold it up for long: pause it to look, or look again later \
         (`sluice dead operations` and the console name it)"
    )]
    Shut(String),
    /// The connection or the channel broke, or the broker said no.
    #[error("reading {queue:?} broke off: {why}")]
    Broken {
        /// The queue.
        queue: String,
        /// What the broker or the client said.
        why: String,
    },
}

pub(super) fn broken(queue: &str, why: &impl std::fmt::Display) -> TurnError {
    TurnError::Broken { queue: queue.to_owned(), why: why.to_string() }
}
