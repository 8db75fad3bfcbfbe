//! What becomes of an event after an attempt: a verdict and the circumstances in; how it goes on, out. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::Retry;
use crate::record::history::History;
use crate::verdict::{Reason, Settlement, Verdict};

/// What becomes of an event after an attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// It leaves this worker's hands.
    Settle(Settlement),
    /// It waits for the gate, no attempt spent; `first` in the queue, or behind the others.
    Wait { first: bool },
}

/// Whose trouble it is that an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The vendor's or the account's: others meet with it too, or it is not known yet whether they do.
    Vendor,
    /// It looks like the event's own: others go well.
    Event,
}

/// What the rule depends on beside the verdict.
#[derive(Debug)]
pub(super) struct Circumstances<'a> {
    pub fault: Fault,
    /// The destination was parked before the answer came.
    pub parked: bool,
    /// The attempts before this one.
    pub history: &'a History,
    /// Since when the event has failed while others went well.
    pub failing_since: Option<Timestamp>,
    pub retry: &'a Retry,
    pub wall: Timestamp,
}

/// The rule. Trouble of the vendor's costs an event nothing: it waits. Trouble that looks like the event's own costs it an attempt, so
/// that an event which the vendor chokes on, or refuses the credentials of, cannot stop the others.
pub(super) fn next(verdict: &Verdict, sentence: &str, circumstances: &Circumstances<'_>) -> Next {
    let Circumstances { fault, parked, history, failing_since, retry, wall } = *circumstances;
    let later = || Next::Settle(Settlement::RetryLater(delay(&retry.delays, history.retries)));
    let dead = |reason, sentence| Next::Settle(Settlement::DeadLetter(reason, sentence));
    match (verdict, fault) {
        (Verdict::Delivered | Verdict::Accepted, _) => Next::Settle(Settlement::Ack),
        (Verdict::Throttled(_) | Verdict::Unauthorized(_), Fault::Vendor) => Next::Wait { first: true },
        (Verdict::Unauthorized(_), Fault::Event) if was_refused_alone(history) => {
            dead(Reason::Rejected, format!("{sentence}; other events were taken with the same credentials"))
        }
        (Verdict::Unauthorized(_), Fault::Event) => later(),
        (Verdict::Unavailable(_), Fault::Vendor) => Next::Wait { first: false },
        (Verdict::Unavailable(_) | Verdict::Throttled(_), Fault::Event) => match failing_since {
            Some(since) if wall.duration_since(since) >= age(retry.max_age) => {
                let sentence = format!("not delivered within {:#}; at last: {sentence}", age(retry.max_age));
                dead(Reason::Expired, sentence)
            }
            Some(_) | None => later(),
        },
        // Parked for rejections: the rest of what was in flight must not follow into the dead letters.
        (Verdict::Rejected(_) | Verdict::TooLarge(_), _) if parked => Next::Wait { first: false },
        (Verdict::TooLarge(_), _) => dead(Reason::TooLarge, sentence.to_owned()),
        (Verdict::Rejected(_), _) => dead(Reason::Rejected, sentence.to_owned()),
    }
}

/// How an attempt is called whose credentials were refused while those of others were taken.
pub(super) const REFUSED_ALONE: &str = "rejected";

/// Whether its credentials were refused before while those of others were taken, and it was tried again since.
pub(super) fn was_refused_alone(history: &History) -> bool {
    history.retries > 0 && history.attempts.iter().any(|attempt| attempt.verdict == REFUSED_ALONE)
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
    use crate::record::history::Attempt;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn after(verdict: &Verdict, sentence: &str, fault: Fault, parked: bool, history: &History) -> Next {
        let retry = Retry {
            delays: vec![Duration::from_secs(5), Duration::from_secs(30)],
            max_age: Duration::from_secs(86_400),
        };
        let failing_since = history.failing_since;
        next(verdict, sentence, &Circumstances { fault, parked, history, failing_since, retry: &retry, wall: NOW })
    }

    fn history(retries: u32, failing_for_hours: Option<i64>) -> History {
        let failing_since = failing_for_hours.map(|hours| NOW - jiff::SignedDuration::from_hours(hours));
        History { retries, failing_since, ..History::new("k", NOW) }
    }

    fn unavailable(fault: Fault, retries: u32, failing_for_hours: Option<i64>) -> Next {
        after(&Verdict::Unavailable("x".into()), "x", fault, false, &history(retries, failing_for_hours))
    }

    #[test]
    fn trouble_of_the_vendors_costs_no_attempt_however_old_the_event_is() {
        assert_eq!(unavailable(Fault::Vendor, 0, None), Next::Wait { first: false });
        assert_eq!(unavailable(Fault::Vendor, 9, Some(100)), Next::Wait { first: false });
    }

    #[test]
    fn trouble_of_the_events_own_takes_the_next_delay_and_the_last_repeats() {
        for (retries, seconds) in [(0, 5), (1, 30), (2, 30), (99, 30)] {
            assert_eq!(
                unavailable(Fault::Event, retries, Some(1)),
                Next::Settle(Settlement::RetryLater(Duration::from_secs(seconds)))
            );
        }
    }

    #[test]
    fn an_event_that_fails_until_max_age_expires() {
        let next = unavailable(Fault::Event, 9, Some(24));
        let Next::Settle(Settlement::DeadLetter(reason, sentence)) = next else { panic!() };
        assert_eq!((reason, sentence.as_str()), (Reason::Expired, "not delivered within 24h; at last: x"));
    }

    #[test]
    fn a_rejection_is_a_dead_letter_unless_the_destination_is_parked() {
        let of = |parked| after(&Verdict::Rejected(String::new()), "no", Fault::Event, parked, &history(0, None));
        assert_eq!(of(false), Next::Settle(Settlement::DeadLetter(Reason::Rejected, "no".into())));
        assert_eq!(of(true), Next::Wait { first: false });
    }

    #[test]
    fn throttling_and_bad_keys_cost_no_attempt() {
        for verdict in [Verdict::Throttled(String::new()), Verdict::Unauthorized(String::new())] {
            let next = after(&verdict, "", Fault::Vendor, false, &history(0, None));
            assert_eq!(next, Next::Wait { first: true });
        }
    }

    #[test]
    fn an_event_that_alone_is_refused_has_one_more_try() {
        let of = |history: &History| after(&Verdict::Unauthorized("no".into()), "no", Fault::Event, false, history);
        let mut before = history(1, Some(1));
        let later = Duration::from_secs(30);
        assert_eq!(of(&history(0, None)), Next::Settle(Settlement::RetryLater(Duration::from_secs(5))));
        let attempt = |verdict: &str| Attempt {
            at: NOW,
            status: Some(403),
            ms: 1,
            verdict: verdict.to_owned(),
            excerpt: "no".to_owned(),
        };
        before.add(attempt("unauthorized"));
        assert_eq!(of(&before), Next::Settle(Settlement::RetryLater(later)), "the account's trouble does not count");
        before.add(attempt(REFUSED_ALONE));
        let sentence = "no; other events were taken with the same credentials";
        assert_eq!(of(&before), Next::Settle(Settlement::DeadLetter(Reason::Rejected, sentence.into())));
        assert_eq!(of(&before.afresh()), Next::Settle(Settlement::RetryLater(Duration::from_secs(5))), "a replay");
    }
}
