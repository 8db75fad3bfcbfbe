//! The gate: requests for a place come in; a permit, or how long to wait, goes out, and answers come back.
//!
//! It decides and never acts: no task, no timer, no clock. `now` and `wall` are arguments everywhere.

mod concurrency;
mod day;
mod day_budget;
mod doubt;
mod header_times;
mod headers;
mod hours;
mod learned;
mod ledger;
mod ordering_keys;
mod pause;
mod paused;
mod policy;
mod quota;
mod remaining;
mod status;
#[cfg(test)]
mod tests;
mod why;
mod window;
mod written;

use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use day::{DayStart, DayStartError};
pub use doubt::Doubt;
pub use headers::{Hints, QuotaHint, hints, is_used_up};
pub use hours::{Hours, SendHours, SendHoursError};
pub use ledger::Ledger;
pub use ordering_keys::{Free, OrderingKeys};
pub use paused::Paused;
pub use policy::Policy;
pub use quota::{CATCH_UP, JITTER, Limit, LimitError, Window, beyond, day_limit, listed, rate};
pub use status::{GateState, HeldBy, Status, Until};
pub use why::{Answered, Why};
pub use written::WrittenAt;

use concurrency::{Concurrency, whole};
use day_budget::Booked;
use learned::Learned;
use ledger::DayCount;
pub(crate) use ledger::{later, span};
use pause::{CloseCause, Pauses};
use quota::Pacer;
use remaining::{Remaining, Spread};
use why::Words;
use window::Places;

/// The calls of this time ahead count as calls to spare.
const SPARE: Duration = Duration::from_secs(2);
/// A body of this many bytes takes a while to build, send and read.
const LARGE_BYTES: usize = 16 * 1024;

/// A destination lets go of its deliveries when the gate stays closed for longer than this.
const LONG: Duration = Duration::from_secs(30);

/// The answer to a request for a place.
#[derive(Debug)]
#[must_use = "a permit that is not given back keeps its place for ever"]
pub enum Pass {
    /// One request may be sent now.
    Go(Permit),
    /// None before then; ask again then.
    Wait(Instant),
    /// All permits are out, or the probe is: ask again when one has finished.
    Full,
    /// Paused by an operator: ask again on resume.
    Shut,
}

/// The right to send one request. Give it back with [`Gate::finished`], exactly once, whatever happened.
#[derive(Debug)]
#[must_use = "a permit has to be given back with `Gate::finished`"]
pub struct Permit {
    /// This request alone decides whether the gate reopens.
    pub probe: bool,
    /// To be marked once the request is written: a vendor counts it no earlier.
    pub written: WrittenAt,
    epoch: u64,
    /// Its number among the places.
    place: u64,
    /// When it was given.
    at: Instant,
    /// The event that it is for; until that is set, a number of its own.
    about: u64,
}

impl Permit {
    /// The request is for the event of that key: what the same event meets with twice counts once.
    pub fn is_about(&mut self, event: u64) {
        self.about = event;
    }
}

/// What became of a request, as far as the gate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The vendor took it.
    Success,
    /// 429.
    Throttled,
    /// No connection, no answer in time, or a 5xx.
    Trouble,
    /// The key is wrong or the account is off.
    Unauthorized,
    /// The vendor answered that it will never take this event.
    Rejected,
    /// The vendor is there and answered; the answer decides about no event.
    Undecided,
    /// Nothing was sent, or the answer says nothing about the vendor.
    Neutral,
}

/// A destination's gate.
#[derive(Debug)]
pub struct Gate {
    limits: Vec<Limit>,
    concurrency: Concurrency,
    probe_out: bool,
    paused: Option<Paused>,
    pauses: Pauses,
    learned: Learned,
    /// What the answer that comes next said.
    said: String,
    /// What kept the last request from being answered well, where the vendor was in trouble or not there.
    trouble: Option<Words>,
    /// What held back the last request that had to wait, and until when, as far as that is known.
    held: Option<(HeldBy, Instant)>,
    /// When the next place was said to come.
    place_due: Option<Instant>,
    /// None where all limits are by the day.
    pacer: Option<Pacer>,
    /// A place of the pacer's that was taken and not used yet.
    in_hand: bool,
    places: Places,
    /// When the last permit was given, or the gate made.
    last: Instant,
    days: DayCount,
    /// Where the day's count is booked ahead: up to where.
    booked: Option<Booked>,
    carry_much: bool,
    /// When the spent day budget is there again.
    budget_back: Option<Instant>,
    remaining: Remaining,
}

impl Gate {
    /// A gate that goes on from `ledger`. It starts drained: the first place comes one period and a moment after `now`.
    #[must_use]
    pub fn new(limits: &[Limit], policy: Policy, ledger: &Ledger, now: Instant, wall: Timestamp) -> Self {
        let closed_for = ledger.closed_until.map(|until| span(wall, until)).filter(|left| !left.is_zero());
        let mut gate = Self {
            limits: limits.to_vec(),
            concurrency: Concurrency::new(policy.concurrency, now),
            probe_out: false,
            paused: ledger.pause(wall),
            pauses: Pauses::new(&policy, closed_for.map(|left| (left, ledger.closed_why.clone())), now),
            learned: Learned::new(ledger.learned, now),
            said: String::new(),
            trouble: None,
            held: None,
            place_due: None,
            pacer: None,
            in_hand: false,
            places: Places::new(policy.carry_much),
            last: now,
            days: DayCount::restored(ledger, policy.day_starts, wall),
            booked: None,
            carry_much: policy.carry_much,
            budget_back: None,
            remaining: Remaining::default(),
        };
        gate.places.keep_to(limits);
        gate.learned.set_pace(quota::rate(limits), now);
        // The places of the gate before this one are not known: its last requests and the first of this one share windows.
        gate.pace_from(now + CATCH_UP * 2 + JITTER);
        gate.check_budget(now, wall);
        gate
    }

    /// Asks for one place. After [`Pass::Go`] the request must be sent at once: its place in the quota is now.
    pub fn pass(&mut self, now: Instant, wall: Timestamp) -> Pass {
        if self.paused.is_some() {
            return Pass::Shut;
        }
        if self.pauses.closed().is_none() && self.learned.grow(now) {
            self.pace_from(self.last);
        }
        self.check_budget(now, wall);
        self.concurrency.gate_is_closed(self.pauses.closed().is_some(), now);
        let probe = match self.pauses.closed() {
            Some(closed) if closed.until > now => return Pass::Wait(closed.until),
            Some(_) if self.probe_out => return Pass::Full,
            // What is in flight tells first.
            _ if self.pauses.suspects() && self.concurrency.in_flight() > 0 => return Pass::Full,
            closed => closed.is_some(),
        };
        if self.concurrency.in_flight() >= self.concurrency.bound(self.pace(), now) {
            self.held = Some((self.held_by_concurrency(), now));
            return self.concurrency.reached(self.pace(), now).map_or(Pass::Full, Pass::Wait);
        }
        if let Some((held, until)) = self.no_quota_before(now, wall) {
            self.held = Some((held, until));
            return Pass::Wait(until);
        }
        if self.is_unbooked() {
            return Pass::Full;
        }
        self.note_lateness(now);
        self.places.set_aside_unwritten();
        if self.places.awaits_answer() {
            self.held = Some((self.held_by_quota(), now));
            return Pass::Full;
        }
        if let Some(until) = self.no_place_before(now) {
            self.held = Some((self.held_by_quota(), until));
            self.place_due = Some(until);
            return Pass::Wait(until);
        }
        Pass::Go(self.take_place(probe, now, wall))
    }

    fn take_place(&mut self, probe: bool, now: Instant, wall: Timestamp) -> Permit {
        self.in_hand = false;
        let written = WrittenAt::default();
        let place = self.places.take(written.clone());
        self.pauses.sent(place);
        self.concurrency.sent(now);
        self.learned.sent(now);
        self.probe_out |= probe;
        self.last = now;
        self.days.used += 1;
        self.check_budget(now, wall);
        Permit { probe, written, epoch: self.pauses.epoch(), place, at: now, about: place }
    }

    /// A timer that was late tells of a busy machine, on which requests may be late too.
    fn note_lateness(&mut self, now: Instant) {
        if let Some(late) = self.place_due.take().and_then(|due| now.checked_duration_since(due)) {
            self.places.was_late(late, now);
        }
    }

    /// The request of that permit has a body of so many bytes. A large one may be counted as late as its answer: its place is taken
    /// until then.
    pub fn carries(&mut self, permit: &Permit, bytes: usize) {
        self.concurrency.note(bytes);
        if bytes > LARGE_BYTES {
            self.places.late(permit.place);
        }
    }

    /// What the answer said that [`Gate::finished`] is told of next, as a masked sentence: it becomes part of why the gate closes, where it
    /// does.
    pub fn said(&mut self, sentence: &str) {
        self.pauses.said(sentence);
        sentence.clone_into(&mut self.said);
    }

    /// Takes a permit back, with what became of its request.
    pub fn finished(&mut self, permit: Permit, answer: Answer, hints: &Hints, now: Instant, wall: Timestamp) {
        let (was_open, broken) = self.was_open();
        self.probe_out &= !permit.probe;
        if answer != Answer::Neutral || !self.said.is_empty() {
            self.pauses.heard(permit.probe, wall);
        }
        self.places.answered(permit.place, now);
        self.concurrency.finished(!matches!(answer, Answer::Neutral | Answer::Trouble), self.pace(), now);
        self.pauses.answered(&permit, answer, hints, now);
        self.pauses.settle_doubt(self.concurrency.in_flight(), now);
        if answer == Answer::Throttled {
            self.learned.refused(permit.at);
        } else if answer == Answer::Success && was_open {
            self.learned.accepted();
        }
        match (was_open, self.pauses.closed().map(|closed| closed.cause)) {
            (true, Some(CloseCause::Throttled)) => self.learned.closed(self.last, now),
            (false, None) => self.opened(broken, now),
            _ => {}
        }
        self.concurrency.gate_is_closed(self.pauses.closed().is_some(), now);
        self.note_trouble(answer, wall);
        self.heed_quota(answer, hints, now);
        self.check_budget(now, wall);
    }

    fn note_trouble(&mut self, answer: Answer, wall: Timestamp) {
        let said = std::mem::take(&mut self.said);
        match answer {
            Answer::Trouble => self.trouble = Some(Words::new(&said, wall)),
            Answer::Neutral => {}
            Answer::Success | Answer::Throttled | Answer::Unauthorized | Answer::Rejected | Answer::Undecided => {
                self.trouble = None
            }
        }
    }

    /// Whether it is open as far as answers go, and whether it is broken.
    fn was_open(&self) -> (bool, bool) {
        let cause = self.pauses.closed().map(|closed| closed.cause);
        (cause.is_none(), cause == Some(CloseCause::Broken))
    }

    /// An answer opened it.
    fn opened(&mut self, was_broken: bool, now: Instant) {
        if was_broken {
            self.concurrency.restart(now);
        }
        if self.learned.opened(now) {
            self.pace_from(self.last);
        }
    }

    /// Parks it for a reason of the destination's own, as when no token can be had; a probe is due after `wait`.
    pub fn park(&mut self, why: &str, wait: Duration, now: Instant) {
        self.pauses.park(why, wait, now);
    }

    /// Parks it for events in a row that our own check refused, until [`Gate::resume`].
    pub fn park_for_invalid(&mut self, why: &str, now: Instant) {
        self.pauses.park_for_invalid(why, now);
    }

    /// Closes it for trouble that is not an answer to a request for events, as when no token can be had; a probe is due after `wait`.
    pub fn break_off(&mut self, why: &str, wait: Duration, now: Instant) {
        self.pauses.break_off(why, wait, now);
    }

    /// So many events proved to be rejected, after the vendor had accepted them; it said so at `wall`.
    pub fn rejected(&mut self, events: u64, said: &str, now: Instant, wall: Timestamp) {
        self.pauses.said(said);
        self.pauses.heard(false, wall);
        self.pauses.rejected(u32::try_from(events).unwrap_or(u32::MAX), now);
    }

    /// How many single calls can be spared for what waits now: those of the next two seconds, and no more than the day's
    /// budget has to spare where it is spent evenly.
    #[must_use]
    pub fn spare(&self, now: Instant, wall: Timestamp) -> usize {
        let soon = self.pace().map_or(usize::MAX, |pace| whole(pace * SPARE.as_secs_f64()));
        let today = self.day_limit_if_even().map_or(usize::MAX, |limit| self.days.ahead(limit, wall));
        if self.spreading(now).is_some() { 1 } else { soon.min(today) }
    }

    /// Lets nothing through until [`Gate::resume`], or until it ends by itself.
    pub fn pause(&mut self, how: Paused) {
        self.paused = Some(how);
    }

    /// Ends a pause whose time is over; whether it was.
    pub fn end_pause(&mut self, now: Instant, wall: Timestamp) -> bool {
        let is_over = self.paused.as_ref().is_some_and(|pause| pause.is_over(wall));
        if is_over {
            self.resume(now);
        }
        is_over
    }

    /// Ends an operator's pause and goes on, drained, with whatever was beneath it. Without a pause it ends every closing but
    /// that of the day's budget: after events that our own check refused the gate opens, else a probe goes out at once.
    pub fn resume(&mut self, now: Instant) {
        if self.paused.take().is_some() {
            return self.pace_from(now);
        }
        if self.remaining.forget(now) && self.pauses.closed().is_none() {
            let why = "an operator resumed it, against the vendor's headers: a probe tells whether they hold";
            self.pauses.hold_back(why, now);
        }
        let (was_open, broken) = self.was_open();
        self.pauses.resume(now);
        if !was_open && self.was_open().0 {
            self.opened(broken, now);
        }
    }

    /// Changes the limits, live. The new pace starts drained; what was used of the day stays used. Nothing happens
    /// when they are the same.
    pub fn set_limits(&mut self, limits: &[Limit], now: Instant, wall: Timestamp) {
        if self.limits != limits {
            self.limits = limits.to_vec();
            self.places.keep_to(limits);
            self.learned.set_pace(quota::rate(limits), now);
            self.pace_from(now);
            self.check_budget(now, wall);
        }
    }

    /// Changes how many requests may be in flight at once, or lets it find that by itself; those that are stay valid.
    pub fn set_concurrency(&mut self, concurrency: Option<usize>) {
        self.concurrency.set(concurrency);
    }

    /// How many requests may soon be in flight at once: as much has to be at hand.
    #[must_use]
    pub fn concurrency_soon(&self) -> usize {
        self.concurrency.soon(self.pace_about())
    }

    /// What has to outlive this gate.
    #[must_use]
    pub fn ledger(&self, now: Instant, wall: Timestamp) -> Ledger {
        let refused_until = self.pauses.closed().filter(|closed| closed.cause == CloseCause::Throttled);
        let until =
            refused_until.map(|closed| closed.until).max(self.remaining.empty_until).filter(|until| *until > now);
        Ledger {
            day: self.days.day,
            used: self.days.used,
            closed_until: until.map(|until| later(wall, until - now)),
            closed_why: refused_until.map(|closed| closed.why.clone()),
            learned: self.learned.share(),
            paused: self.paused.is_some(),
            pause: self.paused.clone(),
        }
    }

    /// Whether it will let nothing through for so long that no delivery should be held meanwhile: paused, parked,
    /// or closed, or without quota, for more than 30 s. [`Gate::opens_at`] says when to take up one again.
    #[must_use]
    pub fn closed_for_long(&self, now: Instant) -> bool {
        let parked = self.pauses.closed().is_some_and(|closed| closed.cause.parks());
        parked || self.opens_at(now).is_none_or(|at| at.saturating_duration_since(now) > LONG)
    }

    /// The earliest time at which a place can be had, pacing and permits in flight aside: `now` when it is open or a
    /// probe is due, `None` while an operator's pause lasts.
    #[must_use]
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        let closed_until = self.pauses.closed().map(|closed| closed.until);
        let at = closed_until.max(self.remaining.empty_until).max(self.budget_back).map_or(now, |at| at.max(now));
        self.paused.is_none().then_some(at)
    }

    /// When there is quota again, where there is none, and why: used up as the vendor says or by the day, or spread thin.
    fn no_quota_before(&self, now: Instant, wall: Timestamp) -> Option<(HeldBy, Instant)> {
        let spread = self.spreading(now).map(|spread| spread.until.min(self.last + spread.spacing));
        let vendors = self.remaining.empty_until.max(spread).map(|until| (HeldBy::Remaining, until));
        let days = self.budget_back.max(self.ahead_until(now, wall)).map(|until| (HeldBy::Day, until));
        [vendors, days].into_iter().flatten().filter(|(_, until)| *until > now).max_by_key(|(_, until)| *until)
    }

    fn held_by_quota(&self) -> HeldBy {
        if self.learned.share() < 1.0 { HeldBy::Learned } else { HeldBy::Quota }
    }

    fn held_by_concurrency(&self) -> HeldBy {
        if self.concurrency.is_fixed() { HeldBy::Concurrency } else { HeldBy::Latency }
    }

    /// When there is a place, where there is none now: by the pace, and by the places taken in the last second. The pacer takes
    /// its place as it looks, so one that cannot be used at once stays in hand.
    fn no_place_before(&mut self, now: Instant) -> Option<Instant> {
        let full = self.places.none_before(now);
        if !self.in_hand
            && let Some(Err(until)) = self.pacer.as_ref().map(|pacer| pacer.take(now))
        {
            return Some(full.map_or(until, |full| full.max(until)));
        }
        self.in_hand = true;
        full
    }

    fn spreading(&self, now: Instant) -> Option<Spread> {
        self.remaining.spreading(now)
    }

    fn heed_quota(&mut self, answer: Answer, hints: &Hints, now: Instant) {
        let refused = matches!(answer, Answer::Throttled | Answer::Trouble);
        let Some(quota) = hints.quota.filter(|_| !(refused && hints.retry_after.is_some())) else { return };
        self.remaining.heed(&quota, self.pacer.as_ref().map(Pacer::period), now);
    }

    /// A new pacer, at the learned share of the limits' pace, whose first place comes one period after `from`. It
    /// must not be earlier than the last place taken: then no window sees more than its limit across the change.
    fn pace_from(&mut self, from: Instant) {
        let period = quota::period(&self.limits).map(|period| period.mul_f64(1.0 / self.learned.share()));
        self.pacer = period.map(|period| Pacer::drained(period, from));
        self.in_hand = false;
    }

    fn check_budget(&mut self, now: Instant, wall: Timestamp) {
        self.days.roll(wall);
        let spent = self.day_limit().is_some_and(|limit| self.days.used >= limit);
        self.budget_back = spent.then(|| now + self.days.left(wall));
    }
}
