//! `/api/v1/find`: what became of an event, and where it is now.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::dead::{PATIENCE, to_its_end};
use super::extract::Query;
use super::letter_query::unreadable;
use super::problem::{BrokerAway, Conflict, Problem, Refusals};
use crate::clock;
use crate::find::{self, Bounds, Finder, Found, Search};

/// How long a request may search.
const WITHIN: Duration = Duration::from_secs(25);
/// Searches at a time: each reads the whole history.
static ROOM: Semaphore = Semaphore::const_new(2);

/// An event's id.
#[derive(Deserialize, ToSchema)]
#[schema(pattern = r"\S", example = "7f3a9c")]
#[expect(dead_code, reason = "only described")]
pub(super) struct EventId(String);

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`read`]")]
pub(super) struct IdQuery {
    /// The event's id; may be given up to 100 times.
    #[param(inline, min_items = 1, max_items = 100)]
    id: Vec<EventId>,
    /// Only events of this source.
    source: Option<String>,
    /// Only events with this subject; needs `[history] subject = true`.
    subject: Option<String>,
    /// Only what happened since: a time, or how long ago, such as `2h`.
    #[param(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$",
        example = "2h"
    )]
    since: Option<String>,
}

/// The same without an id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`read`]")]
pub(super) struct SubjectQuery {
    /// The subject of events; needs `[history] subject = true`.
    #[param(example = "order-4711")]
    subject: String,
    /// Only events of this source.
    source: Option<String>,
    /// Only what happened since: a time, or how long ago, such as `2h`.
    #[param(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$",
        example = "2h"
    )]
    since: Option<String>,
}

/// What became of an event, step by step, and where it is now
#[utoipa::path(
    get, path = "/find", operation_id = "find_events", tag = "events", params(IdQuery),
    responses(
        (status = 200, description = "What was found, which may be nothing. `notes` tell what could not be looked at, and `is_complete` whether \
                                      there is any such thing; a search ends after 25 s. Looking changes nothing", body = Found),
        Refusals, Conflict, BrokerAway
    )
)]
pub(super) async fn find(State(admin): State<Arc<Admin>>, Query(fields): Query) -> Result<Json<Found>, Problem> {
    let search = read(fields)?;
    if search.ids.is_empty() {
        let said = "say which event: give its id; /api/v1/find/subject searches by subject alone";
        return Err(unreadable(said.to_owned()).at("id"));
    }
    Ok(Json(found(&admin, search).await?))
}

/// What became of the events with a subject
#[utoipa::path(
    get, path = "/find/subject", operation_id = "find_events_by_subject", tag = "events", params(SubjectQuery),
    responses((status = 200, description = "As `find_events`", body = Found), Refusals, Conflict, BrokerAway)
)]
pub(super) async fn find_by_subject(
    State(admin): State<Arc<Admin>>,
    Query(fields): Query,
) -> Result<Json<Found>, Problem> {
    if fields.iter().any(|(name, _)| name == "id") {
        return Err(unreadable("there is no parameter \"id\" here; /api/v1/find takes it".to_owned()).at("id"));
    }
    Ok(Json(found(&admin, read(fields)?).await?))
}

/// What a query asks for.
pub(super) fn read(fields: Vec<(String, String)>) -> Result<Search, Problem> {
    let mut search = Search::default();
    for (name, text) in fields {
        let text = text.trim().to_owned();
        let once = |field: &mut Option<String>, text: String| match field.replace(text) {
            Some(_) => Err(unreadable(format!("the parameter {name:?} is given twice")).at(&name)),
            None => Ok(()),
        };
        match name.as_str() {
            "id" => search.ids.push(text),
            "source" => once(&mut search.source, text)?,
            "subject" => once(&mut search.subject, text)?,
            "since" if search.since.is_some() => {
                return Err(unreadable("the parameter \"since\" is given twice".to_owned()).at("since"));
            }
            "since" => {
                let since = find::since(&text, clock::wall());
                search.since = Some(since.map_err(|said| unreadable(format!("since: {said}")).at("since"))?);
            }
            _ => return Err(unreadable(format!("there is no parameter {name:?} here"))),
        }
    }
    match search.problem() {
        Some((field, said)) => Err(unreadable(said).at(field)),
        None => Ok(search),
    }
}

pub(super) async fn found(admin: &Admin, search: Search) -> Result<Found, Problem> {
    let finder = Finder {
        broker: admin.reachable()?,
        destinations: admin.watch.patterns(),
        history: admin.history,
        max_event_bytes: admin.max_event_bytes,
    };
    let room = tokio::time::timeout(PATIENCE, ROOM.acquire()).await;
    let Ok(Ok(room)) = room else {
        let said = "others are searching; try again when they are done";
        return Err(Problem::new(StatusCode::CONFLICT, said));
    };
    to_its_end(async move {
        let _room = room;
        Ok(finder.find(&search, Bounds { patience: PATIENCE, within: WITHIN }, &|_, _| {}).await)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Search, Problem> {
        read(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    #[test]
    fn several_ids_may_be_asked_for_and_what_is_not_understood_is_refused() {
        let search = asked("id=a&id=b%20c&source=shop&since=2h").unwrap();
        assert_eq!((search.ids.len(), search.source.as_deref(), search.subject), (2, Some("shop"), None));
        assert!(search.since.is_some());
        for text in ["", "id=", "source=shop", "id=a&source=x&source=y", "id=a&since=soon", "id=a&ids=b"] {
            assert_eq!(asked(text).unwrap_err().status(), StatusCode::BAD_REQUEST, "{text}");
        }
    }
}
