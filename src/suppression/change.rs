//! One message of the stream of suppressed people: who is added or taken out, when, by whom. Digests alone, never a person. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::person::{DIGEST_BYTES, Digest};
use crate::words;

/// People in one message at most: 21 kB of digests.
pub const MOST_IN_ONE: usize = 1_000;
/// Characters of a note at most.
pub const MOST_OF_NOTE: usize = 200;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// They must not be written to.
    Add,
    /// They may be again.
    Remove,
    /// All that stands before it, by whatever key, is void.
    Clear,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionChange {
    /// What is done.
    pub act: Act,
    /// The id of the secret that the digests were made with.
    pub key: Digest,
    /// When.
    pub at: Timestamp,
    /// By whom: a token's name, or user@host of a command line.
    pub by: String,
    /// Why, in that person's words.
    pub note: String,
    /// Who.
    pub people: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    act: Act,
    key: Digest,
    at: Timestamp,
    by: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    note: String,
    /// The digests one behind the other, in base64.
    people: String,
}

impl SuppressionChange {
    /// The body of its message.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let people: Vec<u8> = self.people.iter().flat_map(|digest| *digest.bytes()).collect();
        let written = Written {
            act: self.act,
            key: self.key,
            at: self.at,
            by: self.by.clone(),
            note: self.note.clone(),
            people: STANDARD.encode(people),
        };
        serde_json::to_vec(&written).unwrap_or_default().into()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// A sentence that says why it is none.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let bytes = STANDARD.decode(&written.people).map_err(|error| error.to_string())?;
        let (digests, rest) = bytes.as_chunks::<DIGEST_BYTES>();
        if !rest.is_empty() {
            return Err("the last digest is cut off".to_owned());
        }
        let people = digests.iter().map(|digest| Digest::new(*digest)).collect();
        let Written { act, key, at, by, note, .. } = written;
        Ok(Self { act, key, at, by, note, people })
    }
}

/// What the messages so far come to, with one secret.
#[derive(Debug)]
pub struct Known {
    /// The id of the secret here.
    key: Digest,
    /// Who is suppressed.
    pub table: Table,
    /// Changes that were made with another secret since all was last cleared: nobody can tell here who is meant.
    pub foreign: u64,
    /// Messages that cannot be read.
    pub unreadable: u64,
}

impl Known {
    /// Nothing yet.
    #[must_use]
    pub fn new(key: Digest) -> Self {
        Self { key, table: Table::default(), foreign: 0, unreadable: 0 }
    }

    /// Takes a message in. Who it is about that was not so before, in number.
    pub fn apply(&mut self, change: &SuppressionChange) -> usize {
        if change.act == Act::Clear {
            let before = self.table.len();
            *self = Self::new(self.key);
            return before;
        }
        if change.key != self.key {
            if change.act == Act::Add {
                self.foreign += u64::try_from(change.people.len()).unwrap_or(u64::MAX);
            }
            return 0;
        }
        let table = &mut self.table;
        let changes = change.people.iter().filter(|digest| match change.act {
            Act::Add => table.add(**digest),
            Act::Remove | Act::Clear => table.remove(**digest),
        });
        changes.count()
    }

    /// The same of a message's body.
    pub fn apply_body(&mut self, body: &[u8]) {
        match SuppressionChange::read(body) {
            Ok(change) => drop(self.apply(&change)),
            Err(_) => self.unreadable += 1,
        }
    }

    /// Why it must not be relied on, where that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        (self.foreign > 0).then(|| {
            format!(
                "the key of [suppression] is another one than that with which {} were suppressed, so nobody can tell here who \
                 they are: give it the key of before; or, if that one is gone, forget them all with `sluice suppress clear` and import \
                 them anew",
                words::of(self.foreign, "person", "people")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::PersonKey;

    fn change(key: &PersonKey, act: Act, people: &[&str]) -> SuppressionChange {
        let people = people.iter().filter_map(|person| key.digest(person)).collect();
        let at = Timestamp::constant(1_700_000_000, 0);
        SuppressionChange { act, key: key.id(), at, by: "ann@host".into(), note: "asked".into(), people }
    }

    #[test]
    fn a_change_is_read_as_it_was_written_and_has_no_person_in_it() {
        let change = change(&PersonKey::new("one"), Act::Add, &["ann@example.com", "u-1"]);
        let body = change.write();
        assert_eq!(SuppressionChange::read(&body).unwrap(), change);
        assert!(!String::from_utf8_lossy(&body).contains("example.com"));
        for wrong in ["", "{}", r#"{"act":"add","key":"00","at":"x","by":"","people":""}"#] {
            assert!(SuppressionChange::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_word_on_somebody_holds() {
        let key = PersonKey::new("one");
        let mut known = Known::new(key.id());
        assert_eq!(known.apply(&change(&key, Act::Add, &["a", "b", "a"])), 2);
        assert_eq!(known.apply(&change(&key, Act::Remove, &["b", "c"])), 1);
        assert_eq!(known.apply(&change(&key, Act::Add, &["a"])), 0);
        assert!(known.table.has(key.digest("a").unwrap()) && !known.table.has(key.digest("b").unwrap()));
        assert_eq!((known.apply(&change(&key, Act::Clear, &[])), known.table.len()), (1, 0));
    }

    #[test]
    fn what_another_secret_made_is_told_until_all_is_cleared() {
        let (one, other) = (PersonKey::new("one"), PersonKey::new("other"));
        let mut known = Known::new(one.id());
        assert_eq!(known.trouble(), None);
        known.apply(&change(&other, Act::Add, &["a", "b"]));
        known.apply_body(b"no change");
        assert!(known.trouble().unwrap().contains("2 people"), "{:?}", known.trouble());
        known.apply(&change(&other, Act::Clear, &[]));
        assert_eq!((known.trouble(), known.table.len(), known.unreadable), (None, 0, 0));
    }
}
