//! Events from people: text from a file or standard input, as the message that it becomes.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;

use crate::event::{self, Context, Event, too_far};
use crate::message::{Message, Properties};

/// AMQP's limit for a routing key, and for every text among a message's properties.
const MOST_PROPERTY_BYTES: usize = 255;

/// Why a message would not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong and where.
    pub sentence: String,
    /// Which event it was meant to be, as far as that can be read.
    pub id: Option<String>,
}

/// The event that a message is, checked as far as it can be without a destination.
///
/// # Errors
/// What a producer must hear.
pub fn check(message: &Message, context: Context<'_>) -> Result<Event, Refused> {
    let event = event::decode(message, context)
        .map_err(|malformed| Refused { sentence: malformed.to_string(), id: malformed.identity.id })?;
    if let Some(sentence) = too_far(&event, context.received) {
        return Err(Refused { sentence, id: Some(event.id) });
    }
    if event.kind.len() > MOST_PROPERTY_BYTES {
        let sentence = "the attribute \"type\" is over 255 bytes, AMQP's limit for a routing key".to_owned();
        return Err(Refused { sentence, id: Some(event.id) });
    }
    Ok(event)
}

/// The id as a message's property, by which a malformed event is known too; none where it is too long for one.
#[must_use]
pub fn message_id(id: &str) -> Option<String> {
    (id.len() <= MOST_PROPERTY_BYTES).then(|| id.to_owned())
}

/// Reads a whole file, or standard input for `-`.
///
/// # Errors
/// When it cannot be read; the message names the file.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)?;
        return Ok(text);
    }
    std::fs::read(path).map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The message for a CloudEvents envelope, or with a `kind` for an event's data alone.
#[must_use]
pub fn message(body: Bytes, kind: Option<&str>, source: Option<&str>) -> Message {
    let content_type = if kind.is_some() { "application/json" } else { "application/cloudevents+json" };
    let properties = Properties {
        content_type: Some(content_type.to_owned()),
        delivery_mode: Some(2),
        kind: kind.map(str::to_owned),
        app_id: source.map(str::to_owned),
        ..Properties::default()
    };
    Message { body, properties }
}
