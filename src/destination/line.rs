//! The line of deliveries that wait for the gate: in the order of their arrival, those of one lane never out of it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::batch;
use super::intake::{Held, Pending};
use crate::gate::Free;
use crate::vendors::Batching;

/// Events that travel in one request.
#[derive(Debug)]
pub(super) struct Load {
    /// At least one.
    pub events: Vec<Held>,
    /// Of a load that was refused as a whole and split: how many calls may still be spent on the whole of it.
    pub calls_left: Option<Arc<AtomicU32>>,
}

impl Load {
    /// The lane that it travels in.
    pub fn lane(&self) -> Option<&str> {
        self.events.first().and_then(|event| event.item.lane.as_deref())
    }

    /// Whether there are calls left for its halves.
    pub fn may_be_split(&self) -> bool {
        self.calls_left.as_ref().is_none_or(|left| left.load(Ordering::Relaxed) >= 2)
    }
}

/// Where in the line the next request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A part of a load that was split.
    Part(usize),
    /// The line itself.
    Event(usize),
}

/// What the line has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Something to send now.
    Now(Place),
    /// Something from then on.
    At(Instant),
    /// Nothing: it is empty, or every lane waits for an answer.
    Nothing,
}

/// Deliveries that have passed every check, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Line {
    parts: VecDeque<Load>,
    events: VecDeque<Held>,
}

impl Line {
    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|load| load.events.len()).sum::<usize>() + self.events.len()
    }

    /// Joins the end.
    pub fn push(&mut self, event: Held) {
        self.events.push_back(event);
    }

    /// The first of the line, parts of loads aside.
    pub fn first(&self) -> Option<&Pending> {
        self.events.front().map(AsRef::as_ref)
    }

    /// Takes the first of the line, parts of loads aside.
    pub fn pop_first(&mut self) -> Option<Held> {
        self.events.pop_front()
    }

    /// Takes the one that is given back first: the first in order, so that the order is the same when they come again.
    pub fn pop(&mut self) -> Option<Held> {
        if self.parts.is_empty() {
            return self.events.pop_front();
        }
        let load = self.take_one(Place::Part(0))?;
        load.events.into_iter().next()
    }

    /// Goes first again, in its order.
    pub fn put_back(&mut self, load: Load) {
        if load.calls_left.is_some() {
            self.parts.push_front(load);
        } else {
            load.events.into_iter().rev().for_each(|event| self.events.push_front(event));
        }
    }

    /// Goes behind the others, and with it what follows in its lane.
    pub fn send_behind(&mut self, load: Load) {
        let lane = load.lane().map(str::to_owned);
        let (mut parts, mut events) = (VecDeque::new(), VecDeque::new());
        if lane.is_some() {
            let of_lane = |load: &Load| load.lane() == lane.as_deref();
            (parts, self.parts) = self.parts.drain(..).partition(of_lane);
            (events, self.events) = self.events.drain(..).partition(|event| event.item.lane == lane);
        }
        if load.calls_left.is_some() {
            self.parts.push_back(load);
        } else {
            self.events.extend(load.events);
        }
        self.parts.append(&mut parts);
        self.events.append(&mut events);
    }

    /// Two halves of a load that was refused as a whole go first.
    pub fn split(&mut self, mut load: Load, calls_left: Arc<AtomicU32>) {
        let second = load.events.split_off(load.events.len() / 2);
        self.parts.push_front(Load { events: second, calls_left: Some(Arc::clone(&calls_left)) });
        self.parts.push_front(Load { events: load.events, calls_left: Some(calls_left) });
    }

    /// The first that may be sent, where `free` tells of each lane whether it lets one through.
    pub fn ready(&self, mut free: impl FnMut(&str) -> Free) -> Ready {
        let (mut at, mut asked) = (None, HashSet::new());
        let parts = self.parts.iter().enumerate();
        let parts = parts.filter_map(|(place, load)| Some((Place::Part(place), load.events.first()?)));
        let events = self.events.iter().enumerate().map(|(place, event)| (Place::Event(place), event));
        for (place, event) in parts.chain(events) {
            let Some(lane) = event.item.lane.as_deref() else { return Ready::Now(place) };
            // The first of each lane alone has a turn.
            if !asked.insert(lane) {
                continue;
            }
            match free(lane) {
                Free::Now => return Ready::Now(place),
                Free::At(until) => at = Some(at.map_or(until, |at: Instant| at.min(until))),
                Free::Busy => {}
            }
        }
        at.map_or(Ready::Nothing, Ready::At)
    }

    /// Takes one event from there, which may be the first of a part.
    pub fn take_one(&mut self, place: Place) -> Option<Load> {
        let Place::Part(at) = place else { return self.take(place, &Batching::ALONE, false) };
        let part = self.parts.get_mut(at)?;
        if part.events.len() <= 1 {
            return self.parts.remove(at);
        }
        Some(Load { events: vec![part.events.remove(0)], calls_left: part.calls_left.clone() })
    }

    /// Takes what is sent from there: alone, or with what may travel with it.
    pub fn take(&mut self, place: Place, batching: &Batching, together: bool) -> Option<Load> {
        match place {
            Place::Part(at) => self.parts.remove(at),
            Place::Event(at) if !together => Some(Load { events: vec![self.events.remove(at)?], calls_left: None }),
            Place::Event(at) => {
                let chosen = batch::choose(self.events.iter().skip(at).map(|event| &event.item), batching);
                if let [_] = chosen[..] {
                    return Some(Load { events: vec![self.events.remove(at)?], calls_left: None });
                }
                let mut chosen = chosen.into_iter().map(|position| at + position).peekable();
                let (mut events, mut others) = (Vec::new(), VecDeque::with_capacity(self.events.len()));
                for (position, event) in self.events.drain(..).enumerate() {
                    if chosen.next_if_eq(&position).is_some() {
                        events.push(event);
                    } else {
                        others.push_back(event);
                    }
                }
                self.events = others;
                Some(Load { events, calls_left: None })
            }
        }
    }

    /// Takes out all that `chosen` tells, in no order.
    pub fn take_out(&mut self, chosen: impl Fn(&Pending) -> bool) -> Vec<Held> {
        let (taken, others): (VecDeque<_>, _) = self.events.drain(..).partition(|event| chosen(event));
        self.events = others;
        let mut taken = Vec::from(taken);
        for load in &mut self.parts {
            taken.extend(load.events.extract_if(.., |event| chosen(event)));
        }
        self.parts.retain(|load| !load.events.is_empty());
        taken
    }

    /// Takes out the first if it need not be sent any more.
    pub fn remove_first_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Option<Held> {
        self.events.pop_front_if(|event| gone(event))
    }

    /// Takes out all but so many, in their order. The first of each lane are kept before others: where one lane's fails, the next
    /// lane's can be tried.
    pub fn beyond(&mut self, keeps: usize) -> Vec<Held> {
        let kept = self.first_of_lanes(keeps);
        let (mut place, mut removed) = (0, Vec::new());
        let mut goes = || {
            place += 1;
            !kept.contains(&(place - 1))
        };
        for load in &mut self.parts {
            removed.extend(load.events.extract_if(.., |_| goes()));
        }
        self.parts.retain(|load| !load.events.is_empty());
        let (out, kept): (VecDeque<_>, VecDeque<_>) = self.events.drain(..).partition(|_| goes());
        self.events = kept;
        removed.extend(out);
        removed
    }

    /// The places of so many, the first of each lane before others.
    fn first_of_lanes(&self, count: usize) -> HashSet<usize> {
        let events = self.parts.iter().flat_map(|load| &load.events).chain(&self.events);
        let (mut lanes, mut others, mut places) = (HashSet::new(), Vec::new(), HashSet::new());
        for (place, event) in events.enumerate() {
            if places.len() >= count {
                return places;
            }
            if event.item.lane.as_deref().is_none_or(|lane| lanes.insert(lane)) {
                places.insert(place);
            } else if others.len() < count {
                others.push(place);
            }
        }
        let missing = count - places.len();
        places.extend(others.into_iter().take(missing));
        places
    }

    /// Takes out all of which that is true, in their order.
    pub fn remove_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Vec<Held> {
        let mut removed = Vec::new();
        for load in &mut self.parts {
            removed.extend(load.events.extract_if(.., |event| gone(event)));
        }
        self.parts.retain(|load| !load.events.is_empty());
        if self.events.iter().any(|event| gone(event)) {
            let (out, kept): (VecDeque<_>, VecDeque<_>) = self.events.drain(..).partition(|event| gone(event));
            self.events = kept;
            removed.extend(out);
        }
        removed
    }

    /// Takes out the parts of which nothing is left to be sent.
    pub fn forget_dead_parts(&mut self) {
        for load in &mut self.parts {
            load.events.retain(|event| event.delivery.ticket.is_live());
        }
        self.parts.retain(|load| !load.events.is_empty());
    }
}
