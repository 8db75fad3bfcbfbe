//! `/destinations/{name}/dead/letters/{letter}`: one letter with everything.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::copy;
use super::flash::Flash;
use super::form::see_other;
use super::frame::{self, Frame};
use super::gone;
use super::letter_search::query_string;
use super::show::{Moment, count, pretty};
use crate::admin::Admin;
use crate::admin::auth;
use crate::admin::dead::{LetterPath, PATIENCE, to_its_end};
use crate::admin::extract::{Params, Segment};
use crate::admin::problem::Problem;
use crate::clock;
use crate::dead_letters::edit::Trace;
use crate::dead_letters::letter::Details;
use crate::dead_letters::{DeadLetters, Pile};
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
    /// Why it is elsewhere than the address says.
    moved: Option<&'static str>,
    as_command: String,
    as_curl: String,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(LetterPath { name, letter }): Segment<LetterPath>,
    Params(Where { pile: asked, did }): Params<Where>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (letters, _) = admin.letters(&name)?;
    let other = if asked == Pile::Dead { Pile::Trash } else { Pile::Dead };
    let mut made_from = Vec::new();
    let mut found = None;
    // A link lasts: who follows it is led to where the letter is now.
    for pile in [asked, other] {
        let trace = traced(&letters, pile, &letter).await?;
        made_from.extend(trace.made_from.into_iter().map(|letter| (pile, letter)));
        match trace.found.as_slice() {
            [] => {}
            [message] => {
                found = Some((pile, message.clone()));
                break;
            }
            several => {
                let filter = [("id", letter.as_str()), ("pile", if pile == Pile::Trash { "trash" } else { "" })];
                let said: Vec<_> = filter.into_iter().filter(|(_, value)| !value.is_empty()).collect();
                tracing::debug!(letters = several.len(), "several letters of an event: their list is shown");
                return Ok(see_other(&format!("/destinations/{name}/dead{}", query_string(&said))));
            }
        }
    }
    let Some((pile, message)) = found else { return gone::page(&admin, frame, name, letter, made_from).await };
    let details = Details::read(&message, &name);
    let id = details.letter.id.as_str();
    let moved = match (asked == pile, pile, &details.letter.edited_to) {
        (_, Pile::Trash, Some(_)) => Some("It was edited, and is the original of the edited letter"),
        (true, ..) => None,
        (false, Pile::Trash, None) => Some("It is in the trash now"),
        (false, Pile::Dead, _) => Some("It is in the trash no more: it is among the dead letters"),
    };
    let needs_token = !admin.tokens().is_empty();
    let (as_command, as_curl) =
        (copy::show(&name, id, pile), copy::curl(&site(&headers), needs_token, &name, id, pile));
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
        moved,
        as_command,
        as_curl,
        was_edited: did.current(now) == Some("edited"),
        details,
        frame,
        name,
    };
    Ok(frame::page(&shown))
}

async fn traced(letters: &DeadLetters, pile: Pile, id: &str) -> Result<Trace, Problem> {
    let (letters, id) = (letters.clone(), id.to_owned());
    to_its_end(async move { Ok(letters.trace(pile, &id, PATIENCE).await?) }).await
}

/// This site's address, as the browser has it.
fn site(headers: &HeaderMap) -> String {
    let encrypted =
        headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    let host = auth::text(headers, header::HOST).unwrap_or("localhost");
    format!("{}://{host}", if encrypted { "https" } else { "http" })
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
