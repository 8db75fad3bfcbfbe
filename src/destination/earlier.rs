//! Reads from an event's history whether the vendor may already have it from an earlier attempt. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::record::history::{Attempt, History};
use crate::vendors::EarlierAttempts;

/// How the sentences of requests begin that the vendor may have taken without our seeing an answer ([`crate::delivery::Trouble`]).
const UNANSWERED: [&str; 2] = ["no answer from ", "the connection to "];

/// Of the attempts before one that was made at `now`.
pub(super) fn of(history: &History, now: Timestamp) -> EarlierAttempts {
    let first = history.attempts.iter().position(is_open);
    let since = first.and_then(|at| history.attempts.get(at..)).unwrap_or_default();
    let passed = |attempt: &Attempt| Duration::try_from(now.duration_since(attempt.at)).unwrap_or_default();
    EarlierAttempts {
        unanswered: since.first().map(passed),
        statuses: since.iter().filter_map(|attempt| attempt.status).collect(),
    }
}

/// The vendor may have taken it: no answer came, or a proxy answered in its place.
fn is_open(attempt: &Attempt) -> bool {
    match attempt.status {
        None => UNANSWERED.iter().any(|begin| attempt.excerpt.starts_with(begin)),
        Some(status) => matches!(status, 408 | 502 | 504),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Trouble;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn after(attempts: &[(i64, Option<u16>, String)]) -> EarlierAttempts {
        let mut history = History::new("k", NOW);
        for (seconds, status, excerpt) in attempts {
            let at = NOW - jiff::SignedDuration::from_secs(*seconds);
            history.attempts.push(Attempt {
                at,
                status: *status,
                ms: 1,
                verdict: "unavailable".into(),
                excerpt: excerpt.clone(),
            });
        }
        of(&history, NOW)
    }

    #[test]
    fn a_request_without_an_answer_leaves_open_whether_the_vendor_has_it() {
        let (host, cause) = (|| "api.example.com".to_owned(), || "reset".to_owned());
        let timeout = Trouble::Timeout { host: host(), timeout: Duration::from_secs(10) };
        let broken = Trouble::Broken { host: host(), cause: cause() };
        let refused = Trouble::Connect { host: host(), cause: cause() };
        for (status, said, is_open) in [
            (None, timeout.to_string(), true),
            (None, broken.to_string(), true),
            (None, refused.to_string(), false),
            (Some(504), String::new(), true),
            (Some(502), String::new(), true),
            (Some(500), String::new(), false),
            (Some(409), String::new(), false),
        ] {
            let before = after(&[(30, status, said.clone())]);
            assert_eq!(before.unanswered, is_open.then_some(Duration::from_secs(30)), "{status:?} {said}");
        }
    }

    #[test]
    fn what_was_answered_since_the_first_of_them_is_told() {
        let open = || (60, None, "no answer from x within 10s".to_owned());
        let before = after(&[(90, Some(409), String::new()), open(), (20, Some(409), String::new())]);
        assert_eq!(before, EarlierAttempts { unanswered: Some(Duration::from_secs(60)), statuses: vec![409] });
        assert_eq!(after(&[]), EarlierAttempts::default());
    }
}
