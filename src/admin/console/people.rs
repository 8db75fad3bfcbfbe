//! `/people`: whether a person is suppressed, suppressed and written to again, erased. A person's key travels in forms alone, never in an address.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::form::{Fields, Wrong};
use super::frame::{self, Frame};
use super::show::{Moment, count, of};
use crate::admin::Admin;
use crate::admin::auth::Who;
use crate::admin::extract::{NoParams, Params};
use crate::admin::people::{self, EraseWish, NamedPeople};
use crate::admin::problem::Problem;
use crate::clock;
use crate::people::erase::Erased;
use crate::people::{NOT_SET, PersonKnown};
use crate::suppression::Act;

/// Those who are shown that were suppressed last.
const SHOWN: u16 = 20;

struct Row {
    digest: String,
    since: Option<Moment>,
    by: String,
    note: String,
}

#[derive(Default)]
struct Given {
    person: String,
    note: String,
    wrong: Wrong,
}

/// What is there of somebody, or was.
struct Found {
    /// As `12 messages`.
    messages: String,
    is_erased: bool,
    anywhere: bool,
    erased: Erased,
}

#[derive(Template)]
#[template(path = "people.html")]
struct Page {
    frame: Frame,
    /// Whether anybody can be suppressed here.
    is_set: bool,
    not_set: &'static str,
    given: Given,
    /// What is wrong beside the field.
    wrong: Option<String>,
    done: Option<String>,
    found: Option<Found>,
    rows: Vec<Row>,
    total: String,
    trouble: Option<String>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    shown(&admin, frame, Given::default(), None, None).await
}

pub(super) async fn submit(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let text = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let (person, note) = (text("person"), text("note"));
    let given = |wrong| Given { person: person.clone(), note: note.clone(), wrong };
    let done = match fields.get("act").unwrap_or_default() {
        "check" => people::known(&admin, std::slice::from_ref(&person)).await.map(|known| (said(&known), None)),
        "suppress" => change(&admin, who, Act::Add, &person, &note).await,
        "unsuppress" => change(&admin, who, Act::Remove, &person, &note).await,
        act @ ("count" | "erase") => erase(&admin, who, &fields, &person, act == "count").await,
        other => {
            let detail = format!("act is {other:?}; it is check, suppress, unsuppress, count or erase");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    };
    match done {
        Ok((done, found)) => shown(&admin, frame, given(Wrong::default()), done, found).await,
        Err(problem) if problem.is_of_a_form() => {
            let status = problem.status();
            let page = shown(&admin, frame, given(problem.into()), None, None).await?;
            Ok((status, page).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// What is said of what was done, and what was found.
type Done = (Option<String>, Option<Found>);

async fn change(admin: &Admin, who: Who, act: Act, person: &str, note: &str) -> Result<Done, Problem> {
    let named = NamedPeople { people: vec![person.to_owned()], note: note.to_owned() };
    let changed = people::change(admin, who, act, named).await?;
    let said = match (act, changed.changed) {
        (Act::Add, 0) => "They were suppressed before.",
        (Act::Add, _) => "They are suppressed: within a second nothing is sent about them any more.",
        (Act::Remove | Act::Clear, 0) => "They were not suppressed.",
        (Act::Remove | Act::Clear, _) => "They are not suppressed any more: what comes from now on is sent.",
    };
    Ok((Some(said.to_owned()), None))
}

async fn erase(admin: &Admin, who: Who, fields: &Fields, person: &str, dry_run: bool) -> Result<Done, Problem> {
    let is_on = |name: &str| fields.get(name).is_some();
    let (suppress, anywhere) = (is_on("suppress"), is_on("anywhere"));
    let wish = EraseWish { person: person.to_owned(), suppress, anywhere, dry_run };
    let erased = people::erased(admin, who, wish).await?;
    let messages = of(erased.found, "message", "messages");
    let done = (!dry_run).then(|| format!("{messages} deleted."));
    Ok((done, Some(Found { messages, is_erased: !dry_run, anywhere, erased })))
}

fn said(known: &[PersonKnown]) -> Option<String> {
    let PersonKnown { digest, since, by, note, .. } = known.first()?;
    Some(match since {
        None => format!("Not suppressed ({digest})."),
        Some(since) => {
            let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            let by = by.as_deref().unwrap_or("somebody");
            format!("Suppressed since {} by {by}{note} ({digest}).", since.strftime("%F %T UTC"))
        }
    })
}

async fn shown(
    admin: &Admin,
    frame: Frame,
    given: Given,
    done: Option<String>,
    found: Option<Found>,
) -> Result<Response, Problem> {
    let now = clock::wall();
    let (is_set, list) = match people::listed(admin, SHOWN).await {
        Ok(list) => (true, Some(list)),
        Err(problem) if problem.status() == StatusCode::CONFLICT => (false, None),
        Err(problem) => return Err(problem),
    };
    let all = list.as_ref().map_or(0, |list| list.count);
    let trouble = list.as_ref().and_then(|list| list.trouble.clone());
    let rows = list.into_iter().flat_map(|list| list.people).map(|one| Row {
        digest: one.digest.to_string(),
        since: Moment::maybe(one.since, now),
        by: one.by.unwrap_or_default(),
        note: one.note.unwrap_or_default(),
    });
    let (rows, total) = (rows.collect(), count(u64::try_from(all).unwrap_or(u64::MAX)));
    let wrong = given.wrong.beyond(&["person"]).map(str::to_owned);
    Ok(frame::page(&Page { frame, is_set, not_set: NOT_SET, given, wrong, done, found, rows, total, trouble }))
}
