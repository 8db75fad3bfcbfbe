//! An event's data to what travels, every field checked before a request is spent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dates::DateFormat;
use super::settings::{ACTIONS, Settings};
use super::table::Quote;
use crate::event::{Event, Invalid, name_of};
use crate::vendors::time;

/// The documented fields, in the reference's order.
pub(super) const FIELDS: [&str; 8] =
    ["destination", "createlistingentry", "customeventaction", "email", "when", "title", "note", "dateformat"];

/// Longest e-mail address in bytes (RFC 5321, 4.5.3.1.3, without its angle brackets).
const MAX_EMAIL_BYTES: usize = 254;

/// What all rows of one CSV share.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heading<'a> {
    #[serde(borrow)]
    pub destination: Cow<'a, str>,
    #[serde(borrow)]
    pub customeventaction: Cow<'a, str>,
    #[serde(borrow)]
    pub dateformat: Cow<'a, str>,
    pub quotecharacter: Quote,
}

/// One event.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    #[serde(borrow)]
    pub email: Cow<'a, str>,
    #[serde(borrow)]
    pub when: Cow<'a, str>,
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    #[serde(borrow)]
    pub note: Option<Cow<'a, str>>,
    /// `Y` or `N`: for a fact alone, a CSV has no place for it.
    #[serde(borrow)]
    pub createlistingentry: Option<Cow<'a, str>>,
}

/// The event as a row and the heading that it belongs under. `when` defaults to the day of the event's time,
/// `dateformat` and others to the destination's. A null counts as left out.
pub(super) fn row<'a>(event: &'a Event, settings: &'a Settings) -> Result<(Heading<'a>, Row<'a>), Invalid> {
    let given = given(event)?;
    let text = |field: &str| given.get(field).copied();
    let defaults = &settings.defaults;
    let destination =
        required("destination", text("destination").or(defaults.custom_event.as_deref()), "custom_event")?;
    let what = required("customeventaction", text("customeventaction").or(defaults.action), "customeventaction")?;
    action(what)?;
    let dateformat = text("dateformat").map_or(Ok(defaults.dateformat), DateFormat::find).map_err(Invalid)?;
    let createlistingentry = match text("createlistingentry") {
        Some(answer) => {
            yes_or_no(answer)?;
            Some(answer)
        }
        None => defaults.createlistingentry.map(|create| if create { "Y" } else { "N" }),
    };
    let row = Row {
        id: event.id.as_str().into(),
        source: event.source.as_str().into(),
        email: email(required("email", text("email"), "")?)?.into(),
        when: when(text("when"), dateformat, event, settings)?,
        title: required("title", text("title"), "")?.into(),
        note: text("note").map(Cow::from),
        createlistingentry: createlistingentry.map(Cow::from),
    };
    let heading = Heading {
        destination: destination.into(),
        customeventaction: what.into(),
        dateformat: dateformat.name.into(),
        quotecharacter: settings.quote.for_row(&row, settings.separator),
    };
    Ok((heading, row))
}

/// The fields that the event has, each a text that Act-On could take.
fn given(event: &Event) -> Result<BTreeMap<&str, &str>, Invalid> {
    let mut given = BTreeMap::new();
    for (field, value) in event.data.fields().iter().filter(|(_, value)| !value.is_null()) {
        if !FIELDS.contains(&field.as_str()) {
            let known = FIELDS.join(", ");
            return Err(Invalid(format!("{field:?} is not a field of an Act-On custom event; known: {known}")));
        }
        given.insert(field.as_str(), text(field, value)?);
    }
    Ok(given)
}

/// Whether a field may be that value. What `when` may be, `dateformat` decides.
pub(super) fn check(field: &str, value: &Value) -> Result<(), Invalid> {
    let text = text(field, value)?;
    match field {
        "email" => required(field, Some(text), "").and_then(email).map(|_| ()),
        "customeventaction" => action(text),
        "createlistingentry" => yes_or_no(text),
        "dateformat" => DateFormat::find(text).map(|_| ()).map_err(Invalid),
        "destination" | "title" => required(field, Some(text), "").map(|_| ()),
        _ => Ok(()),
    }
}

fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str, Invalid> {
    let Value::String(text) = value else {
        return Err(Invalid(format!("{field:?} is {}, it must be a string", name_of(value))));
    };
    if text.contains('\0') {
        return Err(Invalid(format!("{field:?} has a NUL character, which ends a text in many systems; remove it")));
    }
    Ok(text)
}

fn action(text: &str) -> Result<(), Invalid> {
    if ACTIONS.contains(&text) {
        return Ok(());
    }
    Err(Invalid(format!("\"customeventaction\" is {text:?}; it must be one of {}", ACTIONS.join(", "))))
}

fn yes_or_no(text: &str) -> Result<(), Invalid> {
    if matches!(text, "Y" | "N") {
        return Ok(());
    }
    Err(Invalid(format!("\"createlistingentry\" is {text:?}; it must be \"Y\" or \"N\"")))
}

/// A field that has to be there; `key` is the destination's setting that stands in for it, where there is one.
fn required<'a>(field: &str, text: Option<&'a str>, key: &str) -> Result<&'a str, Invalid> {
    text.filter(|text| !text.trim().is_empty()).ok_or_else(|| {
        let mend = if key.is_empty() {
            String::new()
        } else {
            format!("; set {key} on the destination or {field} in the data")
        };
        Invalid(format!("the required field {field:?} is missing or empty{mend}"))
    })
}

/// One `@`, a dotted host, no space and no control character. What else an address may be, Act-On decides.
fn email(text: &str) -> Result<&str, Invalid> {
    let fault = match text.split_once('@') {
        _ if text.len() > MAX_EMAIL_BYTES => "is over 254 bytes long",
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => "has a space or a control character in it",
        None => "has no @",
        Some((_, host)) if host.contains('@') => "has more than one @",
        Some(("", _)) => "has nothing before its @",
        Some((_, host)) if host.split('.').any(str::is_empty) || !host.contains('.') => {
            "has no dotted host after its @"
        }
        Some(_) => return Ok(text),
    };
    Err(Invalid(format!("\"email\" is no e-mail address: it {fault}")))
}

fn when<'a>(
    given: Option<&'a str>,
    dateformat: DateFormat,
    event: &Event,
    settings: &Settings,
) -> Result<Cow<'a, str>, Invalid> {
    if let Some(text) = given {
        dateformat.check(text).map_err(|wrong| Invalid(format!("\"when\" is {wrong}")))?;
        return Ok(text.into());
    }
    time::possible(event.time.timestamp()).map_err(|why| {
        Invalid(format!("\"when\" is missing, and the event's time {} is {why}; correct one of them", event.time))
    })?;
    let day = event.time.date_in(&settings.defaults.time_zone);
    let written = dateformat.write(day).map(Cow::from);
    written.ok_or_else(|| Invalid(format!("\"when\" is missing, and the event's time {} is no date there", event.time)))
}
