//! The destinations at work in this worker: started, stopped, and changed to a new configuration.

mod announce;
mod peers;
mod post;
mod running;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use announce::Announcer;
pub use peers::{Peers, worker_name};

use crate::broker::Broker;
use crate::broker::port::Publisher;
use crate::config::{self, Config, Declare};
use crate::delivery::Transport;
use crate::delivery::http::{HttpTransport, SetupError};
use crate::destination::{Handle, Handover, View};
use crate::history::Recorder;
use crate::metrics::Metrics;
use crate::person::PersonKey;
use crate::receipts::Receipts;
use crate::suppression::{Before, Keeper};
use post::Post;

/// Time for a changed destination to bind its new patterns before the old ones are unbound.
const BIND_WITHIN_SECONDS: u32 = 30;
/// A destination tells how it is within this, also where all cores are busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A destination cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("destination {destination}: {cause}")]
pub struct StartError {
    destination: String,
    cause: SetupError,
}

/// The destinations at work, by name, and the workers that share them. Cheap to clone; always current.
#[derive(Clone, Debug)]
pub struct Roster {
    handles: Arc<RwLock<BTreeMap<String, Handle>>>,
    peers: Peers,
}

impl Default for Roster {
    fn default() -> Self {
        Self { handles: Arc::default(), peers: Peers::of_this_process() }
    }
}

impl Roster {
    /// The destination of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Handle> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The workers on this broker.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// All of them, in name order.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Handle)> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.iter().map(|(name, handle)| (name.clone(), handle.clone())).collect()
    }

    /// How each of them is whose name is wanted, in name order, asked all at once. One that stops just now is left out, and so is one that does
    /// not answer within five seconds: it must not hold up the others.
    pub async fn views(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<View> {
        let wanted = self.all().into_iter().filter(|(name, _)| is_wanted(name));
        let asked = wanted.map(|(_, handle)| async move { tokio::time::timeout(ANSWER_WITHIN, handle.view()).await });
        join_all(asked).await.into_iter().filter_map(|answered| answered.ok()?.ok()).collect()
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
pub struct Fleet {
    broker: Broker,
    /// Where notes of leases go.
    notes: Publisher,
    metrics: Metrics,
    receipts: Option<Receipts>,
    /// Who follows the list of those who must not be written to.
    suppression: Option<Arc<Keeper>>,
    history: Option<Recorder>,
    config: Config,
    /// Cancelled when the whole worker stops.
    ending: CancellationToken,
    running: BTreeMap<String, Running>,
    /// Those that are stopping, each with what its successor has to know.
    leaving: FuturesUnordered<BoxFuture<'static, (String, Handover)>>,
    /// The handovers of destinations that are not at work: removed, or not able to start now.
    kept: BTreeMap<String, Handover>,
    roster: Roster,
    /// How a destination's requests are sent.
    connect: Connect,
}

/// What people's digests are made with.
fn key(config: &Config) -> Option<&PersonKey> {
    config.suppression.as_ref().map(|suppression| &suppression.key)
}

type Connect = fn(&config::Destination) -> Result<Arc<dyn Transport>, SetupError>;

fn connect(settings: &config::Destination) -> Result<Arc<dyn Transport>, SetupError> {
    let transport = HttpTransport::new(settings.timeout, settings.proxy.as_ref(), settings.http1_only)?;
    Ok(Arc::new(transport))
}

impl Fleet {
    /// A fleet that will follow `config` and tell of outcomes by `receipts` and in the `history`; nothing runs yet. `ending` is cancelled when the whole worker stops.
    #[must_use]
    pub fn new(
        broker: Broker,
        metrics: Metrics,
        (receipts, history): (Option<Receipts>, Option<Recorder>),
        config: Config,
        ending: CancellationToken,
    ) -> Self {
        Self {
            notes: broker.lease_publisher(),
            broker,
            metrics,
            receipts,
            suppression: None,
            history,
            config,
            ending,
            running: BTreeMap::new(),
            leaving: FuturesUnordered::new(),
            kept: BTreeMap::new(),
            roster: Roster::default(),
            connect,
        }
    }

    /// Heeds who must not be written to, where the configuration says so.
    pub fn heed(&mut self, keeper: Arc<Keeper>) {
        keeper.follow(key(&self.config)).end();
        self.suppression = Some(keeper);
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The destinations at work.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Starts every destination of the configuration, in an order of this worker's own: workers that start together on a fresh broker share
    /// the making of queues, and seldom meet at one.
    ///
    /// # Errors
    /// [`StartError`] for the first that cannot be set up.
    pub fn start_all(&mut self) -> Result<(), StartError> {
        let mut destinations: Vec<config::Destination> = self.config.destinations.values().cloned().collect();
        fastrand::shuffle(&mut destinations);
        destinations.into_iter().try_for_each(|destination| self.start(destination))
    }

    /// Stops every destination, those too that a reload was stopping: what is in flight is finished, within [`crate::destination::STOP_WITHIN`].
    pub async fn stop_all(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        self.stop(&names);
        while self.leaving.next().await.is_some() {}
    }

    /// Follows a new configuration: removed destinations stop, changed ones stop and start anew with what their gate has
    /// learned, added ones start, the others do not notice. May be given up when the whole worker stops: then [`Fleet::stop_all`] waits
    /// for those that are stopping.
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
        // What the worker goes on with: put back, it needs no restart.
        self.config.history = old.history;
        if old.suppression.is_some() && self.config.suppression.is_none() {
            tracing::warn!("[suppression] is gone: whoever was not to be written to is written to from now on");
        }
        let list = self.suppression.as_ref().map(|keeper| keeper.follow(key(&self.config)));
        let mut result = Ok(());
        for name in &changes.added {
            result = result.and(self.restart(name));
        }
        // Each goes on as soon as it has stopped: one that waits for a slow vendor must not hold up the others.
        self.stop(&[&changes.removed[..], &changes.changed].concat());
        while let Some((name, before)) = self.leaving.next().await {
            // One that is removed may be added again: an operator's pause and a day's budget are not forgotten by that.
            self.kept.insert(name.clone(), before);
            if changes.removed.contains(&name) {
                self.metrics.forget(&name);
                continue;
            }
            result = result.and(self.restart(&name));
            if let (Some(old), Some(new)) = (old.destinations.get(&name), self.config.destinations.get(&name)) {
                let (dropped, kept) = (old.patterns(), new.patterns());
                self.unbind_later(&name, dropped.into_iter().filter(|pattern| !kept.contains(pattern)).collect());
            }
        }
        // What drove by it has stopped.
        list.into_iter().for_each(Before::end);
        tracing::info!(added = ?changes.added, removed = ?changes.removed, changed = ?changes.changed, "the new configuration is in force");
        result
    }

    /// Starts a destination as the present configuration has it.
    fn restart(&mut self, name: &str) -> Result<(), StartError> {
        match self.config.destinations.get(name).cloned() {
            Some(destination) => self.start(destination),
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
        self.stop(&missing);
        while let Some((name, before)) = self.leaving.next().await {
            self.kept.insert(name, before);
        }
        let mut result = Ok(());
        for name in missing {
            tracing::error!(destination = name, "was not at work and starts again");
            result = result.and(self.restart(&name));
        }
        result
    }

    /// Unbinds patterns once the new ones are bound, so that no event finds neither.
    fn unbind_later(&self, name: &str, dropped: Vec<String>) {
        if dropped.is_empty() {
            return;
        }
        if self.config.broker.declare != Declare::Create {
            tracing::warn!(destination = name, patterns = ?dropped, "declare is not \"create\": change its bindings at the broker by hand");
            return;
        }
        let (broker, roster, ending) = (self.broker.clone(), self.roster.clone(), self.ending.clone());
        let name = name.to_owned();
        tokio::spawn(async move {
            // Bound before it consumes; a paused one, which never consumes, was given time enough.
            for _ in 0..BIND_WITHIN_SECONDS {
                let consuming = match roster.get(&name) {
                    Some(handle) => handle.view().await.is_ok_and(|view| view.drives && view.consuming),
                    None => false,
                };
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

    /// Starts a destination with what the one before it knew. Where that fails, it stays known.
    fn start(&mut self, settings: config::Destination) -> Result<(), StartError> {
        let name = settings.name.clone();
        let transport = (self.connect)(&settings).map_err(|cause| StartError { destination: name.clone(), cause })?;
        let before = self.kept.remove(&name).unwrap_or_default();
        let stop = CancellationToken::new();
        let post = Post {
            me: self.roster.peers.me().clone(),
            lease: self.config.broker.lease,
            seal: self.config.broker.ledger_key.clone(),
            broker: self.broker.clone(),
            notes: self.notes.clone(),
            metrics: self.metrics.clone(),
            receipts: self.receipts.clone(),
            suppressed: self
                .suppression
                .as_ref()
                .and_then(|keeper| keeper.list())
                .filter(|_| settings.person.is_some()),
            history: self.history.clone(),
            max_event_bytes: self.config.broker.max_event_bytes,
            delivery_limit: self.config.broker.delivery_limit,
            transport,
            stop: stop.clone(),
            ending: self.ending.clone(),
            roster: self.roster.clone(),
            settings,
        };
        let task = tokio::spawn(post.begin(before));
        self.running.insert(name, Running { stop, task });
        Ok(())
    }

    /// Stops destinations: each comes out of those that are leaving, with what its successor has to know, once it has stopped.
    fn stop(&mut self, names: &[String]) {
        for (name, running) in names.iter().filter_map(|name| Some((name.clone(), self.running.remove(name)?))) {
            running.stop.cancel();
            self.leaving.push(Box::pin(async move {
                let handover = running.task.await.unwrap_or_else(|error| {
                    tracing::error!(destination = name, %error, "the destination's task failed; this is a bug in Sluice");
                    Handover::default()
                });
                (name, handover)
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stamp::Change;

    const FILE: &str = "[broker]\nurl = \"amqp://127.0.0.1:1\"\n";

    fn config(destinations: &str) -> Config {
        let none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        config::parse("test.toml", &format!("{FILE}{destinations}"), &|_| None, &none).unwrap()
    }

    fn hook(limit: &str) -> Config {
        config(&format!(
            "[destinations.hook]\nvendor = \"http\"\nurl = \"http://127.0.0.1:1/\"\nsubscribe = [\"#\"]\nlimits = [\"{limit}\"]\n"
        ))
    }

    /// A fleet of one destination, which an operator has paused.
    async fn paused() -> Fleet {
        let (config, ending) = (hook("10/s"), CancellationToken::new());
        let broker = Broker::start(crate::app::broker_settings(&config), ending.clone());
        let mut fleet = Fleet::new(broker, Metrics::new().unwrap(), (None, None), config, ending);
        fleet.start_all().unwrap();
        fleet.roster.get("hook").unwrap().change(Change::PAUSE, None).await.unwrap();
        fleet
    }

    async fn state(fleet: &Fleet) -> &'static str {
        fleet.roster.get("hook").unwrap().view().await.unwrap().state_name()
    }

    #[tokio::test]
    async fn a_destination_that_could_not_be_set_up_again_is_still_paused_when_it_can() {
        let mut fleet = paused().await;
        fleet.connect = |_| Err(SetupError::because("no certificates"));
        assert!(fleet.change_to(hook("20/s")).await.is_err());
        assert!(fleet.roster.get("hook").is_none());
        assert!(fleet.revive().await.is_err(), "it is tried again");
        fleet.connect = connect;
        fleet.revive().await.unwrap();
        assert_eq!(state(&fleet).await, "paused");
        fleet.stop_all().await;
    }

    #[tokio::test]
    async fn a_destination_that_is_removed_and_added_again_is_still_paused() {
        let mut fleet = paused().await;
        fleet.change_to(config("")).await.unwrap();
        assert!(fleet.roster.get("hook").is_none());
        fleet.change_to(hook("10/s")).await.unwrap();
        assert_eq!(state(&fleet).await, "paused");
        fleet.stop_all().await;
    }

    #[tokio::test]
    async fn a_reload_that_is_given_up_leaves_nothing_running_after_the_stop() {
        let mut fleet = paused().await;
        assert!(futures_util::FutureExt::now_or_never(fleet.change_to(hook("20/s"))).is_none());
        assert_eq!((fleet.running.len(), fleet.leaving.len()), (0, 1));
        fleet.stop_all().await;
        assert!(fleet.leaving.is_empty());
    }
}
