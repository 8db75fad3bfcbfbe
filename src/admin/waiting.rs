//! `/api/v1/destinations/{name}/waiting`: the events that are sent next.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Admin;
use super::auth::{Who, forbidden};
use super::dead::to_its_end;
use super::destinations::{DestinationPath, status_of};
use super::extract::{Params, Segment};
use super::problem::{BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::config::Role;
use crate::gate::GateState;
use crate::waiting::{MOST_SHOWN, Place, Waiting, WaitingList};

/// Where, and how many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitingQuery {
    /// The destination's queue, or its retry queues.
    #[param(inline)]
    #[serde(default)]
    pub place: Place,
    /// Events at most.
    #[param(minimum = 1, maximum = 50)]
    #[serde(default = "all")]
    pub limit: usize,
}

fn all() -> usize {
    MOST_SHOWN
}

/// The events that are sent next. AMQP has no look that changes nothing: each event that is shown is taken and given back at once, which the
/// broker counts as one of the returns that `delivery_limit` allows. So a token that may only read may not
#[utoipa::path(
    get, path = "/destinations/{name}/waiting", operation_id = "list_waiting", tag = "destinations", params(DestinationPath, WaitingQuery),
    responses((status = 200, description = "They are back in their queue", body = WaitingList), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(query): Params<WaitingQuery>,
) -> Result<Json<WaitingList>, Problem> {
    Ok(Json(look(&admin, &who, &name, query).await?))
}

pub(super) async fn look(
    admin: &Arc<Admin>,
    who: &Who,
    name: &str,
    WaitingQuery { place, limit }: WaitingQuery,
) -> Result<WaitingList, Problem> {
    if who.role == Role::Read {
        return Err(forbidden(who));
    }
    if !(1..=MOST_SHOWN).contains(&limit) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, format!("limit is from 1 to {MOST_SHOWN}")));
    }
    let destination = admin.known(name)?;
    if place == Place::Queue && destination.vendor.ordering_key_limit().is_some() {
        let Json(shown) = status_of(admin, name).await?;
        if shown.state != GateState::Paused.name() {
            let detail = "its events keep an order, and a look could let one overtake another: pause it first";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
    }
    let waiting = Waiting {
        broker: admin.reachable()?,
        destination: name.to_owned(),
        delays: destination.retry.delays,
        delivery_limit: admin.delivery_limit,
        max_event_bytes: admin.max_event_bytes,
    };
    to_its_end(async move { Ok(waiting.look(place, limit).await?) }).await
}
