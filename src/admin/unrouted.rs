//! `/api/v1/unrouted`: events that no destination subscribed to.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::auth::Who;
use super::dead::{PATIENCE, to_its_end};
use super::extract::{JsonBody, NoParams, Params};
use super::problem::{BadBody, BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::routing;
use crate::unrouted::{Unrouted, UnroutedAct, UnroutedDone, UnroutedEvent, UnroutedGroup};

/// The queue of unrouted events, by routing key.
#[derive(Serialize, ToSchema)]
pub(super) struct UnroutedGroupList {
    /// The largest first.
    pub groups: Vec<UnroutedGroup>,
    /// How many events there are of routing keys that were too many to be told apart.
    pub others: u64,
}

/// Some of them.
#[derive(Serialize, ToSchema)]
pub(super) struct UnroutedList {
    /// How many there were when the pass began.
    pub there: u32,
    /// The oldest first; fewer than asked for where they are large (4 MiB of bodies in all).
    pub events: Vec<UnroutedEvent>,
}

/// Which, and how many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UnroutedQuery {
    /// Only those that were published with this routing key.
    pub routing_key: Option<String>,
    /// Events at most; the first.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default = "some")]
    pub limit: u16,
}

fn some() -> u16 {
    100
}

/// Which events are meant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnroutedChoice {
    /// Those that were published with one of these routing keys.
    #[serde(default)]
    pub routing_keys: Vec<String>,
    /// All of them.
    #[serde(default)]
    pub all: bool,
}

/// Unrouted events by routing key
#[utoipa::path(
    get, path = "/unrouted", operation_id = "group_unrouted", tag = "unrouted",
    responses((status = 200, description = "Looking changes nothing", body = UnroutedGroupList), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn groups(
    State(admin): State<Arc<Admin>>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<UnroutedGroupList>, Problem> {
    Ok(Json(grouped(&admin).await?))
}

pub(super) async fn grouped(admin: &Admin) -> Result<UnroutedGroupList, Problem> {
    let unrouted = admin.unrouted()?;
    let groups = to_its_end(async move { Ok(unrouted.groups(PATIENCE).await?) }).await?;
    Ok(UnroutedGroupList { groups: groups.sorted(), others: groups.others() })
}

/// Unrouted events, one by one
#[utoipa::path(
    get, path = "/unrouted/events", operation_id = "list_unrouted", tag = "unrouted", params(UnroutedQuery),
    responses((status = 200, description = "Looking changes nothing", body = UnroutedList), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<UnroutedQuery>,
) -> Result<Json<UnroutedList>, Problem> {
    Ok(Json(listed(&admin, query).await?))
}

pub(super) async fn listed(admin: &Admin, query: UnroutedQuery) -> Result<UnroutedList, Problem> {
    let UnroutedQuery { routing_key, limit } = query;
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "limit is from 1 to 1000"));
    }
    let unrouted = admin.unrouted()?;
    let keys = routing_key.into_iter().collect();
    let read = async move { Ok(unrouted.list(&keys, limit.into(), PATIENCE).await?) };
    let (there, events) = to_its_end(read).await?;
    Ok(UnroutedList { there, events })
}

/// Publish unrouted events again, to whoever subscribes now
#[utoipa::path(
    post, path = "/unrouted/publish", operation_id = "publish_unrouted", tag = "unrouted", request_body = UnroutedChoice,
    responses((status = 200, description = "What became of them; those without a subscriber stay", body = UnroutedDone),
        Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn publish(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(choice): JsonBody<UnroutedChoice>,
) -> Result<Json<UnroutedDone>, Problem> {
    Ok(Json(act(&admin, &who, UnroutedAct::Publish, choice).await?))
}

/// Delete unrouted events for good
#[utoipa::path(
    post, path = "/unrouted/discard", operation_id = "discard_unrouted", tag = "unrouted", request_body = UnroutedChoice,
    responses((status = 200, description = "How many are gone", body = UnroutedDone), Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn discard(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(choice): JsonBody<UnroutedChoice>,
) -> Result<Json<UnroutedDone>, Problem> {
    Ok(Json(act(&admin, &who, UnroutedAct::Discard, choice).await?))
}

pub(super) async fn act(
    admin: &Admin,
    who: &Who,
    act: UnroutedAct,
    choice: UnroutedChoice,
) -> Result<UnroutedDone, Problem> {
    if choice.routing_keys.is_empty() != choice.all {
        let detail = "say which events: give `routing_keys`, or \"all\": true without any";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let (unrouted, who, patterns) = (admin.unrouted()?, who.clone(), admin.watch.subscriptions());
    let keys: BTreeSet<String> = choice.routing_keys.into_iter().collect();
    let acted = async move {
        let by = (who.name.as_str(), who.place);
        let subscribes = |key: &str| routing::subscribes(&patterns, key);
        Ok(unrouted.act(act, &keys, by, PATIENCE, subscribes).await?)
    };
    to_its_end(acted).await
}

impl Admin {
    fn unrouted(&self) -> Result<Unrouted, Problem> {
        Ok(Unrouted {
            broker: self.reachable()?,
            max_event_bytes: self.max_event_bytes,
            history: self.recorder.clone(),
        })
    }
}
