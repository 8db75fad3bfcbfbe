//! What lies in a destination's lease queue: one note, which says who drives and carries the ledger. Whoever holds it drives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// One note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Of this note. A newer one than [`FORMAT`] cannot be read here.
    pub format: u32,
    /// Counts drivers: each one that takes over raises it by one.
    pub term: u64,
    /// Counts the notes of one term.
    pub version: u64,
    /// Who wrote it.
    pub owner: Owner,
    /// The driver that its owner took over from; none where nobody drove before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Driven>,
    /// Its owner had got a note of this term back when it wrote this one: it was the driver.
    #[serde(default)]
    pub proven: bool,
    /// What it says of the destination.
    pub says: Says,
    /// How long its owner may send after a proof, in milliseconds.
    pub lease_ms: u64,
    /// What the next driver has to know; nothing where nobody has driven yet. What is in it is the destination's business.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub ledger: Value,
}

/// What a note says of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// Its owner drives, or did until it was killed.
    Held,
    /// Its owner has let go: it sends nothing any more.
    Released,
    /// Nobody is known to drive: the first note in an empty queue.
    Found,
    /// An operator wants the lease to begin anew, whatever else lies in the queue.
    Reset,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Of one run of a worker.
    pub id: Uuid,
    /// For people: host and process.
    pub name: String,
}

/// A driver's term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driven {
    /// Its number.
    pub term: u64,
    /// The driver.
    pub owner: Uuid,
}

/// A note cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is of a newer version.
    #[error("the note in the lease queue has format {0}, and this version reads {FORMAT}")]
    Newer(u32),
    /// The form of its ledger is not known.
    #[error("the ledger in the lease queue cannot be read ({0})")]
    Ledger(String),
    /// The tokens in its ledger are sealed with another key.
    #[error("the tokens in the lease queue are sealed with another key than this worker's [broker] ledger_key")]
    OtherKey,
    /// It is no note.
    #[error("the message in the lease queue is no note ({0})")]
    Unreadable(String),
}

impl NoteError {
    /// What is wrong with the lease of that destination, and what helps.
    #[must_use]
    pub fn with_help(&self, destination: &str) -> String {
        let first = match self {
            Self::Newer(_) | Self::Ledger(_) => "upgrade this worker, or",
            Self::OtherKey => "give every worker the key that was used before, or, if that is lost,",
            Self::Unreadable(_) => "see who published it, then",
        };
        format!("{self}: {first} run `sluice lease reset {destination}`")
    }
}

impl Note {
    /// The first note of an empty queue, with what is known.
    #[must_use]
    pub fn found(owner: Owner, lease: Duration, ledger: Value) -> Self {
        Self::new(owner, Says::Found, lease, ledger)
    }

    /// What begins a lease anew.
    #[must_use]
    pub fn reset(owner: Owner, ledger: Value) -> Self {
        Self::new(owner, Says::Reset, Duration::ZERO, ledger)
    }

    fn new(owner: Owner, says: Says, lease: Duration, ledger: Value) -> Self {
        Self {
            format: FORMAT,
            term: 0,
            version: 0,
            owner,
            follows: None,
            proven: false,
            says,
            lease_ms: millis(lease),
            ledger,
        }
    }

    /// Reads a message's body.
    ///
    /// # Errors
    /// [`NoteError`]
    pub fn read(body: &[u8]) -> Result<Self, NoteError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| NoteError::Unreadable(error.to_string());
        let Format { format } = serde_json::from_slice(body).map_err(unreadable)?;
        if format > FORMAT { Err(NoteError::Newer(format)) } else { serde_json::from_slice(body).map_err(unreadable) }
    }

    /// As a message's body.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        // A `Note` has string keys and finite numbers only: it can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// How long its owner may send after a proof.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// Whose term it is of.
    #[must_use]
    pub fn driven(&self) -> Driven {
        Driven { term: self.term, owner: self.owner.id }
    }

    /// Which note of which term it is.
    pub(super) fn id(&self) -> (Driven, u64) {
        (self.driven(), self.version)
    }

    /// Whether it counts, and not `other`. A note that was long on its way may have a high term and know nothing of what happened meanwhile:
    /// so one that follows the other counts, and of two that know nothing of each other that of a proven driver.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        if self.driven() == other.driven() {
            return self.version > other.version;
        }
        match (self.comes_after(other), other.comes_after(self)) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => self.rank() > other.rank(),
        }
    }

    /// Whether it is a claim of who found `other` in the queue, and has nothing that is not there.
    #[must_use]
    pub fn only_claims(&self, other: &Self) -> bool {
        self.says == Says::Held && !self.proven && self.follows == Some(other.driven())
    }

    fn comes_after(&self, other: &Self) -> bool {
        self.follows.is_some_and(|follows| follows == other.driven() || follows.term > other.term)
    }

    fn rank(&self) -> (bool, Option<u64>, bool, u64) {
        (self.proven, self.follows.map(|follows| follows.term), !self.ledger.is_null(), self.term)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner() -> Owner {
        Owner { id: Uuid::from_u128(7), name: "pod-1/42".into() }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = Note { term: 3, version: 9, ..Note::found(owner(), Duration::from_secs(2), json!({"used": 5})) };
        assert_eq!(Note::read(&note.write()), Ok(note));
    }

    #[test]
    fn a_newer_note_and_what_is_none_say_what_to_do() {
        let newer = br#"{"format": 2, "terms": []}"#;
        let error = Note::read(newer).unwrap_err();
        assert_eq!(error, NoteError::Newer(2));
        assert!(error.with_help("px").contains(": upgrade this worker, or run `sluice lease reset px`"), "{error}");
        let error = Note::read(b"hello").unwrap_err();
        assert!(error.with_help("px").ends_with("then run `sluice lease reset px`"), "{error}");
        let lost = "if that is lost, run `sluice lease reset px`";
        assert!(NoteError::OtherKey.with_help("px").ends_with(lost));
    }
}
