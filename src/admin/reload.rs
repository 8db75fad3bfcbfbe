//! `/api/v1/reload`: the workers read their configuration files again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use super::auth::Who;
use super::dead::to_its_end;
use super::extract::{NoParams, OptionalBody, Params};
use super::problem::{BadBody, BrokerAway, Problem, Refusals, Unknown};
use crate::control::reload::{self, ReloadError, Reloaded};

/// Which worker. Left out, all.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Reload)]
pub(super) struct ReloadWish {
    /// The worker: its host and process.
    #[schema(example = "sluice-1/4711")]
    pub worker: Option<String>,
}

/// What became of a reload.
#[derive(Serialize, ToSchema)]
#[schema(as = Reloads)]
pub(super) struct ReloadedWorkers {
    /// One for each worker, in the order of their names. A worker whose file is refused goes on as before.
    pub workers: Vec<Reloaded>,
}

/// Read the configuration files again
#[utoipa::path(
    post, path = "/reload", operation_id = "reload", tag = "workers", request_body = Option<ReloadWish>,
    responses((status = 200, description = "What each worker made of its file: see `outcome`", body = ReloadedWorkers),
        Refusals, Unknown, BadBody, BrokerAway)
)]
pub(super) async fn reload(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    OptionalBody(wish): OptionalBody<ReloadWish>,
) -> Result<Json<ReloadedWorkers>, Problem> {
    Ok(Json(ReloadedWorkers { workers: everywhere(&admin, who, wish.worker).await? }))
}

/// Has one worker reload, or all.
pub(super) async fn everywhere(admin: &Admin, who: Who, worker: Option<String>) -> Result<Vec<Reloaded>, Problem> {
    let broker = admin.reachable()?;
    tracing::info!(who = who.name, place = who.place, act = "reload", worker, "asked for");
    // It goes on when who asked for it goes away.
    to_its_end(async move {
        let gather = |body, within| async move { broker.gather(body, within, &reload::patience).await };
        Ok(reload::everywhere(gather, worker.as_deref(), (&who.name, who.place)).await?)
    })
    .await
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        let status = match &error {
            ReloadError::Unknown { .. } => StatusCode::NOT_FOUND,
            ReloadError::Control(_) | ReloadError::Nobody => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}
