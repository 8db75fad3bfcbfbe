//! An event's data: JSON text that was seen to be one object. Most events pass on as they were written: the tree of their fields is made
//! when somebody first looks into it. Pure.

use std::borrow::{Borrow, Cow};
use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;
use memchr::{memchr, memchr2_iter, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::body;

/// What may be nested within one another: the reader of JSON has this limit too.
const DEEPEST: usize = 127;

/// An event's data, a JSON object.
#[derive(Clone, Debug)]
pub struct Data {
    raw: Bytes,
    fields: OnceLock<Map<String, Value>>,
}

impl Data {
    /// Of an event that has none.
    pub(super) fn none() -> Self {
        Self { raw: Bytes::from_static(b"{}"), fields: OnceLock::new() }
    }

    /// Of the text of an object, which `what` names in the sentence where it is none.
    ///
    /// # Errors
    /// A sentence: it is not JSON, not an object, or nested too deeply.
    pub fn read(what: &str, raw: Bytes) -> Result<Self, String> {
        if is_object(&raw) {
            return Ok(Self { raw, fields: OnceLock::new() });
        }
        // Read in the long way: an object it may be all the same, and if not that tells what is wrong.
        let text = std::str::from_utf8(&raw).map_err(|error| format!("{what} is not UTF-8: {error}"))?;
        let fields = body::object(what, text)?;
        Ok(Self { raw, fields: fields.into() })
    }

    /// As it was written, byte for byte.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        // It was seen to be an object.
        self.fields.get_or_init(|| serde_json::from_slice(&self.raw).unwrap_or_default())
    }

    /// Its fields, read as whoever knows them wants them: they may stay as they were written.
    ///
    /// # Errors
    /// Where one is of another type than `T` has it. The text is JSON for certain.
    pub fn written<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        // Of a text that is known to be UTF-8 no piece is looked at again.
        match std::str::from_utf8(&self.raw) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(&self.raw),
        }
    }
}

/// A field's name. Most stand in the text as they are.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Name<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Map<String, Value>> for Data {
    fn from(fields: Map<String, Value>) -> Self {
        let raw = serde_json::to_vec(&fields).unwrap_or_default();
        Self { raw: raw.into(), fields: fields.into() }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

/// Whether a text is an object for certain. What skips values counts no levels and pairs no surrogates: few brackets are not nested too
/// deeply, and surrogates are left to the long way.
fn is_object(text: &[u8]) -> bool {
    let has = |part: &[u8]| memmem::find(text, part).is_some();
    // A key with a name that the reader of JSON keeps for itself is read as no other, and may be written with escapes of ASCII.
    let has_odd_escapes = || [&b"\\ud"[..], b"\\uD", b"\\u00"].into_iter().any(has);
    let has_escapes = memchr(b'\\', text).is_some();
    let brackets = || memchr2_iter(b'{', b'[', text).count();
    text.trim_ascii_start().starts_with(b"{")
        && brackets() <= DEEPEST
        && !(has_escapes && has_odd_escapes())
        && !(memchr(b'$', text).is_some() && has(b"$serde_json::private"))
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Data, String> {
        Data::read("it", Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn what_is_no_object_is_told_as_the_long_way_tells_it() {
        let deep = |levels: usize| format!("{}{}{}", "{\"a\":".repeat(levels), "[]", "}".repeat(levels));
        for text in
            ["", " ", "{", "[1]", "3", "{}}", "{} {}", "{\"a\":1,}", "{\"a\":NaN}", "{\"a\":\"\n\"}", &deep(127)]
        {
            assert_eq!(read(text).unwrap_err(), body::object("it", text).unwrap_err(), "{text}");
        }
        assert!(read(&deep(126)).is_ok());
        // As many brackets beside each other are no depth.
        assert!(read(&format!("{{\"a\":[{}[]]}}", "[],".repeat(500))).is_ok());
    }

    #[test]
    fn a_name_that_the_reader_of_json_keeps_for_itself_hides_no_field() {
        for name in [
            "$serde_json::private::Number",
            "$serde_json::private::RawValue",
            "\\u0024serde_json::privat\\u0065::Number",
        ] {
            let text = format!("{{\"identifyId\":\"u\",\"attributes\":{{\"x\":{{\"{name}\":\"no\"}}}}}}");
            let whole = body::object("it", &text);
            assert_eq!(read(&text).map(|data| data.fields().clone()), whole, "{name}");
        }
    }

    proptest! {
        #[test]
        fn data_is_read_where_a_tree_of_it_can_be_made(text in r#"[{}\[\]",:a\\u0d8e1. \-+tn]{0,24}"#) {
            let whole = body::object("it", &text);
            match read(&text) {
                Ok(data) => prop_assert_eq!(Ok(data.fields().clone()), whole),
                Err(said) => prop_assert_eq!(Err(said), whole),
            }
        }
    }
}
