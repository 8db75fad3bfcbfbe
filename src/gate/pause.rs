//! A vendor's answers in; whether the gate is open, and until when it is not, out. Knows refusals (429), trouble,
//! parking and the one probe that reopens, and nothing of quotas. Never opens without a probe or an operator.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::doubt::Doubt;
use super::headers::Hints;
use super::why::{Why, Words};
use super::{Answer, Permit, Policy};
use crate::backoff::Backoff;

/// A parked destination is probed this often.
pub const PARKED_PROBE: Duration = Duration::from_secs(15);
/// After this time open without a refusal, the next refusal counts as the first again.
pub const CALM: Duration = Duration::from_secs(60);
/// The longest wait that is believed.
pub const LONGEST: Duration = Duration::from_secs(86_400);
/// If this many events are refused for their credentials, and none that was sent later is taken, the account is at fault.
const REFUSED: usize = 4;
/// This many refused events are remembered: while parked, each probe is another event, as long as there are others.
const REMEMBERED: usize = 64;
/// This many events that fail one after the other open the circuit breaker.
const TROUBLE_IN_A_ROW: usize = 5;
/// The share of failures is taken over this many last answers,
const RECENT: usize = 20;
/// and not before there are this many. If half of them failed, the circuit breaker opens.
const RECENT_MIN: usize = 10;

/// Why the gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The vendor refused with 429.
    Throttled,
    /// The vendor cannot be reached or is in trouble.
    Broken,
    /// The vendor refused the credentials of few events, and there are no others to tell whether it refuses all.
    Alone,
    /// The vendor refused the credentials.
    Unauthorized,
    /// Too many events in a row were rejected.
    Rejections,
    /// Too many events in a row were refused by our own check.
    Invalid,
}

impl CloseCause {
    /// Whether a person is needed.
    #[must_use]
    pub fn parks(self) -> bool {
        match self {
            Self::Throttled | Self::Broken => false,
            Self::Alone | Self::Unauthorized | Self::Rejections | Self::Invalid => true,
        }
    }
}

/// A closed gate.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Why.
    pub cause: CloseCause,
    /// The same as a sentence.
    pub why: Why,
    /// When a probe may go out.
    pub until: Instant,
}

/// If the vendor took this many events since the gate opened, its next refusal is a new one: the pauses begin at the first. Otherwise a
/// refusal now and then would end in the longest pause.
const TAKEN_AGAIN: u32 = 5;
/// The gate's memory of answers.
#[derive(Debug)]
pub struct Pauses {
    closed: Option<Closed>,
    /// Raised at each closing: answers to requests sent before it belong to an older epoch.
    epoch: u64,
    refusals: Backoff,
    outages: Backoff,
    /// When it last opened after a refusal, if it ever did.
    reopened: Option<Instant>,
    /// The last answers: the event's key, and whether it met with trouble.
    recent: VecDeque<(u64, bool)>,
    /// The events that were refused for their credentials since such were last taken, by their keys, each with its place.
    refused: Vec<(u64, u64)>,
    /// The last place of a request whose credentials were taken.
    trusted: u64,
    /// The last place that was given,
    last: u64,
    /// and the one when the first of `refused` was.
    doubted: u64,
    /// How long the last refusal asked to wait.
    asked: Duration,
    rejections: u32,
    park_after: u32,
    /// How many events the vendor took since it last opened.
    taken: u32,
    /// What the answer that comes next said.
    said: Words,
    /// What was said of refused credentials last.
    refusal: Words,
    /// Probes that were answered since it closed.
    probes: u32,
}

impl Pauses {
    /// An open gate, or one that a ledger says is closed for so much longer, and why.
    #[must_use]
    pub fn new(policy: &Policy, closed_for: Option<(Duration, Option<Why>)>, now: Instant) -> Self {
        let closed = closed_for.map(|(pause, why)| Closed {
            cause: CloseCause::Throttled,
            why: why.unwrap_or_else(|| Why::plain("the vendor had asked to wait before this worker took over")),
            until: now + pause.min(LONGEST),
        });
        Self {
            closed,
            epoch: 0,
            refusals: Backoff::new(policy.refusals),
            outages: Backoff::new(policy.outages),
            reopened: None,
            recent: VecDeque::with_capacity(RECENT),
            refused: Vec::new(),
            trusted: 0,
            last: 0,
            doubted: 0,
            asked: Duration::ZERO,
            rejections: 0,
            park_after: policy.park_after_rejections,
            taken: 0,
            said: Words::default(),
            refusal: Words::default(),
            probes: 0,
        }
    }

    /// What the answer that comes next said, masked: part of why the gate closes, where it does.
    pub fn said(&mut self, sentence: &str) {
        sentence.clone_into(&mut self.said.text);
    }

    /// That answer came at `wall`, to a probe or not.
    pub fn heard(&mut self, probe: bool, wall: Timestamp) {
        self.probes = self.probes.saturating_add(u32::from(probe));
        (self.said.at, self.said.probe) = (Some(wall), if probe { self.probes } else { 0 });
    }

    /// The present closing, if it is closed.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// The present epoch; a permit carries the one it was given in.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes note of an answer to a request.
    pub fn answered(&mut self, permit: &Permit, answer: Answer, hints: &Hints, now: Instant) {
        if answer == Answer::Success {
            self.rejections = 0;
        }
        if answer == Answer::Unauthorized {
            self.refusal.clone_from(&self.said);
        }
        let parked = self.closed.as_ref().map(|closed| closed.cause).filter(|cause| cause.parks());
        match answer {
            Answer::Success | Answer::Undecided => self.trust(permit.place, now),
            Answer::Unauthorized if parked.is_none_or(|cause| cause == CloseCause::Alone) => {
                return self.distrust(permit, hints, now);
            }
            Answer::Unauthorized | Answer::Throttled | Answer::Trouble | Answer::Rejected | Answer::Neutral => {}
        }
        if permit.epoch != self.epoch {
            return self.answered_late(answer, hints, now);
        }
        match (self.closed.as_ref().map(|closed| closed.cause), answer) {
            (_, Answer::Neutral) => {}
            (Some(cause @ (CloseCause::Unauthorized | CloseCause::Rejections | CloseCause::Invalid)), answer) => {
                self.parked_probe(permit, cause, answer, hints, now);
            }
            (closed, Answer::Success | Answer::Rejected | Answer::Undecided) => {
                if closed.is_some() {
                    self.open(now);
                }
                self.note(permit.about, false);
                self.taken = self.taken.saturating_add(1);
                if answer == Answer::Rejected {
                    self.rejected(1, now);
                }
            }
            (closed, Answer::Throttled) => self.refused(closed.is_none(), hints, now),
            (closed, Answer::Trouble) => self.trouble(permit.about, closed.is_some(), hints, now),
            (_, Answer::Unauthorized) => {}
        }
    }

    /// Whether refused credentials are the account's trouble or that of single events.
    pub fn doubt(&self) -> Doubt {
        match self.closed.as_ref().map(|closed| closed.cause) {
            Some(CloseCause::Unauthorized) => Doubt::Account,
            Some(CloseCause::Alone) => Doubt::Alone,
            Some(CloseCause::Throttled | CloseCause::Broken | CloseCause::Rejections | CloseCause::Invalid) | None => {
                if self.refused.is_empty() {
                    Doubt::None
                } else {
                    Doubt::Few
                }
            }
        }
    }

    /// Whether the event of that key is one of few that were refused.
    pub fn doubts(&self, event: u64) -> bool {
        self.refused.iter().any(|(refused, _)| *refused == event)
    }

    /// There are no others to tell whether the vendor refuses all: a person is told, and what was refused is the probe.
    pub fn nothing_else_to_ask(&mut self, now: Instant) {
        if self.doubt() == Doubt::Few && !self.closed.as_ref().is_some_and(|closed| closed.cause.parks()) {
            let wait =
                self.closed.as_ref().map_or(Duration::ZERO, |closed| closed.until.saturating_duration_since(now));
            self.close(CloseCause::Alone, self.refusal.refusing_credentials(), wait.max(PARKED_PROBE), now);
        }
    }

    /// Something else came that can tell: a probe is due now.
    pub fn ask_another(&mut self, now: Instant) {
        if let Some(closed) = self.closed.as_mut().filter(|closed| closed.cause == CloseCause::Alone) {
            closed.until = closed.until.min(now);
        }
    }

    /// The credentials were tried on their own and refused.
    pub fn refuses_credentials(&mut self, now: Instant) {
        self.refusal.clone_from(&self.said);
        self.close(CloseCause::Unauthorized, self.refusal.refusing_credentials(), PARKED_PROBE, now);
    }

    /// Closes an open gate until a probe has told how things are.
    pub fn hold_back(&mut self, why: &str, now: Instant) {
        self.close(CloseCause::Throttled, Why::plain(why), Duration::ZERO, now);
    }

    /// The credentials of the request in that place were taken: those of requests before it were good, too.
    fn trust(&mut self, place: u64, now: Instant) {
        self.trusted = self.trusted.max(place);
        let before = self.refused.len();
        self.refused.retain(|(_, refused)| *refused > place);
        let left = self.refused.len();
        let opens = match self.closed.as_ref().map(|closed| closed.cause) {
            Some(CloseCause::Unauthorized) => left < REFUSED,
            Some(CloseCause::Alone) => left == 0,
            Some(CloseCause::Throttled | CloseCause::Broken | CloseCause::Rejections | CloseCause::Invalid) | None => {
                false
            }
        };
        if opens && left < before {
            self.open(now);
        }
    }

    /// The credentials of a request were refused. One event may be refused for its own sake, as by a firewall; the account parks when
    /// others are refused as well, and none that was sent later is taken.
    fn distrust(&mut self, permit: &Permit, hints: &Hints, now: Instant) {
        let is_probe = permit.epoch == self.epoch;
        self.remember_refused(permit);
        self.asked = hints.retry_after.unwrap_or_default().max(PARKED_PROBE);
        match self.closed.as_ref().map(|closed| closed.cause) {
            Some(CloseCause::Alone) if is_probe => {
                self.close(CloseCause::Alone, self.refusal.refusing_credentials(), self.asked, now);
            }
            // The vendor is there again, and answers.
            Some(CloseCause::Throttled | CloseCause::Broken) if is_probe => self.open(now),
            Some(_) | None => {}
        }
    }

    fn remember_refused(&mut self, permit: &Permit) {
        if permit.place <= self.trusted {
            return;
        }
        if self.refused.is_empty() {
            self.doubted = self.last;
        }
        self.refused.retain(|(event, _)| *event != permit.about);
        if self.refused.len() < REMEMBERED {
            self.refused.push((permit.about, permit.place));
        }
    }

    /// The last place that was given.
    pub fn last_place(&self) -> u64 {
        self.last
    }

    /// The last place of a request that was taken.
    pub fn last_taken(&self) -> u64 {
        self.trusted
    }

    /// A request was given that place.
    pub fn sent(&mut self, place: u64) {
        self.last = place;
    }

    /// An answer came. So many were refused that it is the account, unless one of those still
    /// in flight is taken, or the first one that was sent after the first refusal was known: until then others had no chance.
    pub fn settle_doubt(&mut self, in_flight: usize, now: Instant) {
        let parked =
            self.closed.as_ref().is_some_and(|closed| closed.cause.parks() && closed.cause != CloseCause::Alone);
        if self.suspects() && in_flight == 0 && !parked && self.asked_others() {
            self.close(CloseCause::Unauthorized, self.refusal.refusing_credentials(), self.asked, now);
        }
    }

    /// Whether so many were refused that only those in flight, or one more, can tell that it is not the account.
    pub fn suspects(&self) -> bool {
        self.refused.len() >= REFUSED
    }

    fn asked_others(&self) -> bool {
        self.refused.iter().any(|(_, place)| *place > self.doubted)
    }

    /// Parks for events that our own check refused. No probe can tell whether that is fixed.
    pub fn park_for_invalid(&mut self, why: &str, now: Instant) {
        self.close(CloseCause::Invalid, Why::plain(why), LONGEST, now);
    }

    /// Parks for a reason of the destination's own.
    pub fn park(&mut self, why: &str, wait: Duration, now: Instant) {
        self.close(CloseCause::Unauthorized, self.own(why), wait, now);
    }

    /// Closes it for trouble.
    pub fn break_off(&mut self, why: &str, wait: Duration, now: Instant) {
        self.close(CloseCause::Broken, self.own(why), wait, now);
    }

    /// A reason of the destination's own; with its time where it begins with what was just answered.
    fn own(&self, why: &str) -> Why {
        match why.strip_prefix(self.said.text.as_str()).filter(|_| !self.said.text.is_empty()) {
            Some(then) => Why::quoting("", &self.said, then),
            None => Why::plain(why),
        }
    }

    /// An operator wants it to go on: one that our own check closed opens, any other probes now, whatever the vendor asked for.
    pub fn resume(&mut self, now: Instant) {
        match self.closed.as_mut() {
            Some(closed) if closed.cause == CloseCause::Rejections => {
                // One more that is rejected parks it again.
                self.rejections = self.park_after.saturating_sub(1);
                self.hold_back("an operator resumed it: one event tells whether the vendor takes them again", now);
            }
            Some(closed) if closed.cause == CloseCause::Invalid => {
                self.rejections = 0;
                self.epoch += 1;
                self.open(now);
            }
            Some(closed) => closed.until = closed.until.min(now),
            None => {}
        }
    }

    /// Answers to what was in flight when the gate closed say nothing new, except how long to wait.
    fn answered_late(&mut self, answer: Answer, hints: &Hints, now: Instant) {
        let (Answer::Throttled | Answer::Trouble, Some(wait)) = (answer, hints.retry_after) else { return };
        let cause = if answer == Answer::Throttled { CloseCause::Throttled } else { CloseCause::Broken };
        let until = now + wait.min(LONGEST);
        match self.closed.as_mut() {
            Some(closed) => closed.until = closed.until.max(until),
            None if wait.is_zero() => {}
            None => self.close(cause, self.said.asking_to_wait(answer == Answer::Throttled, wait), wait, now),
        }
    }

    fn refused(&mut self, was_open: bool, hints: &Hints, now: Instant) {
        let repeated = self.reopened.is_some_and(|at| now.saturating_duration_since(at) < CALM);
        if was_open && (!repeated || self.taken >= TAKEN_AGAIN) {
            self.refusals.reset();
        }
        // What the vendor names is enough where it refuses for the first time; a probe that is refused again and again after a very short wait is a flood.
        let again = !was_open;
        let least = if again { self.refusals.pause() } else { Duration::ZERO };
        // A reset of a quota that is not used up says nothing about this refusal.
        let reset = hints.quota.filter(|quota| quota.remaining.unwrap_or(0) == 0).map(|quota| quota.reset);
        let (wait, why) = match (hints.retry_after, reset) {
            (Some(wait), _) if !wait.is_zero() => (wait, self.said.asking_to_wait(true, wait)),
            (_, Some(wait)) if !wait.is_zero() => (wait, self.said.refusing_until_reset(wait)),
            _ if again => (least, self.said.refusing()),
            _ => (self.refusals.pause(), self.said.refusing()),
        };
        self.close(CloseCause::Throttled, why, wait.max(least), now);
    }

    /// One event that the vendor always chokes on counts once.
    fn trouble(&mut self, event: u64, probe: bool, hints: &Hints, now: Instant) {
        self.note(event, true);
        let in_a_row = distinct(self.recent.iter().rev().take_while(|(_, trouble)| *trouble));
        let troubled = distinct(self.recent.iter().filter(|(_, trouble)| *trouble));
        let why = match hints.retry_after {
            Some(wait) if !wait.is_zero() => Some(self.said.asking_to_wait(false, wait)),
            _ if probe => Some(Why::quoting("the probe failed too", &self.said, "")),
            _ if in_a_row >= TROUBLE_IN_A_ROW => {
                Some(Why::quoting(&format!("{in_a_row} requests in a row failed, at last"), &self.said, ""))
            }
            _ if self.recent.len() >= RECENT_MIN && troubled * 2 >= self.recent.len() => {
                let lead = format!("{troubled} of the last {} requests failed, at last", self.recent.len());
                Some(Why::quoting(&lead, &self.said, ""))
            }
            _ => None,
        };
        if let Some(why) = why {
            let asked = hints.retry_after.filter(|wait| !wait.is_zero());
            let least = if probe || asked.is_none() { self.outages.pause() } else { Duration::ZERO };
            self.close(CloseCause::Broken, why, asked.unwrap_or_default().max(least), now);
        }
    }

    /// So many more events were rejected in a row. Parked, it stays so for the reason that it has.
    pub fn rejected(&mut self, events: u32, now: Instant) {
        self.rejections = self.rejections.saturating_add(events);
        let parked = self.closed.as_ref().is_some_and(|closed| closed.cause.parks());
        if self.park_after > 0 && self.rejections >= self.park_after && !parked {
            self.close(CloseCause::Rejections, self.said.rejecting(self.rejections), PARKED_PROBE, now);
        }
    }

    fn parked_probe(&mut self, permit: &Permit, cause: CloseCause, answer: Answer, hints: &Hints, now: Instant) {
        // Whoever answers of the events themselves has taken the credentials.
        if answer == Answer::Success || (answer == Answer::Undecided && cause == CloseCause::Unauthorized) {
            self.open(now);
            return;
        }
        let wait = hints.retry_after.unwrap_or_default().max(PARKED_PROBE);
        let before = self.closed.take().map(|closed| closed.why).unwrap_or_default();
        let refused = cause == CloseCause::Unauthorized && answer == Answer::Unauthorized;
        if refused {
            self.remember_refused(permit);
        }
        let why = match cause {
            CloseCause::Unauthorized if refused && !self.said.text.is_empty() => self.refusal.refusing_credentials(),
            CloseCause::Rejections if answer == Answer::Rejected => {
                self.rejections = self.rejections.saturating_add(1);
                self.said.rejecting(self.rejections)
            }
            CloseCause::Throttled
            | CloseCause::Broken
            | CloseCause::Alone
            | CloseCause::Unauthorized
            | CloseCause::Rejections
            | CloseCause::Invalid => before,
        };
        // It was closed before: the probes go on being counted.
        let probes = self.probes;
        self.close(cause, why, wait, now);
        self.probes = probes;
    }

    /// What to say while few were refused.
    pub fn of_doubt(&self) -> Why {
        self.refusal.refusing_few()
    }

    fn note(&mut self, event: u64, trouble: bool) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((event, trouble));
    }

    fn close(&mut self, cause: CloseCause, why: Why, wait: Duration, now: Instant) {
        self.epoch += 1;
        if self.closed.is_none() {
            self.probes = 0;
        }
        self.closed = Some(Closed { cause, why, until: now + wait.min(LONGEST) });
    }

    fn open(&mut self, now: Instant) {
        if self.closed.take().is_some_and(|closed| closed.cause == CloseCause::Throttled) {
            self.reopened = Some(now);
        }
        self.recent.clear();
        self.taken = 0;
        self.outages.reset();
    }
}

/// How many events there are among these answers.
fn distinct<'a>(answers: impl Iterator<Item = &'a (u64, bool)>) -> usize {
    answers.map(|(event, _)| event).collect::<HashSet<_>>().len()
}
