//! Letters as lines of a file and back: one JSON object a line, with everything. Pure.
//!
//! `letter` is for people and `jq`; `message` is the exact letter, and all that is read back.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::fields;
use super::letter::{Letter, routing_key};
use crate::message::Message;
use crate::record::copy::original;

/// The first field of a line, which tells it from an event; its value is the version.
const MARK: &str = "sluice_dead_letter";
const VERSION: u64 = 1;

/// What a line holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Whose it was.
    pub destination: String,
    /// The letter as it lay in its queue.
    pub letter: Message,
    /// The message as its producer published it.
    pub original: Message,
    /// The routing key that the producer used, where it is known.
    pub routing_key: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    letter: Option<LineLetter>,
    message: Option<LineMessage>,
}

#[derive(Deserialize)]
struct LineLetter {
    destination: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineMessage {
    properties: Value,
    headers: Map<String, Value>,
    body: Option<String>,
    body_base64: Option<String>,
}

/// The line for a letter, without its end; `destination` is the owner of the queue that it lies in.
#[must_use]
pub fn line(message: &Message, destination: &str) -> String {
    let properties = &message.properties;
    let mut written = Map::from_iter([
        ("properties".to_owned(), Value::Object(fields::properties(properties))),
        ("headers".to_owned(), Value::Object(fields::headers(&properties.headers))),
    ]);
    let (text, base64) = fields::body(&message.body);
    written.extend(text.map(|text| ("body".to_owned(), text.into())));
    written.extend(base64.map(|text| ("body_base64".to_owned(), text.into())));
    let letter = json!(Letter::read(message, destination));
    // LineMessage piece by piece, so that the mark comes first.
    format!("{{\"{MARK}\":{VERSION},\"letter\":{letter},\"message\":{}}}", Value::Object(written))
}

/// What a line holds; `None` where it is no line of an export, but perhaps an event.
///
/// # Errors
/// A sentence, where it is a line of an export that cannot be read.
#[must_use]
pub fn read_line(line: &[u8]) -> Option<Result<Exported, String>> {
    let begins = line.trim_ascii_start().strip_prefix(b"{\"").is_some_and(|rest| rest.starts_with(MARK.as_bytes()));
    // Most lines of a large file of events end here.
    if !begins && !line.windows(MARK.len()).any(|part| part == MARK.as_bytes()) {
        return None;
    }
    let read: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(read) => read,
        Err(error) if begins => return Some(Err(format!("the exported letter is not JSON: {error}"))),
        Err(_) => return None,
    };
    let version = read.get(MARK)?;
    if *version != VERSION {
        return Some(Err(format!("{MARK} is {version}; this version of Sluice reads {VERSION}")));
    }
    Some(exported(Value::Object(read)))
}

fn exported(read: Value) -> Result<Exported, String> {
    let line: Line = serde_json::from_value(read).map_err(|error| format!("the exported letter: {error}"))?;
    let destination = line.letter.and_then(|letter| letter.destination);
    let destination =
        destination.ok_or("the exported letter does not say whose it was (\"letter\".\"destination\")")?;
    let written = line.message.ok_or("the exported letter has no \"message\"")?;
    let body = match (written.body, written.body_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(text)) => fields::read_base64(&text).map_err(|said| format!("\"body_base64\" {said}"))?,
        (Some(_), Some(_)) | (None, None) => {
            return Err("the exported letter needs one of \"body\" and \"body_base64\"".to_owned());
        }
    };
    let properties = fields::read_properties(written.properties, fields::read_headers(written.headers)?)?;
    let letter = Message { body, properties };
    Ok(Exported { destination, original: original(&letter), routing_key: routing_key(&letter), letter })
}
