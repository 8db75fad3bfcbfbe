//! What became of a replayed event, as the worker tells whoever replayed it: the JSON body of a message. Pure.

use serde::{Deserialize, Serialize};

/// Told once the delivery has been settled. It may be told more than once, and never: whoever waits for it must not wait for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The operation that replayed it.
    pub replay: String,
    /// The letter that it was.
    pub letter: String,
    /// What became of it.
    pub outcome: Outcome,
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
pub enum Outcome {
    /// The vendor took it.
    Delivered,
    /// It is a dead letter again.
    Dead,
    /// It waits at the broker for its next attempt, or for the end of its job at the vendor. Its end is told later.
    Retrying,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_short_json_and_read_as_it_was_written() {
        let mut notice = Notice {
            replay: "op".into(),
            letter: "0123456789abcdef".into(),
            outcome: Outcome::Retrying,
            reason: None,
            sentence: None,
        };
        let json = serde_json::to_string(&notice).unwrap();
        assert_eq!(json, r#"{"replay":"op","letter":"0123456789abcdef","outcome":"retrying"}"#);
        notice.outcome = Outcome::Dead;
        notice.reason = Some("rejected".into());
        notice.sentence = Some("no".into());
        let json = serde_json::to_vec(&notice).unwrap();
        assert_eq!(serde_json::from_slice::<Notice>(&json).unwrap(), notice);
    }
}
