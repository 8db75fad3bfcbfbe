//! The stream of suppressed people at the broker: written to by whoever suppresses somebody, and read whole by whoever asks who is.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::change::{Act, Known, MOST_IN_ONE, SuppressionChange};
use crate::broker::port::{PublishError, Publisher};
use crate::broker::{Broker, StreamEvent, StreamSettings, StreamStart};
use crate::clock;
use crate::message::{Message, Properties};
use crate::person::{Digest, PersonKey};

/// Time between two messages of the stream while it is read whole.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// Messages on their way at once.
const WINDOW: usize = 16;

/// The stream, and what is published to it with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stream {
    broker: Broker,
    publisher: Publisher,
    key: PersonKey,
}

/// One who is suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub note: String,
}

/// Who is suppressed, as the stream says.
#[derive(Debug)]
pub struct Entries {
    /// By digest: which of the changes below it was.
    people: HashMap<Digest, u32>,
    changes: Vec<Entry>,
    /// Why nobody can say here who they are, where another secret was used.
    pub trouble: Option<String>,
}

impl Entries {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, digest: Digest) -> Option<&Entry> {
        self.changes.get(usize::try_from(*self.people.get(&digest)?).ok()?)
    }

    /// All of them, the last first; those of one moment by digest.
    #[must_use]
    pub fn sorted(&self) -> Vec<(Digest, &Entry)> {
        let mut people: Vec<(Digest, u32)> = self.people.iter().map(|(digest, change)| (*digest, *change)).collect();
        people.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        people.into_iter().filter_map(|(digest, _)| Some((digest, self.get(digest)?))).collect()
    }
}

/// Why the stream could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The broker does not give it.
    #[error("who is suppressed could not be read: {0}")]
    Broken(String),
    /// Nobody can be told by the secret here.
    #[error("{0}")]
    OtherKey(String),
}

/// Why nobody was suppressed, or not all.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The secret is another one than that of those who are suppressed already.
    #[error("{0}")]
    OtherKey(String),
    /// It could not be read who is suppressed already.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The broker did not take it.
    #[error("the broker did not take all of it: {0}; the same once more does the rest")]
    Publish(#[from] PublishError),
}

impl Stream {
    /// The stream at this broker, declared as `[broker] declare` says.
    #[must_use]
    pub fn new(broker: &Broker, key: &PersonKey) -> Self {
        let settings = StreamSettings {
            name: broker.names().suppressed(),
            // Nobody is forgotten by age.
            max_age: None,
            max_bytes: None,
            segment_bytes: None,
        };
        Self { publisher: broker.stream_publisher(&settings), broker: broker.clone(), key: key.clone() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.broker.names().suppressed()
    }

    /// What digests are made with.
    #[must_use]
    pub fn key(&self) -> &PersonKey {
        &self.key
    }

    pub(super) fn read(&self, start: StreamStart) -> mpsc::Receiver<StreamEvent> {
        self.broker.read_stream(&self.name(), start, self.publisher.clone())
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entries(&self) -> Result<Entries, ReadError> {
        let mut events = self.read(StreamStart::First);
        let mut known = Known::new(self.key.id());
        let mut entries = Entries { people: HashMap::new(), changes: Vec::new(), trouble: None };
        let mut why = "nothing came from the broker".to_owned();
        loop {
            match timeout(READ_WITHIN, events.recv()).await {
                Ok(Some(StreamEvent::Message(message))) => {
                    let Ok(change) = SuppressionChange::read(&message.message.body) else { continue };
                    known.apply(&change);
                    entries.take(change, self.key.id());
                }
                Ok(Some(StreamEvent::CaughtUp { .. })) => {
                    entries.trouble = known.trouble();
                    return Ok(entries);
                }
                Ok(Some(StreamEvent::Interrupted(trouble))) => why = trouble.to_string(),
                Ok(Some(StreamEvent::Renewed)) => {
                    known = Known::new(self.key.id());
                    entries = Entries { people: HashMap::new(), changes: Vec::new(), trouble: None };
                }
                Ok(None) | Err(_) => return Err(ReadError::Broken(why)),
            }
        }
    }

    /// Adds people or takes them out, and returns once the broker has it. `told` hears how many are done. Nothing is written where another
    /// secret made what is there.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write(
        &self,
        act: Act,
        people: &[Digest],
        (by, note): (&str, &str),
        mut told: impl FnMut(usize) + Send,
    ) -> Result<Entries, WriteError> {
        let entries = self.entries().await?;
        if let Some(trouble) = entries.trouble.clone().filter(|_| act != Act::Clear) {
            return Err(WriteError::OtherKey(trouble));
        }
        let at = clock::wall();
        let change = |people: &[Digest]| SuppressionChange {
            act,
            key: self.key.id(),
            at,
            by: by.to_owned(),
            note: note.to_owned(),
            people: people.to_vec(),
        };
        if act == Act::Clear {
            self.publish(&change(&[])).await?;
            return Ok(entries);
        }
        // Who is as wanted already needs no message: a file that is imported every night does not make the stream grow.
        let news: Vec<Digest> =
            people.iter().copied().filter(|digest| entries.people.contains_key(digest) != (act == Act::Add)).collect();
        let mut done = people.len() - news.len();
        told(done);
        for window in news.chunks(MOST_IN_ONE * WINDOW) {
            let published = window.chunks(MOST_IN_ONE).map(|people| async { self.publish(&change(people)).await });
            futures_util::future::try_join_all(published).await?;
            done += window.len();
            told(done);
        }
        Ok(entries)
    }

    /// Has the stream made where it is not there and may be made: that is done by whoever publishes to it.
    pub(super) async fn make(&self) {
        let (by, note) = ("sluice run".to_owned(), String::new());
        let nobody =
            SuppressionChange { act: Act::Remove, key: self.key.id(), at: clock::wall(), by, note, people: Vec::new() };
        if let Err(error) = self.publish(&nobody).await {
            tracing::debug!(%error, stream = self.name(), "the stream could not be made");
        }
    }

    async fn publish(&self, change: &SuppressionChange) -> Result<(), PublishError> {
        let properties = Properties {
            content_type: Some("application/json".to_owned()),
            kind: Some("suppression".to_owned()),
            timestamp: u64::try_from(change.at.as_second()).ok(),
            ..Properties::default()
        };
        self.publisher.publish("", &self.name(), Message { body: change.write(), properties }).await
    }
}

impl Entries {
    fn take(&mut self, change: SuppressionChange, key: Digest) {
        let SuppressionChange { act, key: made_with, at, by, note, people } = change;
        if act == Act::Clear {
            self.people.clear();
            self.changes.clear();
            return;
        }
        if made_with != key {
            return;
        }
        if act == Act::Remove {
            return people.iter().for_each(|digest| {
                self.people.remove(digest);
            });
        }
        let number = u32::try_from(self.changes.len()).unwrap_or(u32::MAX);
        self.changes.push(Entry { since: at, by, note });
        // Whoever was suppressed already is so since then.
        for digest in people {
            self.people.entry(digest).or_insert(number);
        }
    }
}
