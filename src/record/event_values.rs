//! Finds the values of an event in a sentence about it, so that the fingerprint can leave them out. Pure.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::event::{self, Context};
use crate::message::Message;
use crate::redact;

/// Most values that are kept.
const MOST_VALUES: usize = 200;
/// A larger event is not searched.
const MOST_BYTES: usize = 1024 * 1024;
/// The shortest value, in characters, that is recognised without quotes around it.
const SHORTEST: usize = 3;
/// A value whose end was cut off is recognised by this many of its first characters.
const BEGINNING: usize = 20;

/// Stands for a value of the event while a sentence is worked on.
pub(super) const HIDDEN: char = '\u{1}';

/// Words that sentences about faults are made of. A value that is one of them is not taken for the event's own.
const PLAIN: &str = "a account all allowed already an and answered any are array at attribute attributes bad be body boolean but by can \
    cannot code column company contact could customer data date deprecated did does duplicate email empty error event events exist \
    exists failed false field fields for format found from had has have header id in integer invalid is it its json key large list \
    long many message missing must name new no none not null number object of old on one only or order parameter product profile \
    property request required response should source status string supported text than that the this time to too true type unknown \
    update user users validation value values version was when with without write wrong";

/// The values and the field names of an event.
#[derive(Debug, Default)]
pub(super) struct EventValues<'a> {
    sentence: &'a str,
    /// As they stand in the sentence, the longest first.
    values: Vec<String>,
    names: HashSet<String>,
}

impl<'a> EventValues<'a> {
    /// Of what is an event; nothing of anything else.
    pub fn of(message: &Message, sentence: &'a str) -> Self {
        let mut known = Self { sentence, ..Self::default() };
        if message.body.len() > MOST_BYTES {
            return known;
        }
        let context = Context { routing_key: "unknown", received: Timestamp::UNIX_EPOCH, max_bytes: MOST_BYTES };
        let Ok(event) = event::decode(message, context) else { return known };
        known.add(&event.id);
        known.add(&event.source);
        known.add_all(event.data.fields());
        let names = &known.names;
        known.values.retain(|value| {
            !names.contains(value) && !PLAIN.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(value))
        });
        known.values.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        known.values.dedup();
        known
    }

    fn add_all(&mut self, data: &Map<String, Value>) {
        for (name, value) in data {
            self.names.insert(name.clone());
            self.add_value(value);
        }
    }

    fn add_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(values) => values.iter().for_each(|value| self.add_value(value)),
            Value::Object(data) => self.add_all(data),
            // Numbers are known by their digits.
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn add(&mut self, text: &str) {
        if self.values.len() >= MOST_VALUES || text.trim().is_empty() {
            return;
        }
        // In a sentence of a vendor's white space is made one, in one of ours a value is quoted; both are masked.
        let quoted = format!("{text:?}");
        let quoted = quoted.trim_start_matches('"').trim_end_matches('"');
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let quoted = (quoted != line).then(|| redact::masked(quoted, &[]));
        for value in [Some(redact::masked(&line, &[])), quoted].into_iter().flatten() {
            let beginning = value.char_indices().nth(BEGINNING).map_or(value.as_str(), |(end, _)| &value[..end]);
            if self.sentence.contains(beginning) {
                self.values.push(value);
            }
        }
    }

    /// Whether the event has a field of that name, at any depth.
    pub fn has_field(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// `text` with [`HIDDEN`] for each of the event's values.
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for value in &self.values {
            hide(&mut hidden, value);
            hide_beginning(&mut hidden, value);
        }
        hidden
    }
}

fn hide(text: &mut String, value: &str) {
    let short = value.chars().nth(SHORTEST - 1).is_none();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(value)) {
        let (start, end) = (from + at, from + at + value.len());
        let (before, after) = (text[..start].chars().next_back(), text[end..].chars().next());
        let quoted = before.is_some_and(is_quote) && after.is_some_and(is_quote);
        let whole = |inside: Option<char>, outside: Option<char>| {
            !(inside.is_some_and(char::is_alphanumeric) && outside.is_some_and(|c| c.is_alphanumeric() || c == '_'))
        };
        if quoted || (!short && whole(value.chars().next(), before) && whole(value.chars().next_back(), after)) {
            text.replace_range(start..end, "\u{1}");
            from = start + HIDDEN.len_utf8();
        } else {
            from = start + value.chars().next().map_or(1, char::len_utf8);
        }
    }
}

/// A long value may end where the sentence was cut.
fn hide_beginning(text: &mut String, value: &str) {
    let Some((length, _)) = value.char_indices().nth(BEGINNING) else { return };
    let Some(start) = text.find(&value[..length]) else { return };
    let Some(cut) = text[start..].find('…') else { return };
    if value.starts_with(&text[start..start + cut]) {
        text.replace_range(start..start + cut, "\u{1}");
    }
}

pub(super) fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '“' | '”' | '‘' | '’' | '«' | '»')
}
