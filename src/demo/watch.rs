//! The story: events are published, the vendor gets into trouble twice, and all of it is watched to its end.
//! Moments go to the audience while it lasts, and a report at the end.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::accounts::Balance;
use super::events::{BYSTANDER, TROUBLED};
use super::figures::{self, Buckets, Latencies, QuotaUse, Sample};
use super::produce::{plan, produce};
use super::report::{Bystander, Gate};
use super::stage::Cast;
use super::worker::{HOOK, Shown, Worker};
use super::{Audience, Error, Report, found};
use crate::broker::Broker;
use crate::clock;
use crate::sandbox::{EndpointStats, Fault, Handle, RetryAfter, Rule};

/// Between two looks at everything.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What has not ended by then is reported as lost.
const ALLOWED: Duration = Duration::from_secs(70);
/// The troubled vendor's API.
const API: &str = "/v1/";

/// Trouble that comes once the vendor took so many events.
struct Scene {
    after: u64,
    told: &'static str,
    rules: Vec<Rule>,
}

/// One look at everything.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Since the first event was published.
    pub elapsed: Duration,
    /// The destinations, the troubled one first.
    pub destinations: Vec<Standing>,
    /// Dead letters at the broker.
    pub dead: u64,
    /// Events that nobody subscribes to, at the broker.
    pub unrouted: u64,
    /// Events put into a retry queue so far.
    pub retried: u64,
}

/// One destination in a moment.
#[derive(Clone, Debug)]
pub struct Standing {
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
    throttled: u64,
    retried: u64,
    elapsed: Duration,
}

/// Plays the story and reports.
///
/// # Errors
/// Anything that keeps it from being played; a report whose accounts do not balance is none.
pub(super) async fn play(cast: Cast<'_>, audience: &mut dyn Audience) -> Result<Report, Error> {
    let Cast { broker, worker, sandbox } = cast;
    let mut accounts = plan();
    let published = accounts.balance().published;
    let mut gathered = Gathered::default();
    // Now and then one request fails for no reason: that event is retried.
    sandbox.add_fault(Rule { share: Some(0.03), count: Some(6), path: path(), ..Rule::status(500) })?;
    audience.tell(&format!(
        "{published} events are published; the vendor of {TROUBLED} allows {} a second",
        super::worker::LIMIT
    ));
    let watching = watch(broker, worker, &sandbox, audience, &mut gathered, published);
    tokio::try_join!(produce(broker), watching)?;
    found::deliveries(&sandbox, &mut accounts);
    found::leftovers(broker, &mut accounts).await?;
    Ok(report(accounts.balance(), &gathered, &sandbox))
}

fn path() -> Option<String> {
    Some(API.to_owned())
}

fn scenes() -> Vec<Scene> {
    let refusing =
        Rule { retry_after: Some(RetryAfter::Seconds(5)), seconds: Some(4.0), path: path(), ..Rule::status(429) };
    let down = Rule { seconds: Some(2.5), path: path(), ..Rule::status(503) };
    let cut = Rule { after: Some(2.5), seconds: Some(2.5), path: path(), ..Rule::new(Fault::Reset) };
    vec![
        Scene { after: 400, told: "the vendor answers 429 to everything, with Retry-After: 5", rules: vec![refusing] },
        Scene {
            after: 1_000,
            told: "the vendor is down for 5 s: first 503s, then cut connections",
            rules: vec![down, cut],
        },
    ]
}

async fn watch(
    broker: &Broker,
    worker: &mut Worker,
    sandbox: &Handle,
    audience: &mut dyn Audience,
    gathered: &mut Gathered,
    published: u64,
) -> Result<(), Error> {
    let (began, mut scenes) = (clock::now(), scenes().into_iter().peekable());
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while gathered.elapsed < ALLOWED {
        ticks.tick().await;
        worker.check()?;
        let shown = worker.destinations().await?;
        let (px, hook) = (stats(sandbox, found::PX), stats(sandbox, HOOK));
        gathered.look(&shown, px.as_ref(), &worker.metrics().await?, began, audience);
        let [dead, unrouted, waiting] = depths(broker).await?;
        let taken = |stats: &Option<EndpointStats>| stats.as_ref().map_or(0, |stats| stats.distinct);
        let standings = [(TROUBLED, taken(&px)), (BYSTANDER, taken(&hook))];
        audience.show(&gathered.moment(&shown, standings, dead, unrouted));
        if let Some(scene) = scenes.next_if(|scene| taken(&px) >= scene.after) {
            audience.tell(scene.told);
            scene.rules.into_iter().try_for_each(|rule| sandbox.add_fault(rule))?;
        }
        let busy = shown.iter().any(|shown| shown.in_flight + shown.waiting > 0);
        if taken(&px) + taken(&hook) + dead + unrouted >= published && waiting == 0 && !busy {
            break;
        }
    }
    Ok(())
}

/// How many dead letters there are, unrouted events, and events that wait in a queue.
async fn depths(broker: &Broker) -> Result<[u64; 3], Error> {
    let names = broker.names();
    let both = [TROUBLED, BYSTANDER];
    let mut queues = vec![names.unrouted()];
    queues.extend(both.map(|destination| names.dead(destination)));
    queues.extend(both.map(|destination| names.queue(destination)));
    let depths = broker.depths(&queues).await.map_err(|error| Error::Queue(queues.join(", "), error))?;
    let depths: Vec<u64> = depths.into_iter().map(|depth| u64::from(depth.unwrap_or(0))).collect();
    let sum = |from: usize, to: usize| depths.iter().skip(from).take(to - from).sum();
    Ok([sum(1, 3), sum(0, 1), sum(3, 5)])
}

fn stats(sandbox: &Handle, endpoint: &str) -> Option<EndpointStats> {
    sandbox.stats().remove(endpoint)
}

impl Gathered {
    /// Takes in what the worker and the sandbox show; tells of a change of the troubled gate.
    fn look(
        &mut self,
        shown: &[Shown],
        px: Option<&EndpointStats>,
        metrics: &str,
        began: Instant,
        audience: &mut dyn Audience,
    ) {
        self.elapsed = clock::now().duration_since(began);
        self.throttled = shown.iter().map(|shown| shown.throttled).sum();
        self.retried = shown.iter().map(|shown| shown.retried).sum();
        let Some(troubled) = shown.iter().find(|shown| shown.name == TROUBLED) else { return };
        let (open, was_open) = (troubled.state == "open", self.open);
        let requests = px.map_or(0, |px| px.accepted + px.refused + px.invalid);
        self.quota.sample(Sample { at: self.elapsed, open, backlog: troubled.waiting > 0, requests });
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

    fn moment(&self, shown: &[Shown], taken: [(&str, u64); 2], dead: u64, unrouted: u64) -> Moment {
        let now = clock::wall();
        let standing = |(name, delivered): (&str, u64)| {
            let shown = shown.iter().find(|shown| shown.name == name)?;
            Some(Standing {
                name: name.to_owned(),
                delivered,
                expected: super::events::deliverable(name),
                state: shown.state.clone(),
                why: shown.why.clone(),
                seconds_left: shown.until.map(|until| until.duration_since(now).as_secs_f64().max(0.0)),
                rate: shown.rate,
            })
        };
        let destinations = taken.into_iter().filter_map(standing).collect();
        Moment { elapsed: self.elapsed, destinations, dead, unrouted, retried: self.retried }
    }
}

fn report(balance: Balance, gathered: &Gathered, sandbox: &Handle) -> Report {
    let px = stats(sandbox, found::PX);
    let limit = f64::from(super::worker::LIMIT);
    let over_the_limit = px.as_ref().map_or(0, |px| px.refused);
    let gate = Gate {
        refused: gathered.throttled,
        refused_over_the_limit: over_the_limit,
        retried: gathered.retried,
        limit_per_second: limit,
        quota_used_while_open: gathered.quota.rate().map(|rate| rate / limit),
        quota_used_in_all: px.and_then(|px| px.quota_use),
    };
    let bystander =
        Bystander { while_open: gathered.while_open.summary(), while_closed: gathered.while_closed.summary() };
    Report::new(&balance, gathered.elapsed, gate, bystander)
}
