//! The admin server: metrics, health, the API and the console.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::broker::Broker;
use crate::config::{AdminToken, Config, Destination};
use crate::control;
use crate::dead_letters::operation::Registry;
use crate::fleet::Roster;
use crate::history::Recorder;
use crate::issues::Issues;
use crate::metrics::Metrics;
use crate::serving;
use crate::supervisor::{Part, Supervisor};
use crate::watch::Watch;

mod api;
mod auth;
mod bulk;
mod console;
mod dead;
mod dead_lists;
mod destinations;
mod extract;
mod find;
mod health;
mod issues;
mod letter_query;
mod operations;
mod people;
mod problem;
mod reload;
mod unrouted;
mod waiting;
mod why;
mod wrong;

use console::Console;

#[cfg(test)]
mod tests;

/// Time for open admin connections to finish when the worker stops.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// What the admin pages are made from.
#[derive(Debug)]
pub struct Admin {
    watch: Arc<Watch>,
    metrics: Metrics,
    broker: Broker,
    roster: Roster,
    operations: Registry,
    issues: Arc<Issues>,
    supervisor: Supervisor,
    tokens: RwLock<Arc<[AdminToken]>>,
    max_event_bytes: usize,
    delivery_limit: u32,
    /// How long the history is kept, and whether with subjects; none where there is none.
    history: Option<(Duration, bool)>,
    /// Where what is done here is told.
    recorder: Option<Recorder>,
    console: Console,
    people: people::FollowedPeople,
    wrong_tokens: auth::WrongTokens,
}

impl Admin {
    /// An admin over what is at work and what is watched. Where `config` has tokens, the API needs one of them.
    #[must_use]
    pub fn new(
        (broker, roster, watch): (Broker, Roster, Arc<Watch>),
        (metrics, operations, issues, recorder): (Metrics, Registry, Arc<Issues>, Option<Recorder>),
        supervisor: Supervisor,
        config: &Config,
    ) -> Arc<Self> {
        Arc::new(Self {
            watch,
            metrics,
            broker,
            roster,
            operations,
            issues,
            supervisor,
            tokens: RwLock::new(config.admin.tokens.clone().into()),
            max_event_bytes: config.broker.max_event_bytes,
            delivery_limit: config.broker.delivery_limit,
            history: config.history.as_ref().map(|history| (history.keep, history.subject)),
            recorder,
            console: Console::default(),
            people: people::FollowedPeople::default(),
            wrong_tokens: auth::WrongTokens::default(),
        })
    }

    /// Takes note of a reload: its outcome, and the tokens that count from now on. The last is never dropped, only
    /// replaced: the address that is listened on does not change at a reload, and may be off loopback.
    pub fn reloaded(&self, config: &Config, outcome: &str) {
        self.metrics.config_reloads_total.with_label_values(&[outcome]).inc();
        self.issues.reloaded(config);
        if !config.admin.tokens.is_empty() {
            *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = config.admin.tokens.clone().into();
        } else if !self.tokens().is_empty() {
            tracing::warn!(
                "the configuration has no [admin] tokens any more; those of before stay valid until the worker restarts"
            );
        }
    }

    /// Writes to the audit what was done, as soon as the broker takes it.
    pub fn record(&self, entry: audit::Entry) {
        tokio::spawn(control::record_when_possible(self.broker.clone(), entry));
    }

    /// A destination of the configuration in force.
    fn destination(&self, name: &str) -> Option<Destination> {
        self.watch.destination(name)
    }

    fn tokens(&self) -> Arc<[AdminToken]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What serves until `ending`.
pub fn server(listener: TcpListener, admin: Arc<Admin>, ending: CancellationToken) -> impl Part {
    serving::server(listener, ("admin", router(admin)), CLOSE_WITHIN, ending)
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
