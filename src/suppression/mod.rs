//! People who must not be written to. Digests of them are kept in a stream at the broker, which every worker reads whole when it starts and
//! then follows. A worker that does not know all of them sends nothing for destinations that heed them.

pub mod change;
mod follow;
mod keeper;
mod kept;
pub mod table;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

pub use change::{Act, MOST_IN_ONE, MOST_OF_NOTE, SuppressionChange};
pub use keeper::{Before, Keeper};
pub use kept::{Entries, Entry, ReadError, Stream, WriteError};

use crate::person::{Digest, PersonKey};
use change::Known;

/// Said until the stream has been read.
const NOT_READ: &str = "who must not be written to is not known yet: the stream of suppressed people is being read";

/// Whether the list can be relied on, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it cannot be relied on, as a sentence; none where it can.
    pub lacks: Option<String>,
    /// Another one each time that the list changes.
    pub version: u64,
    /// Whether all is known that was written.
    is_current: bool,
}

/// Who must not be written to, as this process knows it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Suppressed {
    known: Arc<RwLock<Known>>,
    key: PersonKey,
    standing: Arc<watch::Sender<Standing>>,
}

impl Suppressed {
    /// Nobody yet, and not to be relied on.
    #[must_use]
    pub fn new(key: PersonKey) -> Self {
        let (standing, _) =
            watch::channel(Standing { lacks: Some(NOT_READ.to_owned()), version: 0, is_current: false });
        Self { known: Arc::new(RwLock::new(Known::new(key.id()))), key, standing: Arc::new(standing) }
    }

    /// What digests are made with.
    #[must_use]
    pub fn key(&self) -> &PersonKey {
        &self.key
    }

    /// What stands for people; nothing where nobody is named.
    #[must_use]
    pub fn digests(&self, people: &[String]) -> Option<Box<[Digest]>> {
        let digests: Box<[Digest]> = people.iter().filter_map(|person| self.key.digest(person)).collect();
        (!digests.is_empty()).then_some(digests)
    }

    /// Whether one of them must not be written to.
    #[must_use]
    pub fn has_one_of(&self, people: &[Digest]) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        people.iter().any(|person| known.table.has(*person))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).table.len()
    }

    /// How it is, and each change of that.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Why it cannot be relied on; none where it can.
    #[must_use]
    pub fn lacks(&self) -> Option<String> {
        self.standing.borrow().lacks.clone()
    }

    /// Takes a change in.
    pub fn apply(&self, change: &SuppressionChange) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).apply(change);
        self.changed();
    }

    fn apply_body(&self, body: &[u8]) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).apply_body(body);
        self.changed();
    }

    /// Those who look at it look again; what was made with another secret makes it unfit at once.
    fn changed(&self) {
        let trouble = self.known.read().unwrap_or_else(PoisonError::into_inner).trouble();
        self.standing.send_modify(|standing| {
            standing.version = standing.version.wrapping_add(1);
            if standing.is_current {
                standing.lacks = trouble;
            }
        });
    }

    /// All is known that was written until now.
    pub fn caught_up(&self) {
        let trouble = self.known.read().unwrap_or_else(PoisonError::into_inner).trouble();
        self.standing.send_modify(|standing| (standing.lacks, standing.is_current) = (trouble, true));
    }

    /// Something may have been written that is not known here.
    pub fn fell_behind(&self, why: &str) {
        let why = format!("who must not be written to may have changed meanwhile: {why}");
        self.standing.send_if_modified(|standing| {
            let is_news = standing.lacks.as_ref() != Some(&why);
            (standing.lacks, standing.is_current) = (Some(why), false);
            is_news
        });
    }

    /// It is read from the beginning.
    fn begin(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::new(self.key.id());
        self.standing.send_modify(|standing| {
            (standing.lacks, standing.is_current) = (Some(NOT_READ.to_owned()), false);
        });
    }

    /// The stream was made anew: whoever is known here still counts, but what another secret made is gone.
    fn made_anew(&self) -> usize {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.foreign = 0;
        known.table.len()
    }

    fn unreadable(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).unreadable
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn change(key: &PersonKey, act: Act, person: &str) -> SuppressionChange {
        let at = Timestamp::constant(1_700_000_000, 0);
        let people = key.digest(person).into_iter().collect();
        SuppressionChange { act, key: key.id(), at, by: "ann".into(), note: String::new(), people }
    }

    #[test]
    fn a_list_is_relied_on_once_it_was_read_and_while_it_is_followed() {
        let list = Suppressed::new(PersonKey::new("one"));
        assert!(list.lacks().is_some_and(|lacks| lacks.contains("not known yet")));
        list.apply(&change(list.key(), Act::Add, "Ann@example.com"));
        let ann = list.digests(&["ann@example.com".to_owned(), " ".to_owned()]).unwrap();
        assert_eq!((ann.len(), list.has_one_of(&ann), list.lacks().is_some()), (1, true, true));
        list.caught_up();
        assert_eq!(list.lacks(), None);
        list.fell_behind("the connection is lost");
        assert!(list.lacks().is_some_and(|lacks| lacks.contains("the connection is lost")));
        list.caught_up();
        list.apply(&change(list.key(), Act::Remove, "ann@example.com"));
        assert_eq!((list.has_one_of(&ann), list.count(), list.lacks()), (false, 0, None));
        assert_eq!(list.digests(&[]), None);
    }

    #[test]
    fn what_another_secret_made_stops_it_until_it_is_cleared() {
        let (list, other) = (Suppressed::new(PersonKey::new("one")), PersonKey::new("other"));
        list.caught_up();
        list.apply(&change(&other, Act::Add, "ann@example.com"));
        assert!(list.lacks().is_some_and(|lacks| lacks.contains("another one")), "{:?}", list.lacks());
        list.caught_up();
        assert!(list.lacks().is_some());
        list.apply(&change(list.key(), Act::Clear, ""));
        assert!(list.lacks().is_none(), "{:?}", list.lacks());
    }
}
