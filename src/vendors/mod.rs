//! The vendors: each turns an event into a request, and an answer into a verdict. Pure: no I/O, no clock.
//!
//! Adding a vendor is one folder here and one line in [`REGISTRY`]; the conformance suite in
//! `tests/it/conformance/` then runs over it.

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;

use crate::config::Section;
use crate::event::Event;
use crate::verdict::Verdict;

mod answer;
pub mod gainsight_px;
pub mod http;

/// Every vendor that a destination's `vendor` may name.
pub const REGISTRY: &[Kind] = &[gainsight_px::KIND, http::KIND];

/// A vendor as it stands in the registry.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The name in `vendor = "…"`.
    pub name: &'static str,
    /// The limits that the vendor documents, used when the destination sets none.
    pub limits: &'static [&'static str],
    /// Reads the vendor's own keys of a destination. Problems go to the section; `None` when there is one.
    pub configure: fn(&mut Section<'_>) -> Option<Box<dyn Vendor>>,
}

/// One configured vendor account.
pub trait Vendor: Send + Sync + std::fmt::Debug {
    /// The exact request for an event. Secrets in it are marked sensitive ([`::http::HeaderValue::set_sensitive`]).
    ///
    /// # Errors
    /// [`Invalid`] when the event lacks what the vendor documents as required, or breaks one of its rules.
    fn request(&self, event: &Event) -> Result<Request<Bytes>, Invalid>;

    /// What an answer means.
    fn judge(&self, reply: &Reply) -> Verdict;

    /// A request that tells good credentials from bad and changes nothing at the vendor, where the vendor has one.
    /// Its answer means good credentials unless it is judged unauthorized or unavailable.
    fn credentials_check(&self) -> Option<Request<Bytes>>;
}

/// Marks a request whose address is a secret, as a webhook's may be: put it among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct SecretAddress;

/// A vendor's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, cut at 64 KiB.
    pub body: Bytes,
}

/// Why an event cannot become a request: a sentence that names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// The vendor of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    REGISTRY.iter().find(|kind| kind.name == name)
}
