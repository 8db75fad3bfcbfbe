//! Watches the broker: reads the depths of the queues, foretells when they are empty, and declares again what somebody deleted.

mod counts;
mod deleted;
mod depths;
mod forecast;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::config::{Config, Destination};
use crate::dead_letters::operation::Registry;
use crate::fleet::Roster;
use crate::metrics::Metrics;
use crate::supervisor::Part;

pub use counts::{BulkDepths, Depths};
pub(crate) use depths::age;

/// How often depths are read from the broker.
const DEPTHS_EVERY: Duration = Duration::from_secs(5);

/// The queues of the destinations at work, watched.
#[derive(Debug)]
pub struct Watch {
    metrics: Metrics,
    broker: Broker,
    roster: Roster,
    operations: Registry,
    /// As the configuration in force has them.
    destinations: RwLock<BTreeMap<String, Destination>>,
    depths: RwLock<depths::KnownDepths>,
}

impl Watch {
    /// Over what is at work; nothing is read yet.
    #[must_use]
    pub fn new(metrics: Metrics, broker: Broker, roster: Roster, operations: Registry, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            broker,
            roster,
            operations,
            destinations: RwLock::new(config.destinations.clone()),
            depths: RwLock::default(),
        })
    }

    /// Takes note of a reload.
    pub fn reloaded(&self, config: &Config) {
        *self.destinations.write().unwrap_or_else(PoisonError::into_inner) = config.destinations.clone();
    }

    /// A destination of the configuration in force.
    #[must_use]
    pub fn destination(&self, name: &str) -> Option<Destination> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The routing keys that destinations of the configuration in force subscribe to.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<String> {
        let destinations = self.destinations.read().unwrap_or_else(PoisonError::into_inner);
        destinations.values().flat_map(|destination| destination.patterns()).collect()
    }

    /// What each of those subscribes to.
    #[must_use]
    pub fn patterns(&self) -> BTreeMap<String, Vec<String>> {
        let destinations = self.destinations.read().unwrap_or_else(PoisonError::into_inner);
        destinations.iter().map(|(name, destination)| (name.clone(), destination.patterns())).collect()
    }

    /// The names of all destinations of the configuration in force.
    #[must_use]
    pub fn destinations(&self) -> Vec<String> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// What keeps depths in the metrics and in what the admin shows, until `ending`.
    pub fn part(self: &Arc<Self>, ending: CancellationToken) -> impl Part + use<> {
        let watch = Arc::clone(self);
        move || Arc::clone(&watch).run(ending.clone())
    }

    async fn run(self: Arc<Self>, ending: CancellationToken) -> Result<(), String> {
        let mut ticks = tokio::time::interval(DEPTHS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // A look in work is dropped too: a broker that does not answer would hold it up.
        let watching = async {
            loop {
                ticks.tick().await;
                self.refresh_depths().await;
            }
        };
        ending.run_until_cancelled(watching).await.unwrap_or(Ok(()))
    }
}
