//! What a list of events shows of one, also of one that cannot be decoded.

use jiff::Timestamp;

use super::{Context, decode};
use crate::message::Message;

/// What a message says of its event.
#[derive(Debug)]
pub(crate) struct Glance {
    /// Empty if it has none.
    pub id: String,
    pub source: String,
    pub kind: String,
    /// None if it does not say when it happened.
    pub time: Option<Timestamp>,
    /// Why it cannot be decoded.
    pub problem: Option<String>,
}

impl Glance {
    pub fn at(message: &Message, routing_key: &str, max_bytes: usize) -> Self {
        // Stands for the time of an event that has none.
        let unsaid = Timestamp::UNIX_EPOCH;
        let (id, source, kind, time, problem) =
            match decode(message, Context { routing_key, received: unsaid, max_bytes }) {
                Ok(event) => (event.id, event.source, event.kind, event.time, None),
                Err(malformed) => {
                    let problem = Some(malformed.to_string());
                    let identity = malformed.identity;
                    (identity.id.unwrap_or_default(), identity.source, identity.kind, identity.time, problem)
                }
            };
        Self { id, source, kind, time: Some(time.timestamp()).filter(|time| *time != unsaid), problem }
    }
}
