//! Which event a message was meant to be, where it is none: as far as each attribute can be read. Pure.

use jiff::Timestamp;

use super::{Envelope, cloudevents_headers, from_seconds, in_envelope, in_headers, required};
use crate::message::Message;

/// What can be read of a malformed event's attributes, by the same rules as those of a good one. Nothing relies on it: it is there for
/// whoever looks for the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `id`; never a derived one, which nobody could look for.
    pub id: Option<String>,
    /// `source`; empty where it cannot be read.
    pub source: String,
    /// `type`; the routing key where it cannot be read.
    pub kind: String,
    /// `time`; when the message was first received where it cannot be read.
    pub time: Timestamp,
}

impl Identity {
    /// What headers and properties say; the body is not looked at.
    #[must_use]
    pub fn of(message: &Message, routing_key: &str, received: Timestamp) -> Self {
        Self::read(message, None, routing_key, received)
    }

    /// What the envelope says, where there is one; else the headers of the binary form; else the properties.
    pub(super) fn read(
        message: &Message,
        envelope: Option<&Envelope<'_>>,
        routing_key: &str,
        received: Timestamp,
    ) -> Self {
        let properties = &message.properties;
        let headers = cloudevents_headers(&properties.headers);
        let attribute = |name: &str, property: Option<&String>| {
            let in_envelope = envelope.and_then(|envelope| in_envelope(envelope, name).ok()?);
            let in_headers = in_headers(&headers, name).ok().flatten();
            let said = [in_envelope, in_headers, property.cloned()].into_iter().flatten();
            said.filter_map(|value| required(name, Some(value)).ok()).next()
        };
        let time = attribute("time", None).and_then(|time| time.parse().ok());
        let timestamp = || properties.timestamp.and_then(|seconds| from_seconds(seconds).ok());
        Self {
            id: attribute("id", properties.message_id.as_ref()),
            source: attribute("source", properties.app_id.as_ref()).unwrap_or_default(),
            kind: attribute("type", properties.kind.as_ref()).unwrap_or_else(|| routing_key.to_owned()),
            time: time.or_else(timestamp).unwrap_or(received),
        }
    }
}
