//! JSON text to values: digits and the order of keys as they came. Reads what jq reads beyond JSON: `nan`, numbers such as `.5`,
//! and half a surrogate pair as U+FFFD. Pure.

use std::sync::Arc;

use foldhash::fast::RandomState;

use super::number::Number;
use super::plain::plain;
use super::value::{Fields, Val};
use crate::mapping::fuel;

/// An object has about that many fields, or there is room for more soon.
const USUAL_FIELDS: usize = 8;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// The one value that a text holds.
pub(in crate::mapping) fn read(text: &str) -> Result<Val, String> {
    fuel::charge(text.len() / 4);
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, depth: 0 };
    let value = reader.value()?;
    reader.space();
    if reader.at < reader.text.len() { Err(reader.wrong("unexpected text behind the value")) } else { Ok(value) }
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &str) -> String {
        format!("{what} at character {} of it", self.text.get(..self.at).unwrap_or("").chars().count() + 1)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, when it is this one.
    fn takes(&mut self, wanted: u8) -> bool {
        self.space();
        let found = self.byte() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Result<Val, String> {
        self.space();
        match self.byte() {
            None => Err(self.wrong("expected a JSON value")),
            Some(b'"') => self.string().map(Val::Text),
            Some(b'[') => self.nested(Self::array),
            Some(b'{') => self.nested(Self::object),
            Some(_) => self.word(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Val, String>) -> Result<Val, String> {
        self.at += 1;
        self.depth += 1;
        if self.depth > fuel::deepest() {
            fuel::stop(fuel::Exceeded::Depth);
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Val, String> {
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Val::array(items));
        }
        loop {
            items.push(self.value()?);
            if self.takes(b']') {
                return Ok(Val::array(items));
            }
            if !self.takes(b',') {
                return Err(self.wrong("expected , or ]"));
            }
        }
    }

    fn object(&mut self) -> Result<Val, String> {
        if self.takes(b'}') {
            return Ok(Val::object(Fields::default()));
        }
        let mut fields = Fields::with_capacity_and_hasher(USUAL_FIELDS, RandomState::default());
        loop {
            self.space();
            if self.byte() != Some(b'"') {
                return Err(self.wrong("expected a key"));
            }
            let key = self.string()?;
            if !self.takes(b':') {
                return Err(self.wrong("expected :"));
            }
            let value = self.value()?;
            fields.insert(key, value);
            if self.takes(b'}') {
                return Ok(Val::object(fields));
            }
            if !self.takes(b',') {
                return Err(self.wrong("expected , or }"));
            }
        }
    }

    fn word(&mut self) -> Result<Val, String> {
        let rest = self.text.get(self.at..).unwrap_or("");
        let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let word = rest.find(|c| !of_word(c)).and_then(|end| rest.get(..end)).unwrap_or(rest);
        let value = match word {
            "null" => Val::Null,
            "true" => Val::Bool(true),
            "false" => Val::Bool(false),
            word => Val::Number(Number::parse(word).ok_or_else(|| self.wrong("expected a JSON value"))?),
        };
        self.at += word.len();
        Ok(value)
    }

    /// From its first quote to its last.
    fn string(&mut self) -> Result<Arc<str>, String> {
        self.at += 1;
        let from = self.at;
        if let Some(plain) = self.plain()
            && self.byte() == Some(b'"')
        {
            self.at += 1;
            return Ok(Arc::from(plain));
        }
        let mut text = self.text.get(from..self.at).unwrap_or("").to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Arc::from(text));
                }
                Some(b'\\') => text.push(self.escaped()?),
                Some(_) => text.push_str(
                    self.plain()
                        .filter(|plain| !plain.is_empty())
                        .ok_or_else(|| self.wrong("a control character stands in a string"))?,
                ),
                None => return Err(self.wrong("the string does not end")),
            }
        }
    }

    /// What stands before the next quote, escape or control character.
    fn plain(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let end = plain(rest.as_bytes(), |byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        self.at += end;
        rest.get(..end)
    }

    fn escaped(&mut self) -> Result<char, String> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        Ok(match letter {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => self.unicode()?,
            _ => return Err(self.wrong("an escape that JSON does not have")),
        })
    }

    fn unicode(&mut self) -> Result<char, String> {
        let high = self.hex().ok_or_else(|| self.wrong("\\u needs four hexadecimal digits"))?;
        if (0xD800..0xDC00).contains(&high) && self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u")) {
            let back = self.at;
            self.at += 2;
            match self.hex() {
                Some(low @ 0xDC00..0xE000) => {
                    let both = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                _ => self.at = back,
            }
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}
