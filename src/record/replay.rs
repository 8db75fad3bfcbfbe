//! A replayed event: what its headers say of the replay, and what became of it, as the worker tells whoever replayed it. Pure.

use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::message::header::{REPLAY, REPLAY_OF, REPLAY_TO, REPLAYED_BY, REPLAYED_FROM};

/// The JSON body of a message, told once the delivery has been settled. It may be told more than once, and never: whoever waits for it must not wait for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The operation that replayed it.
    pub replay: String,
    /// The letter that it was.
    pub letter: String,
    /// What became of it.
    pub outcome: ReplayOutcome,
    /// Why it is dead again: one of [`crate::verdict::Reason`]'s names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sentence: Option<String>,
}

/// What became of a replayed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// The vendor took it.
    Delivered,
    /// It is a dead letter again.
    Dead,
    /// It waits at the broker for its next attempt, until it may be sent, or for the end of its job at the vendor. Its end is told later.
    Retrying,
}

/// A letter's event that died again is a replay no more; which operation had replayed it, and as which letter, stays told.
pub fn end_replay(letter: &mut Message) {
    let headers = &mut letter.properties.headers;
    if let Some(replay) = headers.remove(REPLAY) {
        headers.insert(REPLAYED_BY.to_owned(), replay);
    }
    if let Some(letter) = headers.remove(REPLAY_OF) {
        headers.insert(REPLAYED_FROM.to_owned(), letter);
    }
    headers.remove(REPLAY_TO);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Field, Headers};

    #[test]
    fn a_notice_is_short_json_and_read_as_it_was_written() {
        let mut notice = Notice {
            replay: "op".into(),
            letter: "0123456789abcdef".into(),
            outcome: ReplayOutcome::Retrying,
            reason: None,
            sentence: None,
        };
        let json = serde_json::to_string(&notice).unwrap();
        assert_eq!(json, r#"{"replay":"op","letter":"0123456789abcdef","outcome":"retrying"}"#);
        notice.outcome = ReplayOutcome::Dead;
        notice.reason = Some("rejected".into());
        notice.sentence = Some("no".into());
        let json = serde_json::to_vec(&notice).unwrap();
        assert_eq!(serde_json::from_slice::<Notice>(&json).unwrap(), notice);
    }

    #[test]
    fn a_letter_that_died_again_tells_who_replayed_it_and_is_a_replay_no_more() {
        let mut letter = Message::default();
        for name in [REPLAY, REPLAY_OF, REPLAY_TO] {
            letter.properties.headers.insert(name.to_owned(), Field::text(name));
        }
        end_replay(&mut letter);
        let expected = [(REPLAYED_BY, REPLAY), (REPLAYED_FROM, REPLAY_OF)];
        let expected = Headers::from(expected.map(|(name, text)| (name.to_owned(), Field::text(text))));
        assert_eq!(letter.properties.headers, expected);
    }
}
