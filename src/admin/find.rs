//! `/api/v1/find`: what became of an event, and where it is now.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::IntoParams;

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

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`read`]")]
pub(super) struct FindQuery {
    /// The event's id; may be given up to 100 times.
    #[param(min_items = 1, max_items = 100)]
    id: Option<Vec<String>>,
    /// Only events of this source.
    source: Option<String>,
    /// Events with this subject; needs `[history] subject = true` where no id is given.
    subject: Option<String>,
    /// Only what happened since: a time, or how long ago, such as `2h`.
    #[param(example = "2h")]
    since: Option<String>,
}

/// What became of an event, step by step, and where it is now
#[utoipa::path(
    get, path = "/find", operation_id = "find_events", tag = "events", params(FindQuery),
    responses(
        (status = 200, description = "What was found, which may be nothing. `notes` tell what could not be looked at, and `is_complete` whether \
                                      there is any such thing; a search ends after 25 s. Looking changes nothing", body = Found),
        Refusals, Conflict, BrokerAway
    )
)]
pub(super) async fn find(State(admin): State<Arc<Admin>>, Query(fields): Query) -> Result<Json<Found>, Problem> {
    Ok(Json(found(&admin, read(fields)?).await?))
}

/// What a query asks for; a field that says nothing counts as not there.
pub(super) fn read(fields: Vec<(String, String)>) -> Result<Search, Problem> {
    let mut search = Search::default();
    for (name, text) in fields {
        let text = text.trim().to_owned();
        if text.is_empty() {
            continue;
        }
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
        destinations: admin.watch.destinations(),
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
        let search = asked("id=a&id=b%20c&source=shop&subject=&since=2h").unwrap();
        assert_eq!((search.ids.len(), search.source.as_deref(), search.subject), (2, Some("shop"), None));
        assert!(search.since.is_some());
        for text in ["", "id=", "source=shop", "id=a&source=x&source=y", "id=a&since=soon", "id=a&ids=b"] {
            assert_eq!(asked(text).unwrap_err().status(), StatusCode::BAD_REQUEST, "{text}");
        }
    }
}
