//! `/find`: what became of an event, and where it is now. The field in the frame of every page leads here.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::frame::{self, Frame};
use crate::admin::Admin;
use crate::admin::extract::Query;
use crate::admin::find::{found, read};
use crate::admin::problem::Problem;
use crate::find::{EventStory, Found, Standing, State as Stands, StoryStep, answer, said};

/// A step, ready to be shown.
struct Row {
    iso: String,
    exact: String,
    destination: Option<String>,
    step: String,
    attempt: String,
    answer: String,
    said: String,
}

struct Now {
    class: &'static str,
    sentence: String,
    /// Where its letter is.
    letter: Option<String>,
}

struct Event {
    id: String,
    kind: String,
    source: String,
    steps: Vec<Row>,
    now: Vec<Now>,
    gaps: Vec<String>,
}

struct Shown {
    events: Vec<Event>,
    nothing: bool,
    not_found: String,
    notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "find.html")]
struct Page {
    frame: Frame,
    id: String,
    source: String,
    subject: String,
    since: String,
    has_history: bool,
    wrong: Option<String>,
    wrong_field: String,
    found: Option<Shown>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Query(fields): Query,
) -> Result<Response, Problem> {
    let text = |wanted: &str| {
        let of = fields.iter().filter(|(name, _)| name == wanted).map(|(_, text)| text.trim());
        of.collect::<Vec<_>>().join(" ")
    };
    let has_history = admin.history.is_some();
    let mut page = Page {
        frame,
        id: text("id"),
        source: text("source"),
        subject: text("subject"),
        since: text("since"),
        has_history,
        wrong: None,
        wrong_field: String::new(),
        found: None,
    };
    if fields.is_empty() {
        return Ok(frame::page(&page));
    }
    // A field of a page is one line: several ids stand beside each other in it.
    let several = fields.into_iter().flat_map(|(name, text)| {
        let parts: Vec<String> = match name.as_str() {
            "id" => text.split_whitespace().map(str::to_owned).collect(),
            // A field that was left empty.
            _ if text.trim().is_empty() => Vec::new(),
            _ => vec![text],
        };
        parts.into_iter().map(move |part| (name.clone(), part))
    });
    match read(several.collect()) {
        Ok(search) => {
            page.found = Some(Shown::of(found(&admin, search).await?));
            Ok(frame::page(&page))
        }
        Err(problem) => {
            page.wrong_field = problem.field().unwrap_or_default().to_owned();
            page.wrong = Some(problem.detail().to_owned());
            Ok((StatusCode::BAD_REQUEST, frame::page(&page)).into_response())
        }
    }
}

impl Shown {
    fn of(found: Found) -> Self {
        Self {
            nothing: found.events.is_empty() || !found.not_found.is_empty(),
            events: found.events.into_iter().map(Event::of).collect(),
            not_found: found.not_found.join(", "),
            notes: found.notes,
        }
    }
}

impl Event {
    fn of(story: EventStory) -> Self {
        Self {
            steps: story.steps.iter().map(Row::of).collect(),
            now: story.now.into_iter().map(Now::of).collect(),
            id: story.id,
            kind: story.r#type,
            source: story.source,
            gaps: story.gaps,
        }
    }
}

impl Row {
    fn of(step: &StoryStep) -> Self {
        Self {
            iso: step.at.strftime("%FT%T.%3fZ").to_string(),
            exact: step.at.strftime("%F %T.%3f").to_string(),
            destination: step.destination.clone(),
            step: step.step.replace('_', " "),
            attempt: step.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
            answer: answer(step),
            said: said(step),
        }
    }
}

impl Now {
    fn of(standing: Standing) -> Self {
        let pile = if standing.state == Stands::Trash { "?pile=trash" } else { "" };
        let letter = standing.destination.zip(standing.letter);
        Self {
            class: match standing.state {
                Stands::Dead | Stands::Unrouted | Stands::Gone => "warn-text",
                Stands::Delivered
                | Stands::Trash
                | Stands::Waiting
                | Stands::Retrying
                | Stands::Accepted
                | Stands::Scheduled
                | Stands::Suppressed
                | Stands::Dropped => "",
            },
            letter: letter.map(|(name, letter)| format!("/destinations/{name}/dead/letters/{letter}{pile}")),
            sentence: standing.sentence,
        }
    }
}
