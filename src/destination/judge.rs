//! From an answer to a settlement: what the vendor meant, what the gate makes of it, what becomes of the event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::Attempted;
use super::intake::Pending;
use super::{Driver, outcome};
use crate::clock;
use crate::config::Retry;
use crate::gate::{Answer, Hints, State, hints};
use crate::vendors::{Reply, Vendor};
use crate::verdict::{Reason, Settlement, Verdict};

/// What becomes of an event after an attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// It leaves this worker's hands.
    Settle(Settlement),
    /// It waits for the gate, no attempt spent; `first` in line, or behind the others.
    Wait { first: bool },
}

impl Driver {
    /// Judges an attempt, tells the gate, and settles the event or lets it wait.
    pub(super) fn judge(&mut self, attempted: Attempted) {
        let (now, wall) = (clock::now(), clock::wall());
        let verdict = match &attempted.result {
            Some(Ok(reply)) => read(self.settings.vendor.as_ref(), &attempted.without_secrets(reply)),
            Some(Err(trouble)) => Verdict::Unavailable(trouble.to_string()),
            None => return self.take_back(attempted),
        };
        let hints = attempted.reply().map(|reply| hints(&reply.headers, wall)).unwrap_or_default();
        self.next_place = None;
        self.metrics.attempt(attempted.status());
        self.metrics.request_duration.observe(attempted.took.as_secs_f64());
        let sentence = said(&verdict).map(|said| attempted.masked(said)).unwrap_or_default();
        let (record, ms) = (attempted.record(&verdict, &sentence), attempted.ms());
        let Attempted { mut pending, permit, at, .. } = attempted;
        let (probe, before) = (permit.probe, self.gate.state(now));
        let parked = self.gate.state_beneath() == State::Parked;
        self.gate.finished(permit, answer(&verdict), &hints, now, wall);
        if self.gate.state(now) != before {
            outcome::gate_changed(&self.settings.name, before, &self.gate.status(now, wall));
        }
        let troubled = std::mem::replace(&mut self.troubled, matches!(verdict, Verdict::Unavailable(_)));
        let vendors_trouble = troubled || probe || self.gate.state_beneath() == State::Broken;

        let history = &mut pending.history;
        let next = next(
            &verdict,
            &sentence,
            vendors_trouble,
            parked,
            history.retries,
            history.failing_since,
            &self.settings.retry,
            wall,
        );
        if next == Next::Settle(Settlement::Ack) {
            self.metrics.delivered.inc();
            let latency = wall.duration_since(pending.tag.time).as_secs_f64();
            self.metrics.delivery_latency.observe(latency.max(0.0));
            self.remember(&pending);
        } else {
            history.add(record.clone());
            if verdict == Verdict::Throttled {
                self.metrics.throttled.inc();
            }
        }
        outcome::attempted(&self.settings.name, &pending.tag, &record, pending.history.retries, ms, &next);
        match next {
            Next::Wait { first: true } => self.waiting.push_front(pending),
            Next::Wait { first: false } => self.waiting.push_back(pending),
            Next::Settle(settlement) => {
                if let Settlement::RetryLater(_) = settlement {
                    pending.history.retries += 1;
                    pending.history.failing_since.get_or_insert(at);
                }
                self.settle(*pending, settlement);
            }
        }
    }

    /// An attempt that was given up says nothing of the vendor, and its event has not had its turn.
    fn take_back(&mut self, attempted: Attempted) {
        let Attempted { pending, permit, .. } = attempted;
        self.gate.finished(permit, Answer::Neutral, &Hints::default(), clock::now(), clock::wall());
        self.waiting.push_front(pending);
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
fn read(vendor: &dyn Vendor, reply: &Reply) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| vendor.judge(reply))).unwrap_or_else(|_| {
        let status = reply.status.as_u16();
        Verdict::Rejected(format!("Sluice failed on the vendor's answer {status}; this is a bug in Sluice"))
    })
}

/// What the gate learns from a verdict.
fn answer(verdict: &Verdict) -> Answer {
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
    retries: u32,
    failing_since: Option<Timestamp>,
    retry: &Retry,
    wall: Timestamp,
) -> Next {
    match verdict {
        Verdict::Delivered | Verdict::Accepted => Next::Settle(Settlement::Ack),
        Verdict::Throttled | Verdict::Unauthorized(_) => Next::Wait { first: true },
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

fn age(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

/// The delay before the next attempt; the last repeats.
fn delay(delays: &[Duration], retries: u32) -> Duration {
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
        next(&Verdict::Unavailable("x".into()), "x", vendors_trouble, false, retries, since, &retry(), NOW)
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
        let of = |parked| next(&rejected, "no", false, parked, 0, None, &retry(), NOW);
        assert_eq!(of(false), Next::Settle(Settlement::DeadLetter(Reason::Rejected, "no".into())));
        assert_eq!(of(true), Next::Wait { first: false });
    }

    #[test]
    fn throttling_and_bad_keys_cost_no_attempt() {
        for verdict in [Verdict::Throttled, Verdict::Unauthorized(String::new())] {
            assert_eq!(next(&verdict, "", false, false, 0, None, &retry(), NOW), Next::Wait { first: true });
        }
    }
}
