//! Without the feature `otel`: no spans, and nothing that costs.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};

use super::{Leg, StartError};

/// An exporter at work; there is none in this build.
#[derive(Debug)]
pub enum Export {}

/// Nothing can be exported.
///
/// # Errors
/// Always.
pub fn start(_service: Option<&str>) -> Result<Export, StartError> {
    Err(StartError::NotBuilt)
}

/// No span.
#[derive(Debug)]
pub struct Span;

/// No span.
pub fn request<'a>(_: &str, _: &Request<Bytes>, _: impl ExactSizeIterator<Item = Leg<'a>>) -> Span {
    Span
}

impl Span {
    /// No span.
    #[must_use]
    pub fn none() -> Self {
        Self
    }

    /// Nothing to carry on.
    #[must_use]
    pub fn traceparent(&self) -> Option<HeaderValue> {
        None
    }

    /// Nothing to end.
    pub fn end(self, _: Option<StatusCode>, _: Option<&str>) {}
}
