//! What an event becomes for its vendor before it travels, and how several may travel together. Values only.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

/// An event that has passed every check and can travel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// What all items of one request share, in the vendor's own words: items of equal groups and ordering keys may travel together.
    pub group: String,
    /// Items of one ordering key arrive in the order of their events, and each ordering key has a limit of its own ([`super::Vendor::ordering_key_limit`]).
    pub ordering_key: Option<String>,
    /// What the vendor makes the request of, in its own words.
    pub content: Bytes,
    /// What was looked up for it: when the vendor rejects it and that is not fresh, it is looked up anew and the event checked again.
    pub lookup: Option<String>,
}

/// How many events may travel in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Most events in one request, at least 1.
    pub items: usize,
    /// Most bytes of contents in one request, each counted with one more for what separates them. A single item may be larger.
    pub bytes: usize,
    /// When several travel together.
    pub when: When,
}

/// When events travel together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as more than one waits.
    Always,
    /// Once more wait than single calls can be spared for.
    Scarce,
}

impl Batching {
    /// One event a request.
    pub const ALONE: Self = Self { items: 1, bytes: usize::MAX, when: When::Always };
}

/// Why an event cannot travel, now or ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It lacks what the vendor documents as required, or breaks one of its rules.
    #[error("{0}")]
    Invalid(String),
    /// The vendor has to be asked first: the name is for [`super::Vendor::lookup`].
    #[error("the vendor has to be asked for {0:?} first")]
    Needs(String),
}

impl From<crate::event::Invalid> for Refusal {
    fn from(invalid: crate::event::Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

/// What was learned from the vendor by lookups.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    known: BTreeMap<String, Fact>,
    blind: bool,
}

/// One thing that was learned.
#[derive(Clone, Debug)]
pub struct Fact {
    /// As [`super::Vendor::learn`] put it.
    pub value: Value,
    /// Fresh: looked up a moment ago, so asking again would give the same.
    pub fresh: bool,
}

impl Facts {
    /// For showing a request without asking the vendor anything: what would be looked up is shown by a placeholder, and
    /// what needs it stays unchecked.
    #[must_use]
    pub fn blind() -> Self {
        Self { blind: true, ..Self::default() }
    }

    /// Whether nothing may be looked up.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// What was learned under that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.known.get(name)
    }

    /// Learns something.
    pub fn put(&mut self, name: &str, value: Value) {
        self.known.insert(name.to_owned(), Fact { value, fresh: true });
    }

    /// It is no longer fresh.
    pub fn settle(&mut self, name: &str) {
        if let Some(fact) = self.known.get_mut(name) {
            fact.fresh = false;
        }
    }
}
