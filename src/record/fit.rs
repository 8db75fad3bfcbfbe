//! A copy of an event on its way to a queue: made small enough to publish, and still the same event. Pure.

use super::history::Attempt;
use crate::event::tells_identity;
use crate::message::header::{ATTEMPTS, HEADERS_DROPPED, PREFIX};
use crate::message::{Field, Headers, MOST_HEADER_BYTES, Message, header_bytes, wire_bytes};

/// The most that the headers of a copy may take: whoever moves it later adds some.
const MOST_BYTES: usize = MOST_HEADER_BYTES - 2_000;
/// Longest header that is kept before others where a copy is too large to publish.
const MOST_KEPT_BYTES: usize = 4_000;

/// Makes a copy small enough to publish. The excerpts of its attempts go first, then headers, the largest first, and last of all those
/// without which it would be another event: what is left says how many went.
pub fn fit(copy: &mut Message) {
    let headers = &mut copy.properties.headers;
    if wire_bytes(headers) <= MOST_BYTES {
        return;
    }
    leave_out_excerpts(headers);
    let mut bytes = wire_bytes(headers);
    let mut by_worth: Vec<(Worth, usize, String)> = headers
        .iter()
        .map(|header| (Worth::of(header.0, header_bytes(header)), header_bytes(header), header.0.clone()))
        .collect();
    by_worth.sort_by_key(|(worth, bytes, _)| (*worth, std::cmp::Reverse(*bytes)));
    let mut dropped = headers.get(HEADERS_DROPPED).and_then(Field::as_i64).unwrap_or(0);
    for (_, size, name) in by_worth {
        if bytes <= MOST_BYTES {
            break;
        }
        headers.remove(&name);
        bytes -= size;
        dropped += 1;
    }
    if dropped > 0 {
        headers.insert(HEADERS_DROPPED.to_owned(), Field::I64(dropped));
    }
}

fn leave_out_excerpts(headers: &mut Headers) {
    let text = headers.get(ATTEMPTS).and_then(Field::as_str);
    let attempts = text.and_then(|json| serde_json::from_str::<Vec<Attempt>>(json).ok());
    let Some(mut attempts) = attempts else { return };
    attempts.iter_mut().for_each(|attempt| attempt.excerpt.clear());
    headers.insert(ATTEMPTS.to_owned(), Field::text(serde_json::to_string(&attempts).unwrap_or_default()));
}

/// What a header is worth to a copy that cannot keep all: the first goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// The producer's.
    Other,
    /// Nothing that Sluice writes is so long.
    LongOwn,
    /// No event has an attribute so long.
    LongIdentity,
    /// Sluice's own.
    Own,
    /// It tells which event it is.
    Identity,
}

impl Worth {
    fn of(name: &str, bytes: usize) -> Self {
        let (own, long) = (name.starts_with(PREFIX) && !name.contains("-header-"), bytes > MOST_KEPT_BYTES);
        match (own, tells_identity(name)) {
            (true, _) if long => Self::LongOwn,
            (true, _) => Self::Own,
            (false, true) if long => Self::LongIdentity,
            (false, true) => Self::Identity,
            (false, false) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::message::MAX_HEADER_BYTES;
    use crate::record::{copy::original, history::History};

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn attempt(ms: u64) -> Attempt {
        Attempt { at: NOW, status: Some(500), ms, verdict: "unavailable".into(), excerpt: String::new() }
    }

    fn names(copy: &Message) -> Vec<&str> {
        copy.properties.headers.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_copy_too_large_to_publish_keeps_its_reason_and_its_event_and_says_what_it_lost() {
        let mut copy = Message::default();
        for (name, bytes) in [
            ("big", 100_000),
            ("small", 9),
            ("ce-id", 2_000),
            ("CloudEvents:source", 2_000),
            ("Content-Type", 20),
            ("cloudEvents_type", 90_000),
            ("x-sluice-reason", 9),
            ("x-sluice-header-cc", 50_000),
            ("x-sluice-event-id", 90_000),
        ] {
            copy.properties.headers.insert(name.to_owned(), Field::text("x".repeat(bytes)));
        }
        fit(&mut copy);
        let kept = [
            "CloudEvents:source",
            "Content-Type",
            "ce-id",
            "cloudEvents_type",
            "x-sluice-headers-dropped",
            "x-sluice-reason",
        ];
        assert_eq!(names(&copy), kept);
        assert_eq!(copy.properties.headers[HEADERS_DROPPED], Field::I64(4));
        copy.properties.headers.insert("cloudEvents:id".to_owned(), Field::text("x".repeat(90_000)));
        fit(&mut copy);
        assert!(wire_bytes(&copy.properties.headers) <= MOST_BYTES);
        assert_eq!(copy.properties.headers[HEADERS_DROPPED], Field::I64(5), "and before");
    }

    #[test]
    fn excerpts_of_attempts_go_before_a_producers_header_does() {
        let mut history = History::new("a.b", NOW);
        (0..20).for_each(|ms| history.add(Attempt { excerpt: "x".repeat(1_200), ..attempt(ms) }));
        let mut message = Message::default();
        message.properties.headers.insert("own".to_owned(), Field::text("x".repeat(MAX_HEADER_BYTES - 10)));
        let mut copy = history.write(&message);
        fit(&mut copy);
        assert!(wire_bytes(&copy.properties.headers) <= MOST_BYTES);
        assert_eq!(original(&copy).properties.headers, message.properties.headers);
        let kept = History::read(&copy, "q", NOW).attempts;
        assert_eq!(kept, (0..20).map(attempt).collect::<Vec<_>>());
    }
}
