//! One step of an event's way, and the line that it is in the stream: JSON with short names, so that a million are searched in seconds and a
//! later version can add to it. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::verdict::Reason;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Sluice itself published it, and the broker confirmed it: it came over HTTP or by `sluice publish`, or nobody had subscribed to it before.
    Published,
    /// A worker took it from the queue for the first time.
    Received,
    /// A person put its dead letter back on its way.
    Replayed,
    /// It was sent, and waits for the gate to be sent again.
    Waited,
    /// It was sent or looked up in vain, and is tried again after a pause.
    Retried,
    /// The vendor took it, and has not said yet whether it applied it.
    Accepted,
    /// The vendor took it.
    Delivered,
    /// The broker sent it again after it had been delivered; it was not sent to the vendor again.
    AlreadyDelivered,
    /// It became a dead letter.
    Died,
    /// Its dead letter was edited: it is in the trash, and another letter in its place.
    Edited,
    /// Its dead letter went to the trash.
    Discarded,
    /// Its dead letter came back from the trash.
    Restored,
    /// Its dead letter was taken out of the trash for good.
    Purged,
    /// It is put aside until it may be sent.
    Scheduled,
    /// Its person must not be written to.
    Suppressed,
    /// Its time was over before it was sent, and the destination drops such events.
    Dropped,
    /// No destination subscribes to it.
    Unrouted,
    /// Of no event: a worker could not record so many steps.
    Lost,
    /// What a later version of Sluice recorded.
    #[serde(other)]
    Unknown,
}

impl StepKind {
    /// Whether it is about a dead letter: where that is now says more.
    #[must_use]
    pub fn is_of_a_letter(self) -> bool {
        matches!(self, Self::Edited | Self::Discarded | Self::Restored | Self::Purged)
    }

    /// The word for it, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Received => "received",
            Self::Replayed => "replayed",
            Self::Waited => "waited",
            Self::Retried => "retried",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::AlreadyDelivered => "already_delivered",
            Self::Died => "died",
            Self::Edited => "edited",
            Self::Discarded => "discarded",
            Self::Restored => "restored",
            Self::Purged => "purged",
            Self::Scheduled => "scheduled",
            Self::Suppressed => "suppressed",
            Self::Dropped => "dropped",
            Self::Unrouted => "unrouted",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// A step, as it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step<'a> {
    /// What happened.
    #[serde(rename = "o")]
    pub kind: StepKind,
    /// When: a request's sending, else when it was found out.
    #[serde(rename = "a", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// Where; empty where no destination has part in it.
    #[serde(rename = "d", default, skip_serializing_if = "str::is_empty", borrow)]
    pub destination: Cow<'a, str>,
    /// The event's id.
    #[serde(rename = "i", default, skip_serializing_if = "str::is_empty", borrow)]
    pub id: Cow<'a, str>,
    /// Its source, addresses masked.
    #[serde(rename = "s", default, skip_serializing_if = "str::is_empty", borrow)]
    pub source: Cow<'a, str>,
    /// Its type, addresses masked.
    #[serde(rename = "t", default, skip_serializing_if = "str::is_empty", borrow)]
    pub event_type: Cow<'a, str>,
    /// Its subject, where that is kept.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none", borrow)]
    pub subject: Option<Cow<'a, str>>,
    /// When a worker took it first.
    #[serde(
        rename = "r",
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::timestamp::millisecond::optional"
    )]
    pub received: Option<Timestamp>,
    /// The number of the attempt, from 1, or 0 where none was made; of [`StepKind::Lost`] how many steps.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub attempt: u64,
    /// The answer's status.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds that the request took.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Seconds until the next attempt, at most.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<u64>,
    /// Why it is a dead letter.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none", borrow)]
    pub reason: Option<Cow<'a, str>>,
    /// What the vendor, the network or Sluice said, masked and cut.
    #[serde(rename = "w", default, skip_serializing_if = "str::is_empty", borrow)]
    pub said: Cow<'a, str>,
    /// The person who did it, as in the audit; none where nobody did.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none", borrow)]
    pub by: Option<Cow<'a, str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> Step<'a> {
    /// One that says no more than what happened, and when.
    #[must_use]
    pub fn new(kind: StepKind, at: Timestamp) -> Self {
        Self {
            kind,
            at,
            destination: Cow::Borrowed(""),
            id: Cow::Borrowed(""),
            source: Cow::Borrowed(""),
            event_type: Cow::Borrowed(""),
            subject: None,
            received: None,
            attempt: 0,
            status: None,
            ms: None,
            pause: None,
            reason: None,
            said: Cow::Borrowed(""),
            by: None,
        }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(self, reason: Reason) -> Self {
        Self { reason: Some(Cow::Borrowed(reason.name())), ..self }
    }

    /// Writes its line.
    pub fn write(&self, line: &mut Vec<u8>) {
        // Texts and numbers: neither can fail, and what goes to memory is taken.
        if serde_json::to_writer(&mut *line, self).is_ok() {
            line.push(b'\n');
        }
    }

    /// Reads a line; none that is not one.
    #[must_use]
    pub fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The same, apart from the bytes that it was read of.
    #[must_use]
    pub fn into_owned(self) -> Step<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Step {
            kind: self.kind,
            at: self.at,
            destination: own(self.destination),
            id: own(self.id),
            source: own(self.source),
            event_type: own(self.event_type),
            subject: self.subject.map(own),
            received: self.received,
            attempt: self.attempt,
            status: self.status,
            ms: self.ms,
            pause: self.pause,
            reason: self.reason.map(own),
            said: own(self.said),
            by: self.by.map(own),
        }
    }
}

/// What stands in the line of an event with that id, and in no other's.
#[must_use]
pub fn mark_of_id(id: &str) -> String {
    format!("\"i\":{}", quoted(id))
}

/// The same for a subject.
#[must_use]
pub fn mark_of_subject(subject: &str) -> String {
    format!("\"u\":{}", quoted(subject))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 123_000_000);

    fn delivered() -> Step<'static> {
        Step {
            destination: "px".into(),
            id: "e-1".into(),
            source: "shop".into(),
            event_type: "order.paid".into(),
            received: Some(NOW),
            attempt: 1,
            status: Some(201),
            ms: Some(12),
            ..Step::new(StepKind::Delivered, NOW)
        }
    }

    #[test]
    fn a_step_is_a_short_line() {
        let mut line = Vec::new();
        delivered().write(&mut line);
        let text = r#"{"o":"delivered","a":1700000000123,"d":"px","i":"e-1","s":"shop","t":"order.paid","r":1700000000123,"n":1,"c":201,"m":12}"#;
        assert_eq!(String::from_utf8_lossy(&line), format!("{text}\n"));
        assert_eq!(Step::read(text.as_bytes()), Some(delivered()));
    }

    #[test]
    fn what_a_later_version_wrote_is_read_as_far_as_it_is_known() {
        let line = br#"{"o":"teleported","a":1,"i":"e-1","zz":[1,2]}"#;
        assert_eq!(
            Step::read(line).map(|step| (step.kind, step.id.into_owned())),
            Some((StepKind::Unknown, "e-1".into()))
        );
        assert_eq!(Step::read(b"{\"o\":"), None);
    }

    proptest! {
        #[test]
        fn every_step_is_read_as_it_was_written_and_found_by_its_id(
            texts in prop::array::uniform6(".{0,40}"),
            numbers in any::<(u64, Option<u16>, Option<u64>, Option<u64>)>(),
            ms in 0_i64..4_000_000_000_000,
        ) {
            let [destination, id, source, event_type, subject, said] = texts.map(Cow::Owned);
            let at = Timestamp::from_millisecond(ms).unwrap();
            let (attempt, status, took, pause) = numbers;
            let step = Step {
                destination, id, source, event_type, subject: Some(subject), received: Some(at), attempt, status, ms: took, pause, said,
                ..Step::new(StepKind::Died, at).because(Reason::Rejected)
            };
            let mut line = Vec::new();
            step.write(&mut line);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let text = String::from_utf8(line.clone()).unwrap();
            prop_assert!(step.id.is_empty() || text.contains(&mark_of_id(&step.id)));
            prop_assert!(text.contains(&mark_of_subject(step.subject.as_ref().unwrap())));
            prop_assert_eq!(Step::read(line.trim_ascii_end()).map(Step::into_owned), Some(step));
        }
    }
}
