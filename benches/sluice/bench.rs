//! The order of the run: which parts, how long each, and the report at the end.

use clap::ValueEnum as _;

use crate::compare::Earlier;
use crate::report::Report;
use crate::stage::Stage;
use crate::{
    Args, Error, act_on, apsis_one, backlog, bulk, bursts, busy, cost, crowded, dead, failover, idle, isolation,
    latency, latency_change, metrics, quota, receipts, refusals, scale, shared,
};

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Processor time an event, events a second, memory
    Cost,
    /// What counting costs
    Metrics,
    /// What receipts cost
    Receipts,
    /// Added latency
    Latency,
    /// A fast destination beside neighbours that hang, are throttled, reject, run away or are large
    Isolation,
    /// Use of the vendor's quota at 200/s
    Quota,
    /// Use of the vendor's quota at 5/s
    SlowQuota,
    /// Use of the quota after a change of the vendor's latency
    LatencyChange,
    /// A vendor that works on few requests at once
    Crowded,
    /// Three 429s every eight seconds
    Bursts,
    /// A share of requests refused at random
    Refusals,
    /// Another user of the account
    Others,
    /// A real limit that is lower than the documented one
    LowerLimit,
    /// A machine whose cores are busy
    Busy,
    /// Memory while many events wait
    Backlog,
    /// A backlog under Act-On's five calls a second
    ActOn,
    /// A backlog under APSIS One's limits of account and profile
    ApsisOne,
    /// Live events beside an import, of three vendors
    Bulk,
    /// The worker that drives is killed, stopped, cut off or ended, with two others beside it
    Failover,
    /// The cost of an event where many wait, and over 200 destinations
    Scale,
    /// A pass over many dead letters, and their replay
    Dead,
    /// Memory and start with many destinations. Last: its many queues slow the broker down
    Idle,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rounds of each side.
    pub rounds: u32,
    /// Events of a round that is measured for its cost.
    pub events: u32,
    /// Seconds of a round that is measured for its latency.
    pub seconds: u32,
    /// Seconds for which the quota is used.
    pub quota_seconds: u32,
    /// Seconds for which it is used at a slow pace.
    pub slow_quota_seconds: u32,
    /// Seconds for which a vendor is asked that works on few requests at once.
    pub crowded_seconds: u32,
    /// How often three requests are refused.
    pub bursts: u32,
    /// Seconds for which a learned rate is looked at.
    pub learning_seconds: u32,
    /// Events that wait while memory is looked at.
    pub waiting: u32,
    /// Seconds for which memory is looked at.
    pub waiting_seconds: u64,
    /// Events for Act-On that are all alike; half as many are mixed.
    pub act_on_events: u32,
    /// Events for APSIS One, of an account.
    pub apsis_one_events: u32,
    /// Bulk events that wait while live ones are followed.
    pub bulk_events: u32,
    /// Seconds for which live events are followed.
    pub bulk_seconds: u32,
    /// How often each fault befalls the worker that drives.
    pub failovers: u32,
    /// Dead letters.
    pub letters: u32,
    /// Destinations that have nothing to do.
    pub destinations: u32,
}

const FULL: Size = Size {
    rounds: 5,
    events: 20_000,
    seconds: 10,
    quota_seconds: 15,
    slow_quota_seconds: 60,
    crowded_seconds: 20,
    bursts: 8,
    learning_seconds: 60,
    waiting: 100_000,
    waiting_seconds: 20,
    act_on_events: 100_000,
    apsis_one_events: 4_000,
    bulk_events: 100_000,
    bulk_seconds: 30,
    failovers: 20,
    letters: 200_000,
    destinations: 1_000,
};

const QUICK: Size = Size {
    rounds: 2,
    events: 10_000,
    seconds: 4,
    quota_seconds: 5,
    slow_quota_seconds: 20,
    crowded_seconds: 10,
    bursts: 3,
    learning_seconds: 20,
    waiting: 20_000,
    waiting_seconds: 5,
    act_on_events: 20_000,
    apsis_one_events: 800,
    bulk_events: 10_000,
    bulk_seconds: 8,
    failovers: 3,
    letters: 20_000,
    destinations: 100,
};

/// Measures, prints and writes the file.
///
/// # Errors
/// When something could not be measured. A figure that misses its target is no error.
pub async fn run(args: &Args) -> Result<(), Error> {
    let mut size = if args.quick { QUICK } else { FULL };
    if args.million {
        size.waiting = 1_000_000;
    }
    let earlier = args.compare.as_deref().map(Earlier::read).transpose()?;
    let mut report = Report::begin(args.quick)?;
    report.say("starting a private broker")?;
    let stage = Stage::set(&args.log_level).await?;
    for part in Part::value_variants() {
        if args.only.is_empty() || args.only.contains(part) {
            part.measure(&stage, size, &mut report).await?;
        }
    }
    stage.clear().await?;
    report.end(earlier.as_ref())
}

impl Part {
    async fn measure(self, stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
        match self {
            Self::Cost => cost::measure(stage, size, report).await,
            Self::Metrics => metrics::measure(report),
            Self::Receipts => receipts::measure(stage, size, report).await,
            Self::Latency => latency::measure(stage, size, report).await,
            Self::Isolation => isolation::measure(stage, size, report).await,
            Self::Quota => quota::fast(stage, size, report).await,
            Self::SlowQuota => quota::slow(stage, size, report).await,
            Self::LatencyChange => latency_change::measure(stage, report).await,
            Self::Crowded => crowded::measure(stage, size, report).await,
            Self::Bursts => bursts::measure(stage, size, report).await,
            Self::Refusals => refusals::measure(stage, size, report).await,
            Self::Others => shared::others(stage, size, report).await,
            Self::LowerLimit => shared::lower_limit(stage, size, report).await,
            Self::Busy => busy::measure(stage, size, report).await,
            Self::Backlog => backlog::measure(stage, size, report).await,
            Self::ActOn => act_on::measure(stage, size, report).await,
            Self::ApsisOne => apsis_one::measure(stage, size, report).await,
            Self::Bulk => bulk::measure(stage, size, report).await,
            Self::Failover => failover::measure(stage, size, report).await,
            Self::Scale => scale::measure(stage, size, report).await,
            Self::Dead => dead::measure(stage, size, report).await,
            Self::Idle => idle::measure(stage, size, report).await,
        }
    }
}
