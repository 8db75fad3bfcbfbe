//! Events from people: text from a file or standard input, as the message that it becomes.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;

use crate::message::{Message, Properties};

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
