//! The order of the run: which parts, how long each, and the report at the end.

use crate::report::Report;
use crate::stage::Stage;
use crate::{Args, Error, act_on, apsis_one, backlog, cost, dead, idle, latency, metrics, quota, receipts};

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
    /// Use of the vendor's quota
    Quota,
    /// Memory while many events wait
    Backlog,
    /// A backlog under Act-On's five calls a second
    ActOn,
    /// A backlog under APSIS One's limits of account and profile
    ApsisOne,
    /// A pass over many dead letters, and their replay
    Dead,
    /// Memory and start with many destinations
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
    /// Events that wait while memory is looked at.
    pub waiting: u32,
    /// Seconds for which memory is looked at.
    pub waiting_seconds: u64,
    /// Events for Act-On that are all alike; half as many are mixed.
    pub act_on_events: u32,
    /// Events for APSIS One, of an account.
    pub apsis_one_events: u32,
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
    waiting: 100_000,
    waiting_seconds: 20,
    act_on_events: 100_000,
    apsis_one_events: 4_000,
    letters: 200_000,
    destinations: 1_000,
};

const QUICK: Size = Size {
    rounds: 2,
    events: 10_000,
    seconds: 4,
    quota_seconds: 5,
    slow_quota_seconds: 20,
    waiting: 20_000,
    waiting_seconds: 5,
    act_on_events: 20_000,
    apsis_one_events: 800,
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
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut report = Report::begin(args.quick)?;
    report.say("starting a private broker")?;
    let stage = Stage::set(&args.log_level).await?;
    if wanted(Part::Cost) {
        cost::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::Metrics) {
        metrics::measure(&mut report)?;
    }
    if wanted(Part::Receipts) {
        receipts::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::Latency) {
        latency::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::Quota) {
        quota::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::Backlog) {
        backlog::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::ActOn) {
        act_on::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::ApsisOne) {
        apsis_one::measure(&stage, size, &mut report).await?;
    }
    if wanted(Part::Dead) {
        dead::measure(&stage, size, &mut report).await?;
    }
    // Last: its many queues slow the broker down.
    if wanted(Part::Idle) {
        idle::measure(&stage, size, &mut report).await?;
    }
    stage.clear().await?;
    report.end()
}
