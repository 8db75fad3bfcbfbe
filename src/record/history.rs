//! A message's history: its attempts and times, in Sluice's own headers. Pure.
//!
//! Attempts are counted here and never by the broker's `x-death`: brokers before 4.0 drop a message that comes to a
//! queue named in its `x-death` a second time, and 4.0 ignores the header.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::copy::set_aside;
use crate::message::{Field, Message, header};

/// A long history keeps this many of its first attempts …
const KEEP_FIRST: usize = 5;
/// … and this many of its last.
const KEEP_LAST: usize = 15;

/// What a history is written to; each is there only where it says something. What begins with [`header::JOB`] is one more.
const WRITTEN: [&str; 5] =
    [header::ATTEMPTS, header::ATTEMPTS_OMITTED, header::RETRIES, header::FAILING_SINCE, header::REPLAYS];

/// Longest excerpt that is kept of an answer, in bytes: twenty of them travel with everything else in one AMQP frame.
const MAX_EXCERPT_BYTES: usize = 1_200;

/// One HTTP request made for an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When it was sent.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The verdict's name.
    pub verdict: String,
    /// What the vendor or the network said, masked and cut.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub excerpt: String,
}

impl Attempt {
    /// When its answer came, or it was given up.
    #[must_use]
    pub fn answered(&self) -> Timestamp {
        self.at.saturating_add(std::time::Duration::from_millis(self.ms)).unwrap_or(Timestamp::MAX)
    }
}

/// An event's way so far.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The routing key that the producer used.
    pub routing_key: String,
    /// When Sluice first received it.
    pub received: Timestamp,
    /// The first and the last attempts.
    pub attempts: Vec<Attempt>,
    /// How many attempts between them were left out.
    pub omitted: u64,
    /// How many attempts were spent: each took the next, longer delay.
    pub retries: u32,
    /// When the first of them was spent: `max_age` counts from here.
    pub failing_since: Option<Timestamp>,
    /// How often it was replayed.
    pub replays: u32,
    /// The vendor's job that decides what becomes of it: it has been sent, and must not be sent again.
    pub job: Option<Watched>,
}

/// A job at the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The vendor's number for it.
    pub id: String,
    /// How many events it holds.
    pub rows: u64,
    /// When the vendor accepted it.
    pub since: Timestamp,
}

impl History {
    /// A message seen for the first time.
    #[must_use]
    pub fn new(routing_key: &str, received: Timestamp) -> Self {
        Self {
            routing_key: routing_key.to_owned(),
            received,
            attempts: Vec::new(),
            omitted: 0,
            retries: 0,
            failing_since: None,
            replays: 0,
            job: None,
        }
    }

    /// What `message` carries, or a new history where it carries none.
    #[must_use]
    pub fn read(message: &Message, routing_key: &str, now: Timestamp) -> Self {
        let headers = &message.properties.headers;
        if !headers.contains_key(header::ROUTING_KEY) {
            return Self::new(routing_key, now);
        }
        let text = |name: &str| headers.get(name).and_then(Field::as_str);
        let number = |name: &str| headers.get(name).and_then(Field::as_i64).unwrap_or(0);
        let time = |name: &str| text(name).and_then(|time| time.parse().ok());
        Self {
            routing_key: text(header::ROUTING_KEY).unwrap_or(routing_key).to_owned(),
            received: time(header::RECEIVED).unwrap_or(now),
            attempts: text(header::ATTEMPTS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            omitted: u64::try_from(number(header::ATTEMPTS_OMITTED)).unwrap_or(0),
            retries: u32::try_from(number(header::RETRIES)).unwrap_or(0),
            failing_since: time(header::FAILING_SINCE),
            replays: u32::try_from(number(header::REPLAYS)).unwrap_or(0),
            job: text(header::JOB).map(|id| Watched {
                id: id.to_owned(),
                rows: u64::try_from(number(header::JOB_ROWS)).unwrap_or(0),
                since: time(header::JOB_SINCE).unwrap_or(now),
            }),
        }
    }

    /// Adds an attempt; of a long history the middle is left out.
    pub fn add(&mut self, mut attempt: Attempt) {
        bound(&mut attempt.excerpt);
        if self.attempts.len() >= KEEP_FIRST + KEEP_LAST {
            self.attempts.remove(KEEP_FIRST);
            self.omitted += 1;
        }
        self.attempts.push(attempt);
    }

    /// How many requests were made for it and failed.
    #[must_use]
    pub fn made(&self) -> u64 {
        u64::try_from(self.attempts.len()).unwrap_or(u64::MAX).saturating_add(self.omitted)
    }

    /// An attempt, made at `at`, is spent: the next delay is a longer one.
    pub fn spend(&mut self, at: Timestamp) {
        self.retries += 1;
        self.failing_since.get_or_insert(at);
    }

    /// The history of an event that is replayed: attempts and age start afresh, what was tried before stays.
    #[must_use]
    pub fn afresh(self) -> Self {
        Self { retries: 0, failing_since: None, job: None, replays: self.replays.saturating_add(1), ..self }
    }

    /// A copy of `original` that carries this history, safe to publish: without what the broker put there, and with
    /// what it would act on set aside.
    #[must_use]
    pub fn write(&self, original: &Message) -> Message {
        let mut copy = original.clone();
        set_aside(&mut copy);
        let headers = &mut copy.properties.headers;
        // What this history does not have any more must not stay: a job that is over would be asked about again.
        headers.retain(|name, _| !name.starts_with(header::JOB) && !WRITTEN.contains(&name.as_str()));
        let mut put = |name: &str, value: Field| headers.insert(name.to_owned(), value);
        put(header::ROUTING_KEY, Field::text(self.routing_key.as_str()));
        put(header::RECEIVED, Field::text(self.received.to_string()));
        if !self.attempts.is_empty() {
            put(header::ATTEMPTS, Field::text(serde_json::to_string(&self.attempts).unwrap_or_default()));
        }
        if self.omitted > 0 {
            put(header::ATTEMPTS_OMITTED, Field::I64(i64::try_from(self.omitted).unwrap_or(i64::MAX)));
        }
        if self.retries > 0 {
            put(header::RETRIES, Field::I64(i64::from(self.retries)));
        }
        if let Some(since) = self.failing_since {
            put(header::FAILING_SINCE, Field::text(since.to_string()));
        }
        if self.replays > 0 {
            put(header::REPLAYS, Field::I64(i64::from(self.replays)));
        }
        if let Some(job) = &self.job {
            put(header::JOB, Field::text(job.id.as_str()));
            put(header::JOB_ROWS, Field::I64(i64::try_from(job.rows).unwrap_or(i64::MAX)));
            put(header::JOB_SINCE, Field::text(job.since.to_string()));
        }
        copy
    }
}

/// Cuts an excerpt, and takes out what would be six bytes of JSON each.
fn bound(excerpt: &mut String) {
    excerpt.truncate(excerpt.floor_char_boundary(MAX_EXCERPT_BYTES));
    if excerpt.contains(char::is_control) {
        *excerpt = excerpt.replace(char::is_control, " ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::wire_bytes;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn attempt(ms: u64) -> Attempt {
        Attempt { at: NOW, status: Some(500), ms, verdict: "unavailable".into(), excerpt: String::new() }
    }

    #[test]
    fn a_history_survives_the_round_trip_through_headers() {
        let mut history = History::new("a.b", NOW);
        history.add(attempt(3));
        history.retries = 2;
        history.replays = 1;
        history.failing_since = Some(NOW);
        history.job = Some(Watched { id: "17".into(), rows: 3, since: NOW });
        let copy = history.write(&Message::default());
        assert_eq!(History::read(&copy, "sluice.px", Timestamp::UNIX_EPOCH), history);
    }

    #[test]
    fn a_long_history_keeps_the_first_and_the_last_attempts() {
        let mut history = History::new("a.b", NOW);
        (0..100).for_each(|ms| history.add(attempt(ms)));
        let kept: Vec<u64> = history.attempts.iter().map(|attempt| attempt.ms).collect();
        assert_eq!(kept, [0, 1, 2, 3, 4].into_iter().chain(85..100).collect::<Vec<_>>());
        assert_eq!(history.omitted, 80);
    }

    #[test]
    fn a_replayed_history_starts_afresh_and_keeps_what_was_tried() {
        let mut history = History::new("a.b", NOW);
        history.add(attempt(3));
        history.spend(NOW);
        history.job = Some(Watched { id: "17".into(), rows: 3, since: NOW });
        let copy = history.write(&Message::default());
        let afresh = history.clone().afresh();
        let read = History::read(&afresh.write(&copy), "q", Timestamp::UNIX_EPOCH);
        assert_eq!(read, afresh);
        assert_eq!((read.attempts, read.retries, read.failing_since, read.job), (history.attempts, 0, None, None));
        assert_eq!((read.replays, afresh.afresh().replays), (1, 2));
    }

    #[test]
    fn a_long_history_of_long_excerpts_leaves_room_in_the_frame() {
        for said in ["é".repeat(5_000), "\"".repeat(5_000), "\u{1b}".repeat(5_000), "x".repeat(1_000_000)] {
            let mut history = History::new("a.b", NOW);
            (0..100).for_each(|ms| history.add(Attempt { excerpt: said.clone(), ..attempt(ms) }));
            let bytes = wire_bytes(&history.write(&Message::default()).properties.headers);
            assert!(bytes < 60_000, "{bytes}");
        }
    }

    #[test]
    fn headers_that_are_not_ours_in_form_make_no_history() {
        let mut message = Message::default();
        message.properties.headers.insert("x-sluice-routing-key".into(), Field::text("a"));
        message.properties.headers.insert("x-sluice-attempts".into(), Field::text("{not json"));
        message.properties.headers.insert("x-sluice-retries".into(), Field::I64(-5));
        let history = History::read(&message, "q", NOW);
        assert_eq!((history.attempts.len(), history.retries), (0, 0));
    }
}
