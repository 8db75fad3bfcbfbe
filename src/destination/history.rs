//! What a message carries of its way through Sluice, in headers of our own. Pure.
//!
//! Attempts are counted here and never by the broker's `x-death`: brokers before 4.0 drop a message that comes to a
//! queue named in its `x-death` a second time, and 4.0 ignores the header.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::{Field, Headers, Message};

/// All of Sluice's headers begin so.
pub const PREFIX: &str = "x-sluice-";

/// A long history keeps this many of its first attempts …
const KEEP_FIRST: usize = 5;
/// … and this many of its last.
const KEEP_LAST: usize = 15;

/// Headers that the broker would act on when a copy is published; they wait under another name.
/// `CC` and `BCC` would route the copy to more queues.
const SET_ASIDE: [(&str, &str); 2] = [("CC", "x-sluice-header-cc"), ("BCC", "x-sluice-header-bcc")];
const EXPIRATION: &str = "x-sluice-property-expiration";
const USER_ID: &str = "x-sluice-property-user-id";

/// One HTTP request made for an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was sent.
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
        if !headers.contains_key("x-sluice-routing-key") {
            return Self::new(routing_key, now);
        }
        let text = |name: &str| headers.get(&format!("{PREFIX}{name}")).and_then(Field::as_str);
        let number = |name: &str| headers.get(&format!("{PREFIX}{name}")).and_then(Field::as_i64).unwrap_or(0);
        let time = |name: &str| text(name).and_then(|time| time.parse().ok());
        Self {
            routing_key: text("routing-key").unwrap_or(routing_key).to_owned(),
            received: time("received").unwrap_or(now),
            attempts: text("attempts").and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            omitted: u64::try_from(number("attempts-omitted")).unwrap_or(0),
            retries: u32::try_from(number("retries")).unwrap_or(0),
            failing_since: time("failing-since"),
            replays: u32::try_from(number("replays")).unwrap_or(0),
            job: text("job").map(|id| Watched {
                id: id.to_owned(),
                rows: u64::try_from(number("job-rows")).unwrap_or(0),
                since: time("job-since").unwrap_or(now),
            }),
        }
    }

    /// Adds an attempt; of a long history the middle is left out.
    pub fn add(&mut self, attempt: Attempt) {
        if self.attempts.len() >= KEEP_FIRST + KEEP_LAST {
            self.attempts.remove(KEEP_FIRST);
            self.omitted += 1;
        }
        self.attempts.push(attempt);
    }

    /// An attempt, made at `at`, is spent: the next delay is a longer one.
    pub fn spend(&mut self, at: Timestamp) {
        self.retries += 1;
        self.failing_since.get_or_insert(at);
    }

    /// A copy of `original` that carries this history, safe to publish: without what the broker put there, and with
    /// what it would act on set aside.
    #[must_use]
    pub fn write(&self, original: &Message) -> Message {
        let mut copy = original.clone();
        let properties = &mut copy.properties;
        set_aside(&mut properties.headers);
        if let Some(expiration) = properties.expiration.take() {
            properties.headers.insert(EXPIRATION.to_owned(), Field::text(expiration));
        }
        if let Some(user_id) = properties.user_id.take() {
            properties.headers.insert(USER_ID.to_owned(), Field::text(user_id));
        }
        let headers = &mut properties.headers;
        // A job that is over must not be asked about again.
        headers.retain(|name, _| !name.starts_with("x-sluice-job"));
        let mut put = |name: &str, value: Field| headers.insert(format!("{PREFIX}{name}"), value);
        put("routing-key", Field::text(self.routing_key.as_str()));
        put("received", Field::text(self.received.to_string()));
        if !self.attempts.is_empty() {
            put("attempts", Field::text(serde_json::to_string(&self.attempts).unwrap_or_default()));
        }
        if self.omitted > 0 {
            put("attempts-omitted", Field::I64(i64::try_from(self.omitted).unwrap_or(i64::MAX)));
        }
        if self.retries > 0 {
            put("retries", Field::I64(i64::from(self.retries)));
        }
        if let Some(since) = self.failing_since {
            put("failing-since", Field::text(since.to_string()));
        }
        if self.replays > 0 {
            put("replays", Field::I64(i64::from(self.replays)));
        }
        if let Some(job) = &self.job {
            put("job", Field::text(job.id.as_str()));
            put("job-rows", Field::I64(i64::try_from(job.rows).unwrap_or(i64::MAX)));
            put("job-since", Field::text(job.since.to_string()));
        }
        copy
    }
}

/// Leaves the producer's headers and the list of attempts out of a copy that is too large to publish: what is left says so.
pub fn shrink(copy: &mut Message) {
    let headers = &mut copy.properties.headers;
    let before = headers.len();
    headers.retain(|name, _| name.starts_with(PREFIX) && !name.ends_with("attempts") && !name.contains("-header-"));
    let dropped = i64::try_from(before - headers.len()).unwrap_or(i64::MAX);
    headers.insert(format!("{PREFIX}headers-dropped"), Field::I64(dropped));
}

fn set_aside(headers: &mut Headers) {
    headers.retain(|name, _| {
        let death = ["x-death", "x-first-death-", "x-last-death-"].iter().any(|start| name.starts_with(start));
        !death && !matches!(name.as_str(), "x-delivery-count" | "x-acquired-count" | "x-sluice-publish")
    });
    for (name, aside) in SET_ASIDE {
        if let Some(field) = headers.remove(name) {
            headers.insert(aside.to_owned(), field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;

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
    fn what_the_broker_would_act_on_is_set_aside() {
        let mut headers = Headers::new();
        for name in ["x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "CC", "own"] {
            headers.insert(name.to_owned(), Field::text("v"));
        }
        let properties = Properties {
            headers,
            expiration: Some("60000".into()),
            user_id: Some("u".into()),
            ..Properties::default()
        };
        let copy = History::new("a", NOW).write(&Message { body: "b".into(), properties });
        let names: Vec<&str> = copy.properties.headers.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "own",
                "x-sluice-header-cc",
                "x-sluice-property-expiration",
                "x-sluice-property-user-id",
                "x-sluice-received",
                "x-sluice-routing-key"
            ]
        );
        assert_eq!((copy.properties.expiration, copy.properties.user_id), (None, None));
    }

    #[test]
    fn a_copy_too_large_to_publish_keeps_its_reason_and_says_what_it_lost() {
        let mut copy = Message::default();
        for (name, bytes) in
            [("big", 200_000), ("x-sluice-reason", 9), ("x-sluice-attempts", 9_000), ("x-sluice-header-cc", 9)]
        {
            copy.properties.headers.insert(name.to_owned(), Field::text("x".repeat(bytes)));
        }
        shrink(&mut copy);
        let names: Vec<&str> = copy.properties.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["x-sluice-headers-dropped", "x-sluice-reason"]);
        assert_eq!(copy.properties.headers["x-sluice-headers-dropped"], Field::I64(3));
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
