//! Judges an answer: what the vendor meant, what the gate learns, and what becomes of the event.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use http::{Request, StatusCode};

use super::attempt::{Attempted, Exchange, Purpose};
use super::check::Pending;
use super::follow::Judgement;
use super::ready_queue::Batch;
use super::rule::{Fault, was_refused_alone};
use super::{Driver, earlier, outcome};
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::delivery::Trouble;
use crate::gate::{Answer, Doubt, GateState, Permit, hints, is_used_up};
use crate::record::history::Watched;
use crate::vendors::{EarlierAttempts, Item, Reply, Vendor};
use crate::verdict::Verdict;

impl Driver {
    /// Judges an attempt, tells the gate, and does what follows from it.
    pub(super) fn judge(&mut self, attempted: Attempted) {
        let Attempted { purpose, permit, exchange } = attempted;
        if let Purpose::Events(batch) = &purpose {
            self.bulk.in_flight = self.bulk.in_flight.saturating_sub(usize::from(batch.class() == Class::Bulk));
            self.dispatch.came_back(batch);
        }
        self.dispatch.ask_gate_again();
        match &exchange.result {
            None => return self.take_back(purpose, permit),
            Some(Err(trouble @ Trouble::Machine { .. })) => {
                return self.not_sent(&trouble.to_string(), purpose, permit);
            }
            Some(_) => self.dispatch.machine.went_well(),
        }
        self.report.metrics.attempt(exchange.status());
        if exchange.status().is_none_or(|status| !status.is_success()) {
            self.report.metrics.failed(exchange.status());
        }
        self.report.metrics.request_duration.observe(exchange.took.as_secs_f64());
        self.report.recent.answered(exchange.status(), exchange.took);
        match purpose {
            Purpose::Events(batch) => self.events_answered(batch, permit, &exchange),
            Purpose::Token => self.token_answered(permit, &exchange),
            Purpose::Lookup(name) => self.lookup_answered(&name, permit, &exchange),
            Purpose::Job(job) => self.job_answered(&job, permit, &exchange),
            Purpose::Credentials => self.credentials_tried(permit, &exchange),
        }
        self.end_doubts();
    }

    /// What the vendor or the network said, its sentence masked, and what the gate should make of it. A token that proves to have been
    /// revoked or to have ended is not the account's trouble: the gate hears nothing of it, and a new one is had, unless that was
    /// done `again` for the same request.
    pub(super) fn verdict(
        &mut self,
        exchange: &Exchange,
        again: bool,
        before: &EarlierAttempts,
    ) -> (Verdict, String, Answer) {
        let (vendor, request) = (self.settings.vendor.as_ref(), &exchange.request);
        let verdict = match &exchange.result {
            Some(Ok(reply)) => {
                let verdict = read(vendor, request, &reply.without_secrets(request), before);
                as_limit(verdict, reply)
            }
            Some(Err(trouble)) => Verdict::Unavailable(trouble.to_string()),
            None => Verdict::Unavailable("given up".to_owned()),
        };
        let sentence = sentence_of(&verdict).map(|said| exchange.masked(said)).unwrap_or_default();
        self.dispatch.gate.said(&sentence);
        let mut told = answer(&verdict);
        if let (Some(tokens), Some(generation)) = (self.side.tokens.get_mut(), exchange.generation) {
            if told == Answer::Success {
                tokens.accepted(generation);
            } else if told == Answer::Unauthorized && !again && tokens.refused(generation, clock::now()) {
                told = Answer::Neutral;
            }
        }
        if told == Answer::Throttled {
            self.report.metrics.throttled.inc();
        }
        (verdict, sentence, told)
    }

    fn events_answered(&mut self, mut batch: Batch, permit: Permit, exchange: &Exchange) {
        let probe = permit.probe;
        let alone = if let [pending] = batch.events.as_slice() { Some(pending) } else { None };
        // Refused before while others were taken, it tells nothing of the account or of its token; nor does a part of what was.
        let was_alone = batch.events.iter().all(|pending| was_refused_alone(&pending.history));
        let is_odd = (was_alone || batch.calls_left.is_some()) && self.dispatch.gate.doubt() == Doubt::None;
        let again = is_odd || batch.events.iter().any(|pending| pending.token_refused);
        let before = alone.map(|pending| earlier::of(&pending.history, exchange.at)).unwrap_or_default();
        let (verdict, sentence, told) = self.verdict(exchange, again, &before);
        let renewing = told == Answer::Neutral;
        batch.events.iter_mut().for_each(|pending| pending.token_refused = renewing);
        let (several, refused) = (batch.events.len() > 1, told == Answer::Rejected);
        let is_odd_part = several && is_odd && told == Answer::Unauthorized;
        let parked = self.dispatch.gate.state_beneath() == GateState::Parked;
        let stale = if refused { self.stale(&batch) } else { None };
        let reply = exchange.reply().filter(|_| told == Answer::Success);
        let items: Vec<&Item> = batch.events.iter().map(|pending| &pending.item).collect();
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
        self.say_of_each(each.as_deref(), exchange);
        let key = batch.key();
        let mut fault = self.dispatch.tell_of_events(&batch, permit, told, &sentence, exchange);
        if matches!(verdict, Verdict::Throttled(_)) || renewing || (is_odd && parked) {
            fault = Fault::Vendor;
        } else if matches!(verdict, Verdict::Unauthorized(_)) {
            fault = self.dispatch.fault_of_refusal(told, key);
        }
        if !matches!(verdict, Verdict::Delivered | Verdict::Accepted) {
            let record = exchange.record(&verdict, &sentence);
            batch.events.iter_mut().for_each(|pending| pending.history.add(record.clone()));
        }
        if let Some(name) = stale {
            return self.check_again(&name, batch);
        }
        if several && (refused || is_odd_part) && !parked {
            return self.split(batch, &verdict, &sentence);
        }
        if let Some(job) = job {
            return self.accepted(job, batch, exchange);
        }
        if let Some(each) = each {
            if told == Answer::Rejected {
                self.others_rejected(&each, exchange);
            }
            return self.each_answered(batch, each, self.dispatch.fault_of_refusal(told, key), exchange, probe);
        }
        // One that is refused, or that the vendor chokes on, must not take those that travel with it along.
        if several && fault == Fault::Event && (told == Answer::Unauthorized || self.chokes_on(&batch, &verdict)) {
            return self.split(batch, &verdict, &sentence);
        }
        let record = exchange.record(&verdict, &sentence);
        let (verdict, sentence, record, wall) = (&verdict, sentence.as_str(), &record, clock::wall());
        self.follow(batch, &Judgement { verdict, sentence, record, fault, parked, probe, wall });
    }

    /// Tells the gate what is said of the first event that was not taken.
    fn say_of_each(&mut self, each: Option<&[Verdict]>, exchange: &Exchange) {
        if let Some(said) = each.and_then(first_said) {
            self.dispatch.gate.said(&exchange.masked(said));
        }
    }

    /// Each event was rejected; the gate has heard of one.
    fn others_rejected(&mut self, each: &[Verdict], exchange: &Exchange) {
        let others = u64::try_from(each.len()).unwrap_or(u64::MAX).saturating_sub(1);
        let said = first_said(each).map(|said| exchange.masked(said)).unwrap_or_default();
        self.dispatch.gate.rejected(others, &said, clock::now(), clock::wall());
    }

    /// Whether one of these may be what the vendor chokes on, and they are not to be sent together again.
    fn chokes_on(&mut self, batch: &Batch, verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Unavailable(_))
            && batch.may_be_split()
            && (batch.calls_left.is_some() || !self.dispatch.rest(batch))
    }

    /// What was looked up for these events and may have changed since.
    fn stale(&self, batch: &Batch) -> Option<String> {
        let first = batch.events.first()?;
        let name = first.item.lookup.as_ref()?;
        // Once is enough for an event: else it would go in circles.
        let checked = first.delivery.ticket.was_checked_again();
        (!checked && self.side.lookups.may_have_changed(name, first.taken)).then(|| name.clone())
    }

    /// What was looked up for these events may have changed: it is looked up anew, and they are checked against it. What was checked
    /// against the same waits with them, so that nothing overtakes.
    fn check_again(&mut self, name: &str, batch: Batch) {
        let waiting = self.dispatch.ready.take_out(|pending| pending.item.lookup.as_deref() == Some(name));
        let mut rejected = batch.events;
        rejected.iter_mut().for_each(|pending| pending.delivery.ticket.check_again());
        for pending in rejected.into_iter().chain(waiting) {
            self.side.lookups.need(name.to_owned(), carrying_history(*pending), clock::now());
        }
    }

    /// The vendor accepted events as a job, whose end has to be seen.
    fn accepted(&mut self, id: String, mut batch: Batch, exchange: &Exchange) {
        let job = Watched { id, rows: u64::try_from(batch.events.len()).unwrap_or(u64::MAX), since: clock::wall() };
        tracing::debug!(destination = self.settings.name, job = job.id, events = job.rows, "accepted");
        for pending in &mut batch.events {
            pending.history.job = Some(job.clone());
            outcome::accepted(
                self.report.history.as_ref(),
                &self.settings.name,
                &pending.tag,
                &pending.history,
                (&job.id, exchange),
            );
        }
        self.watch(&job, batch.events, true);
    }

    /// An attempt that was given up says nothing of the vendor, and its events have not had their turn.
    pub(super) fn take_back(&mut self, purpose: Purpose, permit: Permit) {
        if let Purpose::Events(batch) = &purpose {
            self.dispatch.came_back(batch);
        }
        self.dispatch.give_up(permit);
        match purpose {
            Purpose::Events(batch) => self.dispatch.ready.put_back(batch),
            Purpose::Lookup(name) => self.side.lookups.unanswered(&name, clock::now()),
            Purpose::Job(job) => self.side.jobs.goes_on(&job, clock::now()),
            Purpose::Token | Purpose::Credentials => {}
        }
    }
}

/// The delivery with what happened to it so far, to be checked anew.
pub(super) fn carrying_history(pending: Pending) -> Delivery {
    let Pending { mut delivery, history, .. } = pending;
    delivery.message = history.write(&delivery.message);
    delivery
}

/// The sentence in a verdict.
pub(super) fn sentence_of(verdict: &Verdict) -> Option<&str> {
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
fn read(vendor: &dyn Vendor, request: &Request<Bytes>, reply: &Reply, before: &EarlierAttempts) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| vendor.judge_after(request, reply, before))).unwrap_or_else(|_| {
        let status = reply.status.as_u16();
        Verdict::Rejected(format!("Sluice failed on the vendor's answer {status}; this is a bug in Sluice"))
    })
}

/// What is said of the first event that was not taken.
fn first_said(each: &[Verdict]) -> Option<&str> {
    each.iter().find_map(sentence_of)
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
