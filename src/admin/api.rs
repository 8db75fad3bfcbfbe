//! `/api/v1/destinations`: how each is, and pause, resume and limits.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Admin, Depths};
use crate::control::{self, Order, OrderError};
use crate::destination::View;

/// One destination, with its depths at the broker.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    view: View,
    #[serde(flatten)]
    depths: Depths,
    /// Seconds until the queue is empty at the present rate; none where it is not known or never.
    drained_in_seconds: Option<f64>,
}

/// All of them.
#[derive(Serialize)]
pub(super) struct List {
    destinations: Vec<Shown>,
}

/// New limits, such as `["100/s"]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    limits: Vec<String>,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<List> {
    let mut destinations = Vec::new();
    for (_, handle) in admin.roster.all() {
        // One that stops just now is not listed.
        if let Ok(view) = handle.view().await {
            destinations.push(shown(&admin, view));
        }
    }
    Json(List { destinations })
}

pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Result<Json<Shown>, Problem> {
    let unknown = || Problem::from(OrderError::Unknown(name.clone()));
    let view = admin.roster.get(&name).ok_or_else(unknown)?.view().await.map_err(|_| unknown())?;
    Ok(Json(shown(&admin, view)))
}

pub(super) async fn pause(state: State<Arc<Admin>>, Path(destination): Path<String>) -> Result<Json<Shown>, Problem> {
    order(state, Order::Pause { destination }).await
}

pub(super) async fn resume(state: State<Arc<Admin>>, Path(destination): Path<String>) -> Result<Json<Shown>, Problem> {
    order(state, Order::Resume { destination }).await
}

pub(super) async fn limits(
    state: State<Arc<Admin>>,
    Path(destination): Path<String>,
    body: Result<Json<Limits>, JsonRejection>,
) -> Result<Json<Shown>, Problem> {
    let Json(Limits { limits }) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    order(state, Order::Limits { destination, limits }).await
}

async fn order(state: State<Arc<Admin>>, order: Order) -> Result<Json<Shown>, Problem> {
    let answer = control::obey(&state.roster, &order).await?;
    show(state, Path(answer.destination)).await
}

fn shown(admin: &Admin, view: View) -> Shown {
    let depths = admin.depths_of(&view.name);
    let rate = view.rate.filter(|rate| *rate > 0.0);
    let seconds = |ready: u32| rate.map(|rate| f64::from(ready) / rate);
    Shown { drained_in_seconds: depths.ready.and_then(seconds), view, depths }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let status = match &error {
            OrderError::Unknown(_) => StatusCode::NOT_FOUND,
            OrderError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}
