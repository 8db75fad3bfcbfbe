//! From an answer to a settlement: what the vendor meant, what the gate makes of it, what becomes of the event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;

use super::attempt::{Attempted, Errand, Exchange};
use super::hold::Mood;
use super::intake::{Held, Pending};
use super::line::Load;
use super::rule::{self, Next, REFUSED_ALONE, Standing, Whose, delay, was_refused_alone};
use super::{Driver, batch, before, outcome};
use crate::broker::port::Delivery;
use crate::clock;
use crate::delivery::Trouble;
use crate::gate::{Answer, Doubt, Permit, State, hints, is_used_up};
use crate::record::history::{Attempt, Watched};
use crate::vendors::{Before, Item, Reply, Vendor};
use crate::verdict::{Reason, Settlement, Verdict};

/// An event that failed with others waits no longer than that before it is sent again.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// An attempt as it was judged.
#[derive(Debug)]
pub(super) struct Ruling<'a> {
    pub verdict: &'a Verdict,
    /// The verdict's, masked.
    pub sentence: &'a str,
    pub record: &'a Attempt,
    pub whose: Whose,
    /// The destination was parked before the answer came.
    pub parked: bool,
}

impl Ruling<'_> {
    fn is_unauthorized(&self) -> bool {
        matches!(self.verdict, Verdict::Unauthorized(_))
    }

    fn is_trouble(&self) -> bool {
        matches!(self.verdict, Verdict::Unavailable(_) | Verdict::Throttled(_))
    }
}

impl Driver {
    /// Judges an attempt, tells the gate, and does what follows from it.
    pub(super) fn judge(&mut self, attempted: Attempted) {
        let Attempted { errand, permit, exchange } = attempted;
        if let Errand::Events(load) = &errand
            && let Some(lane) = load.lane()
        {
            self.lanes.answered(lane, clock::now());
        }
        self.next_place = None;
        match &exchange.result {
            None => return self.take_back(errand, permit),
            Some(Err(trouble @ Trouble::Machine { .. })) => return self.not_sent(&trouble.to_string(), errand, permit),
            Some(_) => self.machine.went_well(),
        }
        self.metrics.attempt(exchange.status());
        self.metrics.request_duration.observe(exchange.took.as_secs_f64());
        self.recent.answered(exchange.status(), exchange.took);
        match errand {
            Errand::Events(load) => self.events_answered(load, permit, &exchange),
            Errand::Token => self.token_answered(permit, &exchange),
            Errand::Lookup(name) => self.lookup_answered(&name, permit, &exchange),
            Errand::Job(job) => self.job_answered(&job, permit, &exchange),
            Errand::Credentials => self.credentials_tried(permit, &exchange),
        }
        self.end_doubts();
    }

    /// What the vendor or the network said, its sentence masked, and what the gate should make of it. A token that proves to have been
    /// revoked or to have ended is not the account's trouble: the gate hears nothing of it, and a new one is had, unless that was
    /// done `again` for the same request.
    pub(super) fn verdict(&mut self, exchange: &Exchange, again: bool, before: &Before) -> (Verdict, String, Answer) {
        let (vendor, request) = (self.settings.vendor.as_ref(), &exchange.request);
        let verdict = match &exchange.result {
            Some(Ok(reply)) => {
                let verdict = read(vendor, request, &reply.without_secrets(request), before);
                as_limit(verdict, reply)
            }
            Some(Err(trouble)) => Verdict::Unavailable(trouble.to_string()),
            None => Verdict::Unavailable("given up".to_owned()),
        };
        let sentence = said(&verdict).map(|said| exchange.masked(said)).unwrap_or_default();
        self.gate.said(&sentence);
        let mut told = answer(&verdict);
        if let (Some(tokens), Some(generation)) = (self.tokens.as_mut(), exchange.generation) {
            if told == Answer::Success {
                tokens.accepted(generation);
            } else if told == Answer::Unauthorized && !again && tokens.refused(generation, clock::now()) {
                told = Answer::Neutral;
            }
        }
        if told == Answer::Throttled {
            self.metrics.throttled.inc();
        }
        (verdict, sentence, told)
    }

    fn events_answered(&mut self, mut load: Load, permit: Permit, exchange: &Exchange) {
        let alone = if let [pending] = load.events.as_slice() { Some(pending) } else { None };
        // Refused before while others were taken, it tells nothing of the account or of its token; nor does a part of what was.
        let was_alone = load.events.iter().all(|pending| was_refused_alone(&pending.history));
        let is_odd = (was_alone || load.calls_left.is_some()) && self.gate.doubt() == Doubt::None;
        let again = is_odd || load.events.iter().any(|pending| pending.token_refused);
        let before = alone.map(|pending| before::of(&pending.history, exchange.at)).unwrap_or_default();
        let (verdict, sentence, told) = self.verdict(exchange, again, &before);
        let renewing = told == Answer::Neutral;
        load.events.iter_mut().for_each(|pending| pending.token_refused = renewing);
        let several = load.events.len() > 1;
        let refused = told == Answer::Rejected;
        let is_odd_part = several && is_odd && told == Answer::Unauthorized;
        let parked = self.gate.state_beneath() == State::Parked;
        let stale = if refused { self.stale(&load) } else { None };
        let reply = exchange.reply().filter(|_| told == Answer::Success);
        let items: Vec<&Item> = load.events.iter().map(|pending| &pending.item).collect();
        let job = reply.and_then(|reply| self.settings.vendor.job(reply, &items));
        let each = reply.and_then(|reply| self.settings.vendor.judge_each(reply, &items));
        // What was accepted may yet be rejected.
        let undecided = (several && refused) || stale.is_some() || job.is_some();
        let told = if undecided {
            Answer::Undecided
        } else if is_odd && told == Answer::Unauthorized {
            Answer::Neutral
        } else {
            each.as_deref().map_or(told, answer_of)
        };
        let key = load.key();
        let mut whose = self.tell_of_events(&load, permit, told, &sentence, exchange);
        if matches!(verdict, Verdict::Throttled(_)) || renewing || (is_odd && parked) {
            whose = Whose::Vendors;
        } else if matches!(verdict, Verdict::Unauthorized(_)) {
            whose = self.whose_refusal(told, key);
        }
        if !matches!(verdict, Verdict::Delivered | Verdict::Accepted) {
            let record = exchange.record(&verdict, &sentence);
            load.events.iter_mut().for_each(|pending| pending.history.add(record.clone()));
        }
        if let Some(name) = stale {
            return self.check_again(&name, load);
        }
        if several && (refused || is_odd_part) && !parked {
            return self.split(load, &verdict, &sentence);
        }
        if let Some(job) = job {
            return self.accepted(job, load);
        }
        if let Some(each) = each {
            if told == Answer::Rejected {
                // The gate has heard of one.
                self.gate.rejected(u64::try_from(each.len()).unwrap_or(u64::MAX).saturating_sub(1), clock::now());
            }
            return self.each_answered(load, each, self.whose_refusal(told, key), exchange);
        }
        // One that is refused, or that the vendor chokes on, must not take those that travel with it along.
        if several && whose == Whose::Events && (told == Answer::Unauthorized || self.chokes_on(&load, &verdict)) {
            return self.split(load, &verdict, &sentence);
        }
        let record = exchange.record(&verdict, &sentence);
        self.follow(load, &Ruling { verdict: &verdict, sentence: &sentence, record: &record, whose, parked });
    }

    /// Whether one of these may be what the vendor chokes on, and they are not to be sent together again.
    fn chokes_on(&mut self, load: &Load, verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Unavailable(_))
            && load.may_be_split()
            && (load.calls_left.is_some() || !self.rests(load))
    }

    /// What was looked up for these events and may have changed since.
    fn stale(&self, load: &Load) -> Option<String> {
        let first = load.events.first()?;
        let name = first.item.lookup.as_ref()?;
        // Once is enough for an event: else it would go in circles.
        let checked = first.delivery.ticket.was_checked_again();
        (!checked && self.lookups.may_have_changed(name, first.taken)).then(|| name.clone())
    }

    /// What was looked up for these events may have changed: it is looked up anew, and they are checked against it. What was checked
    /// against the same waits with them, so that nothing overtakes.
    fn check_again(&mut self, name: &str, load: Load) {
        let waiting = self.line.take_out(|pending| pending.item.lookup.as_deref() == Some(name));
        let mut rejected = load.events;
        rejected.iter_mut().for_each(|pending| pending.delivery.ticket.check_again());
        for pending in rejected.into_iter().chain(waiting) {
            self.lookups.need(name.to_owned(), carrying_history(*pending), clock::now());
        }
    }

    /// The vendor accepted events as a job, whose end has to be seen.
    fn accepted(&mut self, id: String, mut load: Load) {
        let job = Watched { id, rows: u64::try_from(load.events.len()).unwrap_or(u64::MAX), since: clock::wall() };
        tracing::debug!(destination = self.settings.name, job = job.id, events = job.rows, "accepted");
        load.events.iter_mut().for_each(|pending| pending.history.job = Some(job.clone()));
        self.watch(&job, load.events, true);
    }

    /// Each event has an answer of its own; `refusal` tells whose trouble it is where one says that its credentials are refused.
    fn each_answered(&mut self, load: Load, each: Vec<Verdict>, refusal: Whose, exchange: &Exchange) {
        let unnamed = || Verdict::Rejected("the vendor's answer does not tell what became of this one".to_owned());
        let verdicts = each.into_iter().map(Some).chain(std::iter::repeat(None));
        let calls_left = load.calls_left;
        // In turn from the end, so that those that wait go first again in their order.
        let events: Vec<_> = load.events.into_iter().zip(verdicts).collect();
        for (mut pending, verdict) in events.into_iter().rev() {
            let verdict = verdict.unwrap_or_else(unnamed);
            let sentence = said(&verdict).map(|said| exchange.masked(said)).unwrap_or_default();
            let record = exchange.record(&verdict, &sentence);
            if !matches!(verdict, Verdict::Delivered | Verdict::Accepted) {
                pending.history.add(record.clone());
            }
            let load = Load { events: vec![pending], calls_left: calls_left.clone() };
            let whose = match verdict {
                Verdict::Unauthorized(_) => refusal,
                Verdict::Throttled(_) => Whose::Vendors,
                Verdict::Delivered
                | Verdict::Accepted
                | Verdict::Unavailable(_)
                | Verdict::TooLarge(_)
                | Verdict::Rejected(_) => Whose::Events,
            };
            let ruling = Ruling { verdict: &verdict, sentence: &sentence, record: &record, whose, parked: false };
            self.follow(load, &ruling);
        }
    }

    /// What becomes of events that share a verdict.
    pub(super) fn follow(&mut self, mut load: Load, ruling: &Ruling<'_>) {
        let lane = load.lane().map(str::to_owned);
        let in_doubt = ruling.is_unauthorized()
            && ruling.whose == Whose::Vendors
            && match self.gate.doubt() {
                Doubt::Few | Doubt::Alone => true,
                Doubt::Account => load.events.iter().any(|event| self.gate.doubts(event.key)),
                Doubt::None => false,
            };
        if in_doubt && load.events.len() > 1 {
            // They stay together, to be halved where others are taken.
            let calls = batch::calls_to_split(load.events.len());
            load.calls_left = load.calls_left.or_else(|| Some(Arc::new(AtomicU32::new(calls))));
        }
        let alone = load.events.len() == 1;
        let (mut first, mut behind, calls_left) = (Vec::new(), Vec::new(), load.calls_left);
        for mut pending in load.events {
            pending.refused = in_doubt;
            pending.failed |= ruling.is_trouble();
            match self.rule(&mut pending, ruling, alone) {
                Next::Wait { first: true } => first.push(pending),
                // Closed for long, few are held: those that always fail must not be all of them. A copy of what was replayed would be
                // taken for another replay.
                Next::Wait { first: false }
                    if lane.is_none()
                        && calls_left.is_none()
                        && !pending.replay
                        && self.mood == Mood::Closed
                        && self.gate.state_beneath() == State::Broken =>
                {
                    let Pending { delivery, history, .. } = *pending;
                    let bytes = delivery.message.body.len();
                    self.settle_meanwhile(bytes, Arc::clone(&self.desk).send_behind(delivery, history));
                }
                Next::Wait { first: false } => {
                    // Not the same again at once.
                    if let Some(lane) = &lane {
                        self.lanes.rest(lane, clock::now());
                    } else if ruling.is_trouble() {
                        let pause = delay(&self.settings.retry.delays, pending.troubles.saturating_sub(1));
                        pending.rests_until = Some(clock::now() + pause.min(LONGEST_REST));
                    }
                    behind.push(pending);
                }
                Next::Settle(settlement) => self.settle_ruled(pending, settlement, ruling),
            }
        }
        if !first.is_empty() {
            self.line.put_back(Load { events: first, calls_left: calls_left.clone() });
        }
        if !behind.is_empty() {
            self.line.send_behind(Load { events: behind, calls_left });
        }
    }

    /// How an event goes on that was sent `alone` or with others.
    fn rule(&mut self, pending: &mut Pending, ruling: &Ruling<'_>, alone: bool) -> Next {
        let Ruling { verdict, sentence, record, mut whose, parked } = *ruling;
        if alone && ruling.is_trouble() {
            // Nothing else is here to tell: it is sent again after its own delays.
            let lonely = pending.odd.failed_again() && self.waits() == 0 && self.attempts.is_empty();
            if pending.odd.failed(self.gate.last_taken(), self.gate.last_place()) || lonely {
                whose = Whose::Events;
            }
        }
        if ruling.is_trouble() || ruling.is_unauthorized() {
            pending.troubles = pending.troubles.saturating_add(1);
        }
        let (history, retry) = (&pending.history, &self.settings.retry);
        // Where nothing went well since, it may be an outage, which costs no event.
        let well_since = |since: &Timestamp| self.went_well.is_some_and(|well| well > *since);
        let failing_since = history.failing_since.filter(well_since);
        let standing = Standing { whose, parked, history, failing_since, retry, wall: clock::wall() };
        let mut next = rule::next(verdict, sentence, &standing);
        // What follows in its lane must not overtake it for a trouble of a moment.
        if let (Next::Settle(Settlement::RetryLater(_)), Some(lane)) = (&next, pending.item.lane.as_deref())
            && !ruling.is_unauthorized()
            && self.lanes.rest(lane, clock::now())
        {
            next = Next::Wait { first: true };
        }
        outcome::attempted(&mut self.recent, &self.settings.name, &pending.tag, record, history.retries, &next);
        next
    }

    fn settle_ruled(&mut self, mut pending: Held, settlement: Settlement, ruling: &Ruling<'_>) {
        match settlement {
            Settlement::Ack => {
                self.delivered(&pending, clock::wall());
                pending.item.lane.iter().for_each(|lane| self.lanes.went_well(lane));
            }
            Settlement::RetryLater(_) => {
                if ruling.is_unauthorized()
                    && let Some(attempt) = pending.history.attempts.last_mut()
                {
                    REFUSED_ALONE.clone_into(&mut attempt.verdict);
                }
                pending.history.spend(ruling.record.at);
            }
            Settlement::DeadLetter(..) | Settlement::Release => {}
        }
        self.settle(*pending, settlement);
    }

    /// Whether the load's lane rests now, so that the load can go first again.
    fn rests(&mut self, load: &Load) -> bool {
        load.lane().is_some_and(|lane| self.lanes.rest(lane, clock::now()))
    }

    /// Events that were refused together are sent again in two halves, to find the bad ones.
    pub(super) fn split(&mut self, load: Load, verdict: &Verdict, sentence: &str) {
        let count = load.events.len();
        let calls_left = load.calls_left.clone();
        let calls_left = calls_left.unwrap_or_else(|| Arc::new(AtomicU32::new(batch::calls_to_split(count))));
        let left = calls_left.load(Ordering::Relaxed);
        if left >= 2 {
            calls_left.store(left - 2, Ordering::Relaxed);
            tracing::debug!(
                destination = self.settings.name,
                events = count,
                said = sentence,
                "refused together; halved"
            );
            return self.line.split(load, calls_left);
        }
        let reason = if matches!(verdict, Verdict::TooLarge(_)) { Reason::TooLarge } else { Reason::Rejected };
        let sentence = format!(
            "{sentence}; it was refused together with {} others, and no more calls are spent on finding out which are bad: it may be good",
            count - 1
        );
        for pending in load.events {
            outcome::undeliverable(&mut self.recent, &self.settings.name, &pending.tag, reason, &sentence);
            self.settle(*pending, Settlement::DeadLetter(reason, sentence.clone()));
        }
    }

    /// Counts an event as delivered, and remembers it.
    pub(super) fn delivered(&mut self, pending: &Pending, wall: Timestamp) {
        self.metrics.delivered.inc();
        let latency = pending.tag.time.until(wall).as_secs_f64();
        self.metrics.delivery_latency.observe(latency.max(0.0));
        self.remember(pending);
    }

    /// An attempt that was given up says nothing of the vendor, and its events have not had their turn.
    pub(super) fn take_back(&mut self, errand: Errand, permit: Permit) {
        if let Errand::Events(load) = &errand
            && let Some(lane) = load.lane()
        {
            self.lanes.answered(lane, clock::now());
        }
        self.give_up(permit);
        match errand {
            Errand::Events(load) => self.line.put_back(load),
            Errand::Lookup(name) => self.lookups.unanswered(&name, clock::now()),
            Errand::Job(job) => self.jobs.goes_on(&job, clock::now()),
            Errand::Token | Errand::Credentials => {}
        }
    }

    /// Whether this very event was delivered a moment ago: the broker lost its ack.
    pub(super) fn was_delivered(&self, pending: &Pending) -> bool {
        pending.delivery.redelivered && key(pending).is_some_and(|key| self.delivered.contains(&key))
    }

    fn remember(&mut self, pending: &Pending) {
        if let Some(key) = key(pending) {
            self.delivered.put(key, ());
        }
    }
}

/// Tells one event from every other. None where the producer gave no id: equal content may then be two events.
fn key(pending: &Pending) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let message = &pending.delivery.message;
    let structured = message.properties.content_type.as_deref().is_some_and(|kind| kind.contains("cloudevents"));
    let named = structured
        || message.properties.message_id.as_deref().is_some_and(|id| !id.is_empty())
        || message.properties.headers.keys().any(|name| name.to_ascii_lowercase().starts_with("cloudevents"));
    named.then(|| {
        let mut hasher = DefaultHasher::new();
        (&pending.tag.id, &pending.tag.source, &pending.tag.kind, &message.body).hash(&mut hasher);
        hasher.finish()
    })
}

/// The delivery with what happened to it so far, to be checked anew.
pub(super) fn carrying_history(pending: Pending) -> Delivery {
    let Pending { mut delivery, history, .. } = pending;
    delivery.message = history.write(&delivery.message);
    delivery
}

/// The sentence in a verdict.
fn said(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Unavailable(said)
        | Verdict::Unauthorized(said)
        | Verdict::Throttled(said)
        | Verdict::TooLarge(said)
        | Verdict::Rejected(said) => Some(said),
        Verdict::Delivered | Verdict::Accepted => None,
    }
}

/// The vendor's reading of an answer. A panic there is our bug: the vendor may have taken the event, so it is not sent
/// again but becomes a dead letter for a person to look at, and many in a row park the destination.
fn read(vendor: &dyn Vendor, request: &Request<Bytes>, reply: &Reply, before: &Before) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| vendor.judge_after(request, reply, before))).unwrap_or_else(|_| {
        let status = reply.status.as_u16();
        Verdict::Rejected(format!("Sluice failed on the vendor's answer {status}; this is a bug in Sluice"))
    })
}

/// What the gate learns from verdicts on each of several events.
fn answer_of(each: &[Verdict]) -> Answer {
    let any = |wanted: Answer| each.iter().any(|verdict| answer(verdict) == wanted);
    let of_weight = [Answer::Throttled, Answer::Success, Answer::Trouble, Answer::Unauthorized];
    of_weight.into_iter().find(|wanted| any(*wanted)).unwrap_or(Answer::Rejected)
}

/// What the gate learns from a verdict.
pub(super) fn answer(verdict: &Verdict) -> Answer {
    match verdict {
        Verdict::Delivered | Verdict::Accepted => Answer::Success,
        Verdict::Throttled(_) => Answer::Throttled,
        Verdict::Unavailable(_) => Answer::Trouble,
        Verdict::Unauthorized(_) => Answer::Unauthorized,
        Verdict::TooLarge(_) | Verdict::Rejected(_) => Answer::Rejected,
    }
}

/// A 403 that says when to come again, or that a quota is used up, is a limit, not a wrong key.
fn as_limit(verdict: Verdict, reply: &Reply) -> Verdict {
    let forbidden = reply.status == StatusCode::FORBIDDEN;
    if let (Verdict::Unauthorized(said), true) = (&verdict, forbidden)
        && is_limit(reply)
    {
        return Verdict::Throttled(said.clone());
    }
    verdict
}

fn is_limit(reply: &Reply) -> bool {
    let hints = hints(&reply.headers, clock::wall());
    hints.retry_after.is_some()
        || hints.quota.is_some_and(|quota| quota.remaining == Some(0))
        || is_used_up(&reply.headers)
}
