//! What a message carries of its way through Sluice, in headers of our own. Pure.
//!
//! Attempts are counted here and never by the broker's `x-death`: brokers before 4.0 drop a message that comes to a
//! queue named in its `x-death` a second time, and 4.0 ignores the header.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::{Field, Message, header, is_the_brokers};

/// A long history keeps this many of its first attempts …
const KEEP_FIRST: usize = 5;
/// … and this many of its last.
const KEEP_LAST: usize = 15;

/// Headers that the broker would act on when a copy is published; they wait under another name.
/// `CC` and `BCC` would route the copy to more queues.
const SET_ASIDE: [(&str, &str); 2] = [("CC", header::SET_ASIDE_CC), ("BCC", header::SET_ASIDE_BCC)];
/// The delivery mode of every copy; the producer's is set aside where it was another.
const PERSISTENT: u8 = 2;
/// Set aside where the producer's message had none.
const NO_MODE: i64 = -1;

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

/// Makes a message safe to publish: without what the broker put there, and with what it would act on set aside, which [`original`]
/// puts back. An expiration would end the copy, `CC` would send it elsewhere too, a user's id other than the connection's is refused, and
/// a priority would let one letter or one retry overtake others for ever (RabbitMQ 4.3 heeds it in every quorum queue).
pub fn set_aside(message: &mut Message) {
    let properties = &mut message.properties;
    let headers = &mut properties.headers;
    // A copy's expiration is the delay that it waited for.
    let is_copy = headers.contains_key(header::ROUTING_KEY);
    headers.retain(|name, _| !is_the_brokers(name) && name != header::PUBLISH);
    for (name, aside) in SET_ASIDE {
        if let Some(field) = headers.remove(name) {
            headers.insert(aside.to_owned(), field);
        }
    }
    if let Some(expiration) = properties.expiration.take().filter(|_| !is_copy) {
        headers.insert(header::SET_ASIDE_EXPIRATION.to_owned(), Field::text(expiration));
    }
    if let Some(user_id) = properties.user_id.take() {
        headers.insert(header::SET_ASIDE_USER_ID.to_owned(), Field::text(user_id));
    }
    if let Some(priority) = properties.priority.take() {
        headers.insert(header::SET_ASIDE_PRIORITY.to_owned(), Field::I64(i64::from(priority)));
    }
    if let Some(mode) = other_mode(properties.delivery_mode.replace(PERSISTENT)) {
        // The mode of a copy is Sluice's own: what a first copy says stands.
        headers.entry(header::SET_ASIDE_DELIVERY_MODE.to_owned()).or_insert(Field::I64(mode));
    }
}

/// The message as its producer published it, out of what Sluice or the broker made of it: without the headers of either, and with
/// what was set aside put back.
#[must_use]
pub fn original(message: &Message) -> Message {
    let mut original = message.clone();
    let properties = &mut original.properties;
    let headers = &mut properties.headers;
    let text = |name: &str| headers.get(name).and_then(Field::as_str).map(str::to_owned);
    let (expiration, user_id) = (text(header::SET_ASIDE_EXPIRATION), text(header::SET_ASIDE_USER_ID));
    // What never was a copy, as what the broker itself moved to the dead letters, has its properties still.
    if headers.contains_key(header::ROUTING_KEY) {
        (properties.expiration, properties.user_id) = (expiration, user_id);
    } else {
        properties.expiration = expiration.or(properties.expiration.take());
        properties.user_id = user_id.or(properties.user_id.take());
    }
    if let Some(priority) = headers.get(header::SET_ASIDE_PRIORITY).and_then(Field::as_i64) {
        properties.priority = u8::try_from(priority).ok();
    }
    if let Some(mode) = headers.get(header::SET_ASIDE_DELIVERY_MODE).and_then(Field::as_i64) {
        properties.delivery_mode = u8::try_from(mode).ok();
    }
    for (name, aside) in SET_ASIDE {
        if let Some(field) = headers.remove(aside) {
            headers.insert(name.to_owned(), field);
        }
    }
    headers.retain(|name, _| !name.starts_with(header::PREFIX) && !is_the_brokers(name));
    original
}

/// A letter's event that died again is a replay no more; which operation had replayed it stays told.
pub fn end_replay(letter: &mut Message) {
    let headers = &mut letter.properties.headers;
    if let Some(replay) = headers.remove(header::REPLAY) {
        headers.insert(header::REPLAYED_BY.to_owned(), replay);
    }
    headers.remove(header::REPLAY_OF);
    headers.remove(header::REPLAY_TO);
}

/// A delivery mode as it is set aside, where it has to be.
fn other_mode(mode: Option<u8>) -> Option<i64> {
    (mode != Some(PERSISTENT)).then(|| mode.map_or(NO_MODE, i64::from))
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
    use proptest::prelude::*;

    use super::*;
    use crate::message::header::{REPLAY, REPLAY_OF, REPLAY_TO, REPLAYED_BY, SET_ASIDE_DELIVERY_MODE};
    use crate::message::{Headers, Properties, wire_bytes};

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
            priority: Some(9),
            ..Properties::default()
        };
        let copy = History::new("a", NOW).write(&Message { body: "b".into(), properties });
        let names: Vec<&str> = copy.properties.headers.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "own",
                "x-sluice-header-cc",
                "x-sluice-property-delivery-mode",
                "x-sluice-property-expiration",
                "x-sluice-property-priority",
                "x-sluice-property-user-id",
                "x-sluice-received",
                "x-sluice-routing-key"
            ]
        );
        let Properties { expiration, user_id, priority, .. } = copy.properties;
        assert_eq!((expiration, user_id, priority), (None, None, None));
    }

    #[test]
    fn a_delivery_mode_is_set_aside_once_and_put_back() {
        for (mode, aside) in [(None, Some(-1)), (Some(1), Some(1)), (Some(2), None)] {
            let message = Message {
                properties: Properties { delivery_mode: mode, ..Properties::default() },
                ..Message::default()
            };
            let copy = History::new("a", NOW).write(&message);
            let again = History::new("a", NOW).write(&copy);
            for copy in [copy, again] {
                assert_eq!(copy.properties.headers.get(SET_ASIDE_DELIVERY_MODE).and_then(Field::as_i64), aside);
                assert_eq!(copy.properties.delivery_mode, Some(2));
                assert_eq!(original(&copy), message);
            }
        }
    }

    #[test]
    fn what_the_broker_moved_to_the_dead_letters_itself_keeps_its_properties() {
        let properties = Properties {
            expiration: Some("60000".into()),
            user_id: Some("u".into()),
            delivery_mode: Some(1),
            ..Properties::default()
        };
        let message = Message { body: "b".into(), properties };
        let mut letter = message.clone();
        letter.properties.headers.insert("x-death".into(), Field::Array(Vec::new()));
        letter.properties.headers.insert("x-delivery-count".into(), Field::I64(21));
        assert_eq!(original(&letter), message);
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
    fn a_letter_that_died_again_tells_who_replayed_it_and_is_a_replay_no_more() {
        let mut letter = Message::default();
        for name in [REPLAY, REPLAY_OF, REPLAY_TO] {
            letter.properties.headers.insert(name.to_owned(), Field::text(name));
        }
        end_replay(&mut letter);
        let expected = Headers::from([(REPLAYED_BY.to_owned(), Field::text(REPLAY))]);
        assert_eq!(letter.properties.headers, expected);
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

    fn fields() -> impl Strategy<Value = Field> {
        prop_oneof![
            any::<bool>().prop_map(Field::Bool),
            any::<i64>().prop_map(Field::I64),
            ".{0,9}".prop_map(Field::text),
            prop::collection::vec("[a-z]{0,3}".prop_map(Field::text), 0..3).prop_map(Field::Array),
            Just(Field::Void),
        ]
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::of(".{0,9}")
    }

    prop_compose! {
        fn messages()(
            body in prop::collection::vec(any::<u8>(), 0..9),
            headers in prop::collection::btree_map("CC|BCC|cc|x-retries|x-deaths|[a-z]{1,5}", fields(), 0..6),
            (content_type, content_encoding, correlation_id, reply_to) in (text(), text(), text(), text()),
            (expiration, message_id, kind, user_id, app_id) in (text(), text(), text(), text(), text()),
            (delivery_mode, priority, timestamp) in any::<(Option<u8>, Option<u8>, Option<u64>)>(),
        ) -> Message {
            let properties = Properties {
                content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to, expiration,
                message_id, timestamp, kind, user_id, app_id,
            };
            Message { body: body.into(), properties }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_producer_published_can_be_had_back_from_a_copy(message in messages(), tries in 0u32..3) {
            let mut history = History::new("a.b", NOW);
            let mut copy = history.write(&message);
            for _ in 0..tries {
                history.add(attempt(1));
                history.spend(NOW);
                copy = history.write(&copy);
                copy.properties.expiration = Some("5000".to_owned());
                copy.properties.headers.insert("x-first-death-queue".to_owned(), Field::text("q"));
            }
            prop_assert_eq!(original(&copy), message);
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
