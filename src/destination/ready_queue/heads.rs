//! Which places of the ready queue have a turn: those without an ordering key, and the first of each ordering key. And which of them may go, as
//! far as that is known.
//!
//! A place that has a turn is either open or closed. An open one may go, unless who looks finds otherwise and closes it. A closed one may not go
//! before its time, or, where it has none, before its ordering key is looked at again. So each change of what may go is looked at once, however
//! much waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::QueuePlace;

/// The places that have a turn.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// All places of each ordering key, in their order.
    of_keys: HashMap<String, BTreeSet<QueuePlace>>,
    open: BTreeSet<QueuePlace>,
    /// Those that may not go, and until when where that is known.
    closed: BTreeMap<QueuePlace, Option<Instant>>,
    /// The times of `closed`.
    times: BTreeSet<(Instant, QueuePlace)>,
}

impl Heads {
    /// Something of that ordering key stands there from now on.
    pub fn add(&mut self, place: QueuePlace, ordering_key: Option<&str>) {
        let Some(ordering_key) = ordering_key else {
            self.open.insert(place);
            return;
        };
        if let Some(places) = self.of_keys.get_mut(ordering_key) {
            let head = places.first().copied();
            places.insert(place);
            if head.is_some_and(|head| head < place) {
                return;
            }
            if let Some(head) = head {
                self.leave(head);
            }
        } else {
            self.of_keys.insert(ordering_key.to_owned(), BTreeSet::from([place]));
        }
        self.open.insert(place);
    }

    /// Nothing stands there any more. The next of its ordering key has its turn.
    pub fn remove(&mut self, place: QueuePlace, ordering_key: Option<&str>) {
        let had_turn = self.leave(place);
        let Some(ordering_key) = ordering_key else { return };
        let Some(places) = self.of_keys.get_mut(ordering_key) else { return };
        places.remove(&place);
        match places.first() {
            Some(next) if had_turn => drop(self.open.insert(*next)),
            Some(_) => {}
            None => drop(self.of_keys.remove(ordering_key)),
        }
    }

    /// It has no turn any more; whether it had one.
    fn leave(&mut self, place: QueuePlace) -> bool {
        if self.open.remove(&place) {
            return true;
        }
        let Some(until) = self.closed.remove(&place) else { return false };
        if let Some(until) = until {
            self.times.remove(&(until, place));
        }
        true
    }

    /// It may not go before then, or, without a time, before its ordering key is looked at again.
    pub fn close(&mut self, place: QueuePlace, until: Option<Instant>) {
        if self.leave(place) {
            self.closed.insert(place, until);
            self.times.extend(until.map(|until| (until, place)));
        }
    }

    /// What stands there is another, or may go at another time than was known.
    pub fn look_again(&mut self, place: QueuePlace) {
        if self.leave(place) {
            self.open.insert(place);
        }
    }

    /// The ordering key may be free sooner than was known.
    pub fn look_at_key(&mut self, ordering_key: &str) {
        if let Some(head) = self.of_keys.get(ordering_key).and_then(BTreeSet::first).copied() {
            self.look_again(head);
        }
    }

    /// The first that may go, from that place on, as far as is known by `now`.
    pub fn first_open(&mut self, from: QueuePlace, now: Instant) -> Option<QueuePlace> {
        while let Some((_, place)) = self.times.first().copied().filter(|(until, _)| *until <= now) {
            self.look_again(place);
        }
        self.open.range(from..).next().copied()
    }

    /// The first time of those that are closed until one.
    pub fn next_time(&self) -> Option<Instant> {
        self.times.first().map(|(until, _)| *until)
    }

    /// Whether what stands there has a turn.
    pub fn has_turn(&self, place: QueuePlace) -> bool {
        self.open.contains(&place) || self.closed.contains_key(&place)
    }

    /// All places of an ordering key, in their order.
    pub fn of_key(&self, ordering_key: Option<&str>) -> impl DoubleEndedIterator<Item = QueuePlace> {
        ordering_key.and_then(|ordering_key| self.of_keys.get(ordering_key)).into_iter().flatten().copied()
    }

    /// That of a queue in which these stand, each with its ordering key, as far as no time is known.
    #[cfg(test)]
    pub fn assert_of<'a>(&self, standing: impl Iterator<Item = (QueuePlace, Option<&'a str>)>) {
        let (mut of_keys, mut heads) = (HashMap::<String, BTreeSet<QueuePlace>>::new(), BTreeSet::new());
        for (place, ordering_key) in standing {
            let is_first = match ordering_key {
                None => true,
                Some(ordering_key) => {
                    let places = of_keys.entry(ordering_key.to_owned()).or_default();
                    places.insert(place);
                    places.len() == 1
                }
            };
            heads.extend(is_first.then_some(place));
        }
        assert_eq!(self.of_keys, of_keys);
        let closed: BTreeSet<_> = self.closed.keys().copied().collect();
        assert!(self.open.is_disjoint(&closed));
        assert_eq!(&self.open | &closed, heads, "a place has a turn and should not, or the other way round");
        let times: BTreeSet<_> = self.closed.iter().filter_map(|(place, until)| Some(((*until)?, *place))).collect();
        assert_eq!(self.times, times);
    }
}
