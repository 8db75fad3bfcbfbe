//! The API's addresses: a base and names in; a path with each name as one segment, whatever stands in it, out.

use crate::event::Invalid;
use ::http::{HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where events of a profile are posted.
pub(super) fn events(base: &str, keyspace: &str, profile: &str, section: &str) -> String {
    let (keyspace, profile, section) = (segment(keyspace), segment(profile), segment(section));
    format!("{base}/audience/keyspaces/{keyspace}/profiles/{profile}/sections/{section}/events")
}

/// Where the event types of a section are listed.
pub(super) fn event_types(base: &str, section: &str) -> String {
    format!("{base}/audience/sections/{}/events", segment(section))
}

/// Where the keyspaces are listed.
pub(super) fn keyspaces(base: &str) -> String {
    format!("{base}/audience/keyspaces")
}

/// Where tokens are had.
pub(super) fn token(base: &str) -> String {
    format!("{base}/oauth/token")
}

/// The address as a request carries it. Its text is not repeated in a sentence: the profile's key may be an e-mail address.
pub(super) fn parse(address: &str) -> Result<Uri, Invalid> {
    address.parse().map_err(|error| {
        let length = address.len();
        Invalid(format!("\"profile\", \"keyspace\" and \"section\" make an address of {length} bytes: {error}"))
    })
}

/// Why a name cannot be a segment of a path. `.` and `..` mean directories to every HTTP client and server, encoded or not:
/// the request would go elsewhere. Beside an encoded `/` they are a part of the key, as `../up`.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    match name.trim() {
        "" => Some("is empty"),
        "." | ".." => Some("cannot stand in an address: \".\" and \"..\" mean directories there"),
        _ => None,
    }
}

/// A request with a JSON body.
pub(super) fn json(method: Method, uri: Uri, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json.clone());
    request.headers_mut().insert(header::ACCEPT, json);
    request
}

/// A request without a body.
pub(super) fn get(uri: Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request
}

fn segment(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, ENCODED)
}
