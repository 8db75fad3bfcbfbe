//! `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Admin;
use super::problem::Problem;
use crate::clock;
use crate::destination::View;
use crate::log;

/// Every metric, in Prometheus's text format.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    admin.metrics.show_broker(&admin.broker.status().borrow());
    admin.metrics.show_log(log::dropped());
    admin.watch.show_waiting().await;
    match admin.metrics.text(&admin.roster.peers().shows(clock::now())) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Liveness: the process answers; restart it when this fails.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the worker can do its work now, and what it lacks.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    lacking: Vec<String>,
    /// What waits although the worker is ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<String>,
}

/// 200 when the broker is there, every part of the worker works, and every destination consumes or has no need to; else 503.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let status = admin.broker.status().borrow().clone();
    let (mut lacking, mut waiting) = (status.lacking(), Vec::from_iter(status.waiting()));
    // While the broker is away it need not be said of each destination.
    let is_away = !lacking.is_empty();
    lacking.extend(admin.supervisor.lacking());
    for (name, handle) in admin.roster.all() {
        let view = handle.view().await;
        if let Some(copies) = view.as_ref().map(|view| view.copies_waiting).ok().filter(|copies| *copies > 0) {
            waiting.push(format!("destination {name}: {copies} retries or dead letters that the broker does not take"));
        }
        match view {
            Ok(view) if view.copies_full => {
                lacking.push(format!("destination {name}: takes no more events until the broker takes those copies"));
            }
            Ok(view) if view.ready => {}
            Ok(View { machine: Some(lack), .. }) => lacking.push(format!("destination {name}: {lack}")),
            Ok(View { hindered: Some(hindrance), .. }) => {
                lacking.push(format!("destination {name}: {}", hindrance.sentence()));
            }
            Ok(_) if is_away => {}
            Ok(View { drives: false, driver: None, why, .. }) => lacking.push(format!("destination {name}: {why}")),
            Ok(_) => lacking.push(format!("destination {name}: no consumer at the broker")),
            Err(gone) => lacking.push(format!("destination {name}: {gone}")),
        }
    }
    let status = if lacking.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: lacking.is_empty(), lacking, waiting })).into_response()
}
