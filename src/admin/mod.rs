//! What is seen from outside: metrics, health, and the API and the console over the destinations at work.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::config::{Config, Destination, Token};
use crate::dead_letters::operation::Registry;
use crate::fleet::Roster;
use crate::metrics::Metrics;

mod api;
mod auth;
mod console;
mod dead;
mod deleted;
mod depths;
mod destinations;
mod door;
mod extract;
mod health;
mod operations;
mod outlook;
mod problem;
mod which;

use console::Console;
use door::Door;

#[cfg(test)]
mod tests;

/// Time for open admin connections to finish when the worker stops.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// What the admin pages are made from.
#[derive(Debug)]
pub struct Admin {
    metrics: Metrics,
    broker: Broker,
    roster: Roster,
    operations: Registry,
    tokens: RwLock<Arc<[Token]>>,
    /// As the configuration in force has them.
    destinations: RwLock<BTreeMap<String, Destination>>,
    max_event_bytes: usize,
    depths: RwLock<depths::Known>,
    console: Console,
    strangers: auth::Strangers,
}

impl Admin {
    /// An admin over what is at work. Where `config` has tokens, the API needs one of them.
    #[must_use]
    pub fn new(metrics: Metrics, broker: Broker, roster: Roster, operations: Registry, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            broker,
            roster,
            operations,
            tokens: RwLock::new(config.admin.tokens.clone().into()),
            destinations: RwLock::new(config.destinations.clone()),
            max_event_bytes: config.broker.max_event_bytes,
            console: Console::default(),
            strangers: auth::Strangers::default(),
            depths: RwLock::default(),
        })
    }

    /// Takes note of a reload: its outcome, and the tokens that count from now on. The last is never dropped, only
    /// replaced: the address that is listened on does not change at a reload, and may be off loopback.
    pub fn reloaded(&self, config: &Config, outcome: &str) {
        self.metrics.config_reloads_total.with_label_values(&[outcome]).inc();
        *self.destinations.write().unwrap_or_else(PoisonError::into_inner) = config.destinations.clone();
        if !config.admin.tokens.is_empty() {
            *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = config.admin.tokens.clone().into();
        }
    }

    /// A destination of the configuration in force.
    fn destination(&self, name: &str) -> Option<Destination> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn tokens(&self) -> Arc<[Token]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves until `ending`.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, ending: CancellationToken) {
    let stopping = ending.clone();
    let serving = axum::serve(Door::new(listener), router(admin)).with_graceful_shutdown(stopping.cancelled_owned());
    let bounded = async {
        ending.cancelled().await;
        crate::clock::sleep(CLOSE_WITHIN).await;
    };
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the admin server failed");
        },
        () = bounded => tracing::debug!("admin connections were still open at the stop"),
    }
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(problem::wrong_method)
        .merge(api::router(&admin))
        .merge(console::router(&admin))
        .fallback(console::not_found)
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(admin)
}
