//! `/destinations/{name}/dead/letters/{letter}`: one letter with everything.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::flash::Flash;
use super::frame::{self, Frame};
use super::show::{Moment, count, pretty};
use crate::admin::Admin;
use crate::admin::dead::{LetterPath, one};
use crate::admin::extract::{Params, Segment};
use crate::admin::problem::Problem;
use crate::clock;
use crate::dead_letters::Pile;
use crate::dead_letters::letter::Details;
use crate::record::history::Attempt;

/// The most that is shown of a body.
const MOST_SHOWN: usize = 256 * 1024;

/// Where it lies, and what was just done.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    #[serde(default)]
    pile: Pile,
    #[serde(default)]
    did: Flash,
}

struct ShownAttempt {
    at: Moment,
    status: String,
    ms: String,
    verdict: String,
    excerpt: String,
}

/// A body, as far as it is shown.
struct Body {
    /// Laid out, where it is JSON.
    pretty: Option<String>,
    raw: String,
    is_text: bool,
    /// How long it is, where not all of it is shown.
    cut: Option<String>,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Page {
    frame: Frame,
    name: String,
    is_trash: bool,
    details: Details,
    reason: &'static str,
    at: Option<Moment>,
    received: Option<Moment>,
    first_attempt: Option<Moment>,
    last_attempt: Option<Moment>,
    discarded_at: Option<Moment>,
    attempts: Vec<ShownAttempt>,
    properties: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Body,
    was_edited: bool,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(LetterPath { name, letter }): Segment<LetterPath>,
    Params(Where { pile, did }): Params<Where>,
) -> Result<Response, Problem> {
    let (letters, _) = admin.letters(&name)?;
    let message = one(letters, pile, letter).await?;
    let details = Details::read(&message, &name);
    let now = clock::wall();
    let shown = Page {
        is_trash: pile == Pile::Trash,
        reason: details.letter.reason.name(),
        at: Moment::maybe(details.letter.dead_lettered_at, now),
        received: Moment::maybe(details.received, now),
        first_attempt: Moment::maybe(details.letter.first_attempt, now),
        last_attempt: Moment::maybe(details.letter.last_attempt, now),
        discarded_at: Moment::maybe(details.letter.discarded_at, now),
        attempts: details.attempts.iter().map(|attempt| ShownAttempt::of(attempt, now)).collect(),
        properties: listed(&details.properties),
        headers: listed(&details.headers),
        body: Body::of(&details),
        was_edited: did.current(now) == Some("edited"),
        details,
        frame,
        name,
    };
    Ok(frame::page(&shown))
}

fn listed(fields: &Map<String, Value>) -> Vec<(String, String)> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    fields.iter().map(|(name, value)| (name.clone(), shown(value))).collect()
}

impl ShownAttempt {
    fn of(attempt: &Attempt, now: Timestamp) -> Self {
        Self {
            at: Moment::of(attempt.at, now),
            status: attempt.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string()),
            ms: count(attempt.ms),
            verdict: attempt.verdict.clone(),
            excerpt: attempt.excerpt.clone(),
        }
    }
}

impl Body {
    fn of(details: &Details) -> Self {
        let text = details.body.as_deref().or(details.body_base64.as_deref()).unwrap_or_default();
        let shown = &text[..text.floor_char_boundary(MOST_SHOWN)];
        let is_whole = shown.len() == text.len();
        Self {
            pretty: details.body.as_deref().filter(|_| is_whole).and_then(pretty).filter(|pretty| pretty != text),
            raw: shown.to_owned(),
            is_text: details.body.is_some(),
            cut: (!is_whole).then(|| count(text.len())),
        }
    }
}
