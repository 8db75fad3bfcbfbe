//! `/api/v1/destinations/{name}/waiting`: the events that are sent next.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Admin;
use super::dead::to_its_end;
use super::destinations::DestinationPath;
use super::extract::{NoParams, OptionalBody, Params, Segment};
use super::operations::whole;
use super::problem::{BadBody, BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::waiting::{MOST_SHOWN, ORDERED, Place, Waiting, WaitingList};

/// Where to look, and how many are shown.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = WaitingLook)]
pub(super) struct WaitingRequest {
    /// The destination's queue, its retry queues, or what is scheduled.
    pub place: Place,
    /// Events at most; 50 unless given.
    #[schema(minimum = 1, maximum = 50)]
    #[serde(deserialize_with = "whole")]
    pub limit: Option<u32>,
}

/// Look at the events that are sent next
///
/// AMQP has no look that changes nothing: each event that is shown is taken and given back at once, which the broker counts as one of the
/// returns that `delivery_limit` allows, and its place among those that came back may be another. So this is a POST, and not for destinations whose
/// events keep an order.
#[utoipa::path(
    post, path = "/destinations/{name}/waiting", operation_id = "look_at_waiting", tag = "destinations", params(DestinationPath),
    request_body = Option<WaitingRequest>,
    responses((status = 200, description = "They are back in their queue", body = WaitingList), Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    OptionalBody(request): OptionalBody<WaitingRequest>,
) -> Result<Json<WaitingList>, Problem> {
    Ok(Json(look(&admin, &name, request).await?))
}

pub(super) async fn look(
    admin: &Arc<Admin>,
    name: &str,
    WaitingRequest { place, limit }: WaitingRequest,
) -> Result<WaitingList, Problem> {
    let limit = limit.map_or(MOST_SHOWN, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if !(1..=MOST_SHOWN).contains(&limit) {
        let detail = format!("limit is from 1 to {MOST_SHOWN}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let destination = admin.known(name)?;
    if place == Place::Queue && destination.vendor.ordering_key_limit().is_some() {
        return Err(Problem::new(StatusCode::CONFLICT, ORDERED));
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
