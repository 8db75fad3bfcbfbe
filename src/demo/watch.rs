//! The story is played and watched to its end: moments go to the audience while it lasts, and a report at the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::accounts::Ending;
use super::collect::{Anomalies, ENDPOINTS, SIGN_INS};
use super::events::{BACKLOGGED, BYSTANDER, DESTINATIONS, ORDERED, TROUBLED};
use super::figures::{self, Buckets, GateSample, Latencies, QuotaUse};
use super::produce::{plan, produce};
use super::report::{BacklogFigures, BystanderFigures, DemoFigures, GateFigures, OrderedFigures};
use super::scenario::{Act, Scene, hiccups, scenes};
use super::stage::Cast;
use super::stalls::Stalls;
use super::worker::{LIMIT, Worker, WorkerDestination};
use super::{Audience, Error, Report, collect};
use crate::broker::Broker;
use crate::clock;
use crate::gate::JITTER;
use crate::sandbox::{EndpointStats, Revoked, SandboxHandle};

/// Between two looks at everything.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What has not ended by then is reported as lost.
const ALLOWED: Duration = Duration::from_secs(90);

/// One look at everything.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Since the first event was published.
    pub elapsed: Duration,
    /// The destinations, the troubled one first.
    pub destinations: Vec<DestinationProgress>,
    /// Dead letters at the broker.
    pub dead: u64,
    /// Events that nobody subscribes to, at the broker.
    pub unrouted: u64,
    /// Events put into a retry queue so far.
    pub retried: u64,
}

/// One destination in a moment.
#[derive(Clone, Debug)]
pub struct DestinationProgress {
    /// Its name.
    pub name: String,
    /// Different events that its vendor took.
    pub delivered: u64,
    /// How many that should be in the end.
    pub expected: u64,
    /// Its gate: `open`, `throttled`, …
    pub state: String,
    /// Why, as a sentence.
    pub why: String,
    /// How long that lasts at least, in seconds.
    pub seconds_left: Option<f64>,
    /// Requests a second now.
    pub rate: Option<f64>,
}

/// What gathers while it is watched.
#[derive(Default)]
struct Gathered {
    quota: QuotaUse,
    while_open: Latencies,
    while_closed: Latencies,
    buckets: Buckets,
    open: bool,
    state: String,
    /// By destination, as the worker shows them.
    throttled: BTreeMap<String, u64>,
    retried: BTreeMap<String, u64>,
    elapsed: Duration,
    worst_stall: Duration,
    /// Calls that the troubled vendor refused as over its limit.
    over_the_limit: u64,
    /// When the backlog was published, and when it was delivered.
    backlog_from: Option<Duration>,
    backlog_until: Option<Duration>,
}

/// Who watches, and what has been seen so far.
struct Watch<'a> {
    broker: &'a Broker,
    sandbox: &'a SandboxHandle,
    backlog_due: &'a Notify,
    /// What is still to happen.
    scenes: Vec<Scene>,
    /// Events that each destination should deliver.
    expected: BTreeMap<&'static str, u64>,
    published: u64,
    began: Instant,
    gathered: Gathered,
}

/// Plays the story and reports.
///
/// # Errors
/// Anything that keeps it from being played; a promise that was broken stands in the report.
pub(super) async fn play(cast: Cast<'_>, audience: &mut dyn Audience) -> Result<Report, Error> {
    let Cast { broker, worker, sandbox } = cast;
    let mut accounts = plan();
    let published = accounts.balance().published;
    let backlog_due = Notify::new();
    let mut watch = Watch {
        broker,
        sandbox: &sandbox,
        backlog_due: &backlog_due,
        scenes: scenes(),
        expected: DESTINATIONS.map(|name| (name, accounts.expected(&Ending::Delivered(name.to_owned())))).into(),
        published,
        began: clock::now(),
        gathered: Gathered::default(),
    };
    sandbox.add_fault(hiccups())?;
    audience.tell(&format!(
        "{published} events are published for four vendors; that of {TROUBLED} allows {LIMIT} a second"
    ));
    let stalls = Stalls::watch();
    tokio::try_join!(produce(broker, &backlog_due), watch.watch(worker, &stalls, audience))?;
    watch.gathered.worst_stall = stalls.worst();
    let mut seen = collect::deliveries(&sandbox, &mut accounts);
    collect::leftovers(broker, &mut accounts, &mut seen).await?;
    let figures = watch.figures(seen);
    Ok(Report::new(&accounts.balance(), watch.gathered.elapsed, figures))
}

impl Watch<'_> {
    /// Looks until everything has ended, and lets happen what is due.
    async fn watch(&mut self, worker: &mut Worker, stalls: &Stalls, audience: &mut dyn Audience) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.gathered.elapsed < ALLOWED {
            ticks.tick().await;
            worker.check()?;
            let shown = worker.destinations().await?;
            let stats = self.sandbox.stats();
            let metrics = worker.metrics().await?;
            self.gathered.look(&shown, stats.get(endpoint(TROUBLED)), &metrics, self.began, audience);
            let refused = stats.get(endpoint(TROUBLED)).map_or(0, |px| px.refused);
            self.gathered.refused(refused, stalls.worst(), audience);
            let delivered = |name| shown.iter().find(|shown| shown.name == name).map_or(0, |shown| shown.delivered);
            let backlogged = self.expected.get(BACKLOGGED).copied();
            if self.gathered.backlog_until.is_none() && Some(delivered(BACKLOGGED)) >= backlogged {
                self.gathered.backlog_until = Some(self.gathered.elapsed);
            }
            let taken = taken(&stats);
            let [dead, unrouted, waiting] = depths(self.broker).await?;
            audience.show(&self.moment(&shown, &taken, dead, unrouted));
            self.play_scenes(&taken, audience)?;
            let busy = shown.iter().any(|shown| shown.in_flight + shown.held + shown.unconfirmed > 0);
            let ended = taken.values().sum::<u64>() + dead + unrouted;
            if ended >= self.published && waiting == 0 && !busy {
                break;
            }
        }
        Ok(())
    }

    fn play_scenes(&mut self, taken: &BTreeMap<&str, u64>, audience: &mut dyn Audience) -> Result<(), Error> {
        let is_due = |scene: &mut Scene| taken.get(scene.destination).is_some_and(|taken| *taken >= scene.after);
        for scene in self.scenes.extract_if(.., is_due) {
            audience.tell(&scene.told);
            match scene.act {
                Act::Trouble(rules) => rules.into_iter().try_for_each(|rule| self.sandbox.add_fault(rule))?,
                Act::Revoke => drop(self.sandbox.revoke(Some(endpoint(BACKLOGGED)), Revoked::Access)),
                Act::Backlog => {
                    self.gathered.backlog_from = Some(self.gathered.elapsed);
                    self.backlog_due.notify_one();
                }
            }
        }
        Ok(())
    }

    fn moment(&self, shown: &[WorkerDestination], taken: &BTreeMap<&str, u64>, dead: u64, unrouted: u64) -> Moment {
        let now = clock::wall();
        let standing = |name: &str| {
            let shown = shown.iter().find(|shown| shown.name == name)?;
            Some(DestinationProgress {
                name: name.to_owned(),
                delivered: taken.get(name).copied().unwrap_or(0),
                expected: self.expected.get(name).copied().unwrap_or(0),
                state: shown.state.clone(),
                why: shown.why.clone(),
                seconds_left: shown.until.map(|until| until.duration_since(now).as_secs_f64().max(0.0)),
                rate: shown.rate,
            })
        };
        let destinations = DESTINATIONS.into_iter().filter_map(standing).collect();
        let retried = self.gathered.retried.values().sum();
        Moment { elapsed: self.gathered.elapsed, destinations, dead, unrouted, retried }
    }

    /// The figures of what was seen.
    fn figures(&self, seen: Anomalies) -> DemoFigures {
        let stats = self.sandbox.stats();
        let of = |destination| stats.get(endpoint(destination));
        let gathered = &self.gathered;
        let limit = f64::from(LIMIT);
        let counted = |counts: &BTreeMap<String, u64>| counts.get(TROUBLED).copied().unwrap_or(0);
        let gate = GateFigures {
            refused: counted(&gathered.throttled),
            refused_over_the_limit: of(TROUBLED).map_or(0, |px| px.refused),
            retried: counted(&gathered.retried),
            limit_per_second: limit,
            quota_used_while_open: gathered.quota.rate().map(|rate| rate / limit),
            quota_used_in_all: of(TROUBLED).and_then(|px| px.quota_use),
        };
        let took = gathered.backlog_from.zip(gathered.backlog_until).map(|(from, until)| until.saturating_sub(from));
        DemoFigures {
            worst_stall_seconds: (gathered.worst_stall.as_secs_f64() * 1_000.0).round() / 1_000.0,
            gate,
            backlog: BacklogFigures::new(of(BACKLOGGED), stats.get(SIGN_INS), took, seen),
            ordered: OrderedFigures::new(of(ORDERED), seen),
            bystander: BystanderFigures {
                calls: of(BYSTANDER).map_or(0, |hook| hook.accepted),
                while_open: gathered.while_open.summary(),
                while_closed: gathered.while_closed.summary(),
            },
        }
    }
}

/// The sandbox's name for a destination's account.
fn endpoint(destination: &str) -> &'static str {
    ENDPOINTS.into_iter().find(|(name, _)| *name == destination).map_or("", |(_, endpoint)| endpoint)
}

/// Different events that the vendors took, by destination.
fn taken(stats: &BTreeMap<String, EndpointStats>) -> BTreeMap<&'static str, u64> {
    let taken = |(name, endpoint): (&'static str, &str)| (name, stats.get(endpoint).map_or(0, |stats| stats.distinct));
    ENDPOINTS.into_iter().map(taken).collect()
}

/// How many dead letters there are, unrouted events, and events that wait in a queue.
async fn depths(broker: &Broker) -> Result<[u64; 3], Error> {
    let names = broker.names();
    let mut queues: Vec<String> = DESTINATIONS.iter().map(|destination| names.dead(destination)).collect();
    queues.push(names.unrouted());
    queues.extend(DESTINATIONS.map(|destination| names.queue(destination)));
    let depths = broker.depths(&queues).await.map_err(|error| Error::Queue(queues.join(", "), error))?;
    let depths: Vec<u64> = depths.into_iter().map(|depth| u64::from(depth.unwrap_or(0))).collect();
    let all = DESTINATIONS.len();
    let sum = |from: usize, many: usize| depths.iter().skip(from).take(many).sum();
    Ok([sum(0, all), sum(all, 1), sum(all + 1, all)])
}

impl Gathered {
    /// Says whose fault it is where the troubled vendor refused calls as over its limit: nobody else uses that account.
    fn refused(&mut self, refused: u64, stall: Duration, audience: &mut dyn Audience) {
        let more = refused.saturating_sub(std::mem::replace(&mut self.over_the_limit, refused));
        if more > 0 && stall > JITTER {
            let ms = stall.as_millis();
            audience.tell(&format!(
                "{TROUBLED} refused {more} calls as over its limit: this machine is busy (it kept tasks waiting for up to {ms} ms), so that \
                 calls bunched up on their way. Nobody else uses the account"
            ));
        }
    }

    /// Takes in what the worker and the sandbox show; tells of a change of the troubled gate.
    fn look(
        &mut self,
        shown: &[WorkerDestination],
        px: Option<&EndpointStats>,
        metrics: &str,
        began: Instant,
        audience: &mut dyn Audience,
    ) {
        self.elapsed = clock::now().duration_since(began);
        let by_name = |figure: fn(&WorkerDestination) -> u64| {
            shown.iter().map(|shown| (shown.name.clone(), figure(shown))).collect()
        };
        self.throttled = by_name(|shown| shown.throttled);
        self.retried = by_name(|shown| shown.retried);
        let Some(troubled) = shown.iter().find(|shown| shown.name == TROUBLED) else { return };
        let (open, was_open) = (troubled.state == "open", self.open);
        let requests = px.map_or(0, |px| px.accepted + px.refused + px.invalid);
        self.quota.sample(GateSample { at: self.elapsed, open, backlog: troubled.held > 0, requests });
        let buckets = figures::buckets(metrics, "sluice_delivery_latency_seconds", BYSTANDER);
        let latencies = if open && was_open { &mut self.while_open } else { &mut self.while_closed };
        latencies.add(&self.buckets, &buckets);
        (self.buckets, self.open) = (buckets, open);
        let before = std::mem::replace(&mut self.state, troubled.state.clone());
        if !before.is_empty() && before != self.state {
            let said = if open {
                "the gate is open again".to_owned()
            } else {
                format!("{}: {}", troubled.state, troubled.why)
            };
            audience.tell(&format!("{TROUBLED}: {said}"));
        }
    }
}
