//! An operator's pause: who set it, when, until when, and why. Values only; the time is an argument.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::redact;

/// Longest reason that is kept, in characters.
const LONGEST_REASON: usize = 200;
/// Longest name of who set it, in characters.
const LONGEST_NAME: usize = 100;

/// A pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paused {
    /// Who set it: a token's name, or user@host of a command line; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// When it ends by itself; none where somebody has to resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Paused {
    /// A pause that was given at `at`. Its reason is one line of bounded length, e-mail addresses masked; who set it is one of bounded length.
    #[must_use]
    pub fn given_at(self, at: Timestamp) -> Self {
        let reason = self.reason.map(|reason| cut(&redact::without_addresses(&one_line(&reason)), LONGEST_REASON));
        let by = self.by.map(|by| cut(&one_line(&by), LONGEST_NAME));
        Self { at: Some(at), by, reason: reason.filter(|reason| !reason.is_empty()), ..self }
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_over(&self, wall: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= wall)
    }

    /// "paused by night-shift, 14:11, until 16:00 UTC: vendor maintenance".
    #[must_use]
    pub fn why(&self, wall: Timestamp) -> String {
        let at = self.at.filter(|_| self.by.is_some()).map(|at| clock(at, wall));
        let until = self.until.map(|until| format!("until {}", clock(until, wall)));
        let times: Vec<String> = at.into_iter().chain(until).collect();
        let mut why = match &self.by {
            Some(by) => format!("paused by {by}"),
            None => "an operator paused it".to_owned(),
        };
        if !times.is_empty() {
            why.push_str(&format!(", {} UTC", times.join(", ")));
        }
        if let Some(reason) = &self.reason {
            why.push_str(&format!(": {reason}"));
        }
        why
    }
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The time of day in UTC, with the day where it is another than now.
fn clock(at: Timestamp, wall: Timestamp) -> String {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    at.strftime(if day(at) == day(wall) { "%H:%M" } else { "%F %H:%M" }).to_string()
}
