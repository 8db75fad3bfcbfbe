//! From an answer to a settlement: what the vendor meant, what the gate makes of it, what becomes of the event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;

use super::attempt::{Attempted, Errand, Exchange};
use super::history::{History, Watched};
use super::hold::Mood;
use super::intake::{Held, Pending};
use super::line::Load;
use super::{Driver, batch, before, outcome};
use crate::broker::port::Delivery;
use crate::clock;
use crate::config::Retry;
use crate::delivery::Trouble;
use crate::gate::{Answer, Doubt, Permit, State, hints};
use crate::vendors::{Before, Item, Reply, Vendor};
use crate::verdict::{Reason, Settlement, Verdict};

/// The name of [`Verdict::Unauthorized`] in a history.
const UNAUTHORIZED: &str = "unauthorized";
/// An event that failed with others waits no longer than that before it is sent again.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What becomes of an event after an attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// It leaves this worker's hands.
    Settle(Settlement),
    /// It waits for the gate, no attempt spent; `first` in line, or behind the others.
    Wait { first: bool },
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
        }
    }

    /// What the vendor or the network said, its sentence masked, and what the gate should make of it. A token that proves to have been
    /// revoked or to have ended is not the account's trouble: the gate hears nothing of it, and a new one is had, unless that was
    /// done `again` for the same request.
    pub(super) fn verdict(&mut self, exchange: &Exchange, again: bool, before: &Before) -> (Verdict, String, Answer) {
        let (vendor, request) = (self.settings.vendor.as_ref(), &exchange.request);
        let verdict = match &exchange.result {
            Some(Ok(reply)) => {
                let verdict = read(vendor, request, &reply.without_secrets(request), before);
                if is_limit(&verdict, reply) { Verdict::Throttled } else { verdict }
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
            } else if told == Answer::Unauthorized && tokens.refused(generation, clock::now()) && !again {
                told = Answer::Neutral;
            }
        }
        if told == Answer::Throttled {
            self.metrics.throttled.inc();
        }
        (verdict, sentence, told)
    }

    fn events_answered(&mut self, mut load: Load, permit: Permit, exchange: &Exchange) {
        let refused_before = |pending: &Held| refused_before(&pending.history, 1);
        let again = load.events.iter().any(|pending| pending.token_refused || refused_before(pending));
        let alone = if let [pending] = load.events.as_slice() { Some(pending) } else { None };
        let before = alone.map(|pending| before::of(&pending.history, exchange.at)).unwrap_or_default();
        let (verdict, sentence, told) = self.verdict(exchange, again, &before);
        let renewing = told == Answer::Neutral;
        load.events.iter_mut().for_each(|pending| pending.token_refused = renewing);
        let several = load.events.len() > 1;
        let refused = told == Answer::Rejected;
        let parked = self.gate.state_beneath() == State::Parked;
        let stale = if refused { self.stale(&load) } else { None };
        let reply = exchange.reply().filter(|_| told == Answer::Success);
        let items: Vec<&Item> = load.events.iter().map(|pending| &pending.item).collect();
        let job = reply.and_then(|reply| self.settings.vendor.job(reply, &items));
        let each = reply.and_then(|reply| self.settings.vendor.judge_each(reply, &items));
        // What was accepted may yet be rejected.
        let undecided = (several && refused) || stale.is_some() || job.is_some();
        let told = if undecided { Answer::Undecided } else { each.as_deref().map_or(told, answer_of) };
        let mut vendors_trouble = self.tell_of_trouble(permit, Some(load.key()), told, exchange);
        if matches!(verdict, Verdict::Unauthorized(_)) {
            vendors_trouble = told != Answer::Unauthorized || self.is_the_accounts(load.key());
        }
        if !matches!(verdict, Verdict::Delivered | Verdict::Accepted) {
            let record = exchange.record(&verdict, &sentence);
            load.events.iter_mut().for_each(|pending| pending.history.add(record.clone()));
        }
        if let Some(name) = stale {
            return self.check_again(&name, load);
        }
        if several && refused && !parked {
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
            let accounts = told == Answer::Unauthorized && self.is_the_accounts(load.key());
            self.each_answered(load, each, accounts, exchange);
            return self.end_doubts();
        }
        if several && told == Answer::Unauthorized && !vendors_trouble {
            return self.split(load, &verdict, &sentence);
        }
        if told == Answer::Unauthorized && self.gate.doubt() == Doubt::Few {
            load.events.iter_mut().for_each(|pending| pending.refused = true);
            if several {
                let calls = || Arc::new(AtomicU32::new(batch::calls_to_split(load.events.len())));
                load.calls_left = load.calls_left.take().or_else(|| Some(calls()));
            }
        }
        // One that the vendor chokes on must not take those that travel with it along.
        let chokes = several && !vendors_trouble && matches!(verdict, Verdict::Unavailable(_));
        if chokes && load.may_be_split() && (load.calls_left.is_some() || !self.rests(&load)) {
            return self.split(load, &verdict, &sentence);
        }
        self.follow(load, &verdict, &sentence, vendors_trouble, parked, exchange);
        self.end_doubts();
    }

    /// Whether refused credentials are the account's trouble, as far as is known, rather than that event's own.
    fn is_the_accounts(&self, key: u64) -> bool {
        self.gate.doubts(key) || self.gate.state_beneath() == State::Parked
    }

    /// What was refused while nobody knew whether all others are: by now it may be known.
    fn end_doubts(&mut self) {
        match self.gate.doubt() {
            Doubt::Few => {}
            Doubt::Account => self.line.forgive(),
            Doubt::None => {
                for load in self.line.take_refused() {
                    self.refused_alone(load);
                }
            }
        }
    }

    /// Others were taken with the same credentials: it is the event's own trouble, or that of one among several.
    fn refused_alone(&mut self, mut load: Load) {
        let last = load.events.first().and_then(|pending| pending.history.attempts.last().cloned());
        let Some(record) = last else { return self.line.put_back(load) };
        let verdict = Verdict::Unauthorized(record.excerpt.clone());
        if load.events.len() > 1 {
            return self.split(load, &verdict, &record.excerpt);
        }
        let Some(mut pending) = load.events.pop() else { return };
        let next = refused(&record.excerpt, &pending.history, &self.settings.retry);
        outcome::attempted(
            &mut self.recent,
            &self.settings.name,
            &pending.tag,
            &record,
            pending.history.retries,
            &next,
        );
        if let Next::Settle(settlement) = next {
            match settlement {
                Settlement::RetryLater(_) => pending.history.spend(record.at),
                Settlement::DeadLetter(..) => self.gate.rejected(1, clock::now()),
                Settlement::Ack | Settlement::Release => {}
            }
            self.settle(*pending, settlement);
        }
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

    /// Each event has an answer of its own.
    fn each_answered(&mut self, load: Load, each: Vec<Verdict>, accounts: bool, exchange: &Exchange) {
        let unnamed = || Verdict::Rejected("the vendor's answer does not tell what became of this one".to_owned());
        let verdicts = each.into_iter().map(Some).chain(std::iter::repeat(None));
        let calls_left = load.calls_left;
        // In turn from the end, so that those that wait go first again in their order.
        let events: Vec<_> = load.events.into_iter().zip(verdicts).collect();
        for (mut pending, verdict) in events.into_iter().rev() {
            let verdict = verdict.unwrap_or_else(unnamed);
            let sentence = said(&verdict).map(|said| exchange.masked(said)).unwrap_or_default();
            if !matches!(verdict, Verdict::Delivered | Verdict::Accepted) {
                pending.history.add(exchange.record(&verdict, &sentence));
            }
            let load = Load { events: vec![pending], calls_left: calls_left.clone() };
            let accounts = accounts && matches!(verdict, Verdict::Unauthorized(_));
            self.follow(load, &verdict, &sentence, accounts, false, exchange);
        }
    }

    /// What becomes of events that share a verdict.
    fn follow(
        &mut self,
        load: Load,
        verdict: &Verdict,
        sentence: &str,
        vendors_trouble: bool,
        parked: bool,
        exchange: &Exchange,
    ) {
        let wall = clock::wall();
        let lane = load.lane().map(str::to_owned);
        let (mut first, mut behind, calls_left) = (Vec::new(), Vec::new(), load.calls_left);
        let record = exchange.record(verdict, sentence);
        for mut pending in load.events {
            let trouble = matches!(verdict, Verdict::Unavailable(_) | Verdict::Unauthorized(_));
            pending.troubles = pending.troubles.saturating_add(u32::from(trouble));
            let history = &pending.history;
            let (retries, since, retry) = (history.retries, history.failing_since, &self.settings.retry);
            let before = refused_before(history, 2);
            // Where nothing went well since, it may be an outage, which costs no event.
            let since = since.filter(|since| self.went_well.is_some_and(|well| well > *since));
            let mut next = next(verdict, sentence, vendors_trouble, parked, before, retries, since, retry, wall);
            // What is probed with must not be all that is held.
            if next == (Next::Wait { first: true })
                && pending.refused
                && self.mood == Mood::Closed
                && self.line.len() > 0
            {
                next = Next::Wait { first: false };
            }
            // What follows in its lane must not overtake it for a trouble of a moment.
            if let (Next::Settle(Settlement::RetryLater(_)), Some(lane)) = (&next, &lane)
                && self.lanes.rest(lane, clock::now())
            {
                next = Next::Wait { first: true };
            }
            outcome::attempted(&mut self.recent, &self.settings.name, &pending.tag, &record, retries, &next);
            match next {
                Next::Wait { first: true } => first.push(pending),
                // Closed for long, few are held: those that always fail must not be all of them. A copy of what was replayed would be
                // taken for another replay.
                Next::Wait { first: false }
                    if lane.is_none()
                        && calls_left.is_none()
                        && !pending.replay
                        && self.mood == Mood::Closed
                        && (self.gate.state_beneath() == State::Broken || pending.refused) =>
                {
                    let Pending { delivery, history, .. } = *pending;
                    let bytes = delivery.message.body.len();
                    self.settle_meanwhile(bytes, Arc::clone(&self.desk).send_behind(delivery, history));
                }
                Next::Wait { first: false } => {
                    // Not the same again at once.
                    if let Some(lane) = &lane {
                        self.lanes.rest(lane, clock::now());
                    } else if trouble {
                        let pause = delay(&self.settings.retry.delays, pending.troubles.saturating_sub(1));
                        pending.rests_until = Some(clock::now() + pause.min(LONGEST_REST));
                    }
                    behind.push(pending);
                }
                Next::Settle(settlement) => {
                    match settlement {
                        Settlement::Ack => {
                            self.delivered(&pending, wall);
                            lane.iter().for_each(|lane| self.lanes.went_well(lane));
                        }
                        Settlement::RetryLater(_) => {
                            pending.history.spend(exchange.at);
                        }
                        Settlement::DeadLetter(..) if matches!(verdict, Verdict::Unauthorized(_)) => {
                            self.gate.rejected(1, clock::now());
                        }
                        Settlement::DeadLetter(..) | Settlement::Release => {}
                    }
                    self.settle(*pending, settlement);
                }
            }
        }
        if !first.is_empty() {
            self.line.put_back(Load { events: first, calls_left: calls_left.clone() });
        }
        if !behind.is_empty() {
            self.line.send_behind(Load { events: behind, calls_left });
        }
    }

    /// Whether the load's lane rests now, so that the load can go first again.
    fn rests(&mut self, load: &Load) -> bool {
        load.lane().is_some_and(|lane| self.lanes.rest(lane, clock::now()))
    }

    /// Events that were refused together are sent again in two halves, to find the bad ones.
    fn split(&mut self, load: Load, verdict: &Verdict, sentence: &str) {
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
            Errand::Token => {}
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
        | Verdict::TooLarge(said)
        | Verdict::Rejected(said) => Some(said),
        Verdict::Delivered | Verdict::Accepted | Verdict::Throttled => None,
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
        Verdict::Throttled => Answer::Throttled,
        Verdict::Unavailable(_) => Answer::Trouble,
        Verdict::Unauthorized(_) => Answer::Unauthorized,
        Verdict::TooLarge(_) | Verdict::Rejected(_) => Answer::Rejected,
    }
}

/// The rule. Trouble of the vendor's costs an event nothing: it waits. Trouble that looks like the event's own (the answer
/// before was a good one) costs it an attempt, so that an event which the vendor chokes on cannot stop the others.
#[expect(clippy::too_many_arguments, reason = "a pure rule over everything it depends on")]
pub(super) fn next(
    verdict: &Verdict,
    sentence: &str,
    vendors_trouble: bool,
    parked: bool,
    refused_before: bool,
    retries: u32,
    failing_since: Option<Timestamp>,
    retry: &Retry,
    wall: Timestamp,
) -> Next {
    match verdict {
        Verdict::Delivered | Verdict::Accepted => Next::Settle(Settlement::Ack),
        Verdict::Throttled => Next::Wait { first: true },
        Verdict::Unauthorized(_) if vendors_trouble => Next::Wait { first: true },
        Verdict::Unauthorized(_) if refused_before => {
            Next::Settle(Settlement::DeadLetter(Reason::Rejected, alone(sentence)))
        }
        Verdict::Unauthorized(_) => Next::Settle(Settlement::RetryLater(delay(&retry.delays, retries))),
        Verdict::Unavailable(_) if vendors_trouble => Next::Wait { first: false },
        Verdict::Unavailable(_) => match failing_since {
            Some(since) if wall.duration_since(since) >= age(retry.max_age) => {
                let sentence = format!("not delivered within {:#}; at last: {sentence}", age(retry.max_age));
                Next::Settle(Settlement::DeadLetter(Reason::Expired, sentence))
            }
            Some(_) | None => Next::Settle(Settlement::RetryLater(delay(&retry.delays, retries))),
        },
        // Parked for rejections: the rest of what was in flight must not follow into the dead letters.
        Verdict::Rejected(_) | Verdict::TooLarge(_) if parked => Next::Wait { first: false },
        Verdict::TooLarge(_) => Next::Settle(Settlement::DeadLetter(Reason::TooLarge, sentence.to_owned())),
        Verdict::Rejected(_) => Next::Settle(Settlement::DeadLetter(Reason::Rejected, sentence.to_owned())),
    }
}

/// What becomes of an event that was refused while others were taken with the same credentials: it has one more try.
fn refused(sentence: &str, history: &History, retry: &Retry) -> Next {
    let verdict = Verdict::Unauthorized(String::new());
    let before = refused_before(history, 2);
    next(&verdict, sentence, false, false, before, history.retries, None, retry, Timestamp::UNIX_EPOCH)
}

fn alone(sentence: &str) -> String {
    format!("{sentence}; other events were taken with the same credentials")
}

/// Whether an event was refused so often for its credentials and tried again later.
fn refused_before(history: &History, times: usize) -> bool {
    let refused = history.attempts.iter().filter(|attempt| attempt.verdict == UNAUTHORIZED).count();
    history.retries > 0 && refused >= times
}

/// A 403 that says when to come again is a limit, not a wrong key.
fn is_limit(verdict: &Verdict, reply: &Reply) -> bool {
    let forbidden = reply.status == StatusCode::FORBIDDEN && matches!(verdict, Verdict::Unauthorized(_));
    forbidden && {
        let hints = hints(&reply.headers, clock::wall());
        hints.retry_after.is_some() || hints.quota.is_some_and(|quota| quota.remaining == Some(0))
    }
}

pub(super) fn age(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

/// The delay before the next attempt; the last repeats.
pub(super) fn delay(delays: &[Duration], retries: u32) -> Duration {
    let index = usize::try_from(retries).unwrap_or(usize::MAX);
    delays.get(index).or_else(|| delays.last()).copied().unwrap_or(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn retry() -> Retry {
        Retry { delays: vec![Duration::from_secs(5), Duration::from_secs(30)], max_age: Duration::from_secs(86_400) }
    }

    fn unavailable(vendors_trouble: bool, retries: u32, failing_for_hours: Option<i64>) -> Next {
        let since = failing_for_hours.map(|hours| NOW - jiff::SignedDuration::from_hours(hours));
        next(&Verdict::Unavailable("x".into()), "x", vendors_trouble, false, false, retries, since, &retry(), NOW)
    }

    #[test]
    fn trouble_of_the_vendors_costs_no_attempt_however_old_the_event_is() {
        assert_eq!(unavailable(true, 0, None), Next::Wait { first: false });
        assert_eq!(unavailable(true, 9, Some(100)), Next::Wait { first: false });
    }

    #[test]
    fn trouble_of_the_events_own_takes_the_next_delay_and_the_last_repeats() {
        for (retries, seconds) in [(0, 5), (1, 30), (2, 30), (99, 30)] {
            assert_eq!(
                unavailable(false, retries, Some(1)),
                Next::Settle(Settlement::RetryLater(Duration::from_secs(seconds)))
            );
        }
    }

    #[test]
    fn an_event_that_fails_until_max_age_expires() {
        let Next::Settle(Settlement::DeadLetter(reason, sentence)) = unavailable(false, 9, Some(24)) else { panic!() };
        assert_eq!((reason, sentence.as_str()), (Reason::Expired, "not delivered within 24h; at last: x"));
    }

    #[test]
    fn a_rejection_is_a_dead_letter_unless_the_destination_is_parked() {
        let rejected = Verdict::Rejected(String::new());
        let of = |parked| next(&rejected, "no", false, parked, false, 0, None, &retry(), NOW);
        assert_eq!(of(false), Next::Settle(Settlement::DeadLetter(Reason::Rejected, "no".into())));
        assert_eq!(of(true), Next::Wait { first: false });
    }

    #[test]
    fn throttling_and_bad_keys_cost_no_attempt() {
        for verdict in [Verdict::Throttled, Verdict::Unauthorized(String::new())] {
            assert_eq!(next(&verdict, "", true, false, false, 0, None, &retry(), NOW), Next::Wait { first: true });
        }
    }
}
