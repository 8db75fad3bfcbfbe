//! After refused credentials it is not known at first whether the account or one event is at fault. This decides what to send next to find
//! out, and what becomes of the refused events then.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::Driver;
use super::attempt::Exchange;
use super::dispatch::{Dispatch, NextRequest};
use super::follow::Judgement;
use super::ready_queue::Batch;
use super::rule::Fault;
use crate::clock;
use crate::gate::{Answer, Doubt, GateState, Permit};
use crate::record::history::Attempt;
use crate::vendors::EarlierAttempts;
use crate::verdict::Verdict;

/// How long to wait for other events before the credentials are tried on their own, or a person is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of this process. Each event's whole body is hashed, which takes the hasher of the standard library ten times as long.
static KEYS: LazyLock<foldhash::fast::RandomState> = LazyLock::new(foldhash::fast::RandomState::default);

/// Tells an event, a lookup or a job from others.
pub(super) fn key(what: impl Hash) -> u64 {
    KEYS.hash_one(what)
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

impl Dispatch {
    /// What is sent next in a doubt: what was not refused yet, since it tells. After a while without any a request that tries the
    /// credentials, where the vendor has one (`can_try`); else it is parked, and what was refused is the probe.
    pub fn next_in_doubt(
        &mut self,
        next: Option<NextRequest>,
        in_flight: usize,
        can_try: bool,
        now: Instant,
    ) -> Option<NextRequest> {
        let refused = match &next {
            Some(NextRequest::Events(place)) => {
                self.ready.event(*place).is_none_or(|event| self.gate.doubts(event.key))
            }
            Some(NextRequest::Lookup(name)) => self.gate.doubts(key(name)),
            Some(NextRequest::Job(job)) => self.gate.doubts(key(job)),
            Some(NextRequest::Token | NextRequest::Credentials) | None => true,
        };
        if !refused {
            self.doubts.untold_since = None;
            self.gate.ask_another(now);
            return next;
        }
        if in_flight > 0 {
            return next;
        }
        let until = *self.doubts.untold_since.get_or_insert(now) + PATIENCE;
        if until > now {
            self.look_by(until);
            return next;
        }
        if can_try {
            return Some(NextRequest::Credentials);
        }
        // Nothing can tell: a person has to.
        self.gate.nothing_else_to_ask(now);
        next
    }

    /// Whose trouble it is that the credentials were refused for what has that `key`, after the gate was told so.
    pub fn fault_of_refusal(&self, told: Answer, key: u64) -> Fault {
        let parked = self.gate.state_beneath() == GateState::Parked;
        let accounts = told == Answer::Unauthorized && (parked || self.gate.doubts(key));
        if accounts { Fault::Vendor } else { Fault::Event }
    }

    /// Whether a doubt has just ended, and the lookups that were refused meanwhile.
    fn doubt_ended(&mut self) -> Option<BTreeMap<String, Attempt>> {
        if self.gate.doubt() != Doubt::None {
            self.doubts.unsettled = true;
            return None;
        }
        self.doubts.unsettled.then(|| std::mem::take(&mut self.doubts).lookups)
    }
}

impl Driver {
    /// The credentials were tried on their own.
    pub(super) fn credentials_tried(&mut self, permit: Permit, exchange: &Exchange) {
        let (verdict, sentence, told) = self.verdict(exchange, false, &EarlierAttempts::default());
        self.note_side_request(("credentials", ""), exchange, &sentence, permit.probe);
        let dispatch = &mut self.dispatch;
        match told {
            Answer::Success | Answer::Rejected | Answer::Undecided => {
                dispatch.tell(permit, Answer::Undecided, exchange);
            }
            Answer::Unauthorized => {
                dispatch.give_up(permit);
                dispatch.gate.refuses_credentials(clock::now());
            }
            // A new token is on its way.
            Answer::Neutral if matches!(verdict, Verdict::Unauthorized(_)) => dispatch.give_up(permit),
            Answer::Throttled | Answer::Trouble | Answer::Neutral => {
                dispatch.tell(permit, told, exchange);
                dispatch.gate.nothing_else_to_ask(clock::now());
            }
        }
    }

    /// What was refused while nobody knew whether all others are: by now it may be known.
    pub(super) fn end_doubts(&mut self) {
        let Some(lookups) = self.dispatch.doubt_ended() else { return };
        self.dispatch.ready.take_refused().into_iter().for_each(|batch| self.refused_alone(batch));
        lookups.iter().for_each(|(name, record)| self.put_off(name, record));
    }

    /// Others were taken with the same credentials: it is the event's own trouble, or that of one among several.
    fn refused_alone(&mut self, batch: Batch) {
        let first = batch.events.first().map(|pending| &pending.history);
        let Some(record) = first.and_then(|history| history.attempts.last().cloned()) else {
            // It came again without what was known of it.
            return self.dispatch.ready.put_back(batch);
        };
        let verdict = Verdict::Unauthorized(record.excerpt.clone());
        if batch.events.len() > 1 {
            return self.split(batch, &verdict, &record.excerpt);
        }
        let (sentence, fault) = (record.excerpt.as_str(), Fault::Event);
        self.follow(
            batch,
            &Judgement {
                verdict: &verdict,
                sentence,
                record: &record,
                fault,
                parked: false,
                probe: false,
                wall: clock::wall(),
            },
        );
    }
}
