//! The destinations at work in this worker: started, stopped, and changed to a new configuration.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, DestinationQueues};
use crate::config::{self, Config, Declare};
use crate::delivery::http::{HttpTransport, SetupError};
use crate::destination::{self, Handle, Handover, Parts};
use crate::metrics::Metrics;
use crate::receipts::Receipts;

/// Time for a changed destination to bind its new patterns before the old ones are unbound.
const BIND_WITHIN_SECONDS: u32 = 30;

/// A destination cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("destination {destination}: {cause}")]
pub struct StartError {
    destination: String,
    cause: SetupError,
}

/// Who is at work, by name. Cheap to clone; always current.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    handles: Arc<RwLock<BTreeMap<String, Handle>>>,
}

impl Roster {
    /// The destination of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Handle> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, in name order.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Handle)> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.iter().map(|(name, handle)| (name.clone(), handle.clone())).collect()
    }

    pub(crate) fn set(&self, name: &str, handle: Option<Handle>) {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        match handle {
            Some(handle) => handles.insert(name.to_owned(), handle),
            None => handles.remove(name),
        };
    }
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Handover>,
}

/// The destinations at work and the configuration that they follow.
#[derive(Debug)]
pub struct Fleet {
    broker: Broker,
    metrics: Metrics,
    receipts: Option<Receipts>,
    config: Config,
    /// Cancelled when the whole worker stops.
    ending: CancellationToken,
    running: BTreeMap<String, Running>,
    roster: Roster,
}

impl Fleet {
    /// A fleet that will follow `config` and tell of outcomes by `receipts`; nothing runs yet. `ending` is cancelled when the whole worker stops.
    #[must_use]
    pub fn new(
        broker: Broker,
        metrics: Metrics,
        receipts: Option<Receipts>,
        config: Config,
        ending: CancellationToken,
    ) -> Self {
        Self { broker, metrics, receipts, config, ending, running: BTreeMap::new(), roster: Roster::default() }
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who is at work.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Starts every destination of the configuration.
    ///
    /// # Errors
    /// [`StartError`] for the first that cannot be set up.
    pub fn start_all(&mut self) -> Result<(), StartError> {
        let destinations: Vec<config::Destination> = self.config.destinations.values().cloned().collect();
        destinations.into_iter().try_for_each(|destination| self.start(destination, Handover::default()))
    }

    /// Stops every destination: what is in flight is finished, within [`destination::STOP_WITHIN`].
    pub async fn stop_all(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        self.stop(&names).await;
    }

    /// Follows a new configuration: removed destinations stop, changed ones stop and start anew with what their gate has
    /// learned, added ones start, the others do not notice.
    ///
    /// # Errors
    /// [`StartError`] for a destination that cannot be set up; the others follow the new configuration.
    pub async fn change_to(&mut self, new: Config) -> Result<(), StartError> {
        let changes = self.config.changes(&new);
        for section in &changes.restart_needed {
            tracing::warn!(section, "a change of this section takes effect at the next start only");
        }
        for name in &changes.removed {
            tracing::warn!(
                destination = name,
                "removed: its queue and bindings stay at the broker and go on filling; delete them there when no one needs them"
            );
        }
        let old = std::mem::replace(&mut self.config, new);
        self.config.broker = old.broker;
        let mut result = Ok(());
        for name in &changes.added {
            result = result.and(self.restart(name, Handover::default()));
        }
        // Each goes on as soon as it has stopped: one that waits for a slow vendor must not hold up the others.
        let mut stopped = self.stopping(&[&changes.removed[..], &changes.changed].concat());
        while let Some((name, before)) = stopped.next().await {
            if changes.removed.contains(&name) {
                self.metrics.forget(&name);
                continue;
            }
            result = result.and(self.restart(&name, before));
            if let (Some(old), Some(new)) = (old.destinations.get(&name), self.config.destinations.get(&name)) {
                let dropped = old.subscribe.iter().filter(|pattern| !new.subscribe.contains(pattern));
                self.unbind_later(&name, dropped.cloned().collect());
            }
        }
        tracing::info!(added = ?changes.added, removed = ?changes.removed, changed = ?changes.changed, "the new configuration is in force");
        result
    }

    /// Starts a destination as the present configuration has it.
    fn restart(&mut self, name: &str, before: Handover) -> Result<(), StartError> {
        match self.config.destinations.get(name).cloned() {
            Some(destination) => self.start(destination, before),
            None => Ok(()),
        }
    }

    /// Starts destinations that should be at work and are not: their task ended although nobody stopped it, or they could
    /// not be set up before. A bug must not silence an account.
    ///
    /// # Errors
    /// [`StartError`] for one that cannot be set up; it is tried again at the next call.
    pub async fn revive(&mut self) -> Result<(), StartError> {
        let at_work = |name: &String| self.running.get(name).is_some_and(|running| !running.task.is_finished());
        let missing: Vec<String> = self.config.destinations.keys().filter(|name| !at_work(name)).cloned().collect();
        let handovers = self.stop(&missing).await;
        let mut result = Ok(());
        for name in missing {
            tracing::error!(destination = name, "was not at work and starts again");
            result = result.and(self.restart(&name, handovers.get(&name).cloned().unwrap_or_default()));
        }
        result
    }

    /// Unbinds patterns once the new ones are bound, so that no event finds neither.
    fn unbind_later(&self, name: &str, dropped: Vec<String>) {
        let Some(handle) = self.roster.get(name).filter(|_| !dropped.is_empty()) else { return };
        if self.config.broker.declare != Declare::Create {
            tracing::warn!(destination = name, patterns = ?dropped, "declare is not \"create\": change its bindings at the broker by hand");
            return;
        }
        let (broker, name, ending) = (self.broker.clone(), name.to_owned(), self.ending.clone());
        tokio::spawn(async move {
            // Bound before it consumes; a paused one, which never consumes, was given time enough.
            for _ in 0..BIND_WITHIN_SECONDS {
                let consuming = handle.view().await.is_ok_and(|view| view.consuming);
                if consuming || ending.is_cancelled() {
                    break;
                }
                crate::clock::sleep(Duration::from_secs(1)).await;
            }
            if let Err(error) = broker.unbind(&name, &dropped).await {
                tracing::warn!(destination = name, patterns = ?dropped, %error, "could not be unbound; unbind them at the broker by hand");
            }
        });
    }

    fn start(&mut self, settings: config::Destination, before: Handover) -> Result<(), StartError> {
        let name = settings.name.clone();
        let transport = HttpTransport::new(settings.timeout, settings.proxy.as_ref(), settings.http1_only)
            .map_err(|cause| StartError { destination: name.clone(), cause })?;
        let (handle, commands) = Handle::new();
        let stop = CancellationToken::new();
        let parts = Parts {
            names: self.broker.names().clone(),
            max_event_bytes: self.config.broker.max_event_bytes,
            delivery_limit: self.config.broker.delivery_limit,
            inbox: self.broker.open(DestinationQueues {
                name: name.clone(),
                subscribe: settings.subscribe.clone(),
                retry_delays: settings.retry.delays.clone(),
            }),
            publisher: self.broker.publisher(),
            transport: Arc::new(transport),
            metrics: self.metrics.destination(&name),
            receipts: self.receipts.clone(),
            commands,
            stop: stop.clone(),
            ending: self.ending.clone(),
            settings,
        };
        let task = tokio::spawn(destination::drive(parts, before));
        self.roster.set(&name, Some(handle));
        self.running.insert(name, Running { stop, task });
        Ok(())
    }

    async fn stop(&mut self, names: &[String]) -> BTreeMap<String, Handover> {
        self.stopping(names).collect().await
    }

    /// Stops destinations: each comes out with what its successor has to know, once it has stopped.
    fn stopping(&mut self, names: &[String]) -> FuturesUnordered<impl Future<Output = (String, Handover)> + use<>> {
        let stopping = FuturesUnordered::new();
        for (name, running) in names.iter().filter_map(|name| Some((name.clone(), self.running.remove(name)?))) {
            self.roster.set(&name, None);
            running.stop.cancel();
            stopping.push(async move {
                let handover = running.task.await.unwrap_or_else(|error| {
                    tracing::error!(destination = name, %error, "the destination's task failed; this is a bug in Sluice");
                    Handover::default()
                });
                (name, handover)
            });
        }
        stopping
    }
}
