//! The wiring: configuration → broker → destinations → admin; the order of starting and stopping, and reloads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::audit::{self, Marks, OperatorAct};
use crate::broker::{self, Broker};
use crate::clock;
use crate::config::{Changes, Config, ConfigFile};
use crate::control::reload::{FileProblem, Outcome, ReloadRequest, Reloaded, Reloader};
use crate::dead_letters::operation::Registry;
use crate::fleet::{Announcer, Fleet, worker_name};
use crate::history::{self, Recorder};
use crate::ingest::{self, Ingest};
use crate::issues::Issues;
use crate::log;
use crate::metrics::Metrics;
use crate::operator::Listener;
use crate::receipts::{self, Receipts};
use crate::section::ConfigProblem;
use crate::supervisor::{GivenUp, Supervisor};
use crate::suppression::Keeper;
use crate::watch::Watch;

/// How often ended destinations are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time for a whole stop, but for what closing connections takes.
const STOP_WITHIN: Duration = Duration::from_millis(9_500);
/// Time for the last receipts, but at most half of the time that is left.
const TELL_WITHIN: Duration = Duration::from_secs(2);
/// Time at least for the last acks and publications to reach the broker at the stop.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be used.
    #[error("cannot listen on {address} ([{section}] listen): {cause}")]
    Listen {
        /// Where it is configured.
        section: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Metrics cannot be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    /// A destination cannot be started.
    #[error(transparent)]
    Destination(#[from] crate::fleet::StartError),
    /// A part of the worker failed again and again.
    #[error(transparent)]
    Part(#[from] GivenUp),
}

/// Runs a worker until `stop` is cancelled. `file` is read again on SIGHUP.
///
/// # Errors
/// [`RunError`] when it cannot start, or when a part of it failed again and again; then it has stopped in order. A broker that is away is
/// no error: the worker waits for it.
pub async fn run(config: Config, file: ConfigFile, stop: CancellationToken) -> Result<(), RunError> {
    let supervisor = Supervisor::default();
    let metrics = Metrics::new()?;
    let hangups = signal(SignalKind::hangup()).map_err(RunError::Signals)?;
    let address = config.admin.listen;
    let (listener, door) = listen(&config).await?;
    let ending = CancellationToken::new();
    let broker = Broker::start_under(&supervisor, broker_settings(&config), ending.clone());
    let told = CancellationToken::new();
    let (receipts, telling) = tell_outcomes(&config, &broker, &metrics, &supervisor, &told);
    let (history, recording) = record_steps(&config, &broker, &metrics, &supervisor, &told);
    let told_to = (receipts, history.clone());
    let mut fleet = Fleet::new(broker.clone(), metrics.clone(), told_to, config, stop.clone());
    let parts = TaskTracker::new();
    let people = follow_people(&mut fleet, &broker, &supervisor, &parts, &ending);
    fleet.start_all()?;
    let operations = Registry::default();
    let (roster, config) = (fleet.roster(), fleet.config());
    let watch = Watch::new(metrics.clone(), broker.clone(), roster.clone(), operations.clone(), config);
    let marks = Marks::default();
    let over = (broker.clone(), roster.clone(), Arc::clone(&watch));
    let issues = Issues::new(over.clone(), metrics.clone(), marks.clone(), config);
    let shown = (metrics.clone(), operations.clone(), Arc::clone(&issues), history.clone());
    let admin = Admin::new(over, shown, supervisor.clone(), config);
    admin.heed(people);
    let ingest = Ingest::of(config, &broker, &metrics, history);
    let (reloader, reloads) = Reloader::new();
    let commands =
        Listener::new(broker.clone(), roster, operations.clone(), marks, Some(reloader)).part(ending.clone());
    take_events(door, ingest.clone(), (&parts, &supervisor), &stop);
    let announcer = Announcer::new(broker.clone(), fleet.roster(), metrics.clone());
    parts.spawn(supervisor.keep_trying("announcements", &ending, announcer.clone().part(ending.clone())));
    parts.spawn(supervisor.keep("admin server", &ending, admin::server(listener, admin.clone(), ending.clone())));
    parts.spawn(supervisor.keep_trying("queue watch", &ending, watch.part(ending.clone())));
    parts.spawn(supervisor.keep_trying("issues", &ending, issues.part(ending.clone())));
    parts.spawn(supervisor.keep_trying("operator's commands", &ending, commands));
    parts.spawn(supervisor.keep_trying("count of dropped log lines", &ending, log::teller(ending.clone())));
    warn_of_what_is_doubtful(fleet.config());
    tracing::info!(admin = %address, destinations = fleet.config().destinations.len(), version = env!("CARGO_PKG_VERSION"), "sluice is running");
    let mut asked = Asked { hangups, reloads };
    let told_of = (&*watch, &*admin, ingest.as_deref());
    let tended = tend(&mut fleet, &file, &mut asked, told_of, &supervisor, &stop).await;
    stop.cancel();
    tracing::info!("stopping: finishing what is in flight");
    let all_done = clock::now() + STOP_WITHIN;
    // What an operation has not acted on stays where it is.
    let (_, ()) = tokio::join!(tokio::time::timeout(STOP_WITHIN, operations.cancel_all()), fleet.stop_all());
    // They take over without it too: a broker that takes nothing holds nothing up.
    let _told = tokio::time::timeout(FLUSH_WITHIN / 2, announcer.last()).await;
    told.cancel();
    last_told(telling, "receipt", &broker, all_done).await;
    last_told(recording, "step of the history", &broker, all_done).await;
    let left = all_done.saturating_duration_since(clock::now());
    if !broker.close(left.max(FLUSH_WITHIN)).await {
        tracing::warn!("the broker did not take everything in time; what was not acked it sends again");
    }
    ending.cancel();
    parts.close();
    parts.wait().await;
    tracing::info!("stopped");
    Ok(tended?)
}

/// Takes events over HTTP until the stop, where that is wanted.
fn take_events(
    door: Option<TcpListener>,
    ingest: Option<Arc<Ingest>>,
    (parts, supervisor): (&TaskTracker, &Supervisor),
    stop: &CancellationToken,
) {
    if let Some((door, ingest)) = door.zip(ingest) {
        parts.spawn(supervisor.keep("ingest server", stop, ingest::server(door, ingest, stop.clone())));
    }
}

/// Follows the list of those who must not be written to, where the configuration says so.
fn follow_people(
    fleet: &mut Fleet,
    broker: &Broker,
    supervisor: &Supervisor,
    parts: &TaskTracker,
    ending: &CancellationToken,
) -> Arc<Keeper> {
    let keeper = Keeper::new(broker.clone(), supervisor.clone(), parts.clone(), ending.clone());
    let keeper = Arc::new(keeper);
    fleet.heed(Arc::clone(&keeper));
    keeper
}

/// The sockets of the admin server and, where it is wanted, of the one that takes events.
async fn listen(config: &Config) -> Result<(TcpListener, Option<TcpListener>), RunError> {
    let bind = async |section, address| {
        TcpListener::bind(address).await.map_err(|cause| RunError::Listen { section, address, cause })
    };
    let admin = bind("admin", config.admin.listen).await?;
    let ingest = match &config.ingest {
        Some(ingest) => Some(bind("ingest", ingest.listen).await?),
        None => None,
    };
    Ok((admin, ingest))
}

fn warn_of_what_is_doubtful(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!(line = warning.line, key = warning.key, "{}", warning.message);
    }
    for token in config.admin.tokens.iter().filter(|token| token.is_guessable()) {
        tracing::warn!(token = token.name, "an admin token this short can be guessed; choose one of 16 bytes or more");
    }
}

/// Lets what is still to be told go out, for a while of the time that is left; not at all where the broker takes nothing.
async fn last_told(telling: Option<JoinHandle<()>>, what: &str, broker: &Broker, all_done: Instant) {
    let Some(mut telling) = telling else { return };
    let within = (all_done.saturating_duration_since(clock::now()) / 2).min(TELL_WITHIN);
    let takes = broker.status().borrow().takes_publications();
    let within = if takes { within } else { Duration::ZERO };
    if tokio::time::timeout(within, &mut telling).await.is_err() {
        telling.abort();
        tracing::warn!("the broker did not take every {what} in time; they are dropped");
    }
}

/// Where destinations tell what became of events, and what publishes that; nothing where no receipts are wanted.
fn tell_outcomes(
    config: &Config,
    broker: &Broker,
    metrics: &Metrics,
    supervisor: &Supervisor,
    ending: &CancellationToken,
) -> (Option<Receipts>, Option<JoinHandle<()>>) {
    if !config.broker.receipts {
        return (None, None);
    }
    let (publisher, exchange) = (broker.receipts_publisher(), broker.names().receipts());
    let (receipts, task) = receipts::open(publisher, exchange, metrics.receipts_total.clone(), ending.clone());
    (Some(receipts), Some(tokio::spawn(supervisor.keep_trying("receipts", ending, task))))
}

/// Where steps of events' ways are told, and what then writes them to the history; nothing where none is kept.
fn record_steps(
    config: &Config,
    broker: &Broker,
    metrics: &Metrics,
    supervisor: &Supervisor,
    ending: &CancellationToken,
) -> (Option<Recorder>, Option<JoinHandle<()>>) {
    let Some(settings) = &config.history else { return (None, None) };
    let stream = history::stream(broker.names(), settings.keep, settings.max_bytes);
    let (publisher, worker) = (broker.stream_publisher(&stream), (worker_name(), settings.subject));
    let (recorder, task) = history::open(publisher, stream.name, worker, &metrics.history_steps_total, ending.clone());
    (Some(recorder), Some(tokio::spawn(supervisor.keep_trying("history", ending, task))))
}

/// What the broker needs of a configuration.
pub fn broker_settings(config: &Config) -> broker::BrokerSettings {
    broker::BrokerSettings {
        url: config.broker.url.clone(),
        prefix: config.broker.prefix.clone(),
        declare: config.broker.declare,
        delivery_limit: config.broker.delivery_limit,
        name: format!("sluice {}", env!("CARGO_PKG_VERSION")),
    }
}

/// Who asks for a reload.
struct Asked {
    hangups: Signal,
    reloads: mpsc::Receiver<ReloadRequest>,
}

/// Reloads on SIGHUP and on command, one time after another, and sees to it that every destination is at work, until stopped. A stop does not wait for a reload.
///
/// # Errors
/// A part that the worker cannot work without failed again and again.
async fn tend(
    fleet: &mut Fleet,
    file: &ConfigFile,
    asked: &mut Asked,
    told_of: (&Watch, &Admin, Option<&Ingest>),
    supervisor: &Supervisor,
    stop: &CancellationToken,
) -> Result<(), GivenUp> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            given_up = supervisor.given_up() => return Err(given_up),
            _ = looks.tick() => if let Err(error) = fleet.revive().await {
                tracing::error!(%error, "a destination could not be started again");
            },
            Some(()) = asked.hangups.recv() => {
                let Some(reloaded) = stop.run_until_cancelled(reload(fleet, file)).await else { return Ok(()) };
                told(fleet, told_of, &reloaded, ("SIGHUP", &reloaded.worker), reloaded.file.clone());
            }
            Some(request) = asked.reloads.recv() => {
                let ReloadRequest { by, place, answer } = request;
                let Some(reloaded) = stop.run_until_cancelled(reload(fleet, file)).await else { return Ok(()) };
                let given = format!("{}: {}", reloaded.worker, reloaded.file);
                told(fleet, told_of, &reloaded, (&by, &place), given);
                // Whoever asked may have gone.
                drop(answer.send(reloaded));
            }
        }
    }
}

/// Those who follow the configuration get to know of a reload; so does the audit.
fn told(
    fleet: &Fleet,
    (watch, admin, ingest): (&Watch, &Admin, Option<&Ingest>),
    reloaded: &Reloaded,
    by: (&str, &str),
    given: String,
) {
    let outcome = reloaded.outcome.name();
    watch.reloaded(fleet.config());
    admin.reloaded(fleet.config(), outcome);
    ingest.into_iter().for_each(|ingest| ingest.reloaded(fleet.config()));
    admin.record(audit::Entry::done(by, "", OperatorAct::Reload, given, outcome));
}

async fn reload(fleet: &mut Fleet, file: &ConfigFile) -> Reloaded {
    let me = fleet.roster().peers().me().name.clone();
    let path = file.path().display().to_string();
    let ended = |outcome, error| Reloaded { file: path, ..Reloaded::ended(&me, outcome, error) };
    let new = match file.load() {
        Ok(new) => new,
        Err(problems) => {
            tracing::error!("the new configuration is refused and changes nothing:\n{problems}");
            let problems = problems.problems.into_iter();
            let problems = problems.map(|ConfigProblem { line, key, message }| FileProblem { line, key, message });
            return Reloaded { problems: problems.collect(), ..ended(Outcome::Refused, None) };
        }
    };
    let changes = fleet.config().changes(&new);
    let unchanged = new.destinations.len() - changes.added.len() - changes.changed.len();
    let ended = match fleet.change_to(new).await {
        Ok(()) => {
            warn_of_what_is_doubtful(fleet.config());
            ended(Outcome::Applied, None)
        }
        Err(error) => {
            tracing::error!(%error, "the new configuration could not be applied whole");
            ended(Outcome::Failed, Some(error.to_string()))
        }
    };
    let Changes { added, removed, changed, also_changed, restart_needed } = changes;
    let [also_changed, restart_needed] =
        [also_changed, restart_needed].map(|names| names.into_iter().map(str::to_owned).collect());
    Reloaded { added, removed, changed, unchanged, also_changed, restart_needed, ..ended }
}
