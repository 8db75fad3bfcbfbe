//! What a dead letter says of itself, as message headers. Pure.
//!
//! The body and the properties stay byte for byte as the producer sent them.

use jiff::Timestamp;

use super::fingerprint::{cause, fingerprint};
use super::history::History;
use crate::message::{Field, Message, header};
use crate::verdict::Reason;

/// Longest sentence kept, in bytes: headers travel in one AMQP frame.
const MAX_SENTENCE_BYTES: usize = 2000;

/// Why an event became a dead letter, and whose it was.
#[derive(Clone, Debug)]
pub struct Death<'a> {
    /// From the closed list.
    pub reason: Reason,
    /// A sentence that a person understands, already masked.
    pub sentence: &'a str,
    /// The destination's name.
    pub destination: &'a str,
    /// The event's id, where it can be read.
    pub event_id: Option<&'a str>,
    /// The event's type, else the routing key.
    pub event_type: &'a str,
    /// When it became a dead letter.
    pub at: Timestamp,
}

impl Death<'_> {
    /// The dead letter: `original` with its history and this record as headers.
    #[must_use]
    pub fn write(&self, original: &Message, history: &History) -> Message {
        let mut letter = history.write(original);
        let mut put = |name: &str, value: &str| {
            letter.properties.headers.insert(name.to_owned(), Field::text(value));
        };
        put(header::REASON, self.reason.name());
        put(header::SENTENCE, &self.sentence[..self.sentence.floor_char_boundary(MAX_SENTENCE_BYTES)]);
        put(header::DESTINATION, self.destination);
        put(header::EVENT_TYPE, self.event_type);
        put(header::DEAD_LETTERED_AT, &self.at.to_string());
        put(header::WORKER, concat!("sluice/", env!("CARGO_PKG_VERSION")));
        let cause = cause(self.sentence, original);
        put(header::FINGERPRINT, &fingerprint(self.reason, &cause));
        put(header::CAUSE, &cause);
        if let Some(id) = self.event_id {
            put(header::EVENT_ID, id);
        }
        if let (Some(first), Some(last)) = (history.attempts.first(), history.attempts.last()) {
            put(header::FIRST_ATTEMPT, &first.at.to_string());
            put(header::LAST_ATTEMPT, &last.at.to_string());
        }
        letter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;

    #[test]
    fn a_letter_keeps_body_and_properties_and_tells_its_story() {
        let properties = Properties { message_id: Some("m".into()), priority: Some(3), ..Properties::default() };
        let original = Message { body: "x".into(), properties };
        let at = Timestamp::constant(1_700_000_000, 0);
        let death = Death {
            reason: Reason::Malformed,
            sentence: "the body is not JSON",
            destination: "px",
            event_id: None,
            event_type: "a.b",
            at,
        };
        let letter = death.write(&original, &History::new("a.b", at));
        assert_eq!(letter.body, original.body);
        assert_eq!((letter.properties.message_id.as_deref(), letter.properties.priority), (Some("m"), None));
        assert_eq!(crate::record::copy::original(&letter), original);
        let header = |name: &str| letter.properties.headers.get(name).and_then(Field::as_str);
        assert_eq!(header("x-sluice-reason"), Some("malformed"));
        assert_eq!(header("x-sluice-sentence"), Some("the body is not JSON"));
        assert_eq!(header("x-sluice-routing-key"), Some("a.b"));
        assert_eq!(header("x-sluice-fingerprint").map(str::len), Some(16));
    }
}
