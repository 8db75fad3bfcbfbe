//! A letter's event changed by hand: the form, what changes and what would be sent, and then the change.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::flash::Flash;
use super::form::{Fields, see_other};
use super::frame::{self, Frame};
use super::show::{compact, pretty};
use crate::admin::Admin;
use crate::admin::auth::{Who, forbidden};
use crate::admin::dead::{LetterPath, PATIENCE, one, to_its_end};
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::problem::Problem;
use crate::clock;
use crate::config::Role;
use crate::dead_letters::Pile;
use crate::dead_letters::edit::{Edit, diff};
use crate::dead_letters::letter::Letter;
use crate::explain;
use crate::message::Message;

/// The largest body that is edited in a browser.
const LARGEST: usize = 1024 * 1024;

/// A line of a diff.
pub(super) struct Line {
    pub class: &'static str,
    pub text: String,
}

impl Line {
    /// The lines of a unified diff but for its head.
    pub fn all(diff: &str) -> Vec<Self> {
        let class = |line: &str| match line.as_bytes() {
            [b'@', b'@', ..] => "diff-at",
            [b'+', ..] => "diff-in",
            [b'-', ..] => "diff-out",
            _ => "diff-same",
        };
        diff.lines().skip(2).map(|line| Self { class: class(line), text: line.to_owned() }).collect()
    }
}

#[derive(Template)]
#[template(path = "edit.html")]
struct Form {
    frame: Frame,
    name: String,
    letter: Letter,
    body: String,
    rows: usize,
    /// What is wrong with what was given.
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "edited.html")]
struct Sure {
    frame: Frame,
    name: String,
    letter: Letter,
    /// As it was given.
    body: String,
    diff: Vec<Line>,
    /// The request that it would make.
    request: String,
    /// Why it would be a dead letter again.
    problem: Option<String>,
}

pub(super) async fn form(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(LetterPath { name, letter }): Segment<LetterPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    if who.role == Role::Read {
        return Err(forbidden(&who));
    }
    let (letters, _) = admin.letters(&name)?;
    let message = one(letters, Pile::Dead, letter).await?;
    let text = editable(&message)?;
    Ok(frame::page(&Form::new(frame, name, &message, pretty(text).unwrap_or_else(|| text.to_owned()), None)))
}

/// First shows what changes, then, once that is meant, does it.
pub(super) async fn submit(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(LetterPath { name, letter }): Segment<LetterPath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let (letters, destination) = admin.letters(&name)?;
    let message = one(letters.clone(), Pile::Dead, letter).await?;
    let original = editable(&message)?;
    let given = fields.get("body").unwrap_or_default();
    let body = as_it_was_written(original, given);
    let edit = Edit::new(&message, Bytes::from(body.clone()), &destination, admin.max_event_bytes, clock::wall());
    if edit.is_empty() || fields.get("back").is_some() {
        let wrong = edit.is_empty().then(|| "nothing is changed: the event is the same".to_owned());
        return Ok(frame::page(&Form::new(frame, name, &message, unix(given), wrong)));
    }
    let forced = fields.get("force").is_some();
    if fields.get("sure").is_none() || (edit.problem().is_some() && !forced) {
        return Ok(frame::page(&Sure::new(frame, name, edit, original, &body, unix(given))));
    }
    let to = edit.to.id.clone();
    to_its_end(async move { Ok(letters.replace(&edit, &who.name, PATIENCE, clock::wall()).await?) }).await?;
    Ok(see_other(&format!("/destinations/{name}/dead/letters/{to}?{}", Flash::query("edited", clock::wall()))))
}

/// The body of a letter, where a browser can edit it.
fn editable(message: &Message) -> Result<&str, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::CONFLICT, detail);
    if message.body.len() > LARGEST {
        return Err(refused("the event is larger than 1 MiB, too large for a browser; use \"sluice dead edit\""));
    }
    std::str::from_utf8(&message.body)
        .map_err(|_| refused("the event is not UTF-8 text; use \"sluice dead edit --file\" with its new bytes"))
}

/// Forms turn every line break into CR LF; and what was one line of JSON was laid out for the eye only.
fn as_it_was_written(original: &str, given: &str) -> String {
    let given = if original.contains("\r\n") { given.to_owned() } else { unix(given) };
    match (compact(original), compact(&given)) {
        (Some(before), Some(after)) if before == original => after,
        (Some(before), Some(after)) if before == after => original.to_owned(),
        _ => given,
    }
}

fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

impl Form {
    fn new(frame: Frame, name: String, message: &Message, body: String, wrong: Option<String>) -> Self {
        let rows = body.lines().count().clamp(6, 40) + 1;
        Self { frame, letter: Letter::read(message, &name), name, body, rows, wrong }
    }
}

impl Sure {
    fn new(frame: Frame, name: String, edit: Edit, original: &str, edited: &str, body: String) -> Self {
        // Laid out for the eye, it ends as a line does.
        let laid = |text: &str| pretty(text).map_or_else(|| text.to_owned(), |laid| laid + "\n");
        let difference = diff(&laid(original), &laid(edited), &edit.from.id, &edit.to.id);
        Self {
            frame,
            name,
            body,
            diff: Line::all(&difference),
            request: explain::shown(&edit.explained).trim().to_owned(),
            problem: edit.problem().map(str::to_owned),
            letter: edit.from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_kept_as_it_was_written_but_for_what_was_changed() {
        let one_line = r#"{"a":1,"b":[true]}"#;
        let laid = pretty(one_line).unwrap().replace('\n', "\r\n");
        assert_eq!(as_it_was_written(one_line, &laid), one_line);
        assert_eq!(as_it_was_written(one_line, &laid.replace('1', "2")), r#"{"a":2,"b":[true]}"#);
        let own = "{ \"a\": 1 }\n";
        assert_eq!(as_it_was_written(own, "{\r\n  \"a\": 1\r\n}"), own, "only its layout differs");
        assert_eq!(as_it_was_written(own, "{\r\n  \"a\": 2\r\n}"), "{\n  \"a\": 2\n}");
        assert_eq!(as_it_was_written("not json", "still\r\nnot"), "still\nnot");
        assert_eq!(as_it_was_written("a\r\nb", "a\r\nc"), "a\r\nc");
    }
}
