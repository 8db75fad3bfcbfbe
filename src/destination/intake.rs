//! From a delivery to a request that waits for the gate: decode and check, before anything is spent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;

use super::history::History;
use super::settle::Tag;
use crate::broker::port::Delivery;
use crate::event::{self, Event};
use crate::redact;
use crate::vendors::{Facts, Vendor};
use crate::verdict::Reason;

/// A delivery that has passed every cheap check and waits for a place at the gate.
#[derive(Debug)]
pub(super) struct Pending {
    pub delivery: Delivery,
    pub history: History,
    pub tag: Tag,
    pub request: Request<Bytes>,
    /// When it was taken from the queue.
    pub taken: Instant,
}

/// What a delivery turned out to be.
#[derive(Debug)]
pub(super) enum Taken {
    /// A request, ready to be sent.
    Ready(Box<Pending>),
    /// Not deliverable; a sentence says why.
    Dead { delivery: Box<Delivery>, history: Box<History>, tag: Tag, reason: Reason, sentence: String },
}

/// Reads a delivery: its history, the event in it, and the vendor's request for that event.
pub(super) fn take(delivery: Delivery, vendor: &dyn Vendor, max_bytes: usize, now: Instant, wall: Timestamp) -> Taken {
    let history = History::read(&delivery.message, &delivery.routing_key, wall);
    let context = event::Context { routing_key: &history.routing_key, received: history.received, max_bytes };
    // A panic here is our bug, but one event must not take the worker down with everyone else's.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let event =
            event::decode(&delivery.message, context).map_err(|error| (None, Reason::Malformed, error.to_string()))?;
        let request = vendor.request_for(&event, &Facts::default());
        let tag = Tag::of(&event);
        match request {
            Ok(request) => Ok((with_trace(request, &event), tag)),
            Err(error) => Err((Some(tag), Reason::Invalid, error.to_string())),
        }
    }));
    let read = read.unwrap_or_else(|_| {
        Err((None, Reason::Invalid, "Sluice failed on this event; this is a bug in Sluice".into()))
    });
    match read {
        Ok((request, tag)) => Taken::Ready(Box::new(Pending { delivery, history, tag, request, taken: now })),
        Err((tag, reason, sentence)) => {
            let sentence = redact::masked(&sentence, &[]);
            let tag = tag.unwrap_or_else(|| Tag::unknown(&history, delivery.message.properties.message_id.as_deref()));
            Taken::Dead { delivery: Box::new(delivery), history: Box::new(history), tag, reason, sentence }
        }
    }
}

/// The event's W3C trace context goes on to the vendor.
fn with_trace(mut request: Request<Bytes>, event: &Event) -> Request<Bytes> {
    if let Some(value) = event.traceparent.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
        request.headers_mut().insert(HeaderName::from_static("traceparent"), value);
    }
    request
}
