//! An event's attributes in a message's headers, as CloudEvents' bindings and their SDKs write them: headers in, texts and times out. Pure.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::time::Time;
use crate::message::{Field, Headers};

/// What stands before an attribute's name: the AMQP binding's own first, then its other, the RabbitMQ and HTTP bindings', and Kafka's. Where
/// several name an attribute the first of them wins.
const PREFIXES: [&str; 4] = ["cloudevents:", "cloudevents_", "ce-", "ce_"];
/// How many of these are nobody else's: one such header makes an event.
const UNMISTAKABLE: usize = 2;
/// Of the others a header with one of these names does.
const REQUIRED: [&str; 4] = ["id", "source", "type", "specversion"];
/// When an event is to be sent. A plain event may have these too: alone they make no message binary, and need no prefix.
const TIMING: [&str; 2] = ["expirytime", "deliverafter"];
/// The MQTT binding writes the names bare; these are read where all that are required are there.
const BARE: [&str; 6] = ["id", "source", "type", "specversion", "time", "datacontenttype"];
/// Numbers below this are seconds since 1970 (until the year 5138), others milliseconds.
const SECONDS_END: i128 = 100_000_000_000;

/// The attributes in a message's headers, by their names in lower case. Where they are not those of an event, only those of [`TIMING`].
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    found: BTreeMap<String, Found<'a>>,
    is_event: bool,
}

#[derive(Debug)]
struct Found<'a> {
    /// The lowest wins.
    rank: (usize, usize),
    header: &'a str,
    field: &'a Field,
}

impl<'a> Attributes<'a> {
    pub fn of(headers: &'a Headers) -> Self {
        let mut found = BTreeMap::<String, Found<'a>>::new();
        // A null counts as left out.
        for (header, field) in headers.iter().filter(|(_, field)| !matches!(field, Field::Void)) {
            let Some((prefix, name)) = parts(header) else { continue };
            // A broker keeps names that differ in case alone: of these the one with the fewest capitals counts.
            let rank = (prefix, header.bytes().filter(u8::is_ascii_uppercase).count());
            let name = name.to_ascii_lowercase();
            if found.get(&name).is_none_or(|other| rank < other.rank) {
                found.insert(name, Found { rank, header, field });
            }
        }
        let is_event =
            found.iter().any(|(name, found)| (found.rank.0 < UNMISTAKABLE && !is_timing(name)) || is_required(name));
        if is_event { Self { found, is_event } } else { Self::bare(headers, found) }
    }

    /// Those without a prefix, beside the others that were found.
    fn bare(headers: &'a Headers, mut found: BTreeMap<String, Found<'a>>) -> Self {
        let is_event = REQUIRED.iter().all(|name| headers.get(*name).is_some_and(|field| text(field).is_some()));
        let rank = (PREFIXES.len(), 0);
        let names = if is_event { &BARE[..] } else { &[] };
        let known = names.iter().chain(&TIMING).filter_map(|name| headers.get_key_value(*name));
        let bare = known.filter(|(_, field)| !matches!(field, Field::Void));
        found.retain(|name, _| is_timing(name));
        for (header, field) in bare {
            found.entry(header.clone()).or_insert(Found { rank, header, field });
        }
        Self { found, is_event }
    }

    /// Whether they are not those of an event.
    pub fn is_empty(&self) -> bool {
        !self.is_event
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(found) = self.found.get(name) else { return Ok(None) };
        let said = || format!("the header {} is not a string", found.header);
        text(found.field).map(|text| Some(text.to_owned())).ok_or_else(said)
    }

    /// `time`.
    pub fn time(&self) -> Result<Option<Time>, String> {
        self.moment("time")
    }

    /// An attribute that is a time, which may be a number since AMQP has times of its own.
    pub fn moment(&self, name: &str) -> Result<Option<Time>, String> {
        let Some(Found { header, field, .. }) = self.found.get(name) else { return Ok(None) };
        if let Some(text) = text(field) {
            return moment(name, text).map(Some);
        }
        let whole = if let Field::Timestamp(number) = field {
            Some(i128::from(*number))
        } else if let Field::F64(number) = field
            && number.fract() == 0.0
        {
            format!("{number:.0}").parse().ok()
        } else {
            field.as_i64().map(i128::from)
        };
        let said = || format!("the header {header} is neither a text nor a time");
        from_epoch(whole.ok_or_else(said)?).map(Some)
    }
}

fn is_timing(name: &str) -> bool {
    TIMING.contains(&name)
}

fn is_required(name: &str) -> bool {
    REQUIRED.contains(&name)
}

/// Which prefix a header has, and what follows it.
fn parts(header: &str) -> Option<(usize, &str)> {
    PREFIXES.iter().enumerate().find_map(|(at, prefix)| {
        let (start, rest) = header.split_at_checked(prefix.len())?;
        (start.eq_ignore_ascii_case(prefix) && !rest.is_empty()).then_some((at, rest))
    })
}

/// Whether an event with that header would be another without it, or none: an attribute's, or the type of its content. Or sent at another time.
pub fn tells_identity(header: &str) -> bool {
    let is_one_of = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let of_an_attribute =
        |name| is_one_of(&BARE, name) || is_one_of(&TIMING, name) || is_one_of(&["traceparent", "tracestate"], name);
    of_an_attribute(parts(header).map_or(header, |(_, name)| name)) || is_one_of(&CONTENT_TYPES, header)
}

const CONTENT_TYPES: [&str; 2] = ["content-type", "content_type"];

/// The content type, where it stands among the headers: SDKs for HTTP and Kafka put it there.
pub(super) fn content_type(headers: &Headers) -> Option<&str> {
    CONTENT_TYPES.iter().find_map(|name| plain_header(headers, name))
}

/// A header's text, whatever case its name is in; spelled so before any other.
pub(super) fn plain_header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let other = || headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, field)| field);
    headers.get(name).or_else(other).and_then(text)
}

/// A field's text. Python's clients send bytes as what AMQP calls a byte array.
fn text(field: &Field) -> Option<&str> {
    if let Field::Binary(bytes) = field { std::str::from_utf8(bytes).ok() } else { field.as_str() }
}

/// The attribute `time` where it is a text.
pub(super) fn time(text: &str) -> Result<Time, String> {
    moment("time", text)
}

/// An attribute that is a time, where it is a text.
pub(super) fn moment(name: &str, text: &str) -> Result<Time, String> {
    text.parse().map_err(|_| format!("the attribute {name:?} is {text:?}, not an RFC 3339 date and time"))
}

/// AMQP 0-9-1 counts in seconds, AMQP 1.0 and many clients in milliseconds: they are told by their size.
pub(super) fn from_epoch(number: i128) -> Result<Time, String> {
    let milliseconds = if (0..SECONDS_END).contains(&number) { number.checked_mul(1000) } else { Some(number) };
    let duration = milliseconds.and_then(|number| i64::try_from(number).ok()).map(SignedDuration::from_millis);
    let said = || format!("the timestamp {number} is out of range; it is in seconds or milliseconds since 1970");
    duration.and_then(Time::since_epoch).ok_or_else(said)
}
