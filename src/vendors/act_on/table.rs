//! The CSV of touch points: rows come in, the file's text goes out. A value leaves it as it came in, or is refused.

use crate::event::Invalid;
use std::collections::HashSet;

use csv::{QuoteStyle, Terminator, WriterBuilder};

use super::fields::Row;

/// The columns, in their order. Act-On reads four of them, by their indexes; the first two tell whose row it is to a
/// person who looks at the file there. With them the four stand where they stand in Act-On's example.
const COLUMNS: [&str; 6] = ["id", "source", "email", "when", "title", "note"];
/// Column of the e-mail address, from 0.
pub(super) const EMAIL: &str = "2";
/// Column of the date, from 0.
pub(super) const WHEN: &str = "3";
/// Column of the title, from 0.
pub(super) const TITLE: &str = "4";
/// Column of the note, from 0.
pub(super) const NOTE: &str = "5";

/// What stands between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    Tab,
    Comma,
    Semicolon,
    Space,
}

impl Separator {
    /// All of them, by the names that Act-On gives them.
    pub const ALL: [(&'static str, Self); 4] =
        [("TAB", Self::Tab), ("COMMA", Self::Comma), ("SEMICOLON", Self::Semicolon), ("SPACE", Self::Space)];

    /// `fieldseparator`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tab => "TAB",
            Self::Comma => "COMMA",
            Self::Semicolon => "SEMICOLON",
            Self::Space => "SPACE",
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Tab => b'\t',
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Space => b' ',
        }
    }
}

/// What stands around a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Quote {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "SINGLE_QUOTE")]
    Single,
    #[serde(rename = "DOUBLE_QUOTE")]
    Double,
}

impl Quote {
    /// All of them, by the names that Act-On gives them.
    pub const ALL: [(&'static str, Self); 3] =
        [("NONE", Self::None), ("SINGLE_QUOTE", Self::Single), ("DOUBLE_QUOTE", Self::Double)];

    /// `quotecharacter`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Single => "SINGLE_QUOTE",
            Self::Double => "DOUBLE_QUOTE",
        }
    }

    /// This one where it can carry the row, else double quotes, which carry anything.
    pub fn for_row(self, row: &Row<'_>, separator: Separator) -> Self {
        let breaks = |byte: u8| byte == separator.byte() || byte == b'\r' || byte == b'\n';
        let is_broken = self == Self::None && row.cells().iter().any(|cell| cell.bytes().any(breaks));
        if is_broken { Self::Double } else { self }
    }

    fn byte(self) -> u8 {
        if self == Self::Single { b'\'' } else { b'"' }
    }
}

impl Row<'_> {
    fn cells(&self) -> [&str; COLUMNS.len()] {
        [&self.id, &self.source, &self.email, &self.when, &self.title, self.note.as_deref().unwrap_or_default()]
    }
}

/// The file's text by RFC 4180: lines end with CRLF, every value is quoted or none is, a quote within is doubled.
///
/// # Errors
/// [`Invalid`] when the rows cannot be written.
pub(super) fn write(rows: &[Row<'_>], separator: Separator, quote: Quote, firstrow: bool) -> Result<Vec<u8>, Invalid> {
    let mut writer = WriterBuilder::new()
        .delimiter(separator.byte())
        .quote(quote.byte())
        .quote_style(if quote == Quote::None { QuoteStyle::Never } else { QuoteStyle::Always })
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    let invalid = |error: csv::Error| Invalid(format!("the CSV cannot be written: {error}"));
    if firstrow {
        writer.write_record(COLUMNS).map_err(invalid)?;
    }
    for row in rows {
        writer.write_record(row.cells()).map_err(invalid)?;
    }
    writer.into_inner().map_err(|error| Invalid(format!("the CSV cannot be written: {error}")))
}

/// How many titles the rows have.
pub(super) fn titles(rows: &[Row<'_>]) -> usize {
    rows.iter().map(|row| &*row.title).collect::<HashSet<_>>().len()
}
