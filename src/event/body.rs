//! A message's body: bytes in; JSON text out, or a sentence that says what they are instead and where. Pure.

use bytes::Bytes;
use memchr::memchr;
use serde_json::{Map, Value};

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
/// How what is not JSON begins, and what it is.
const BEGINNINGS: [(&[u8], &str); 12] = [
    (b"\xff\xfe\0\0", "UTF-32; publish it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32; publish it as UTF-8"),
    (b"\xff\xfe", "UTF-16; publish it as UTF-8"),
    (b"\xfe\xff", "UTF-16; publish it as UTF-8"),
    (b"\x1f\x8b", "compressed with gzip; publish it as plain JSON"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; publish it as plain JSON"),
    (b"\x78\x01", "compressed with zlib; publish it as plain JSON"),
    (b"\x78\x5e", "compressed with zlib; publish it as plain JSON"),
    (b"\x78\x9c", "compressed with zlib; publish it as plain JSON"),
    (b"\x78\xda", "compressed with zlib; publish it as plain JSON"),
    (b"<", "XML or HTML; publish it as JSON"),
    (b"eyJ", "base64; publish it as plain JSON"),
];
/// What other languages write where JSON has no word for it.
const FOREIGN: [&str; 7] = ["NaN", "Infinity", "undefined", "None", "True", "False", "'"];

/// The body as JSON text in UTF-8: without a byte order mark, and with U+FFFD for each half of a surrogate pair that stands alone, as jq has
/// it: texts are cut inside an emoji, and no vendor could read it.
pub(super) fn text(body: &Bytes) -> Result<Bytes, String> {
    let body = if body.starts_with(UTF8_BOM) { body.slice(UTF8_BOM.len()..) } else { body.clone() };
    let text = match std::str::from_utf8(&body) {
        Ok(text) => text,
        Err(error) => {
            return Err(match (other_than_json(&body), error.error_len()) {
                (Some(other), _) => format!("the body is {other}"),
                (None, None) => {
                    format!("the body is not UTF-8: it ends inside the character at offset {}", error.valid_up_to())
                }
                (None, Some(_)) => format!("the body is not UTF-8: invalid byte at offset {}", error.valid_up_to()),
            });
        }
    };
    Ok(without_lone_surrogates(text).map_or_else(|| body.clone(), Bytes::from))
}

/// What a body is, where it is told by how it begins.
fn other_than_json(body: &[u8]) -> Option<&'static str> {
    let by_beginning = BEGINNINGS.iter().find(|(beginning, _)| body.starts_with(beginning)).map(|(_, what)| *what);
    by_beginning.or(match body {
        // JSON begins with a character of ASCII.
        [0, 0, 0, _, ..] | [_, 0, 0, 0, ..] => Some("UTF-32; publish it as UTF-8"),
        [0, _, ..] | [_, 0, ..] => Some("UTF-16; publish it as UTF-8"),
        _ => None,
    })
}

/// The same text with `\ufffd` for each escape of half a surrogate pair; none where there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    memchr(b'\\', text.as_bytes())?;
    let (mut mended, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        let here = at + found;
        at = match (escaped(text, here), escaped(text, here + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => here + 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str(text.get(copied..here)?);
                mended.push_str("\\ufffd");
                copied = here + 6;
                copied
            }
            (Some(_), _) => here + 6,
            // Of another escape the second character is no backslash of its own.
            (None, _) => here + 2,
        };
    }
    mended.push_str(text.get(copied..).filter(|_| copied > 0)?);
    Some(mended)
}

/// What `\u` and four digits stand for at that place.
fn escaped(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

/// An object, or a sentence about `what`.
pub(super) fn object(what: &str, json: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str::<Value>(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("{what} is {}, not a JSON object", super::name_of(&other))),
        Err(error) if error.to_string().starts_with("recursion limit") => Err(format!(
            "{what} is nested too deeply: over 127 levels at line {} column {}",
            error.line(),
            error.column()
        )),
        Err(error) => Err(not_json(what, json, &error)),
    }
}

/// A sentence about what is not JSON.
pub(super) fn not_json(what: &str, text: &str, error: &serde_json::Error) -> String {
    if let Some(other) = other_than_json(text.as_bytes()) {
        return format!("{what} is {other}");
    }
    let said = error.to_string();
    let place = format!("line {} column {}", error.line(), error.column());
    if error.is_eof() {
        return format!("{what} is not JSON: it ends too early ({said})");
    }
    let rest =
        text.lines().nth(error.line().saturating_sub(1)).and_then(|line| line.get(error.column().checked_sub(1)?..));
    if said.starts_with("trailing characters") {
        let next = rest.and_then(|rest| rest.chars().next()).unwrap_or(' ');
        return if matches!(next, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n') {
            format!("{what} is more than one JSON value: the second begins at {place}; publish one event a message")
        } else {
            format!("{what} is not JSON: {next:?} at {place} is after its end; publish one JSON value a message")
        };
    }
    if said.starts_with("expected ident") {
        return format!("{what} is not JSON: the word at {place} is none of true, false and null");
    }
    match FOREIGN.iter().find(|foreign| rest.is_some_and(|rest| rest.starts_with(*foreign))) {
        Some(foreign) => format!("{what} is not JSON: {foreign} at {place} is not a JSON value"),
        None => format!("{what} is not JSON: {said}"),
    }
}
