//! The queue of deliveries that wait for the gate, in the order of their arrival. Events of one ordering key never leave that order.
//!
//! Each thing that waits has a place, and the order of the places is that of sending. `heads` knows which places have a turn, so that what goes
//! next is found without looking at what has none.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use jiff::Timestamp;

use super::batching;
use super::check::{Held, Pending};
use crate::vendors::Batching;

mod batch;
mod heads;
mod next;

pub(super) use batch::Batch;
use heads::Heads;
pub(super) use next::{Pick, Ready};

/// A place in the queue: the lesser goes first. The numbers say no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QueuePlace {
    /// Of a part of a batch that was split.
    Part(i64),
    /// Of an event that goes before replayed ones.
    Event(i64),
    /// Of one that is a replay, or follows one in its ordering key.
    Replayed(i64),
}

impl QueuePlace {
    const FIRST: Self = Self::Part(i64::MIN);
    const FIRST_REPLAYED: Self = Self::Replayed(i64::MIN);

    fn of_single(number: i64, is_replayed: bool) -> Self {
        if is_replayed { Self::Replayed(number) } else { Self::Event(number) }
    }

    /// Whether what stands there goes behind the others.
    pub fn is_replayed(self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}

/// Deliveries that have passed every check, in the order in which they are to be sent. Within an ordering key that is the order of their
/// arrival.
///
/// Whatever stands in `parts` or `singles` stands in `heads` too, with its ordering key.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    parts: BTreeMap<QueuePlace, Batch>,
    singles: BTreeMap<QueuePlace, Held>,
    heads: Heads,
    /// The numbers of the places that were given last at both ends.
    foremost: i64,
    hindmost: i64,
}

impl ReadyQueue {
    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.parts.values().map(|batch| batch.events.len()).sum::<usize>() + self.singles.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.singles.is_empty()
    }

    /// Whether something waits that goes behind the others.
    pub fn has_replayed(&self) -> bool {
        self.singles.last_key_value().is_some_and(|(place, _)| place.is_replayed())
    }

    /// Joins the end, or goes before the replayed ones where it is none and follows none of them.
    pub fn push(&mut self, event: Held) {
        let before = self.heads.of_key(event.item.ordering_key.as_deref()).next_back();
        let is_replayed = event.replay || before.is_some_and(QueuePlace::is_replayed);
        self.append(event, is_replayed);
    }

    fn before_all(&mut self) -> i64 {
        self.foremost -= 1;
        self.foremost
    }

    fn behind_all(&mut self) -> i64 {
        self.hindmost += 1;
        self.hindmost
    }

    fn prepend(&mut self, event: Held, is_replayed: bool) {
        let number = self.before_all();
        self.put(QueuePlace::of_single(number, is_replayed), event);
    }

    fn append(&mut self, event: Held, is_replayed: bool) {
        let number = self.behind_all();
        self.put(QueuePlace::of_single(number, is_replayed), event);
    }

    fn put(&mut self, place: QueuePlace, event: Held) {
        self.heads.add(place, event.item.ordering_key.as_deref());
        self.singles.insert(place, event);
    }

    fn prepend_part(&mut self, part: Batch) {
        let number = self.before_all();
        self.put_part(QueuePlace::Part(number), part);
    }

    fn append_part(&mut self, part: Batch) {
        let number = self.behind_all();
        self.put_part(QueuePlace::Part(number), part);
    }

    fn put_part(&mut self, place: QueuePlace, part: Batch) {
        self.heads.add(place, part.ordering_key());
        self.parts.insert(place, part);
    }

    fn take_single(&mut self, place: QueuePlace) -> Option<Held> {
        let event = self.singles.remove(&place)?;
        self.heads.remove(place, event.item.ordering_key.as_deref());
        Some(event)
    }

    fn take_part(&mut self, place: QueuePlace) -> Option<Batch> {
        let part = self.parts.remove(&place)?;
        self.heads.remove(place, part.ordering_key());
        Some(part)
    }

    /// The time of the oldest event that waits; that of a replayed letter says nothing of lateness.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.events().filter(|pending| !pending.replay).map(|pending| pending.since()).min()
    }

    /// All that wait, in their order.
    fn events(&self) -> impl Iterator<Item = &Held> {
        self.parts.values().flat_map(|batch| &batch.events).chain(self.singles.values())
    }

    /// The first in the queue, parts of batches aside.
    pub fn first(&self) -> Option<&Pending> {
        self.singles.first_key_value().map(|(_, event)| event.as_ref())
    }

    /// Takes the first in the queue, parts of batches aside.
    pub fn pop_first(&mut self) -> Option<Held> {
        let place = *self.singles.first_key_value()?.0;
        self.take_single(place)
    }

    /// Takes the one that is given back first: the first in order, so that the order is the same when they come again.
    pub fn pop(&mut self) -> Option<Held> {
        let Some((place, _)) = self.parts.first_key_value() else { return self.pop_first() };
        let batch = self.take_one(*place)?;
        batch.events.into_iter().next()
    }

    /// Goes first again, in its order. What is replayed goes first of that alone, unless others of its ordering key came meanwhile, which it
    /// must not fall behind.
    pub fn put_back(&mut self, batch: Batch) {
        if batch.calls_left.is_some() {
            return self.prepend_part(batch);
        }
        let all_first = batch.events.iter().any(|event| event.replay)
            && self.heads.of_key(batch.ordering_key()).any(|place| matches!(place, QueuePlace::Event(_)));
        let (first, last) = if all_first { (batch.events, Vec::new()) } else { divide(batch.events) };
        last.into_iter().rev().for_each(|event| self.prepend(event, true));
        first.into_iter().rev().for_each(|event| self.prepend(event, false));
    }

    /// Goes behind the others, and with it what follows in its ordering key.
    pub fn send_behind(&mut self, batch: Batch) {
        let (mut parts, mut events, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
        for place in self.heads.of_key(batch.ordering_key()).collect::<Vec<_>>() {
            match place {
                QueuePlace::Part(_) => parts.extend(self.take_part(place)),
                QueuePlace::Event(_) => events.extend(self.take_single(place)),
                QueuePlace::Replayed(_) => replayed.extend(self.take_single(place)),
            }
        }
        if batch.calls_left.is_some() {
            self.append_part(batch);
        } else {
            let (first, last) = divide(batch.events.into_iter().chain(events));
            (events, replayed) = (first, last.into_iter().chain(replayed).collect());
        }
        parts.into_iter().for_each(|part| self.append_part(part));
        events.into_iter().for_each(|event| self.append(event, false));
        replayed.into_iter().for_each(|event| self.append(event, true));
    }

    /// Two halves of a batch that was refused as a whole go first.
    pub fn split(&mut self, mut batch: Batch, calls_left: Arc<AtomicU32>) {
        let second = batch.events.split_off(batch.events.len() / 2);
        self.prepend_part(Batch { events: second, calls_left: Some(Arc::clone(&calls_left)) });
        self.prepend_part(Batch { events: batch.events, calls_left: Some(calls_left) });
    }

    /// The event that stands there, or the first of a part.
    pub fn event(&self, place: QueuePlace) -> Option<&Held> {
        match place {
            QueuePlace::Part(_) => self.parts.get(&place)?.events.first(),
            QueuePlace::Event(_) | QueuePlace::Replayed(_) => self.singles.get(&place),
        }
    }

    /// Takes one event from there, which may be the first of a part.
    pub fn take_one(&mut self, place: QueuePlace) -> Option<Batch> {
        match self.parts.get_mut(&place) {
            Some(part) if part.events.len() > 1 => {
                self.heads.look_again(place);
                Some(Batch { events: vec![part.events.remove(0)], calls_left: part.calls_left.clone() })
            }
            Some(_) => self.take_part(place),
            None => Some(Batch { events: vec![self.take_single(place)?], calls_left: None }),
        }
    }

    /// Takes what is sent from there: alone, or, at the time that `together` tells, with what may travel with it.
    pub fn take(&mut self, place: QueuePlace, batching: &Batching, together: Option<Instant>) -> Option<Batch> {
        if matches!(place, QueuePlace::Part(_)) {
            return self.take_part(place);
        }
        let mut places = together.map(|now| self.travel_with(place, batching, now)).unwrap_or_default();
        if places.len() <= 1 {
            places = vec![place];
        }
        let events: Vec<Held> = places.into_iter().filter_map(|place| self.take_single(place)).collect();
        (!events.is_empty()).then_some(Batch { events, calls_left: None })
    }

    /// The places of what may travel with what stands there, itself included. What rests does not, and nothing overtakes it in its ordering key.
    fn travel_with(&self, place: QueuePlace, batching: &Batching, now: Instant) -> Vec<QueuePlace> {
        let is_awake = |event: &Held| event.rests_until.is_none_or(|until| until <= now);
        match self.event(place).and_then(|event| event.item.ordering_key.as_deref()) {
            None => {
                let awake = self.singles.range(place..).filter(|(_, event)| is_awake(event));
                batching::choose(awake.map(|(place, event)| (*place, &event.item)), batching)
            }
            ordering_key => {
                let of_key = self.heads.of_key(ordering_key).filter(|other| *other >= place);
                let events = of_key.map_while(|place| Some((place, self.singles.get(&place)?)));
                let awake = events.take_while(|(_, event)| is_awake(event));
                batching::choose(awake.map(|(place, event)| (place, &event.item)), batching)
            }
        }
    }

    /// Takes out all that `chosen` tells, in their order.
    pub fn take_out(&mut self, mut chosen: impl FnMut(&Pending) -> bool) -> Vec<Held> {
        let mut taken = self.take_out_of_parts(&mut chosen);
        taken.extend(self.take_out_singles(chosen));
        taken
    }

    fn take_out_of_parts(&mut self, mut chosen: impl FnMut(&Pending) -> bool) -> Vec<Held> {
        let mut all = Vec::new();
        for (place, part) in &mut self.parts {
            let taken: Vec<Held> = part.events.extract_if(.., |event| chosen(event)).collect();
            match taken.first() {
                Some(first) if part.events.is_empty() => {
                    self.heads.remove(*place, first.item.ordering_key.as_deref());
                }
                Some(_) => self.heads.look_again(*place),
                None => {}
            }
            all.extend(taken);
        }
        self.parts.retain(|_, part| !part.events.is_empty());
        all
    }

    fn take_out_singles(&mut self, mut chosen: impl FnMut(&Pending) -> bool) -> Vec<Held> {
        let taken = self.singles.extract_if(.., |_, event| chosen(event));
        let taken = taken.map(|(place, event)| {
            self.heads.remove(place, event.item.ordering_key.as_deref());
            event
        });
        taken.collect()
    }

    /// How many failed when the gate closed, or since, parts of batches aside.
    pub fn failed(&self) -> usize {
        self.singles.values().filter(|event| event.failed).count()
    }

    /// Those that failed are as others again; they rest until then, if at all.
    pub fn rest_failed(&mut self, until: Option<Instant>) {
        for (place, event) in self.singles.iter_mut().filter(|(_, event)| event.failed) {
            event.failed = false;
            event.rests_until = event.rests_until.max(until);
            self.heads.look_again(*place);
        }
    }

    /// How many wait whose credentials were refused.
    pub fn refused(&self) -> usize {
        self.events().filter(|event| event.refused).count()
    }

    /// Takes out what was refused, as it travelled. Whose trouble that was is known now.
    pub fn take_refused(&mut self) -> Vec<Batch> {
        let was_refused = |_: &QueuePlace, part: &mut Batch| part.events.iter().any(|event| event.refused);
        let mut batches = Vec::new();
        for (place, part) in self.parts.extract_if(.., was_refused) {
            self.heads.remove(place, part.ordering_key());
            batches.push(part);
        }
        let singles = self.take_out_singles(|event| event.refused);
        batches.extend(singles.into_iter().map(|event| Batch { events: vec![event], calls_left: None }));
        batches.iter_mut().flat_map(|batch| &mut batch.events).for_each(|event| event.refused = false);
        batches
    }

    /// Takes out the first if it need not be sent any more, or the first of those that are replayed.
    pub fn remove_first_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Option<Held> {
        let firsts = [self.singles.first_key_value(), self.singles.range(QueuePlace::FIRST_REPLAYED..).next()];
        let (place, _) = firsts.into_iter().flatten().find(|(_, event)| gone(event))?;
        self.take_single(*place)
    }

    /// Takes out all but so many, in their order. The first of each ordering key are kept before others, and of those the ones that met with no
    /// trouble: where one fails, the next can be tried.
    pub fn beyond(&mut self, keeps: usize) -> Vec<Held> {
        let kept = first_of_ordering_keys(self.events(), keeps);
        let mut positions = 0..;
        self.take_out(|_| positions.next().is_some_and(|position| !kept.contains(&position)))
    }

    /// Takes out all of which that is true, in their order, and what follows them in their ordering keys: it would overtake them.
    pub fn remove_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Vec<Held> {
        if !self.events().any(|event| gone(event)) {
            return Vec::new();
        }
        let mut ordering_keys = HashSet::new();
        self.take_out(|event| match &event.item.ordering_key {
            Some(ordering_key) => {
                ordering_keys.contains(ordering_key) || (gone(event) && ordering_keys.insert(ordering_key.clone()))
            }
            None => gone(event),
        })
    }

    /// Takes out of the parts what need not be sent any more. Where a channel has gone, the first of a part was one of its.
    pub fn forget_dead_parts(&mut self) {
        let is_dead = |event: &Pending| !event.delivery.ticket.is_live();
        if self.parts.values().any(|part| part.events.first().is_some_and(|event| is_dead(event))) {
            self.take_out_of_parts(is_dead);
        }
    }
}

/// The positions of so many, the first of each ordering key before others.
fn first_of_ordering_keys<'a>(events: impl Iterator<Item = &'a Held>, count: usize) -> HashSet<usize> {
    let (mut ordering_keys, mut positions) = (HashSet::new(), HashSet::new());
    let (mut troubled, mut others) = (Vec::new(), Vec::new());
    for (position, event) in events.enumerate() {
        if positions.len() >= count {
            return positions;
        }
        let is_first = event.item.ordering_key.as_deref().is_none_or(|ordering_key| ordering_keys.insert(ordering_key));
        match is_first {
            true if event.troubles == 0 && !event.refused => drop(positions.insert(position)),
            true if troubled.len() < count => troubled.push(position),
            false if others.len() < count => others.push(position),
            true | false => {}
        }
    }
    let missing = count - positions.len();
    positions.extend(troubled.into_iter().chain(others).take(missing));
    positions
}

/// Those that go before what is replayed, and those that do not: of an ordering key, all from its first that is replayed.
fn divide(events: impl IntoIterator<Item = Held>) -> (Vec<Held>, Vec<Held>) {
    let mut behind = false;
    events.into_iter().partition(|event| {
        let first = !(event.replay || (behind && event.item.ordering_key.is_some()));
        behind = !first;
        first
    })
}

#[cfg(test)]
mod tests;
