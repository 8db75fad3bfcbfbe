//! A letter's event changed by hand: the form, what changes and what would be sent, and then the change.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::flash::Flash;
use super::form::{Fields, Wrong, see_other};
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
use crate::dead_letters::edit::Edit;
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
    /// The letter's id.
    id: String,
    /// Why it is dead, where the letter could be read.
    why: Option<(&'static str, String)>,
    body: String,
    rows: usize,
    /// What is wrong with what was given.
    wrong: Wrong,
    /// What is wrong with other things.
    wrong_at_all: Option<String>,
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
    /// What is wrong with the answer.
    wrong: Wrong,
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
    let message = match one(letters, Pile::Dead, letter.clone()).await {
        // Its page says what became of it.
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
            let letter = utf8_percent_encode(&letter, NON_ALPHANUMERIC);
            return Ok(see_other(&format!("/destinations/{name}/dead/letters/{letter}")));
        }
        found => found?,
    };
    let text = editable(&message)?;
    let body = pretty(text).unwrap_or_else(|| text.to_owned());
    let letter = Letter::read(&message, &name);
    Ok(Form::new(frame, name, letter.id.clone(), Some(&letter), body).answer(Wrong::default()))
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
    admin.known(&name)?;
    match submitted(&admin, frame.clone(), who, (&name, &letter), &fields).await {
        // What was typed is never lost, whatever came between.
        Err(problem) => {
            let body = unix(fields.get("body").unwrap_or_default());
            Ok(Form::new(frame, name, letter, None, body).answer(problem.into()))
        }
        answer => answer,
    }
}

async fn submitted(
    admin: &Admin,
    frame: Frame,
    who: Who,
    (name, id): (&str, &str),
    fields: &Fields,
) -> Result<Response, Problem> {
    let (letters, destination) = admin.letters(name)?;
    let message = one(letters.clone(), Pile::Dead, id.to_owned()).await?;
    let original = editable(&message)?;
    let given = fields.get("body").unwrap_or_default();
    let body = as_it_was_written(original, given);
    let edit =
        Edit::beside(&message, Bytes::from(body.clone()), &destination, admin.max_event_bytes, clock::wall()).await?;
    let (is_back, is_sure) = (fields.get("back").is_some(), fields.get("sure").is_some());
    if edit.is_empty() || is_back {
        let form = Form::new(frame, name.to_owned(), edit.from.id.clone(), Some(&edit.from), unix(given));
        let unchanged = || wrong("body", "nothing is changed: the event is the same");
        return Ok(form.answer(if is_back { Wrong::default() } else { unchanged() }));
    }
    let lacks_force = edit.problem().is_some() && fields.get("force").is_none();
    if !is_sure || lacks_force {
        let told = || wrong("force", "say that you mean it: as it is, it would be a dead letter again");
        let wrong = if is_sure { told() } else { Wrong::default() };
        let status = wrong.status();
        let page = Sure::new(frame, name.to_owned(), edit, unix(given), wrong);
        return Ok((status, frame::page(&page)).into_response());
    }
    let to = edit.to.id.clone();
    to_its_end(async move { Ok(letters.replace(&edit, &who.name, PATIENCE, clock::wall()).await?) }).await?;
    Ok(see_other(&format!("/destinations/{name}/dead/letters/{to}?{}", Flash::query("edited", clock::wall()))))
}

fn wrong(field: &str, said: &str) -> Wrong {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, said).at(field).into()
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
    fn new(frame: Frame, name: String, id: String, letter: Option<&Letter>, body: String) -> Self {
        let rows = body.lines().count().clamp(6, 40) + 1;
        let why = letter.map(|letter| (letter.reason.name(), letter.sentence.clone()));
        Self { frame, name, id, why, body, rows, wrong: Wrong::default(), wrong_at_all: None }
    }

    fn answer(self, wrong: Wrong) -> Response {
        let (status, wrong_at_all) = (wrong.status(), wrong.beyond(&["body"]).map(str::to_owned));
        (status, frame::page(&Self { wrong, wrong_at_all, ..self })).into_response()
    }
}

impl Sure {
    fn new(frame: Frame, name: String, edit: Edit, body: String, wrong: Wrong) -> Self {
        Self {
            frame,
            name,
            body,
            wrong,
            diff: Line::all(&edit.diff),
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
