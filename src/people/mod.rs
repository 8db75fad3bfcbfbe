//! What is done about people: suppressed and written to again, erased. One implementation for the command line, the admin API and the console. A
//! person's key is never stored, logged or audited: a digest stands for it.

pub mod erase;
pub mod list;

use std::collections::HashSet;

use serde::Serialize;
use utoipa::ToSchema;

use crate::audit::{self, OperatorAct};
use crate::broker::Broker;
use crate::control;
use crate::person::{self, Digest};
use crate::redact;
use crate::suppression::{Act, Entries, MOST_OF_NOTE, ReadError, Stream, WriteError};

/// The longest key of a person, in bytes.
pub const LONGEST_PERSON: usize = 1024;

/// Said where `[suppression]` is not set.
pub const NOT_SET: &str = "nobody can be suppressed: [suppression] is not set; add it with key = { env = \"SLUICE_SUPPRESSION_KEY\" }, the same \
                           for every worker and command";

/// A change is answered once the broker has it. From then on so many seconds may pass until every worker heeds it; one that cannot follow the
/// list sends nothing meanwhile.
pub const HEEDED_WITHIN: u32 = 1;

/// Those who are suppressed, at one broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct People {
    /// Where the audit is.
    pub broker: Broker,
    /// Where they are kept.
    pub stream: Stream,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PeopleChanged {
    /// How many different people were named.
    pub named: usize,
    /// For how many of them something changed.
    pub changed: usize,
    /// How many were as wanted before.
    pub unchanged: usize,
    /// So many seconds after this answer, at most, every worker heeds it: one that cannot follow the list sends nothing meanwhile.
    pub heeded_within_seconds: u32,
}

/// One who was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PersonKnown {
    /// What stands for them.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    pub digest: Digest,
    /// Whether they must not be written to.
    pub suppressed: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub since: Option<jiff::Timestamp>,
    /// By whom: a token's name, or user@host of a command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub by: Option<String>,
    /// Why, in that person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub note: Option<String>,
}

impl PersonKnown {
    /// What is known of one.
    #[must_use]
    pub fn of(digest: Digest, entries: &Entries) -> Self {
        let entry = entries.get(digest);
        Self {
            digest,
            suppressed: entry.is_some(),
            since: entry.map(|entry| entry.since),
            by: entry.map(|entry| entry.by.clone()),
            note: entry.map(|entry| entry.note.clone()).filter(|note| !note.is_empty()),
        }
    }
}

impl People {
    /// The digest of one who is named.
    ///
    /// # Errors
    /// A sentence that does not repeat the key.
    pub fn digest(&self, person: &str) -> Result<Digest, String> {
        if person.len() > LONGEST_PERSON {
            return Err(format!("a person's key has at most {LONGEST_PERSON} bytes; this one has {}", person.len()));
        }
        self.stream.key().digest(person).ok_or_else(|| "a person's key is empty".to_owned())
    }

    /// Suppresses people, or lets them be written to again; returns once the broker has it, and the audit. `told` hears how many are done.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn change(
        &self,
        act: Act,
        people: &[Digest],
        (by, place): (&str, &str),
        note: &str,
        told: impl FnMut(usize) + Send,
    ) -> Result<PeopleChanged, WriteError> {
        let people: Vec<Digest> = people.iter().copied().collect::<HashSet<_>>().into_iter().collect();
        let note = without_people(note);
        let written = self.stream.write(act, &people, (by, &note), told).await;
        let changed = written.map(|before| {
            let as_wanted = people.iter().filter(|one| before.get(**one).is_some() == (act == Act::Add)).count();
            let (named, unchanged) = if act == Act::Clear { (before.len(), 0) } else { (people.len(), as_wanted) };
            PeopleChanged { named, changed: named - unchanged, unchanged, heeded_within_seconds: HEEDED_WITHIN }
        });
        let outcome = match &changed {
            Ok(PeopleChanged { changed, unchanged, .. }) => format!("{changed} changed, {unchanged} were so before"),
            Err(error) => format!("failed: {error}"),
        };
        let count = u64::try_from(people.len()).unwrap_or(u64::MAX);
        let entry = audit::Entry::done((by, place), "", audited(act), given(&people, &note), &outcome);
        control::record_when_possible(self.broker.clone(), audit::Entry { count, ..entry }).await;
        changed
    }

    /// What is known of people.
    ///
    /// # Errors
    /// [`ReadError`], also where another secret was used.
    pub async fn known(&self, people: &[Digest]) -> Result<Vec<PersonKnown>, ReadError> {
        let entries = self.stream.entries().await?;
        // To those whom it cannot tell it would say that they are not suppressed.
        if let Some(trouble) = entries.trouble {
            return Err(ReadError::OtherKey(trouble));
        }
        Ok(people.iter().map(|digest| PersonKnown::of(*digest, &entries)).collect())
    }
}

/// The same in the audit.
fn audited(act: Act) -> OperatorAct {
    match act {
        Act::Add => OperatorAct::Suppress,
        Act::Remove => OperatorAct::Unsuppress,
        Act::Clear => OperatorAct::SuppressClear,
    }
}

/// Whom, for the audit.
fn given(people: &[Digest], note: &str) -> String {
    let whom = match people {
        [] => "all".to_owned(),
        [one] => format!("person={one}"),
        [first, ..] => format!("{} people, person={first} among them", people.len()),
    };
    if note.is_empty() { whom } else { format!("{whom}; {note}") }
}

/// A note without addresses, of a length that can be kept.
fn without_people(note: &str) -> String {
    let note = redact::without_addresses(note.trim());
    note.chars().take(MOST_OF_NOTE).collect()
}

/// Whether letters that merely mention a person are about them: an address is nobody else's, where `42` may be anything.
#[must_use]
pub fn is_unmistakable(person: &str) -> bool {
    let person = person::normalised(person);
    person.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::PersonKey;

    #[test]
    fn the_audit_and_notes_have_no_person_in_them() {
        let digest = PersonKey::new("one").digest("ann@example.com").unwrap();
        let note = without_people("  ann@example.com wrote to us ");
        assert_eq!(note, "***@*** wrote to us");
        assert_eq!(given(&[digest], &note), format!("person={digest}; ***@*** wrote to us"));
        assert_eq!(given(&[digest, digest], ""), format!("2 people, person={digest} among them"));
        assert_eq!(without_people(&"x".repeat(1_000)).len(), MOST_OF_NOTE);
    }

    #[test]
    fn an_address_is_unmistakable_and_a_number_is_not() {
        for (person, is) in [("ann@example.com", true), ("42", false), ("@a.b", false), ("a@b", false), ("u-1", false)]
        {
            assert_eq!(is_unmistakable(person), is, "{person}");
        }
    }
}
