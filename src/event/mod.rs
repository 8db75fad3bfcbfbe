//! An event, and decoding it from a message: a message and the time in; an [`Event`] or a sentence out.
//! Pure; never panics, whatever the bytes.

mod identity;

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::identity::Identity;
use crate::message::{Field, Headers, Message};

/// Of a `tracestate`: what W3C Trace Context (section 3.3.1.5) wants carried.
const MOST_TRACESTATE_BYTES: usize = 512;

/// Longest `id`, `source` or `type` in bytes. AMQP's own names end at 255; ids and sources may be URLs.
const MAX_ATTRIBUTE_BYTES: usize = 2048;

/// Name space of the ids that are derived from content (UUID version 5).
const DERIVED_IDS: Uuid = Uuid::from_u128(0x6f2c_1f0e_9d3b_5c47_8a64_3f1b_02d7_c6e5);

/// One thing that happened to a person or an account: the CloudEvents 1.0 attributes that Sluice uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `id`: with `source`, unique for each distinct event.
    pub id: String,
    /// `source`: where it happened.
    pub source: String,
    /// `type`: what happened; also the routing key.
    pub kind: String,
    /// `time`: when it happened, or when it was first received where the producer did not say.
    pub time: Timestamp,
    /// `data`, a JSON object.
    pub data: Map<String, Value>,
    /// `data` as it was written, byte for byte.
    pub raw: Bytes,
    /// Its W3C trace context, carried to the log and to the vendor's request.
    pub trace: Option<Trace>,
    /// Whether `id` was derived from the content, since the producer gave none: equal content then has equal ids.
    pub id_derived: bool,
    /// What `data` was before the destination's `map` made the vendor's fields of it; none where no rule did.
    pub original: Option<Bytes>,
}

/// A W3C trace context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: Option<String>,
}

impl Trace {
    /// The trace's id, in hexadecimal.
    #[must_use]
    pub fn id(&self) -> &str {
        self.parent.split('-').nth(1).unwrap_or_default()
    }
}

/// Why a message is not an event: a sentence that says what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Malformed {
    sentence: String,
    /// Which event it was meant to be.
    pub identity: Identity,
}

/// The attributes of a structured event, not looked into.
type Envelope<'a> = BTreeMap<String, &'a RawValue>;

/// A message's body, told by its content type.
enum Form<'a> {
    Structured(Envelope<'a>),
    PlainOrBinary(&'a str),
}

/// What decoding needs to know beside the message itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The routing key that the producer used: the type where the message names none.
    pub routing_key: &'a str,
    /// When the message was first received: the time where the message names none.
    pub received: Timestamp,
    /// The largest body accepted, in bytes.
    pub max_bytes: usize,
}

/// Decodes a message in any of the three forms: CloudEvents structured, CloudEvents binary (the AMQP binding's
/// `cloudEvents:` or `cloudEvents_` headers), or plain JSON with AMQP properties as attributes.
///
/// # Errors
/// [`Malformed`] when the message is not an event.
pub fn decode(message: &Message, context: Context<'_>) -> Result<Event, Malformed> {
    let malformed = |sentence, envelope: Option<&Envelope<'_>>| {
        let identity = Identity::read(message, envelope, context.routing_key, context.received);
        Malformed { sentence, identity }
    };
    match form(message, context.max_bytes).map_err(|sentence| malformed(sentence, None))? {
        Form::Structured(envelope) => {
            structured(message, &envelope, context).map_err(|sentence| malformed(sentence, Some(&envelope)))
        }
        Form::PlainOrBinary(body) => {
            plain_or_binary(message, body, context).map_err(|sentence| malformed(sentence, None))
        }
    }
}

fn form(message: &Message, max_bytes: usize) -> Result<Form<'_>, String> {
    let size = message.body.len();
    if size > max_bytes {
        return Err(format!("the body has {size} bytes; at most {max_bytes} are allowed"));
    }
    if let Some(encoding) = message.properties.content_encoding.as_deref().filter(|e| !is_identity(e)) {
        return Err(format!("content_encoding {encoding:?} is not supported; publish the body as plain JSON"));
    }
    let body = std::str::from_utf8(&message.body)
        .map_err(|e| format!("the body is not UTF-8: invalid byte at offset {}", e.valid_up_to()))?;
    if body.trim().is_empty() {
        return Err("the body is empty".to_owned());
    }
    let content_type = message.properties.content_type.as_deref().map(media_type);
    match content_type.as_deref() {
        Some("application/cloudevents+json") => envelope(body).map(Form::Structured),
        Some("application/cloudevents-batch+json") => {
            Err("a CloudEvents batch is not supported; publish one event a message".to_owned())
        }
        None | Some("application/json" | "text/json") => Ok(Form::PlainOrBinary(body)),
        Some(other) if other.ends_with("+json") => Ok(Form::PlainOrBinary(body)),
        Some(other) => {
            Err(format!("content_type {other:?} is not an event; use application/json or application/cloudevents+json"))
        }
    }
}

fn envelope(body: &str) -> Result<Envelope<'_>, String> {
    serde_json::from_str(body).map_err(|error| {
        if error.is_data() {
            "the CloudEvents envelope is not a JSON object".to_owned()
        } else {
            format!("the body is not JSON: {error}")
        }
    })
}

fn in_envelope(envelope: &Envelope<'_>, name: &str) -> Result<Option<String>, String> {
    let Some(raw) = envelope.get(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|_| format!("the CloudEvents attribute {name:?} is not a string"))
}

fn structured(message: &Message, envelope: &Envelope<'_>, context: Context<'_>) -> Result<Event, String> {
    let attribute = |name: &str| in_envelope(envelope, name);
    check_version(attribute("specversion")?)?;
    if envelope.contains_key("data_base64") {
        return Err("data_base64 is not supported; put a JSON object in \"data\"".to_owned());
    }
    let (raw, bytes) = match envelope.get("data") {
        Some(raw) => (raw.get(), message.body.slice_ref(raw.get().as_bytes())),
        None => ("{}", Bytes::from_static(b"{}")),
    };
    Ok(Event {
        id: required("id", attribute("id")?)?,
        source: required("source", attribute("source")?)?,
        kind: required("type", attribute("type")?)?,
        time: time_of(attribute("time")?.as_deref(), message, context)?,
        data: object("\"data\"", raw)?,
        raw: bytes,
        trace: trace(message, |name| attribute(name).ok().flatten()),
        id_derived: false,
        original: None,
    })
}

fn plain_or_binary(message: &Message, body: &str, context: Context<'_>) -> Result<Event, String> {
    let attributes = cloudevents_headers(&message.properties.headers);
    let data = object("the body", body)?;
    if attributes.is_empty() { plain(message, data, context) } else { binary(message, data, &attributes, context) }
}

fn in_headers(attributes: &BTreeMap<String, &Field>, name: &str) -> Result<Option<String>, String> {
    match attributes.get(name) {
        None | Some(Field::Void) => Ok(None),
        Some(Field::Timestamp(seconds)) => Ok(Some(from_seconds(*seconds)?.to_string())),
        Some(field) => match field.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(format!("the header cloudEvents:{name} is not a string")),
        },
    }
}

fn binary(
    message: &Message,
    data: Map<String, Value>,
    attributes: &BTreeMap<String, &Field>,
    context: Context<'_>,
) -> Result<Event, String> {
    let attribute = |name: &str| in_headers(attributes, name);
    if attributes.contains_key("specversion") {
        check_version(attribute("specversion")?)?;
    }
    Ok(Event {
        id: required("id", attribute("id")?)?,
        source: required("source", attribute("source")?)?,
        kind: required("type", attribute("type")?)?,
        time: time_of(attribute("time")?.as_deref(), message, context)?,
        data,
        raw: message.body.clone(),
        trace: trace(message, |name| attribute(name).ok().flatten()),
        id_derived: false,
        original: None,
    })
}

fn plain(message: &Message, data: Map<String, Value>, context: Context<'_>) -> Result<Event, String> {
    let properties = &message.properties;
    let kind = properties.kind.clone().filter(|kind| !kind.is_empty());
    let id = properties.message_id.clone().filter(|id| !id.is_empty());
    let id_derived = id.is_none();
    Ok(Event {
        id: id.unwrap_or_else(|| derived_id(message, context.routing_key)),
        source: properties.app_id.clone().unwrap_or_default(),
        kind: required("type", kind.or_else(|| Some(context.routing_key.to_owned())))?,
        time: time_of(None, message, context)?,
        data,
        raw: message.body.clone(),
        trace: trace(message, |_| None),
        id_derived,
        original: None,
    })
}

/// An id that is the same at every redelivery and for every copy of the same message.
fn derived_id(message: &Message, routing_key: &str) -> String {
    let properties = &message.properties;
    let mut content = Vec::with_capacity(message.body.len() + 64);
    for part in [properties.app_id.as_deref(), properties.kind.as_deref(), Some(routing_key)] {
        content.extend_from_slice(part.unwrap_or_default().as_bytes());
        content.push(0);
    }
    content.extend_from_slice(&properties.timestamp.unwrap_or_default().to_be_bytes());
    content.extend_from_slice(&message.body);
    Uuid::new_v5(&DERIVED_IDS, &content).to_string()
}

fn object(what: &str, json: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str::<Value>(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("{what} is {}, not a JSON object", name_of(&other))),
        Err(error) if error.to_string().starts_with("recursion limit") => Err(format!(
            "{what} is nested too deeply: over 127 levels at line {} column {}",
            error.line(),
            error.column()
        )),
        Err(error) => Err(format!("{what} is not JSON: {error}")),
    }
}

/// A JSON value's type as a person says it.
#[must_use]
pub fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn required(name: &str, value: Option<String>) -> Result<String, String> {
    match value {
        Some(value) if value.len() > MAX_ATTRIBUTE_BYTES => {
            Err(format!("the attribute {name:?} has {} bytes; at most {MAX_ATTRIBUTE_BYTES} are allowed", value.len()))
        }
        Some(value) if !value.trim().is_empty() => Ok(value),
        Some(_) => Err(format!("the attribute {name:?} is empty")),
        None => Err(format!("the attribute {name:?} is missing")),
    }
}

fn check_version(version: Option<String>) -> Result<(), String> {
    match version.as_deref() {
        Some("1.0") => Ok(()),
        Some(other) => Err(format!("specversion {other:?} is not supported; use \"1.0\"")),
        None => Err("the attribute \"specversion\" is missing; use \"1.0\"".to_owned()),
    }
}

fn time_of(time: Option<&str>, message: &Message, context: Context<'_>) -> Result<Timestamp, String> {
    match (time, message.properties.timestamp) {
        (Some(text), _) => {
            text.parse().map_err(|_| format!("the attribute \"time\" is {text:?}, not an RFC 3339 date and time"))
        }
        (None, Some(seconds)) => from_seconds(seconds),
        (None, None) => Ok(context.received),
    }
}

/// AMQP timestamps are in seconds; some clients send milliseconds, which are told by their size (year 5138 on).
fn from_seconds(seconds: u64) -> Result<Timestamp, String> {
    let number = i64::try_from(seconds).ok();
    let timestamp = if seconds < 100_000_000_000 {
        number.and_then(|n| Timestamp::from_second(n).ok())
    } else {
        number.and_then(|n| Timestamp::from_millisecond(n).ok())
    };
    timestamp.ok_or_else(|| format!("the timestamp {seconds} is out of range; it is in seconds since 1970"))
}

fn cloudevents_headers(headers: &Headers) -> BTreeMap<String, &Field> {
    const PREFIX: &str = "cloudevents";
    headers
        .iter()
        .filter_map(|(name, field)| {
            let (prefix, rest) = (name.get(..PREFIX.len())?, name.get(PREFIX.len()..)?);
            let attribute = rest.strip_prefix([':', '_'])?;
            prefix.eq_ignore_ascii_case(PREFIX).then(|| (attribute.to_ascii_lowercase(), field))
        })
        .collect()
}

/// The trace context: of the message's headers, else of the CloudEvents extensions, and both parts from the same place. Dropped when
/// `traceparent` is malformed; a `tracestate` that is malformed is dropped alone.
fn trace(message: &Message, extension: impl Fn(&str) -> Option<String>) -> Option<Trace> {
    let header = |name: &str| message.properties.headers.get(name).and_then(Field::as_str).map(str::to_owned);
    let (parent, state) = match header("traceparent") {
        Some(parent) => (parent, header("tracestate")),
        None => (extension("traceparent")?, extension("tracestate")),
    };
    is_traceparent(&parent).then(|| Trace { parent, state: state.filter(|state| is_tracestate(state)) })
}

/// No more than everybody must be able to carry, and nothing that a header cannot. What the members say is their vendors' own.
fn is_tracestate(value: &str) -> bool {
    let printable = value.bytes().all(|b| (b' '..=b'~').contains(&b));
    printable && value.len() <= MOST_TRACESTATE_BYTES && value.contains('=')
}

fn is_traceparent(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    matches!(parts.as_slice(), [version, trace, parent, flags, ..]
        if hex(version, 2) && *version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2)
            && trace.bytes().any(|b| b != b'0') && parent.bytes().any(|b| b != b'0')
            && (parts.len() == 4 || *version != "00"))
}

fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_identity(encoding: &str) -> bool {
    // Some clients put the character set here.
    matches!(encoding.trim().to_ascii_lowercase().as_str(), "" | "identity" | "utf-8" | "utf8")
}

#[cfg(test)]
mod tests;
