//! W3C Trace Context: what of it is carried from a message to the vendor's request. Pure.

use super::headers::{Attributes, plain_header};
use crate::message::Headers;

/// Of a `tracestate`: what W3C Trace Context (section 3.3.1.5) wants carried.
const MOST_TRACESTATE_BYTES: usize = 512;

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

    /// Of the message's headers, in whatever case, else of the CloudEvents extensions, and both parts from the same place. Dropped when
    /// `traceparent` is malformed; a `tracestate` that is malformed is dropped alone.
    pub(super) fn read(headers: &Headers, extension: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (parent, state) = match plain_header(headers, "traceparent") {
            Some(parent) => (parent.to_owned(), plain_header(headers, "tracestate").map(str::to_owned)),
            None => (extension("traceparent")?, extension("tracestate")),
        };
        is_traceparent(&parent).then(|| Self { parent, state: state.filter(|state| is_tracestate(state)) })
    }

    /// The same where the extensions are headers, too.
    pub(super) fn in_headers(headers: &Headers, attributes: &Attributes<'_>) -> Option<Self> {
        Self::read(headers, |name| attributes.text(name).ok().flatten())
    }
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
