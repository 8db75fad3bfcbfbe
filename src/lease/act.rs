//! What the machine wants done.

use serde_json::Value;

use super::note::Note;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Publish the note to the lease queue.
    Publish(Note),
    /// Ack a note: it is outdated.
    Ack(u64),
    /// Give a note back to the queue, where it is the first: whoever is the consumer gets it again.
    Return(u64),
    /// Start a driver with that ledger, in place of one that runs. It may send while there is proof, and not before.
    Drive(Value),
    /// Stop the driver: somebody else drives, or nobody can.
    Stop,
    /// Leave the queue, and give the notes back that were not acked: the next worker has its turn. Then open it again, or end.
    Leave,
}
