//! Why a gate is as it is: a sentence, in the vendor's own words where it had any, with when they came. Values only.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An answer, or that none came, as a sentence tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// When it came.
    pub at: Timestamp,
    /// Which probe it was for since the gate closed, from 1; 0 where it was for none.
    pub probe: u32,
    /// Where in the sentence its words end, in bytes.
    pub place: usize,
}

/// What was answered last, masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Empty where nothing was said.
    pub text: String,
    /// When it came; none where that is not known.
    pub at: Option<Timestamp>,
    /// Which probe it was for, from 1; 0 for none.
    pub probe: u32,
}

/// A sentence without an end, and the answer in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Why {
    /// The sentence.
    pub text: String,
    /// The answer that it tells of.
    pub answered: Option<Answered>,
}

impl Why {
    /// A sentence that tells of no answer.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), answered: None }
    }

    /// What happened, what was answered, and what to do.
    pub(super) fn quoting(lead: &str, words: &Words, then: &str) -> Self {
        let mut text = match (lead, words.text.as_str()) {
            (lead, "") => lead.to_owned(),
            ("", said) => said.to_owned(),
            (lead, said) => format!("{lead}: {said}"),
        };
        let answered = words.at.map(|at| Answered { at, probe: words.probe, place: text.len() });
        text.push_str(then);
        Self { text, answered }
    }
}

impl Words {
    /// Something that was said at `at`.
    pub fn new(text: &str, at: Timestamp) -> Self {
        Self { text: text.to_owned(), at: Some(at), probe: 0 }
    }

    /// Who refused the credentials, and what to do.
    pub fn refusing_credentials(&self) -> Why {
        const THEN: &str = "; check the key and that the account is on";
        match self.text.as_str() {
            "" => Why::quoting("the vendor refuses the credentials", self, THEN),
            _ => Why::quoting("", self, THEN),
        }
    }

    /// What to say while few were refused.
    pub fn refusing_few(&self) -> Why {
        const THEN: &str = "; others will tell whether all are";
        Why::quoting("open; the credentials of an event were refused", self, THEN)
    }

    /// What the vendor did, by its status if no words of its own follow.
    fn refused(&self) -> &'static str {
        if self.text.is_empty() { "the vendor answered 429" } else { "the vendor refused for a limit" }
    }

    /// That the vendor refused for a limit.
    pub fn refusing(&self) -> Why {
        Why::quoting(&format!("{} without saying for how long", self.refused()), self, "")
    }

    /// The same, with when the quota that is used up is there again.
    pub fn refusing_until_reset(&self, wait: Duration) -> Why {
        Why::quoting(&format!("{} and its quota resets in {}", self.refused(), seconds(wait)), self, "")
    }

    /// That the vendor asked to wait.
    pub fn asking_to_wait(&self, throttled: bool, wait: Duration) -> Why {
        let did = if throttled { self.refused() } else { "the vendor is in trouble" };
        Why::quoting(&format!("{did} and asked to wait {} (Retry-After)", seconds(wait)), self, "")
    }

    /// That so many events in a row were rejected.
    pub fn rejecting(&self, events: u32) -> Why {
        const THEN: &str = "; check the mapping and the dead letters, then resume";
        let lead = format!("the vendor rejected {events} events in a row");
        let lead = if self.text.is_empty() { lead } else { format!("{lead}, at last") };
        Why::quoting(&lead, self, THEN)
    }
}

/// A wait as people write it, to a tenth of a second.
fn seconds(wait: Duration) -> String {
    let rounded = (wait.as_secs_f64() * 10.0).ceil() / 10.0;
    format!("{rounded} s")
}
