//! Traces from the producer through Sluice to the vendor: an event's `traceparent` comes in, two spans go to an OpenTelemetry collector, and
//! the request carries the `traceparent` of the inner span. Built with the feature `otel` only; else events
//! keep the `traceparent` that they came with.
//!
//! Names follow OpenTelemetry's semantic conventions for messaging, CloudEvents and HTTP clients (1.30).

use std::time::Instant;

use http::HeaderValue;

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod otel;

#[cfg(not(feature = "otel"))]
pub use off::{Export, Span, request, start};
#[cfg(feature = "otel")]
pub use otel::{Export, Span, request, start};

/// An event that a request carries, as far as its trace goes.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// Its id.
    pub id: Option<&'a str>,
    /// Its type.
    pub kind: &'a str,
    /// Its W3C trace context.
    pub traceparent: Option<&'a HeaderValue>,
    /// When it was taken from the queue.
    pub taken: Instant,
}

/// Why no traces can be exported.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This build has no exporter.
    #[error(
        "this build exports no traces: build it with `--features otel`, or unset the variables OTEL_EXPORTER_OTLP_…"
    )]
    NotBuilt,
    /// The exporter cannot be set up; its own words.
    #[error("traces cannot be exported as the variables OTEL_… say: {0}")]
    Exporter(String),
}
