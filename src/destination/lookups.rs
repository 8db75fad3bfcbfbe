//! What has to be asked of the vendor before events can be checked: the deliveries that wait for it, and what was learned.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::attempt::Exchange;
use super::demand::LONGEST_HOLD;
use super::judge::carrying_history;
use super::rule::Fault;
use super::settler::unchecked;
use super::{Driver, doubt, outcome};
use crate::backoff::{Backoff, Bounds};
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::gate::{Answer, GateState, Permit};
use crate::record::history::Attempt;
use crate::vendors::{EarlierAttempts, Facts};
use crate::verdict::{Reason, Settlement, Verdict};

/// If a fact is older than this and lacks something, it is looked up again.
const FRESH: Duration = Duration::from_secs(30);
/// A fact older than this is looked up again.
const RENEW: Duration = Duration::from_secs(600);
/// The pauses between questions that are not answered: each twice as long as the one before.
const PAUSES: Bounds = Bounds::doubling(Duration::from_secs(1), Duration::from_secs(60), 0.0);

/// A destination's open questions and what it knows.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    facts: Arc<Facts>,
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
    backoff: Backoff,
}

impl Open {
    fn new(now: Instant) -> Self {
        Self { deliveries: VecDeque::new(), out: false, since: now, next: now, backoff: Backoff::new(PAUSES) }
    }
}

impl Lookups {
    /// What was learned, to check an event against.
    pub fn consult(&mut self) -> &Arc<Facts> {
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
            open.next = now + open.backoff.pause();
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
        Arc::make_mut(&mut self.facts).put(name, value);
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

    /// The one of a class that came first of those that wait.
    pub fn first(&self, class: Class) -> Option<&Delivery> {
        let firsts = self.open.values().filter_map(|open| open.deliveries.iter().find(|one| one.class == class));
        firsts.min_by_key(|delivery| delivery.ticket.tag())
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
                Arc::make_mut(&mut self.facts).settle(name);
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

impl Driver {
    /// A question came back.
    pub(super) fn lookup_answered(&mut self, name: &str, mut permit: Permit, exchange: &Exchange) {
        let (verdict, sentence, told) = self.verdict(exchange, false, &EarlierAttempts::default());
        let (learned, told) = match (told, exchange.reply()) {
            (Answer::Success, Some(reply)) => match self.settings.vendor.learn(name, reply) {
                // What was learned is not yet an event delivered.
                Ok(value) => (Some(Ok(value)), Answer::Neutral),
                Err(said) => (Some(Err(exchange.masked(&said))), Answer::Rejected),
            },
            (Answer::Rejected, _) => (Some(Err(sentence.clone())), told),
            _ => (None, told),
        };
        let said = if let Some(Err(said)) = &learned { said.as_str() } else { sentence.as_str() };
        self.dispatch.gate.said(said);
        self.note_side_request(("lookup", name), exchange, said, permit.probe);
        let parked = self.dispatch.gate.state_beneath() == GateState::Parked;
        let key = doubt::key(name);
        permit.is_about(key);
        let mut fault = self.dispatch.tell_of_trouble(permit, None, told, exchange);
        if told == Answer::Unauthorized {
            fault = self.dispatch.fault_of_refusal(told, key);
        }
        let verdict = if told == Answer::Unauthorized { verdict } else { Verdict::Unavailable(sentence.clone()) };
        let record = || exchange.record(&verdict, &sentence);
        match learned {
            Some(Ok(value)) => self.learned(name, value),
            Some(Err(said)) if !parked => self.lookup_refused(name, &said),
            // Other requests succeed: what waits for this lookup must not hold them up.
            None if matches!(told, Answer::Trouble | Answer::Unauthorized) && fault == Fault::Event => {
                self.put_off(name, &record());
            }
            None if self.dispatch.gate.doubts(key) => {
                self.dispatch.doubts.lookups.insert(name.to_owned(), record());
                self.side.lookups.unanswered(name, clock::now());
            }
            Some(Err(_)) | None => self.side.lookups.unanswered(name, clock::now()),
        }
    }

    /// The deliveries that wait for a lookup are tried again later, an attempt spent.
    pub(super) fn put_off(&mut self, name: &str, record: &Attempt) {
        let wall = clock::wall();
        for delivery in self.side.lookups.give_up(name) {
            let (mut history, tag) = unchecked(&delivery, wall);
            history.add(record.clone());
            let settlement = self.retry(&history, &record.excerpt, wall);
            if let Settlement::RetryLater(_) = settlement {
                history.spend(record.at);
            }
            outcome::put_off(self.report.telling(&self.settings.name), &tag, &record.excerpt, &settlement);
            self.settlements.settle_delivery(delivery, history, tag, settlement);
        }
    }

    /// What waited can be checked, and what was checked against something else is checked anew, in the order of arrival.
    fn learned(&mut self, name: &str, value: Value) {
        let changed = self.side.lookups.known(name).is_some_and(|before| *before != value);
        let mut deliveries = Vec::from(self.side.lookups.learned(name, value, clock::now()));
        if changed {
            let checked = self.dispatch.ready.take_out(|pending| pending.item.lookup.as_deref() == Some(name));
            deliveries.extend(checked.into_iter().map(|pending| carrying_history(*pending)));
        }
        deliveries.sort_by_key(|delivery| delivery.ticket.tag());
        deliveries.into_iter().for_each(|delivery| self.check(delivery));
    }

    pub(super) fn lookup_refused(&mut self, name: &str, said: &str) {
        let Some(delivery) = self.side.lookups.refused(name, clock::now()) else { return };
        let (history, tag) = unchecked(&delivery, clock::wall());
        self.dead_letter(delivery, history, tag, Reason::Invalid, format!("{name:?} could not be looked up: {said}"));
    }
}
