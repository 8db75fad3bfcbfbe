//! Where a worker stands in a lease, and what it has on its way.

use std::time::Instant;

/// Where this worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No consumer.
    Away,
    /// A consumer that has got nothing yet.
    Standby,
    /// Has the note of another, which may still send.
    Waiting(Instant),
    /// Has the note, and nobody else may send.
    Holding,
    /// The last note is on its way.
    LettingGo(Instant),
    /// Has what cannot be read, since then.
    Stuck(Instant),
}

/// A note on its way.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub version: u64,
    pub at: Instant,
    /// When the broker confirmed it: from then on it should come.
    pub confirmed: Option<Instant>,
}
