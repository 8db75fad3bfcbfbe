//! Which event a message was meant to be, where it is none: as far as each attribute can be read. Pure.

use jiff::Timestamp;

use super::headers::{Attributes, from_epoch};
use super::{Envelope, Time, in_envelope, required};
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
    pub time: Time,
}

impl Identity {
    /// What headers and properties say; the body is not looked at.
    #[must_use]
    pub fn of(message: &Message, routing_key: &str, received: Timestamp) -> Self {
        Self::read(message, None, &Attributes::of(&message.properties.headers), routing_key, received)
    }

    /// What the envelope says, where there is one; else the headers of the binary form; else the properties.
    pub(super) fn read(
        message: &Message,
        envelope: Option<&Envelope<'_>>,
        headers: &Attributes<'_>,
        routing_key: &str,
        received: Timestamp,
    ) -> Self {
        let properties = &message.properties;
        let attribute = |name: &str, property: Option<&String>| {
            let in_envelope = envelope.and_then(|envelope| in_envelope(envelope, name).ok()?);
            let in_headers = headers.text(name).ok().flatten();
            let said = [in_envelope, in_headers, property.cloned()].into_iter().flatten();
            said.filter_map(|value| required(name, Some(value)).ok()).next()
        };
        let in_envelope = || envelope.and_then(|envelope| in_envelope(envelope, "time").ok()?);
        let time = in_envelope().and_then(|time| time.parse().ok()).or_else(|| headers.time().ok().flatten());
        let timestamp = || properties.timestamp.and_then(|number| from_epoch(number.into()).ok());
        Self {
            id: attribute("id", properties.message_id.as_ref()),
            source: attribute("source", properties.app_id.as_ref()).unwrap_or_default(),
            kind: attribute("type", properties.kind.as_ref()).unwrap_or_else(|| routing_key.to_owned()),
            time: time.or_else(timestamp).unwrap_or_else(|| received.into()),
        }
    }
}
