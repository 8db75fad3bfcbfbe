//! Why a gate is as it is, as people read it: with how long ago the vendor answered, and how many events wait. Pure.

use jiff::Timestamp;

use super::console::show::span;
use crate::gate::Answered;
use crate::watch::age;

/// The sentence with the time of the answer that it tells of: `PX answered 401: no such key (12 s ago, 4th probe); check the key`.
pub(super) fn with_time(why: &str, answered: Option<Answered>, now: Timestamp) -> String {
    let Some(Answered { at, probe, place }) = answered else { return why.to_owned() };
    let Some((said, then)) = why.split_at_checked(place) else { return why.to_owned() };
    let ago = format!("{} ago", span(age(at, now).max(1.0)));
    match probe {
        0 => format!("{said} ({ago}){then}"),
        probe => format!("{said} ({ago}, {} probe){then}", ordinal(probe)),
    }
}

/// Adds how many events failed and wait.
pub(super) fn with_retries(why: String, retrying: u32) -> String {
    match retrying {
        0 => why,
        1 => format!("{why}; 1 event waits for its next attempt"),
        count => format!("{why}; {count} events wait for their next attempt"),
    }
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_its_next_attempt_is_told_with_why() {
        let why = |retrying| with_retries("open; the last request failed: connection refused".to_owned(), retrying);
        assert_eq!(why(0), "open; the last request failed: connection refused");
        assert_eq!(why(1), "open; the last request failed: connection refused; 1 event waits for its next attempt");
        assert!(why(2).ends_with("refused; 2 events wait for their next attempt"));
    }

    #[test]
    fn when_the_vendor_answered_stands_behind_its_words() {
        let now: Timestamp = "2026-03-01T12:00:12Z".parse().unwrap();
        let at = "2026-03-01T12:00:00Z".parse().unwrap();
        let words = "Gainsight PX answered 401: API key revoked";
        let why = format!("{words}; check the key");
        let told = |probe, place| with_time(&why, Some(Answered { at, probe, place }), now);
        assert_eq!(told(4, words.len()), format!("{words} (12 s ago, 4th probe); check the key"));
        assert_eq!(told(0, words.len()), format!("{words} (12 s ago); check the key"));
        assert_eq!(told(0, 10_000), why, "what another version counted otherwise is left out");
        assert_eq!(with_time("open", None, now), "open");
    }

    #[test]
    fn probes_are_counted_as_people_do() {
        let shown = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal);
        assert_eq!(shown, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
    }
}
