//! A message as it lies at the broker: body, properties and headers, byte for byte.
//!
//! These are AMQP 0-9-1's own properties and field types, kept apart from any client crate so that
//! everything but `broker/` can be read, tested and simulated without one.

pub mod header;

use std::collections::BTreeMap;

use bytes::Bytes;

/// A header table: names to typed values, in name order.
pub type Headers = BTreeMap<String, Field>;

/// One message, complete: what is published is what was received, unless a caller changes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The payload, untouched.
    pub body: Bytes,
    /// The `basic` properties that travel with it.
    pub properties: Properties,
}

/// The properties of the AMQP 0-9-1 `basic` class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    pub content_encoding: Option<String>,
    /// Application headers.
    pub headers: Headers,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 9.
    pub priority: Option<u8>,
    /// Correlation id, for request and reply.
    pub correlation_id: Option<String>,
    /// Address to reply to.
    pub reply_to: Option<String>,
    /// Per-message TTL: milliseconds as a decimal string.
    pub expiration: Option<String>,
    /// Application message id.
    pub message_id: Option<String>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// Message type name.
    pub kind: Option<String>,
    /// The publishing user; the broker refuses one that is not the connection's own.
    pub user_id: Option<String>,
    /// The publishing application.
    pub app_id: Option<String>,
}

/// A header value with its AMQP type, so that a republished message keeps it.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: scale, then the unscaled value.
    Decimal(u8, u32),
    /// `S`, the long string that nearly every client sends; any bytes.
    Text(Bytes),
    /// RabbitMQ does not send short strings in tables; kept for completeness.
    ShortText(String),
    /// `A`
    Array(Vec<Field>),
    /// `T`: seconds since the Unix epoch.
    Timestamp(u64),
    /// `F`
    Table(Headers),
    /// `x`
    Binary(Bytes),
    /// `V`
    Void,
}

/// The most that the headers of a published message may take: with all properties they travel in one frame, of 128 KiB unless the broker is
/// set otherwise, and a larger one costs the connection.
pub const MOST_HEADER_BYTES: usize = 120_000;

/// The most that a producer's own may take, so that every copy has room for what Sluice adds.
pub const MAX_HEADER_BYTES: usize = 100_000;

/// Of a body so much is shown to people.
const SHOWN: usize = 16 * 1024;

/// The beginning of a body, as text.
#[must_use]
pub fn beginning(body: &[u8]) -> String {
    let shown = body.get(..SHOWN).unwrap_or(body);
    let mut text = String::from_utf8_lossy(shown).into_owned();
    if shown.len() < body.len() {
        text.push('…');
    }
    text
}

/// The bytes that a header table takes on the wire: an upper estimate.
#[must_use]
pub fn wire_bytes(headers: &Headers) -> usize {
    headers.iter().map(header_bytes).sum()
}

/// The same for those that the broker did not put there.
#[must_use]
pub fn producers_bytes(headers: &Headers) -> usize {
    headers.iter().filter(|(name, _)| !is_the_brokers(name)).map(header_bytes).sum()
}

/// About how many bytes one header takes on the wire.
#[must_use]
pub fn header_bytes((name, field): (&String, &Field)) -> usize {
    name.len() + 2 + field.wire_bytes()
}

/// Whether the broker put a header of that name there.
#[must_use]
pub fn is_the_brokers(name: &str) -> bool {
    name == "x-death"
        || ["x-first-death-", "x-last-death-"].iter().any(|start| name.starts_with(start))
        || matches!(name, "x-delivery-count" | "x-acquired-count")
}

impl Field {
    fn wire_bytes(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len() + 4,
            Self::ShortText(text) => text.len() + 4,
            Self::Array(fields) => fields.iter().map(|field| field.wire_bytes() + 1).sum::<usize>() + 4,
            Self::Table(headers) => wire_bytes(headers) + 4,
            Self::Bool(_)
            | Self::I8(_)
            | Self::U8(_)
            | Self::I16(_)
            | Self::U16(_)
            | Self::I32(_)
            | Self::U32(_)
            | Self::I64(_)
            | Self::F32(_)
            | Self::F64(_)
            | Self::Decimal(..)
            | Self::Timestamp(_)
            | Self::Void => 8,
        }
    }

    /// A long string, the usual type for text.
    #[must_use]
    pub fn text(value: impl Into<String>) -> Self {
        Self::Text(Bytes::from(value.into()))
    }

    /// The value as text, where it is text in UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Self::ShortText(text) => Some(text),
            Self::Bool(_)
            | Self::I8(_)
            | Self::U8(_)
            | Self::I16(_)
            | Self::U16(_)
            | Self::I32(_)
            | Self::U32(_)
            | Self::I64(_)
            | Self::F32(_)
            | Self::F64(_)
            | Self::Decimal(..)
            | Self::Array(_)
            | Self::Timestamp(_)
            | Self::Table(_)
            | Self::Binary(_)
            | Self::Void => None,
        }
    }

    /// The value as a whole number, whatever integer type the client chose.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I8(n) => Some(i64::from(*n)),
            Self::U8(n) => Some(i64::from(*n)),
            Self::I16(n) => Some(i64::from(*n)),
            Self::U16(n) => Some(i64::from(*n)),
            Self::I32(n) => Some(i64::from(*n)),
            Self::U32(n) => Some(i64::from(*n)),
            Self::I64(n) => Some(*n),
            Self::Timestamp(n) => i64::try_from(*n).ok(),
            Self::Bool(_)
            | Self::F32(_)
            | Self::F64(_)
            | Self::Decimal(..)
            | Self::Text(_)
            | Self::ShortText(_)
            | Self::Array(_)
            | Self::Table(_)
            | Self::Binary(_)
            | Self::Void => None,
        }
    }
}
