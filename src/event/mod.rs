//! An event, and decoding it from a message: a message and the time in; an [`Event`] or a sentence out.
//! Pure; never panics, whatever the bytes.

mod body;
mod data;
mod due;
mod expiry;
mod glance;
mod headers;
mod identity;
mod subject;
mod time;
mod trace;

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use memchr::{memchr, memmem};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use self::body::not_json;
pub use self::data::{Data, Name};
pub use self::due::too_far;
pub use self::expiry::Expiry;
pub(crate) use self::glance::Glance;
pub use self::headers::tells_identity;
use self::headers::{Attributes, from_epoch};
pub use self::identity::Identity;
pub use self::subject::subject;
pub use self::time::{NotRfc3339, Time};
pub use self::trace::Trace;
use crate::message::header::ROUTING_KEY;
use crate::message::{MAX_HEADER_BYTES, Message, producers_bytes};

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
    pub time: Time,
    /// `expirytime`: after that it is not to be sent.
    pub expires: Option<Time>,
    /// `deliverafter`: before that it is not to be sent.
    pub not_before: Option<Time>,
    /// `data`, a JSON object.
    pub data: Data,
    /// Its W3C trace context, carried to the log and to the vendor's request.
    pub trace: Option<Trace>,
    /// Whether `id` was derived from the content, since the producer gave none: equal content then has equal ids.
    pub id_derived: bool,
    /// What `data` was before the destination's `map` made the vendor's fields of it; none where no rule did.
    pub original: Option<Bytes>,
}

/// Why an event cannot become a request: a sentence that names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

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

/// Decodes a message in any of the three forms: CloudEvents structured, CloudEvents binary (attributes in headers), or plain JSON with AMQP
/// properties as attributes.
///
/// # Errors
/// [`Malformed`] when the message is not an event.
pub fn decode(message: &Message, context: Context<'_>) -> Result<Event, Malformed> {
    let coming = Coming { message, attributes: Attributes::of(&message.properties.headers), context };
    let malformed = |sentence, envelope: Option<&Envelope<'_>>| {
        let identity = Identity::read(message, envelope, &coming.attributes, context.routing_key, context.received);
        Malformed { sentence, identity }
    };
    let (form, body) = coming.body().map_err(|sentence| malformed(sentence, None))?;
    // It was checked for that.
    let text = std::str::from_utf8(&body).unwrap_or_default();
    if form == Form::Json {
        match coming.plain_or_binary(text, &body) {
            Ok(Some(event)) => return Ok(event),
            // An envelope after all.
            Ok(None) => {}
            Err(sentence) => return Err(malformed(sentence, None)),
        }
    }
    let envelope = envelope(text).map_err(|sentence| malformed(sentence, None))?;
    coming.structured(&envelope, &body).map_err(|sentence| malformed(sentence, Some(&envelope)))
}

/// How a message's body is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Structured,
    Json,
}

impl Form {
    fn of(content_type: &str) -> Result<Self, String> {
        match content_type {
            "application/cloudevents+json" | "application/cloudevents" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => {
                Err("a CloudEvents batch is not supported; publish one event a message".to_owned())
            }
            "" | "application/json" | "text/json" => Ok(Self::Json),
            other if other.ends_with("+json") => Ok(Self::Json),
            other => Err(format!(
                "content_type {other:?} is not an event; use application/json or application/cloudevents+json"
            )),
        }
    }
}

fn envelope(body: &str) -> Result<Envelope<'_>, String> {
    serde_json::from_str(body).map_err(|error| {
        if error.is_data() {
            "the CloudEvents envelope is not a JSON object".to_owned()
        } else {
            not_json("the body", body, &error)
        }
    })
}

fn in_envelope(envelope: &Envelope<'_>, name: &str) -> Result<Option<String>, String> {
    let Some(raw) = envelope.get(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|_| format!("the CloudEvents attribute {name:?} is not a string"))
}

/// Whether an attribute is there: null counts as left out.
fn given<'a>(envelope: &Envelope<'a>, name: &str) -> Option<&'a str> {
    envelope.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null")
}

/// Whether data is a whole CloudEvents envelope: clients forget its content type, and nobody else has these four together.
fn is_envelope(data: &Data) -> bool {
    // Most are not, and need not be looked into. A name may be written with escapes.
    let has_escapes = || memchr(b'\\', data.raw()).is_some() && memmem::find(data.raw(), b"\\u").is_some();
    if memmem::find(data.raw(), b"specversion").is_none() && !has_escapes() {
        return false;
    }
    let data = data.fields();
    data.get("specversion").is_some_and(|version| version == "1.0")
        && ["id", "source", "type"].iter().all(|name| data.get(*name).is_some_and(Value::is_string))
}

/// A message that may be an event.
struct Coming<'a> {
    message: &'a Message,
    attributes: Attributes<'a>,
    context: Context<'a>,
}

impl Coming<'_> {
    /// How the body is to be read, and its text.
    fn body(&self) -> Result<(Form, Bytes), String> {
        let Message { body, properties } = self.message;
        let (size, most) = (body.len(), self.context.max_bytes);
        if size > most {
            return Err(format!("the body has {size} bytes; at most {most} are allowed"));
        }
        let in_headers = producers_bytes(&properties.headers);
        // A copy has more, and was checked when it came first.
        if in_headers > MAX_HEADER_BYTES && !properties.headers.contains_key(ROUTING_KEY) {
            return Err(format!(
                "the headers have {in_headers} bytes; at most {MAX_HEADER_BYTES} are allowed, since every copy carries them"
            ));
        }
        if let Some(encoding) = properties.content_encoding.as_deref().filter(|e| !is_identity(e)) {
            return Err(format!("content_encoding {encoding:?} is not supported; publish the body as plain JSON"));
        }
        let text = body::text(body)?;
        let is_empty = text.trim_ascii().is_empty();
        if is_empty && !self.attributes.is_empty() && Form::of(&self.content_type()) != Ok(Form::Structured) {
            return Ok((Form::Json, Bytes::new()));
        }
        if is_empty {
            return Err("the body is empty".to_owned());
        }
        Form::of(&self.content_type()).map(|form| (form, text))
    }

    /// Of the property, else of a header, else of the attribute; empty where nothing tells it.
    fn content_type(&self) -> String {
        let properties = &self.message.properties;
        let property = properties.content_type.as_deref().map(media_type).filter(|kind| !kind.is_empty());
        let header = || headers::content_type(&properties.headers).map(media_type);
        let attribute = || self.attributes.text("datacontenttype").ok().flatten().map(|kind| media_type(&kind));
        property.or_else(header).or_else(attribute).unwrap_or_default()
    }

    fn structured(&self, envelope: &Envelope<'_>, body: &Bytes) -> Result<Event, String> {
        let attribute = |name: &str| in_envelope(envelope, name);
        let moment = |name: &str| attribute(name)?.as_deref().map(|text| headers::moment(name, text)).transpose();
        check_version(attribute("specversion")?)?;
        if given(envelope, "data_base64").is_some() {
            return Err("data_base64 is not supported; put a JSON object in \"data\"".to_owned());
        }
        let data = match given(envelope, "data") {
            Some(raw) => Data::read("\"data\"", body.slice_ref(raw.as_bytes()))?,
            None => Data::none(),
        };
        Ok(Event {
            id: required("id", attribute("id")?)?,
            source: required("source", attribute("source")?)?,
            kind: required("type", attribute("type")?)?,
            time: self.time(attribute("time")?.as_deref().map(headers::time).transpose()?)?,
            expires: moment("expirytime")?,
            not_before: moment("deliverafter")?,
            data,
            trace: Trace::read(&self.message.properties.headers, |name| attribute(name).ok().flatten()),
            id_derived: false,
            original: None,
        })
    }

    /// None where the body is a whole envelope.
    fn plain_or_binary(&self, text: &str, body: &Bytes) -> Result<Option<Event>, String> {
        if !self.attributes.is_empty() {
            return self.binary(text, body).map(Some);
        }
        let data = Data::read("the body", body.clone())?;
        if is_envelope(&data) { Ok(None) } else { self.plain(data).map(Some) }
    }

    fn binary(&self, text: &str, body: &Bytes) -> Result<Event, String> {
        let attribute = |name: &str| self.attributes.text(name);
        if let version @ Some(_) = attribute("specversion")? {
            check_version(version)?;
        }
        let data = match text.trim() {
            // As Python writes no data.
            "" | "null" => Data::none(),
            _ => Data::read("the body", body.clone())?,
        };
        Ok(Event {
            id: required("id", attribute("id")?)?,
            source: required("source", attribute("source")?)?,
            kind: required("type", attribute("type")?)?,
            time: self.time(self.attributes.time()?)?,
            expires: self.attributes.moment("expirytime")?,
            not_before: self.attributes.moment("deliverafter")?,
            data,
            trace: Trace::in_headers(&self.message.properties.headers, &self.attributes),
            id_derived: false,
            original: None,
        })
    }

    fn plain(&self, data: Data) -> Result<Event, String> {
        let properties = &self.message.properties;
        let kind = properties.kind.clone().filter(|kind| !kind.is_empty());
        let id = properties.message_id.clone().filter(|id| !id.is_empty());
        let id_derived = id.is_none();
        Ok(Event {
            id: id.unwrap_or_else(|| derived_id(self.message, self.context.routing_key)),
            source: properties.app_id.clone().unwrap_or_default(),
            kind: required("type", kind.or_else(|| Some(self.context.routing_key.to_owned())))?,
            time: self.time(None)?,
            expires: self.attributes.moment("expirytime")?,
            not_before: self.attributes.moment("deliverafter")?,
            data,
            trace: Trace::in_headers(&properties.headers, &self.attributes),
            id_derived,
            original: None,
        })
    }

    /// As the event says, else the message, else when it came.
    fn time(&self, said: Option<Time>) -> Result<Time, String> {
        match (said, self.message.properties.timestamp) {
            (Some(time), _) => Ok(time),
            (None, Some(number)) => from_epoch(number.into()),
            (None, None) => Ok(self.context.received.into()),
        }
    }
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

/// A text as JSON has it, with its quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// The same without the quotes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let quoted = quoted(text);
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
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

fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_identity(encoding: &str) -> bool {
    // Some clients put the character set here.
    let encoding = encoding.trim().to_ascii_lowercase();
    matches!(encoding.as_str(), "" | "identity" | "utf-8" | "utf8" | "us-ascii" | "ascii" | "7bit" | "8bit" | "binary")
}

#[cfg(test)]
mod tests;
