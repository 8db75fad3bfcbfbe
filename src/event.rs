//! An event, and decoding it from a message. Pure; never panics.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

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
    /// W3C `traceparent`, carried to the vendor's request.
    pub traceparent: Option<String>,
}
