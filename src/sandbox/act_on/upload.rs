//! The rules for a fact and for a CSV of touch points: a request comes in, its events go out, or what is wrong. Pure.
//! Source: the vendor's pages on both endpoints.
//!
//! A file that breaks a rule of form (a stray quote, a row of another length, a wrong index) is refused as a whole.
//! A row whose e-mail address, date or title is none is rejected alone, and counted.

use std::collections::BTreeSet;

use serde::Serialize;

use super::answers::Broken;
use super::dates::DateFormat;
use super::form::Form;
use super::table;
use crate::sandbox::api::Call;
use crate::sandbox::ledger::Taken;

const FACT: [&str; 8] =
    ["destination", "createlistingentry", "customeventaction", "email", "when", "title", "note", "dateformat"];
const CSV: [&str; 12] = [
    "destination",
    "firstrow",
    "fieldseparator",
    "quotecharacter",
    "customeventaction",
    "emailcolidx",
    "datecolidx",
    "titlecolidx",
    "notecolidx",
    "titlecount",
    "dateformat",
    "filename",
];
const ACTIONS: [&str; 9] = [
    "CUSTOM_DOWNLOADED",
    "CUSTOM_REGISTERED",
    "CUSTOM_ATTENDED",
    "CUSTOM_GENERAL",
    "CUSTOM_GENERAL1",
    "CUSTOM_GENERAL2",
    "CUSTOM_GENERAL3",
    "CUSTOM_GENERAL4",
    "CUSTOM_GENERAL5",
];

/// The longest e-mail address (RFC 5321).
const EMAIL_BYTES: usize = 254;

/// An event as it was uploaded. No note is an empty one: a CSV cannot tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// The name of the custom event.
    pub destination: String,
    /// One of the nine actions.
    pub customeventaction: String,
    /// The address.
    pub email: String,
    /// The date, as it was written.
    pub when: String,
    /// How the date is written.
    pub dateformat: String,
    /// The title.
    pub title: String,
    /// The note.
    pub note: String,
    /// `fact` or `csv`.
    pub came_by: &'static str,
}

impl Event {
    /// The event for the ledger. Act-On has no field for an event's id, but the caller may write one into the note,
    /// which nobody is shown: a note that begins with `marker` is the identity. Else it is what a person would
    /// compare: all but the way it came.
    pub fn taken(&self, marker: Option<&str>) -> Taken {
        let Self { destination, customeventaction, email, when, dateformat, title, note, came_by: _ } = self;
        let whole = [destination, customeventaction, email, when, dateformat, title, note];
        let marked = marker.filter(|marker| note.starts_with(marker));
        let id = if marked.is_some() { note.clone() } else { serde_json::json!(whole).to_string() };
        Taken::new(id.as_bytes(), serde_json::json!(self).to_string())
    }
}

/// What an upload brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upload {
    /// The name of the custom event.
    pub destination: String,
    /// Whether that is made where it does not exist.
    pub create: bool,
    /// The events.
    pub events: Vec<Event>,
    /// The rows that are rejected.
    pub rejected: u64,
    /// How many titles are new at most; none: not said.
    pub titlecount: Option<usize>,
}

impl Upload {
    /// Rejects the rows to these addresses.
    pub fn reject(&mut self, emails: &[String]) {
        let before = self.events.len();
        self.events.retain(|event| !emails.contains(&event.email));
        self.rejected += u64::try_from(before - self.events.len()).unwrap_or(u64::MAX);
    }
}

/// Reads a single fact.
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn fact(call: &Call) -> Result<Upload, Broken> {
    let form = Form::read(call, &FACT)?;
    if form.file().is_some() {
        return Err("file: is not a parameter of this endpoint".into());
    }
    let (destination, action, dateformat, format) = heading(&form)?;
    let create = match form.optional("createlistingentry") {
        None => false,
        Some(answer) => yes_or_no("createlistingentry", answer)?,
    };
    let event = Event {
        destination: destination.to_owned(),
        customeventaction: action.to_owned(),
        email: form.required("email")?.to_owned(),
        when: form.required("when")?.to_owned(),
        dateformat: dateformat.to_owned(),
        title: form.required("title")?.to_owned(),
        note: form.optional("note").unwrap_or_default().to_owned(),
        came_by: "fact",
    };
    if !is_email(&event.email) {
        return Err("email: is not an e-mail address".into());
    }
    if !format.fits(&event.when) {
        return Err(format!("when: {:?} is not written as {dateformat}", event.when).into());
    }
    Ok(Upload { destination: destination.to_owned(), create, events: vec![event], ..Upload::default() })
}

/// Reads a CSV of touch points.
///
/// # Errors
/// The first rule that it breaks as a whole.
pub(super) fn csv(call: &Call) -> Result<Upload, Broken> {
    let form = Form::read(call, &CSV)?;
    let (destination, action, dateformat, format) = heading(&form)?;
    let separator = separator(form.required("fieldseparator")?)?;
    let quote = quote(form.required("quotecharacter")?)?;
    let heading = yes_or_no("firstrow", form.required("firstrow")?)?;
    let [email, when, title, note] = columns(&form)?;
    let titlecount = number("titlecount", form.required("titlecount")?)?;
    let file = form.file().ok_or(Broken::NoFile)?;

    let text = std::str::from_utf8(file).map_err(|error| format!("file: is not UTF-8: {error}"))?;
    let rows = table::read(text, separator, quote).map_err(|wrong| format!("file: {wrong}"))?;
    let width = rows.first().map_or(0, Vec::len);
    check_shape(&rows, width, [email, when, title, note])?;
    let mut upload =
        Upload { destination: destination.to_owned(), create: true, titlecount: Some(titlecount), ..Upload::default() };
    for row in rows.iter().skip(usize::from(heading)) {
        let cell = |column: Option<usize>| column.and_then(|column| row.get(column)).cloned().unwrap_or_default();
        let event = Event {
            destination: destination.to_owned(),
            customeventaction: action.to_owned(),
            email: cell(email),
            when: cell(when),
            dateformat: dateformat.to_owned(),
            title: cell(title),
            note: cell(note),
            came_by: "csv",
        };
        if is_email(&event.email) && format.fits(&event.when) && !event.title.is_empty() {
            upload.events.push(event);
        } else {
            upload.rejected += 1;
        }
    }
    if upload.events.is_empty() && upload.rejected == 0 {
        return Err("file: holds no row".into());
    }
    Ok(upload)
}

/// What both kinds begin with: destination, action, date format by name and as such.
fn heading(form: &Form) -> Result<(&str, &str, &str, DateFormat), Broken> {
    let destination = form.required("destination")?;
    let action = form.required("customeventaction")?;
    if !ACTIONS.contains(&action) {
        return Err(format!("customeventaction: {action:?} is not one of the nine actions").into());
    }
    let dateformat = form.required("dateformat")?;
    let format = DateFormat::find(dateformat)
        .ok_or_else(|| format!("dateformat: {dateformat:?} is not one of the documented formats"))?;
    Ok((destination, action, dateformat, format))
}

/// The columns of e-mail address, date, title and note; only the last may be none.
fn columns(form: &Form) -> Result<[Option<usize>; 4], Broken> {
    let required = |name| form.required(name).and_then(|value| number(name, value)).map(Some);
    let note = form.optional("notecolidx").map(|value| number("notecolidx", value)).transpose()?;
    let columns = [required("emailcolidx")?, required("datecolidx")?, required("titlecolidx")?, note];
    let named = columns.iter().flatten();
    if named.clone().collect::<BTreeSet<_>>().len() < named.count() {
        return Err("two column indexes are the same".into());
    }
    Ok(columns)
}

fn check_shape(rows: &[Vec<String>], width: usize, columns: [Option<usize>; 4]) -> Result<(), Broken> {
    if let Some(column) = columns.into_iter().flatten().find(|column| *column >= width) {
        return Err(format!("file: has no column {column}: its first row has {width}, counted from 0").into());
    }
    match rows.iter().position(|row| row.len() != width) {
        Some(row) => {
            Err(format!("file: row {} has {} columns, the first has {width}", row + 1, rows[row].len()).into())
        }
        None => Ok(()),
    }
}

fn separator(name: &str) -> Result<char, Broken> {
    match name {
        "TAB" => Ok('\t'),
        "COMMA" => Ok(','),
        "SEMICOLON" => Ok(';'),
        "SPACE" => Ok(' '),
        _ => Err(format!("fieldseparator: {name:?} is not TAB, COMMA, SEMICOLON or SPACE").into()),
    }
}

fn quote(name: &str) -> Result<Option<char>, Broken> {
    match name {
        "NONE" => Ok(None),
        "SINGLE_QUOTE" => Ok(Some('\'')),
        "DOUBLE_QUOTE" => Ok(Some('"')),
        _ => Err(format!("quotecharacter: {name:?} is not NONE, SINGLE_QUOTE or DOUBLE_QUOTE").into()),
    }
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, Broken> {
    match value {
        "Y" => Ok(true),
        "N" => Ok(false),
        _ => Err(format!("{name}: {value:?} is not Y or N").into()),
    }
}

fn number(name: &str, value: &str) -> Result<usize, Broken> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("{name}: {value:?} is not a number of 0 or more").into())
}

/// Whether it looks like an e-mail address: one `@`, a dotted domain, nothing that cannot stand in one.
fn is_email(text: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>[\\]".contains(c);
    let parts = text.split_once('@').filter(|_| text.len() <= EMAIL_BYTES && !text.contains(forbidden));
    parts.is_some_and(|(local, domain)| {
        let labels = domain.split('.');
        !local.is_empty()
            && !domain.contains('@')
            && labels.clone().count() >= 2
            && labels.into_iter().all(|label| !label.is_empty())
    })
}
