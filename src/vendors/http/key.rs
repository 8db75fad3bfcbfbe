//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): event ids in; a header out that is the same at every
//! attempt. Also how an id and a body travel in one item. Pure.

use ::http::{HeaderName, HeaderValue};
use bytes::{BufMut as _, Bytes, BytesMut};
use sfv::{ItemSerializer, StringRef};
use uuid::Uuid;

/// The header's name.
pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Name space of the keys that are derived from ids (UUID version 5).
const DERIVED: Uuid = Uuid::from_u128(0x2b0d_5d5c_83a1_5f0e_9a7e_61c4_5d1a_77f2);

/// An item's content: the id's length, the id and the body.
pub(super) fn with_id(id: &str, body: &Bytes) -> Bytes {
    let mut content = BytesMut::with_capacity(8 + id.len() + body.len());
    content.put_u64(u64::try_from(id.len()).unwrap_or(0));
    content.put_slice(id.as_bytes());
    content.put_slice(body);
    content.freeze()
}

/// The id and the body of an item's content.
pub(super) fn and_body(content: &Bytes) -> (&[u8], Bytes) {
    let parts = content.split_first_chunk::<8>().and_then(|(length, rest)| {
        let (id, _) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        Some((id, content.slice(8 + id.len()..)))
    });
    parts.unwrap_or_else(|| (&[], content.clone()))
}

/// The header for these events: a structured field's string with the id of a single one, else a UUID derived from the ids. None where
/// one has no id.
pub(super) fn of(ids: &[&[u8]]) -> Option<HeaderValue> {
    if ids.iter().any(|id| id.is_empty()) {
        return None;
    }
    let text = match ids {
        [id] => std::str::from_utf8(id).ok().and_then(quoted),
        _ => None,
    };
    let text = match text {
        Some(text) => text,
        None => quoted(&derived(ids).to_string())?,
    };
    HeaderValue::from_str(&text).ok()
}

/// `None` for what is not printable ASCII.
fn quoted(text: &str) -> Option<String> {
    Some(ItemSerializer::new().bare_item(StringRef::from_str(text).ok()?).finish())
}

fn derived(ids: &[&[u8]]) -> Uuid {
    let mut content = Vec::new();
    for id in ids {
        content.extend_from_slice(&u64::try_from(id.len()).unwrap_or(0).to_be_bytes());
        content.extend_from_slice(id);
    }
    Uuid::new_v5(&DERIVED, &content)
}
