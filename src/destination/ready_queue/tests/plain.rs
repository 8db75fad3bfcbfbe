//! The queue as it was before it had an index: three lists, of which each question looks at all. The model that `same` holds it to.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use jiff::Timestamp;

use super::super::{Batch, Pick, Ready, divide, first_of_ordering_keys};
use crate::destination::batching;
use crate::destination::check::{Held, Pending};
use crate::gate::Free;
use crate::vendors::Batching;

/// Where in the queue the next request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainPlace {
    /// A part of a batch that was split.
    Part(usize),
    /// The queue itself.
    Event(usize),
}

/// Deliveries that have passed every check, in the order in which they are to be sent: parts, then `events`, then `replayed`. Within
/// an ordering key that is the order of their arrival.
#[derive(Debug, Default)]
pub struct PlainQueue {
    pub parts: VecDeque<Batch>,
    events: VecDeque<Held>,
    /// Those that are replays, and those that follow one in their ordering key.
    replayed: VecDeque<Held>,
}

impl PlainQueue {
    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|batch| batch.events.len()).sum::<usize>() + self.events.len() + self.replayed.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.events.is_empty() && self.replayed.is_empty()
    }

    /// Whether something waits that goes behind the others.
    pub fn has_replayed(&self) -> bool {
        !self.replayed.is_empty()
    }

    /// Whether what stands there goes behind the others.
    pub fn is_replayed(&self, place: PlainPlace) -> bool {
        matches!(place, PlainPlace::Event(at) if at >= self.events.len())
    }

    /// Joins the end, or goes before the replayed ones where it is none and follows none of them.
    pub fn push(&mut self, event: Held) {
        let last = event.replay || is_in(&self.replayed, event.item.ordering_key.as_deref());
        if last { self.replayed.push_back(event) } else { self.events.push_back(event) }
    }

    /// The time of the oldest event that waits; that of a replayed letter says nothing of lateness.
    pub fn oldest(&self) -> Option<Timestamp> {
        let parts = self.parts.iter().flat_map(|batch| &batch.events);
        parts.chain(self.singles()).filter(|pending| !pending.replay).map(|pending| pending.since()).min()
    }

    /// All that wait, in their order.
    pub fn events(&self) -> impl Iterator<Item = &Held> {
        self.parts.iter().flat_map(|batch| &batch.events).chain(self.singles())
    }

    /// All but the parts, in their order.
    fn singles(&self) -> impl Iterator<Item = &Held> {
        self.events.iter().chain(&self.replayed)
    }

    /// The first in the queue, parts of batches aside.
    pub fn first(&self) -> Option<&Pending> {
        self.events.front().or_else(|| self.replayed.front()).map(AsRef::as_ref)
    }

    /// Takes the first in the queue, parts of batches aside.
    pub fn pop_first(&mut self) -> Option<Held> {
        self.events.pop_front().or_else(|| self.replayed.pop_front())
    }

    /// Takes the one that is given back first: the first in order, so that the order is the same when they come again.
    pub fn pop(&mut self) -> Option<Held> {
        if self.parts.is_empty() {
            return self.pop_first();
        }
        let batch = self.take_one(PlainPlace::Part(0))?;
        batch.events.into_iter().next()
    }

    /// Goes first again, in its order. What is replayed goes first of that alone, unless others of its ordering key came meanwhile, which it
    /// must not fall behind.
    pub fn put_back(&mut self, batch: Batch) {
        if batch.calls_left.is_some() {
            return self.parts.push_front(batch);
        }
        let ordering_key = batch.ordering_key();
        let all_first = batch.events.iter().any(|event| event.replay) && is_in(&self.events, ordering_key);
        let (first, last) = if all_first { (batch.events, Vec::new()) } else { divide(batch.events) };
        last.into_iter().rev().for_each(|event| self.replayed.push_front(event));
        first.into_iter().rev().for_each(|event| self.events.push_front(event));
    }

    /// Goes behind the others, and with it what follows in its ordering key.
    pub fn send_behind(&mut self, batch: Batch) {
        let (mut parts, mut events, mut replayed) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        if let Some(ordering_key) = batch.ordering_key() {
            (parts, self.parts) = self.parts.drain(..).partition(|batch| batch.ordering_key() == Some(ordering_key));
            events = extract(&mut self.events, |event| event.item.ordering_key.as_deref() == Some(ordering_key));
            replayed = extract(&mut self.replayed, |event| event.item.ordering_key.as_deref() == Some(ordering_key));
        }
        if batch.calls_left.is_some() {
            self.parts.push_back(batch);
            self.events.append(&mut events);
        } else {
            let (first, last) = divide(batch.events.into_iter().chain(events));
            self.events.extend(first);
            self.replayed.extend(last);
        }
        self.parts.append(&mut parts);
        self.replayed.append(&mut replayed);
    }

    /// Two halves of a batch that was refused as a whole go first.
    pub fn split(&mut self, mut batch: Batch, calls_left: Arc<AtomicU32>) {
        let second = batch.events.split_off(batch.events.len() / 2);
        self.parts.push_front(Batch { events: second, calls_left: Some(Arc::clone(&calls_left)) });
        self.parts.push_front(Batch { events: batch.events, calls_left: Some(calls_left) });
    }

    /// The event that stands there.
    pub fn event(&self, place: PlainPlace) -> Option<&Held> {
        match place {
            PlainPlace::Part(at) => self.parts.get(at)?.events.first(),
            PlainPlace::Event(at) => self.singles().nth(at),
        }
    }

    /// The first that `wanted` asks for and that may be sent, where `free` tells of each ordering key whether it lets one through.
    pub fn next(&self, wanted: Pick, now: Instant, mut free: impl FnMut(&str) -> Free) -> Ready<PlainPlace> {
        let in_trouble = wanted == Pick::Probe;
        let (mut at, mut asked) = (None, HashSet::new());
        let mut best: Option<((bool, bool, u32), PlainPlace)> = None;
        let mut last: Option<(bool, PlainPlace)> = None;
        let parts = self.parts.iter().enumerate();
        let parts = parts.filter_map(|(place, batch)| Some((PlainPlace::Part(place), batch.events.first()?)));
        let events = self.singles().enumerate().map(|(place, event)| (PlainPlace::Event(place), event));
        for (place, event) in parts.chain(events) {
            let rests = event.rests_until.filter(|until| *until > now);
            let trouble = (event.refused, rests.is_some(), event.troubles);
            let free = match event.item.ordering_key.as_deref() {
                None => Free::Now,
                // The first of each ordering key alone has a turn.
                Some(ordering_key) if !asked.insert(ordering_key) => continue,
                Some(ordering_key) => free(ordering_key),
            };
            if (event.refused && wanted == Pick::Others) || (wanted == Pick::Replayed && !self.is_replayed(place)) {
                continue;
            }
            match free {
                Free::Now if wanted == Pick::Others && rests.is_none() => {
                    if !event.replay || last.is_none_or(|(replay, _)| replay) {
                        last = Some((event.replay, place));
                    }
                }
                Free::Now if trouble == (false, false, 0) || (!in_trouble && rests.is_none()) => {
                    return Ready::Now(place);
                }
                Free::Now if in_trouble => {
                    if best.is_none_or(|(least, _)| trouble < least) {
                        best = Some((trouble, place));
                    }
                }
                Free::Now => at = at.into_iter().chain(rests).min(),
                Free::Busy => {}
                Free::At(until) => at = Some(at.map_or(until, |at: Instant| at.min(until))),
            }
        }
        match last.map(|(_, place)| place).or(best.map(|(_, place)| place)) {
            Some(place) => Ready::Now(place),
            None => at.map_or(Ready::Nothing, Ready::At),
        }
    }

    /// Takes one event from there, which may be the first of a part.
    pub fn take_one(&mut self, place: PlainPlace) -> Option<Batch> {
        let PlainPlace::Part(at) = place else { return self.take(place, &Batching::ALONE, None) };
        let part = self.parts.get_mut(at)?;
        if part.events.len() <= 1 {
            return self.parts.remove(at);
        }
        Some(Batch { events: vec![part.events.remove(0)], calls_left: part.calls_left.clone() })
    }

    /// Takes what is sent from there: alone, or, at the time that `together` tells, with what may travel with it.
    pub fn take(&mut self, place: PlainPlace, batching: &Batching, together: Option<Instant>) -> Option<Batch> {
        match place {
            PlainPlace::Part(at) => self.parts.remove(at),
            PlainPlace::Event(at) => {
                let Some(now) = together else { return self.take_single(at) };
                let mut resting = HashSet::new();
                let waiting = self.singles().enumerate().skip(at).filter(|(_, event)| {
                    let ordering_key = event.item.ordering_key.as_deref();
                    if event.rests_until.is_some_and(|until| until > now) {
                        resting.extend(ordering_key);
                        return false;
                    }
                    // What follows one that rests in its ordering key would overtake it.
                    ordering_key.is_none_or(|ordering_key| !resting.contains(ordering_key))
                });
                let chosen = batching::choose(waiting.map(|(place, event)| (place, &event.item)), batching);
                if chosen.len() <= 1 {
                    return self.take_single(at);
                }
                let mut chosen = chosen.into_iter().peekable();
                let (mut events, mut position) = (Vec::new(), 0);
                for queue in [&mut self.events, &mut self.replayed] {
                    let mut others = VecDeque::with_capacity(queue.len());
                    for event in queue.drain(..) {
                        if chosen.next_if_eq(&position).is_some() {
                            events.push(event);
                        } else {
                            others.push_back(event);
                        }
                        position += 1;
                    }
                    *queue = others;
                }
                Some(Batch { events, calls_left: None })
            }
        }
    }

    fn take_single(&mut self, at: usize) -> Option<Batch> {
        let event = match at.checked_sub(self.events.len()) {
            None => self.events.remove(at)?,
            Some(at) => self.replayed.remove(at)?,
        };
        Some(Batch { events: vec![event], calls_left: None })
    }

    /// Takes out all that `chosen` tells, in their order.
    pub fn take_out(&mut self, mut chosen: impl FnMut(&Pending) -> bool) -> Vec<Held> {
        let mut taken = Vec::new();
        for batch in &mut self.parts {
            taken.extend(batch.events.extract_if(.., |event| chosen(event)));
        }
        self.parts.retain(|batch| !batch.events.is_empty());
        taken.extend(extract(&mut self.events, &mut chosen));
        taken.extend(extract(&mut self.replayed, &mut chosen));
        taken
    }

    /// How many failed when the gate closed, or since, parts of batches aside.
    pub fn failed(&self) -> usize {
        self.singles().filter(|event| event.failed).count()
    }

    /// Those that failed are as others again; they rest until then, if at all.
    pub fn rest_failed(&mut self, until: Option<Instant>) {
        for event in self.events.iter_mut().chain(&mut self.replayed).filter(|event| event.failed) {
            event.failed = false;
            event.rests_until = event.rests_until.max(until);
        }
    }

    /// How many wait whose credentials were refused.
    pub fn refused(&self) -> usize {
        self.parts.iter().flat_map(|batch| &batch.events).chain(self.singles()).filter(|event| event.refused).count()
    }

    /// Takes out what was refused, as it travelled. Whose trouble that was is known now.
    pub fn take_refused(&mut self) -> Vec<Batch> {
        let of_parts = |batch: &Batch| batch.events.iter().any(|event| event.refused);
        let (refused, others) = self.parts.drain(..).partition::<VecDeque<Batch>, _>(of_parts);
        self.parts = others;
        let mut batches = Vec::from(refused);
        for queue in [&mut self.events, &mut self.replayed] {
            let singles = extract(queue, |event| event.refused);
            batches.extend(singles.into_iter().map(|event| Batch { events: vec![event], calls_left: None }));
        }
        batches.iter_mut().flat_map(|batch| &mut batch.events).for_each(|event| event.refused = false);
        batches
    }

    /// Takes out the first if it need not be sent any more, or the first of those that are replayed.
    pub fn remove_first_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Option<Held> {
        self.events.pop_front_if(|event| gone(event)).or_else(|| self.replayed.pop_front_if(|event| gone(event)))
    }

    /// Takes out all but so many, in their order. The first of each ordering key are kept before others, and of those the ones that met with no
    /// trouble: where one fails, the next can be tried.
    pub fn beyond(&mut self, keeps: usize) -> Vec<Held> {
        let events = self.parts.iter().flat_map(|batch| &batch.events).chain(self.singles());
        let kept = first_of_ordering_keys(events, keeps);
        let mut places = 0..;
        self.take_out(|_| places.next().is_some_and(|place| !kept.contains(&place)))
    }

    /// Takes out all of which that is true, in their order, and what follows them in their ordering keys: it would overtake them.
    pub fn remove_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Vec<Held> {
        let parts = self.parts.iter().flat_map(|batch| &batch.events);
        if !parts.chain(self.singles()).any(|event| gone(event)) {
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

    /// Takes out the parts of which nothing is left to be sent.
    pub fn forget_dead_parts(&mut self) {
        for batch in &mut self.parts {
            batch.events.retain(|event| event.delivery.ticket.is_live());
        }
        self.parts.retain(|batch| !batch.events.is_empty());
    }
}

/// Whether something of that ordering key is among them.
fn is_in(events: &VecDeque<Held>, ordering_key: Option<&str>) -> bool {
    ordering_key.is_some() && events.iter().any(|event| event.item.ordering_key.as_deref() == ordering_key)
}

/// Takes out all that `chosen` tells, in their order.
fn extract(queue: &mut VecDeque<Held>, mut chosen: impl FnMut(&Pending) -> bool) -> VecDeque<Held> {
    let (taken, others) = queue.drain(..).partition(|event| chosen(event));
    *queue = others;
    taken
}
