//! The audit: who did what, with dead letters and with destinations, when, with what, how many, and how it ended. It is kept in a queue at the broker and
//! written to every worker's log.

mod acts;
mod marks;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::broker::port::PublishError;
use crate::broker::{Broker, ReadError, ReadPurpose};
use crate::clock;
use crate::message::{Message, Properties};

pub use acts::OperatorAct;
pub use marks::{IssueState, Mark, Marks};

/// One line of the audit. An operation has two: when it began and when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The operation's id.
    pub operation: String,
    /// A token's name, or user@host of a command line.
    pub by: String,
    /// Where: `api`, `console`, `command line`, or a worker; none of acts on dead letters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    /// Whose letters, or which destination; empty where it is about none.
    pub destination: String,
    /// What: replay, discard, restore, purge, edit, export; publish_unrouted, discard_unrouted; pause, resume, limits, reload, lease_reset,
    /// sign_in; acknowledge, ignore, note, reopen; suppress, unsuppress, suppress_clear, erase.
    pub act: String,
    /// Which letters; of an operator's act what was given with it.
    pub filter: String,
    /// How many letters were meant.
    pub count: u64,
    /// How it ended; none where it began.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<String>,
    /// What it says of an issue.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub mark: Option<Mark>,
}

impl Entry {
    /// An operator's act that is done: by whom and from where, at which destination, what was given with it, and what came of it.
    #[must_use]
    pub fn done(by: (&str, &str), destination: &str, act: OperatorAct, given: String, outcome: &str) -> Self {
        Self::ended(by, destination, act.name(), given, outcome)
    }

    /// The same of an act on messages.
    #[must_use]
    pub fn ended((by, place): (&str, &str), destination: &str, act: &str, given: String, outcome: &str) -> Self {
        Self {
            at: clock::wall(),
            operation: operation_id(),
            by: by.to_owned(),
            place: Some(place.to_owned()),
            destination: destination.to_owned(),
            act: act.to_owned(),
            filter: given,
            count: 0,
            outcome: Some(outcome.to_owned()),
            mark: None,
        }
    }

    /// Whether it is about no letters.
    #[must_use]
    pub fn is_of_operator(&self) -> bool {
        OperatorAct::ALL.iter().any(|act| act.name() == self.act)
    }
}

/// The id of a new operation.
#[must_use]
pub fn operation_id() -> String {
    Uuid::new_v4().simple().to_string()[..12].to_owned()
}

/// Writes an entry. Returns once the broker has it.
///
/// # Errors
/// Why it may not be there.
pub async fn write(broker: &Broker, entry: &Entry) -> Result<(), PublishError> {
    let body = serde_json::to_vec(entry).map_err(|error| PublishError::Unsendable(error.to_string()))?;
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        kind: Some("audit".to_owned()),
        timestamp: u64::try_from(entry.at.as_second()).ok(),
        ..Properties::default()
    };
    let message = Message { body: Bytes::from(body), properties };
    broker.publisher().publish("", &broker.names().audit(), message).await
}

/// Writes an entry into this process's log.
pub fn log(entry: &Entry) {
    let Entry { operation, by, destination, act, filter, count, outcome, .. } = entry;
    if entry.is_of_operator() {
        let place = entry.place.as_deref();
        return tracing::info!(audit = "operator", by, place, destination, act, filter, outcome, "operator: {act}");
    }
    let stage = if outcome.is_some() { "ended" } else { "began" };
    tracing::info!(
        audit = stage,
        operation,
        by,
        destination,
        act,
        filter,
        count,
        outcome,
        "dead letters: {act} {stage}"
    );
}

/// The last `limit` entries, of one destination or of all, oldest first.
///
/// # Errors
/// [`ReadError`] when the audit cannot be read.
pub async fn read(
    broker: &Broker,
    destination: Option<&str>,
    limit: usize,
    patience: Duration,
) -> Result<Vec<Entry>, ReadError> {
    let mut last = Last { limit, entries: VecDeque::new() };
    let read = each(broker, patience, |entry| {
        if destination.is_none_or(|name| name == entry.destination) {
            last.add(entry);
        }
    });
    read.await?;
    Ok(last.entries.into())
}

/// Shows every entry to `visit`.
async fn each(broker: &Broker, patience: Duration, mut visit: impl FnMut(Entry) + Send) -> Result<(), ReadError> {
    let mut reader = broker.reader().await?;
    let read = async {
        let mut locked = reader.lock(&broker.names().audit(), ReadPurpose::Look, patience).await?;
        while let Some(delivery) = locked.next().await? {
            let entry = serde_json::from_slice::<Entry>(&delivery.message.body);
            locked.keep(delivery);
            // What is no entry was put there by something else.
            entry.into_iter().for_each(&mut visit);
        }
        locked.end().await
    };
    let ended = read.await;
    reader.close().await;
    ended
}

/// The last entries by their time: the queue may be in another order after a reader was killed.
struct Last {
    limit: usize,
    entries: VecDeque<Entry>,
}

impl Last {
    fn add(&mut self, entry: Entry) {
        self.entries.insert(self.entries.partition_point(|earlier| earlier.at <= entry.at), entry);
        if self.entries.len() > self.limit {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_are_told_by_their_time_whatever_the_order_of_the_queue() {
        let mut last = Last { limit: 3, entries: VecDeque::new() };
        for (second, operation) in [(4, "c"), (5, "d"), (1, "a"), (3, "b"), (5, "e")] {
            let at = Timestamp::from_second(second).unwrap();
            let text = || "x".to_owned();
            let operation = operation.to_owned();
            last.add(Entry {
                at,
                operation,
                by: text(),
                place: None,
                destination: text(),
                act: text(),
                filter: text(),
                count: 1,
                outcome: None,
                mark: None,
            });
        }
        let operations: Vec<_> = last.entries.iter().map(|entry| entry.operation.as_str()).collect();
        assert_eq!(operations, ["c", "d", "e"]);
    }
}
