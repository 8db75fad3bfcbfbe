//! While it is not known whether refused credentials are the account's trouble or an event's own: what is asked next, and what becomes
//! of what was refused once it is known.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::{Duration, Instant};

use super::Driver;
use super::admit::Next;
use super::attempt::Exchange;
use super::intake::{Held, Odd};
use super::judge::Ruling;
use super::line::Load;
use super::rule::{Whose, delay};
use crate::clock;
use crate::gate::{Answer, Doubt, Permit, State, hints};
use crate::record::history::Attempt;
use crate::vendors::Before;
use crate::verdict::Verdict;

/// Other events are waited for so long before the credentials are tried on their own or a person is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many that failed at once may be odd; of more it is the vendor's trouble.
const FEW: usize = 3;
/// They let others go first no longer than that.
const LONGEST_BEHIND: Duration = Duration::from_secs(10);

/// Tells an event, a lookup or a job from others.
pub(super) fn key(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What there is to remember while it is not known.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// The lookups whose credentials were refused.
    pub lookups: BTreeMap<String, Attempt>,
    /// Whether it was not known after the last answer.
    unsettled: bool,
    /// Since when nothing else could tell.
    untold_since: Option<Instant>,
}

impl Driver {
    /// What is sent next in a doubt: what was not refused yet, since it tells. After a while without any a request that tries the
    /// credentials, where the vendor has one; else it is parked, and what was refused is the probe.
    pub(super) fn next_in_doubt(&mut self, next: Option<Next>, now: Instant) -> Option<Next> {
        let refused = match &next {
            Some(Next::Events(place)) => self.line.event(*place).is_none_or(|event| self.gate.doubts(event.key)),
            Some(Next::Lookup(name)) => self.gate.doubts(key(name)),
            Some(Next::Job(job)) => self.gate.doubts(key(job)),
            Some(Next::Token | Next::Credentials) | None => true,
        };
        if !refused {
            self.doubts.untold_since = None;
            self.gate.ask_another(now);
            return next;
        }
        if !self.attempts.is_empty() {
            return next;
        }
        let until = *self.doubts.untold_since.get_or_insert(now) + PATIENCE;
        if until > now {
            self.next_turn = Some(self.next_turn.map_or(until, |turn| turn.min(until)));
            return next;
        }
        if self.settings.vendor.credentials_check().is_some() {
            return Some(Next::Credentials);
        }
        self.leave_untold(now);
        next
    }

    /// Nothing can tell: a person has to.
    fn leave_untold(&mut self, now: Instant) {
        let before = self.gate.state(now);
        self.gate.nothing_else_to_ask(now);
        self.gate_changed(before);
    }

    /// The credentials were tried on their own.
    pub(super) fn credentials_tried(&mut self, permit: Permit, exchange: &Exchange) {
        let (verdict, _, told) = self.verdict(exchange, false, &Before::default());
        let now = clock::now();
        match told {
            Answer::Success | Answer::Rejected | Answer::Undecided => {
                self.tell_gate(permit, Answer::Undecided, exchange)
            }
            Answer::Unauthorized => {
                let before = self.gate.state(now);
                self.give_up(permit);
                self.gate.refuses_credentials(now);
                self.gate_changed(before);
            }
            // A new token is on its way.
            Answer::Neutral if matches!(verdict, Verdict::Unauthorized(_)) => self.give_up(permit),
            Answer::Throttled | Answer::Trouble | Answer::Neutral => {
                self.tell_gate(permit, told, exchange);
                self.leave_untold(now);
            }
        }
    }

    /// Tells the gate what became of events. One that is always asked to wait while others are taken says nothing of the vendor: one probe
    /// by another event tells whether that is for all.
    pub(super) fn tell_of_events(
        &mut self,
        load: &Load,
        permit: Permit,
        told: Answer,
        sentence: &str,
        exchange: &Exchange,
    ) -> Whose {
        let taken = self.gate.last_taken();
        let is_known = matches!(load.events.as_slice(), [event] if event.odd.is_known(taken));
        if !(is_known && asks_to_wait(told, exchange)) {
            return self.tell_of_trouble(permit, Some(load.key()), told, exchange);
        }
        let whose = self.tell_of_trouble(permit, Some(load.key()), Answer::Neutral, exchange);
        let now = clock::now();
        let before = self.gate.state(now);
        if before == State::Open {
            let why =
                format!("an event that failed before failed again ({sentence}): another one tells whether all do");
            self.gate.hold_back(&why, now);
            self.gate_changed(before);
        }
        whose
    }

    /// The gate opens after a refusal or trouble. Few that failed while others went well may be odd: others go first for a while, so
    /// that they do not close it again at once.
    pub(super) fn rest_few(&mut self) {
        let until = clock::now() + delay(&self.settings.retry.delays, 0).min(LONGEST_BEHIND);
        self.line.rest_few(FEW, until);
    }

    /// Whose trouble it is that the credentials were refused for what has that `key`, after the gate was told so.
    pub(super) fn whose_refusal(&self, told: Answer, key: u64) -> Whose {
        let parked = self.gate.state_beneath() == State::Parked;
        let accounts = told == Answer::Unauthorized && (parked || self.gate.doubts(key));
        if accounts { Whose::Vendors } else { Whose::Events }
    }

    /// What is known of an event that came: one that was refused, given back and came again in the same doubt is still one that was
    /// refused.
    pub(super) fn recalled(&self, mut event: Held) -> Held {
        event.odd = Odd::new(&event.history, self.gate.last_taken(), self.went_well);
        event.refused = self.gate.doubts(event.key);
        event
    }

    /// What was refused while nobody knew whether all others are: by now it may be known.
    pub(super) fn end_doubts(&mut self) {
        let doubt = self.gate.doubt();
        if doubt != Doubt::None {
            self.doubts.unsettled = true;
            return;
        }
        if !self.doubts.unsettled {
            return;
        }
        let Doubts { lookups, .. } = std::mem::take(&mut self.doubts);
        self.line.take_refused().into_iter().for_each(|load| self.refused_alone(load));
        lookups.iter().for_each(|(name, record)| self.put_off(name, record));
    }

    /// Others were taken with the same credentials: it is the event's own trouble, or that of one among several.
    fn refused_alone(&mut self, load: Load) {
        let first = load.events.first().map(|pending| &pending.history);
        let Some(record) = first.and_then(|history| history.attempts.last().cloned()) else {
            // It came again without what was known of it.
            return self.line.put_back(load);
        };
        let verdict = Verdict::Unauthorized(record.excerpt.clone());
        if load.events.len() > 1 {
            return self.split(load, &verdict, &record.excerpt);
        }
        let (sentence, whose) = (record.excerpt.as_str(), Whose::Events);
        self.follow(load, &Ruling { verdict: &verdict, sentence, record: &record, whose, parked: false });
    }
}

/// Whether the answer would have one send nothing for a while.
fn asks_to_wait(told: Answer, exchange: &Exchange) -> bool {
    let wait = || exchange.reply().and_then(|reply| hints(&reply.headers, clock::wall()).retry_after);
    told == Answer::Throttled || (told == Answer::Trouble && wait().is_some_and(|wait| !wait.is_zero()))
}
