//! What has to be asked of the vendor before events can be checked: the deliveries that wait for it, and what was learned.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::hold::LONGEST_HOLD;
use crate::broker::port::Delivery;
use crate::vendors::Facts;

/// What was learned so long ago is asked again when it lacks something.
const FRESH: Duration = Duration::from_secs(30);
/// What was learned so long ago is asked again.
const RENEW: Duration = Duration::from_secs(600);
/// The pauses between questions that are not answered: each twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A destination's open questions and what it knows.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    facts: Facts,
    /// Whether there was an event to check since the last sweep.
    consulted: bool,
    open: BTreeMap<String, Open>,
    learned: BTreeMap<String, Instant>,
    /// When what was learned was last different from before.
    changed: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Open {
    deliveries: VecDeque<Delivery>,
    out: bool,
    since: Instant,
    /// When it is asked.
    next: Instant,
    pause: Duration,
}

impl Open {
    fn new(now: Instant) -> Self {
        Self { deliveries: VecDeque::new(), out: false, since: now, next: now, pause: PAUSES.0 }
    }
}

impl Lookups {
    /// What was learned, to check an event against.
    pub fn consult(&mut self) -> &Facts {
        self.consulted = true;
        &self.facts
    }

    /// `delivery` waits until `name` has been looked up.
    pub fn need(&mut self, name: String, delivery: Delivery, now: Instant) {
        let open = self.open.entry(name);
        open.or_insert_with(|| Open::new(now)).deliveries.push_back(delivery);
    }

    /// Whether something waits for what `name` names.
    pub fn awaits(&self, name: &str) -> bool {
        self.open.get(name).is_some_and(|open| !open.deliveries.is_empty())
    }

    /// What should be asked now.
    pub fn due(&self, now: Instant) -> Option<&str> {
        self.open.iter().find(|(_, open)| !open.out && open.next <= now).map(|(name, _)| name.as_str())
    }

    /// When something should be asked.
    pub fn next(&self) -> Option<Instant> {
        self.open.values().filter(|open| !open.out).map(|open| open.next).min()
    }

    /// The question is on its way.
    pub fn sent(&mut self, name: &str) {
        if let Some(open) = self.open.get_mut(name) {
            open.out = true;
        }
    }

    /// It came back without an answer: it is asked again, after a pause.
    pub fn unanswered(&mut self, name: &str, now: Instant) {
        if let Some(open) = self.open.get_mut(name) {
            open.out = false;
            open.next = now + open.pause;
            open.pause = (open.pause * 2).min(PAUSES.1);
        }
    }

    /// It is not asked any more: the deliveries that waited.
    pub fn give_up(&mut self, name: &str) -> VecDeque<Delivery> {
        self.open.remove(name).map(|open| open.deliveries).unwrap_or_default()
    }

    /// What was learned under that name.
    pub fn known(&self, name: &str) -> Option<&Value> {
        self.facts.get(name).map(|fact| &fact.value)
    }

    /// Whether what was looked up under that name may have changed since `then`.
    pub fn may_have_changed(&self, name: &str, then: Instant) -> bool {
        let fresh = self.facts.get(name).is_some_and(|fact| fact.fresh);
        !fresh || self.changed.get(name).is_some_and(|at| *at > then)
    }

    /// It was answered: the deliveries that waited can be checked.
    pub fn learned(&mut self, name: &str, value: Value, now: Instant) -> VecDeque<Delivery> {
        if self.known(name) != Some(&value) {
            self.changed.insert(name.to_owned(), now);
        }
        self.facts.put(name, value);
        self.learned.insert(name.to_owned(), now);
        self.open.remove(name).map(|open| open.deliveries).unwrap_or_default()
    }

    /// The vendor refused to answer: the first that waited will not get further. The others ask again, so that as many refusals are
    /// seen as events are lost.
    pub fn refused(&mut self, name: &str, now: Instant) -> Option<Delivery> {
        // What is known stays known, and is asked again as if it had been learned now.
        if let Some(at) = self.learned.get_mut(name) {
            *at = now;
        }
        let open = self.open.get_mut(name)?;
        open.out = false;
        let first = open.deliveries.pop_front();
        if open.deliveries.is_empty() {
            self.open.remove(name);
        }
        first
    }

    /// How many deliveries wait.
    pub fn held(&self) -> usize {
        self.open.values().map(|open| open.deliveries.len()).sum()
    }

    /// Takes out all but so many, those that came last.
    pub fn beyond(&mut self, keeps: usize) -> Vec<Delivery> {
        let mut left = keeps;
        let mut taken = Vec::new();
        for open in self.open.values_mut() {
            let kept = left.min(open.deliveries.len());
            left -= kept;
            taken.extend(open.deliveries.drain(kept..));
        }
        taken
    }

    /// Takes out the one that came first of those that wait.
    pub fn pop(&mut self) -> Option<Delivery> {
        let firsts = self.open.values_mut().filter(|open| !open.deliveries.is_empty());
        let open = firsts.min_by_key(|open| open.deliveries.front().map(|delivery| delivery.ticket.tag()))?;
        open.deliveries.pop_front()
    }

    /// Lets what is known grow old, and asks again for what is too old while there is work. Returns deliveries that have waited too long.
    pub fn sweep(&mut self, now: Instant) -> Vec<Delivery> {
        let working = std::mem::take(&mut self.consulted);
        for (name, at) in &self.learned {
            let age = now.saturating_duration_since(*at);
            if age > FRESH {
                self.facts.settle(name);
            }
            if age > RENEW && working && !self.open.contains_key(name) {
                self.open.insert(name.clone(), Open::new(now));
            }
        }
        let mut old = Vec::new();
        for open in self.open.values_mut().filter(|open| now.saturating_duration_since(open.since) > LONGEST_HOLD) {
            old.extend(open.deliveries.drain(..));
            open.since = now;
        }
        old
    }
}
