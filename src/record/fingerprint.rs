//! What equal letters have in common: a sentence and its event go in; the sentence without what varies comes out. Pure.
//!
//! Ids, numbers and addresses are told by their form, anything else that varies by standing in the event as a value. The status
//! of the answer stays, and so do the names of fields and of standards.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use uuid::Uuid;

use super::event_values::{EventValues, HIDDEN, is_quote};
use crate::message::Message;
use crate::verdict::Reason;

const FINGERPRINTS: Uuid = Uuid::from_u128(0x1b7e_55aa_93c4_5d0e_a2f4_77c1_90e8_4d2b);

/// Longest cause, in bytes: it is for a line of a list, and travels in a header.
const MOST_BYTES: usize = 300;
/// Only this many bytes of a sentence are looked at.
const MOST_READ: usize = 4000;
/// Of a text that was cut, this many characters count, since the place of the cut depends on the length of the parts that vary.
const CUT_CHARS: usize = 120;
/// Digits at the end of a field's name, at most.
const MOST_DIGITS: usize = 2;

/// Names with a number in them that say what is wrong, and are the same in every sentence about it.
const STANDARDS: [&str; 34] = [
    "utf-8",
    "utf8",
    "utf-16",
    "utf-32",
    "iso-8859-1",
    "latin1",
    "latin-1",
    "windows-1252",
    "base64",
    "base64url",
    "base32",
    "sha-1",
    "sha1",
    "sha-256",
    "sha256",
    "sha-384",
    "sha-512",
    "sha512",
    "md5",
    "oauth2",
    "e.164",
    "x.509",
    "ipv4",
    "ipv6",
    "http/1.1",
    "http/2",
    "json5",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "i18n",
];
/// Whose documents are known by numbers.
const BODIES: [&str; 2] = ["RFC ", "ISO "];

/// What is looked for in a sentence.
struct Forms {
    /// The status of the answer.
    status: Regex,
    /// A word with all that an id, a number or an address is made of.
    word: Regex,
    /// What follows the name of a header that names a request.
    trace: Regex,
    /// Several that vary one after the other, and the words of dates between them.
    run: Regex,
    /// The values that a field may have, which are equal for all.
    choice: Regex,
}

static FORMS: LazyLock<Option<Forms>> = LazyLock::new(|| {
    const DATE: &str = "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?\
        |Nov(?:ember)?|Dec(?:ember)?|Mon(?:day)?|Tue(?:s(?:day)?)?|Wed(?:nesday)?|Thu(?:r(?:s(?:day)?)?)?|Fri(?:day)?\
        |Sat(?:urday)?|Sun(?:day)?|[AaPp]M|[ap]m|UTC|GMT|CES?T)\\b";
    let run = format!(r#"(?:\b{DATE}[\s,]+)*#(?:["'`]?(?:\s*,\s*(?:and\s)?|\s+(?:and\s)?)["'`]?(?:#|{DATE}))*"#);
    Some(Forms {
        status: Regex::new(r"\banswered \d{3}\b").ok()?,
        word: Regex::new(
            r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s"'`<>”’]+|(?:\p{N}(?::\p{N})+|[\p{L}\p{N}\x01_@.%+*/#~$&-])+"#,
        )
        .ok()?,
        trace: Regex::new(r"\b(x-[a-z-]+-id )[^\s,;)]+").ok()?,
        run: Regex::new(&run).ok()?,
        choice: Regex::new(r"\b(?:one of|known:|allowed:|expected:) (?:[^;.]|\.\S)*").ok()?,
    })
});

/// The sentence with `#` for each id, number, address and value of the event. Bounded.
#[must_use]
pub fn cause(sentence: &str, message: &Message) -> String {
    let Some(forms) = &*FORMS else { return bounded(sentence.to_owned()) };
    let mut text = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() > MOST_READ {
        text.truncate(text.floor_char_boundary(MOST_READ));
        text.push('…');
    }
    let known = EventValues::of(message, &text);
    let pattern = match forms.status.find(&text) {
        // What stands before it is Sluice's own, a vendor's name among it.
        Some(status) => {
            let said = masked(&hidden(&text[status.end()..], &known, forms), &known, forms);
            format!("{}{}{said}", masked(&text[..status.start()], &known, forms), status.as_str())
        }
        None => masked(&hidden(&text, &known, forms), &known, forms),
    };
    bounded(without_end(&pattern))
}

/// Names a group: 16 hex digits, equal for equal reason and cause.
#[must_use]
pub fn fingerprint(reason: Reason, cause: &str) -> String {
    let digest = Uuid::new_v5(&FINGERPRINTS, format!("{} {cause}", reason.name()).as_bytes());
    digest.simple().to_string()[..16].to_owned()
}

/// The event's own values hidden, but where a sentence lists what a field may be.
fn hidden(text: &str, known: &EventValues, forms: &Forms) -> String {
    let (mut hidden, mut from) = (String::with_capacity(text.len()), 0);
    for choice in forms.choice.find_iter(text).filter(|choice| !choice.as_str().starts_with("one of the ")) {
        hidden.push_str(&known.hide(&text[from..choice.start()]));
        hidden.push_str(choice.as_str());
        from = choice.end();
    }
    hidden.push_str(&known.hide(&text[from..]));
    hidden
}

fn masked(text: &str, known: &EventValues, forms: &Forms) -> String {
    let text = forms.trace.replace_all(text, "${1}#");
    let words = forms.word.replace_all(&text, |found: &Captures<'_>| {
        let (whole, start) = (&found[0], found.get(0).map_or(0, |word| word.start()));
        let word = whole.trim_end_matches('.');
        let end = &whole[word.len()..];
        let before = &text[..start];
        let varies = varies(word) && !is_standard(word, before) && !is_field(word, before, known);
        if varies { format!("#{end}") } else { whole.to_owned() }
    });
    forms.run.replace_all(&words, "#").into_owned()
}

/// By its form alone.
fn varies(word: &str) -> bool {
    let is_address = || word.contains("://") || (word.contains('@') && word.len() > 1);
    // An id of hex digits may happen to have no number among them.
    let is_hex = || word.len() >= 6 && word.bytes().all(|b| matches!(b, b'a'..=b'f' | b'A'..=b'F'));
    word.contains(HIDDEN) || word.contains(char::is_numeric) || is_address() || is_hex()
}

/// `UTF-8`, or the number of `RFC 3339` or `ISO 3166-1`, but not the date in `not ISO 2026-11-29`.
fn is_standard(word: &str, before: &str) -> bool {
    let is_number = || {
        let (number, part) = word.split_once('-').unwrap_or((word, "1"));
        let is_of =
            |digits: &str, most| (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_of(number, 5) && is_of(part, 1)
    };
    STANDARDS.iter().any(|name| name.eq_ignore_ascii_case(word))
        || BODIES.iter().any(|body| before.ends_with(body)) && is_number()
}

/// `line2`, where the event has such a field or the sentence calls it one.
fn is_field(word: &str, before: &str, known: &EventValues) -> bool {
    let is_name = word.split('.').all(|part| {
        let name = part.trim_end_matches(|c: char| c.is_ascii_digit());
        part.len() - name.len() <= MOST_DIGITS
            && name.chars().filter(|c| c.is_alphabetic()).count() >= 3
            && name.chars().all(|c| c.is_alphabetic() || matches!(c, '_' | '-'))
    });
    let called = || {
        let unquoted = before.trim_end_matches(is_quote);
        let kinds = ["field ", "attribute ", "property ", "parameter ", "column ", "header "];
        unquoted.len() < before.len() && (unquoted.is_empty() || kinds.iter().any(|kind| unquoted.ends_with(kind)))
    };
    is_name && (word.rsplit('.').next().is_some_and(|name| known.has_field(name)) || called())
}

/// Of a text that ends in `…`, only what all such texts have.
fn without_end(pattern: &str) -> String {
    let cut = pattern.match_indices('…').find(|(at, _)| {
        // Not an ellipsis of its own, as in `first(…)`.
        !pattern[..*at].trim_end().ends_with(['(', '['])
    });
    let Some((at, mark)) = cut else { return pattern.to_owned() };
    let (text, rest) = (&pattern[..at], &pattern[at + mark.len()..]);
    let text = text.char_indices().nth(CUT_CHARS).map_or(text, |(end, _)| &text[..end]);
    let text = if text.ends_with('#') { text } else { text.rsplit_once(' ').map_or(text, |(whole, _)| whole) };
    format!("{text}…{rest}")
}

fn bounded(mut text: String) -> String {
    if text.len() > MOST_BYTES {
        text.truncate(text.floor_char_boundary(MOST_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}
