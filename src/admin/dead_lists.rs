//! `/api/v1/destinations/{name}/dead` and `/api/v1/dead/groups`: letters looked at, by cause and one by one, and checked.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::dead::{PATIENCE, PileQuery, look, to_its_end};
use super::destinations::DestinationPath;
use super::extract::{Query, Segment};
use super::letter_query::{LetterQuery, PageSize, unreadable};
use super::problem::{BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::dead_letters::Pile;
use crate::dead_letters::everywhere::{self, EverywhereError, GroupsOfAll};
use crate::dead_letters::filter::Filter;
use crate::dead_letters::groups::{Group, Groups};
use crate::dead_letters::letter::Letter;
use crate::dead_letters::look::{LookStep, Visit, no_progress};
use crate::dead_letters::page::{Cursor, Page, Window};
use crate::dead_letters::recheck::{Recheck, RecheckBound, Rechecked};

/// Letters that are checked unless asked for otherwise, and at most.
const CHECKED: usize = 1000;
const MOST_CHECKED: usize = 100_000;
/// How long the checks may take.
const CHECKED_WITHIN: Duration = Duration::from_secs(10);

/// Where a page begins.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`list`]")]
pub(super) struct CursorQuery {
    /// `next` of an earlier answer: the letters behind those.
    #[param(pattern = "^(-?[1-9][0-9]{0,18})?_[0-9a-f]{16}$")]
    cursor: Option<String>,
}

/// How many letters to check.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`LetterQuery::number`]")]
pub(super) struct CheckSize {
    /// Letters that are checked at most, the first; 1000 unless given. The others are counted.
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<u32>,
}

/// Whose letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`of_all`]")]
pub(super) struct OfDestination {
    /// One destination's only.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "px-prod")]
    destination: Option<String>,
}

/// Letters one by one.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub(super) struct LetterList {
    /// How many there were when the pass began: these and no others were looked at.
    there: u32,
    /// How many of them the filter means.
    matched: u64,
    /// How many are shown.
    shown: u64,
    /// What the filter could not do, where it failed on letters, and what the broker lost.
    #[schema(required)]
    trouble: Option<String>,
    /// Those that died first come first, whatever their order in the queue.
    letters: Vec<Letter>,
    /// For `cursor`, where there are more. Whoever follows it to its end is given each letter once that was there from the first answer to
    /// the last, whoever acts on others meanwhile. What dies meanwhile comes at the end; a letter that is edited meanwhile has a new id,
    /// and may be missed.
    #[schema(required)]
    next: Option<String>,
}

/// Letters of one cause together.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterGroups)]
pub(super) struct Grouped {
    /// How many letters there were when the pass began.
    there: u32,
    /// How many of them the filter meant.
    matched: u64,
    /// What the filter could not do, where it failed on letters, and what the broker lost.
    #[schema(required)]
    trouble: Option<String>,
    /// The largest first.
    groups: Vec<Group>,
}

/// Dead letters, one by one
#[utoipa::path(
    get, path = "/destinations/{name}/dead", operation_id = "list_dead_letters", tag = "dead letters",
    params(DestinationPath, Filter, PileQuery, PageSize, CursorQuery),
    responses((status = 200, description = "Looking changes nothing", body = LetterList), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Query(fields): Query,
) -> Result<Json<LetterList>, Problem> {
    let which = LetterQuery::once(fields, &["limit", "cursor"])?;
    let limit = which.number("limit", 100, 1000)?;
    let cursor = which.also("cursor").map(str::parse::<Cursor>).transpose();
    let cursor = cursor.map_err(|error| unreadable(format!("cursor: {error}")))?;
    let (letters, _) = admin.letters(&name)?;
    let (pile, matcher) = (which.pile, which.matcher()?);
    let (seen, page) = to_its_end(async move {
        let mut page = Page::new(cursor.map_or(Window::First, Window::After), limit);
        let seen = look(&letters, pile, &matcher, |shown| {
            match shown {
                LookStep::Anew => page.anew(),
                LookStep::Letter(letter, _) => page.add(letter),
            }
            ControlFlow::Continue(())
        });
        let seen = seen.await?;
        Ok((seen, page.finish()))
    })
    .await?;
    Ok(Json(LetterList {
        there: seen.there,
        matched: page.matched,
        shown: u64::try_from(page.letters.len()).unwrap_or(u64::MAX),
        trouble: seen.trouble,
        letters: page.letters,
        next: page.next.map(|next| next.to_string()),
    }))
}

/// Dead letters by cause
#[utoipa::path(
    get, path = "/destinations/{name}/dead/groups", operation_id = "group_dead_letters", tag = "dead letters", params(DestinationPath, Filter, PileQuery),
    responses((status = 200, description = "In one pass", body = Grouped), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn groups(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Query(fields): Query,
) -> Result<Json<Grouped>, Problem> {
    let which = LetterQuery::once(fields, &[])?;
    let (letters, _) = admin.letters(&name)?;
    let (pile, matcher) = (which.pile, which.matcher()?);
    let (seen, groups) = to_its_end(async move {
        let mut groups = Groups::default();
        let seen = look(&letters, pile, &matcher, |shown| {
            match shown {
                LookStep::Anew => groups = Groups::default(),
                LookStep::Letter(letter, _) => groups.add(letter),
            }
            ControlFlow::Continue(())
        });
        let seen = seen.await?;
        Ok((seen, groups.finish()))
    })
    .await?;
    Ok(Json(Grouped { there: seen.there, matched: seen.matched, trouble: seen.trouble, groups }))
}

/// Dead letters by cause, of all destinations
#[utoipa::path(
    get, path = "/dead/groups", operation_id = "group_all_dead_letters", tag = "dead letters", params(Filter, PileQuery, OfDestination),
    responses((status = 200, description = "One pass over each destination that has some", body = GroupsOfAll), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn of_all(
    State(admin): State<Arc<Admin>>,
    Query(fields): Query,
) -> Result<Json<GroupsOfAll>, Problem> {
    let which = LetterQuery::once(fields, &["destination"])?;
    which.matcher()?;
    let destinations = match which.also("destination") {
        Some(name) => vec![admin.known(name)?.name],
        None => admin.watch.destinations(),
    };
    let broker = admin.reachable()?;
    let found = to_its_end(async move {
        Ok(everywhere::groups(&broker, &destinations, which.pile, &which.filter, PATIENCE).await?)
    });
    Ok(Json(found.await?))
}

/// Whether dead letters would pass now
///
/// Each is decoded, mapped and checked by the configuration that is in force at the worker that answers. Nothing is sent and nothing moves.
#[utoipa::path(
    get, path = "/destinations/{name}/dead/check", operation_id = "check_dead_letters", tag = "dead letters",
    params(DestinationPath, Filter, CheckSize),
    responses((status = 200, description = "In one pass; the checks take at most 10 s", body = Rechecked), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn check(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Query(fields): Query,
) -> Result<Json<Rechecked>, Problem> {
    if fields.iter().any(|(field, _)| field == "pile") {
        return Err(unreadable(
            "there is no parameter \"pile\" here: what is in the trash is restored first".to_owned(),
        ));
    }
    let which = LetterQuery::once(fields, &["limit"])?;
    let limit = which.number("limit", CHECKED, MOST_CHECKED)?;
    let (letters, destination) = admin.letters(&name)?;
    let matcher = which.matcher()?;
    let bound = RecheckBound { letters: u64::try_from(limit).unwrap_or(u64::MAX), time: CHECKED_WITHIN };
    let mut recheck = Recheck::new(destination, admin.max_event_bytes, bound);
    let found = to_its_end(async move {
        let seen = letters.look_and_ask(Pile::Dead, &matcher, PATIENCE, &no_progress, |shown| {
            match shown {
                LookStep::Anew => recheck.anew(),
                LookStep::Letter(letter, message) => return recheck.add(letter, message).into(),
            }
            Visit::On
        });
        seen.await?;
        Ok(recheck.finish())
    });
    Ok(Json(found.await?))
}

impl From<EverywhereError> for Problem {
    fn from(error: EverywhereError) -> Self {
        match error {
            EverywhereError::Filter(error) => Self::new(StatusCode::BAD_REQUEST, error.to_string()),
            EverywhereError::Broker(error) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}
