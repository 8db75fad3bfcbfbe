//! What a dead letter says of itself, as message headers. Pure.
//!
//! The body and the properties stay byte for byte as the producer sent them.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::{Captures, Regex};
use uuid::Uuid;

use crate::destination::history::{History, PREFIX};
use crate::message::{Field, Message};
use crate::verdict::Reason;

const FINGERPRINTS: Uuid = Uuid::from_u128(0x1b7e_55aa_93c4_5d0e_a2f4_77c1_90e8_4d2b);

/// Longest sentence kept, in bytes: headers travel in one AMQP frame.
const MAX_SENTENCE_BYTES: usize = 2000;

/// Why an event became a dead letter, and whose it was.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// From the closed list.
    pub reason: Reason,
    /// A sentence that a person understands, already masked.
    pub sentence: &'a str,
    /// The destination's name.
    pub destination: &'a str,
    /// The event's id, where it could be decoded.
    pub event_id: Option<&'a str>,
    /// The event's type, else the routing key.
    pub event_type: &'a str,
    /// When it became a dead letter.
    pub at: Timestamp,
}

impl Record<'_> {
    /// The dead letter: `original` with its history and this record as headers.
    #[must_use]
    pub fn write(&self, original: &Message, history: &History) -> Message {
        let mut letter = history.write(original);
        let mut put = |name: &str, value: &str| {
            letter.properties.headers.insert(format!("{PREFIX}{name}"), Field::text(value));
        };
        put("reason", self.reason.name());
        put("sentence", cut(self.sentence));
        put("destination", self.destination);
        put("event-type", self.event_type);
        put("dead-lettered-at", &self.at.to_string());
        put("worker", concat!("sluice/", env!("CARGO_PKG_VERSION")));
        put("fingerprint", &fingerprint(self.reason, self.sentence));
        if let Some(id) = self.event_id {
            put("event-id", id);
        }
        if let (Some(first), Some(last)) = (history.attempts.first(), history.attempts.last()) {
            put("first-attempt", &first.at.to_string());
            put("last-attempt", &last.at.to_string());
        }
        letter
    }
}

fn cut(sentence: &str) -> &str {
    let mut end = sentence.len().min(MAX_SENTENCE_BYTES);
    while !sentence.is_char_boundary(end) {
        end -= 1;
    }
    &sentence[..end]
}

/// Equal for equal causes, whatever ids, numbers and addresses stand in the sentence: 16 hex digits.
#[must_use]
pub fn fingerprint(reason: Reason, sentence: &str) -> String {
    static VARYING: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"[\p{L}\p{N}@._%+*-]*\p{N}[\p{L}\p{N}@._%+*-]*|\S+@\S+").ok());
    // A word with a digit in it is an id, a number or an address; a short plain number (a status) is kept.
    let cause = match &*VARYING {
        Some(varying) => varying.replace_all(sentence, |found: &Captures<'_>| {
            let word = &found[0];
            if word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()) { word.to_owned() } else { "#".to_owned() }
        }),
        None => sentence.into(),
    };
    let digest = Uuid::new_v5(&FINGERPRINTS, format!("{} {cause}", reason.name()).as_bytes());
    digest.simple().to_string()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;

    #[test]
    fn a_fingerprint_groups_equal_causes_and_keeps_others_apart() {
        let of = |sentence| fingerprint(Reason::Rejected, sentence);
        assert_eq!(of("user u-17 is unknown"), of("user u-99831 is unknown"));
        assert_eq!(of("no user ***@***"), of("no user ***@***"));
        assert_ne!(of("PX answered 400: no user"), of("PX answered 422: no user"));
        assert_ne!(of("\"userType\" is missing"), of("\"eventName\" is missing"));
        assert_ne!(fingerprint(Reason::Invalid, "x"), fingerprint(Reason::Rejected, "x"));
    }

    #[test]
    fn a_letter_keeps_body_and_properties_and_tells_its_story() {
        let properties = Properties { message_id: Some("m".into()), priority: Some(3), ..Properties::default() };
        let original = Message { body: "x".into(), properties };
        let at = Timestamp::constant(1_700_000_000, 0);
        let record = Record {
            reason: Reason::Malformed,
            sentence: "the body is not JSON",
            destination: "px",
            event_id: None,
            event_type: "a.b",
            at,
        };
        let letter = record.write(&original, &History::new("a.b", at));
        assert_eq!(letter.body, original.body);
        assert_eq!((letter.properties.message_id.as_deref(), letter.properties.priority), (Some("m"), Some(3)));
        let header = |name: &str| letter.properties.headers.get(name).and_then(Field::as_str);
        assert_eq!(header("x-sluice-reason"), Some("malformed"));
        assert_eq!(header("x-sluice-sentence"), Some("the body is not JSON"));
        assert_eq!(header("x-sluice-routing-key"), Some("a.b"));
        assert_eq!(header("x-sluice-fingerprint").map(str::len), Some(16));
    }
}
