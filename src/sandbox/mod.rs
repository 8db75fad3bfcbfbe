//! The vendors' APIs as documented, played on this machine with their checks, limits and faults:
//! requests come in over HTTP, and what the vendor would answer goes out.
//! It is the other side: it must never share code with the vendors or the gate that it is there to try.
//!
//! A request is read whole by `server`, meets the `fault`s, is answered by its vendor's folder, which asks its
//! `limit`s and the tokens it gave (`oauth`), is written to the `ledger`, and its answer waits for its `latency`. `control` serves the sandbox's own paths
//! under `/sandbox`.

mod act_on;
mod announce;
mod api;
mod apsis_one;
mod control;
mod fault;
mod gainsight_px;
mod hook;
mod latency;
mod ledger;
mod limit;
mod oauth;
mod server;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use act_on::ActOnSettings;
pub use announce::{QuotaHeaders, RetryAfterForm};
pub use api::Revoked;
pub use apsis_one::{ApsisEventType, ApsisSettings, ApsisVersion, EventTypeError, FieldType};
pub use fault::{FaultKind, FaultRule, RetryAfter, RuleError};
pub use gainsight_px::{PxKey, PxSettings};
pub use hook::{HookClient, HookSettings};
pub use latency::{Latency, LatencyError, LatencyOf};
pub use ledger::EndpointStats;
pub use limit::{Enforcement, Limit, LimitError};

use act_on::ActOn;
use api::Api;
use apsis_one::ApsisOne;
use gainsight_px::GainsightPx;
use hook::Hook;
use ledger::Ledger;
use world::World;

/// How the sandbox is played.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Gainsight PX.
    pub px: PxSettings,
    /// Act-On.
    pub act_on: ActOnSettings,
    /// APSIS One.
    pub apsis_one: ApsisSettings,
    /// The JSON API of no vendor in particular.
    pub hook: HookSettings,
    /// How long answers take, where not what is typical of the vendor; the last that is said of a vendor holds.
    pub latency: Vec<LatencyOf>,
    /// Faults from the start.
    pub faults: Vec<FaultRule>,
    /// Decides which requests a fault's `share` falls on.
    pub seed: u64,
    /// How many events are kept to be shown, 256 MiB at most.
    pub keep: usize,
}

impl Default for Settings {
    /// The vendors as documented, with a typical latency and without faults, on a free port of the loopback.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            px: PxSettings::default(),
            act_on: ActOnSettings::default(),
            apsis_one: ApsisSettings::default(),
            hook: HookSettings::default(),
            latency: Vec::new(),
            faults: Vec::new(),
            seed: 1,
            keep: 10_000,
        }
    }
}

/// Why the sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address is taken, or not this machine's.
    #[error("the sandbox cannot listen on {address}: {source}. Choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A fault makes no sense.
    #[error(transparent)]
    FaultKind(#[from] RuleError),
    /// A latency is for nobody.
    #[error(transparent)]
    Latency(#[from] LatencyError),
}

/// A running sandbox. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    handle: SandboxHandle,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Sandbox {
    /// Listens and answers from now on.
    ///
    /// # Errors
    /// [`SandboxError`] when the address cannot be had or a fault makes no sense.
    pub async fn start(settings: Settings) -> Result<Self, SandboxError> {
        let cannot = |source| SandboxError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;

        let ledger = Arc::new(Mutex::new(Ledger::keeping(settings.keep)));
        let apsis_one = Arc::new(ApsisOne::new(settings.apsis_one));
        let apis: Vec<Arc<dyn Api>> = vec![
            Arc::new(GainsightPx::new(settings.px, Arc::clone(&ledger))),
            Arc::new(ActOn::new(settings.act_on)),
            Arc::<ApsisOne>::clone(&apsis_one),
            Arc::new(Hook::new(settings.hook)),
        ];
        let world = Arc::new(World::new(apis, ledger, settings.seed));
        world.set_latencies(&settings.latency)?;
        settings.faults.into_iter().try_for_each(|rule| world.add_fault(rule))?;

        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        tasks.spawn(server::serve(listener, Arc::clone(&world), tasks.clone(), stop.clone()));
        tasks.close();
        Ok(Self { address, handle: SandboxHandle { world, apsis_one }, tasks, stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to see and set without HTTP.
    #[must_use]
    pub fn handle(&self) -> SandboxHandle {
        self.handle.clone()
    }

    /// Stops: requests under way get half a second to end, hanging ones are cut.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.wait().await;
    }
}

/// The ledger and the faults of a sandbox. Cheap to clone; outlives it.
#[derive(Clone)]
pub struct SandboxHandle {
    world: Arc<World>,
    apsis_one: Arc<ApsisOne>,
}

impl std::fmt::Debug for SandboxHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl SandboxHandle {
    /// Figures by endpoint: `gainsight-px`, `act-on`, `apsis-one`, `act-on/auth` and
    /// `apsis-one/auth` (token calls), or a hook's path.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<String, EndpointStats> {
        self.world.stats()
    }

    /// The last `limit` events taken, oldest first; those of one endpoint, or all. At most [`Settings::keep`] are kept.
    #[must_use]
    pub fn events(&self, endpoint: Option<&str>, limit: usize) -> Vec<Bytes> {
        self.world.events(endpoint, limit)
    }

    /// Forgets all that arrived: figures, ids and bodies. Limits go on counting.
    pub fn forget(&self) {
        self.world.forget();
    }

    /// Ends the tokens that the vendor of this name (`act-on`, `apsis-one`, `hook`) handed out; none: every vendor's.
    /// False: no such vendor.
    pub fn revoke(&self, vendor: Option<&str>, tokens: Revoked) -> bool {
        self.world.revoke(vendor, tokens)
    }

    /// Gives APSIS One other event types, as when someone edits one: a new version, the old one deprecated.
    pub fn set_event_types(&self, types: Vec<ApsisEventType>) {
        self.apsis_one.set_event_types(types);
    }

    /// Adds a fault, whose `after` and `seconds` count from now.
    ///
    /// # Errors
    /// [`RuleError`] when it makes no sense.
    pub fn add_fault(&self, rule: FaultRule) -> Result<(), RuleError> {
        self.world.add_fault(rule)
    }

    /// Answers take that long from now on.
    ///
    /// # Errors
    /// [`LatencyError::Unknown`] where one is for a vendor that is not played; then all stay as they were.
    pub fn set_latencies(&self, latencies: &[LatencyOf]) -> Result<(), LatencyError> {
        self.world.set_latencies(latencies)
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.world.clear_faults();
    }
}

/// Locks. What is behind these locks is whole between any two statements, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
