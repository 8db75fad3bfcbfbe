//! What receipts cost: processor time an event with them and without, in turn, while a backlog is worked off and somebody
//! takes every receipt.

use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, median};
use crate::stage::{Destination, MANY, Stage};
use crate::vendor::Latency;

/// The share of the events after which a round counts: by then all connections stand.
const WARM_UP: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
struct Round {
    microseconds: f64,
    per_second: f64,
    /// In per cent of the receipts.
    dropped: f64,
}

/// Events of a round where the vendor takes 300 ms, and rounds.
const LATE_EVENTS: u32 = 8_000;
const LATE_ROUNDS: u32 = 3;

/// Measures one vendor, then where it takes 300 ms.
///
/// # Errors
/// When a round does not come to its end.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    stage.subscribe_to_receipts().await?;
    let open = Destination::open("gainsight-px", &stage.sink);
    compare(stage, &open, "", size.events, size.rounds, report).await?;
    let late = Destination::late("gainsight-px", &stage.sink, Some(MANY));
    stage.sink.set_latency(Latency::TYPICAL);
    let (events, rounds) = (size.events.min(LATE_EVENTS), size.rounds.min(LATE_ROUNDS));
    compare(stage, &late, ", 300 ms", events, rounds, report).await?;
    stage.sink.set_latency(Latency::NONE);
    Ok(())
}

async fn compare(
    stage: &Stage,
    destination: &Destination,
    row: &str,
    events: u32,
    rounds: u32,
    report: &mut Report,
) -> Result<(), Error> {
    stage.declare(std::slice::from_ref(destination)).await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        report.say(&format!("receipts{row}: round {round} of {rounds}"))?;
        without.push(work_off(stage, destination, false, events).await?);
        with.push(work_off(stage, destination, true, events).await?);
    }
    let of = |rounds: &[Round], pick: fn(&Round) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
    let ratio = |pick: fn(&Round) -> f64| {
        let ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| pick(with) / pick(without)).collect();
        median(&ratios)
    };
    let tell = |what: &str, unit, value| Figure::alone(format!("{what}{row}"), unit, value);
    let cpu = tell("CPU an event with receipts, of that without", Unit::Times, ratio(|r| r.microseconds));
    report.add(cpu.with(Target::AtMost(1.5)));
    report.add(tell("throughput with receipts, of that without", Unit::Times, ratio(|r| r.per_second)));
    report.add(tell("receipts dropped", Unit::Percent, of(&with, |r| r.dropped)));
    let (without, with) = (of(&without, |r| r.microseconds), of(&with, |r| r.microseconds));
    report.say(&format!("{without:.1} µs of processor time an event without receipts, {with:.1} µs with them"))
}

/// One worker from its start; until every receipt is published, too, where there are any.
async fn work_off(stage: &Stage, destination: &Destination, receipts: bool, events: u32) -> Result<Round, Error> {
    let (warm, all) = (events / WARM_UP, events / WARM_UP + events);
    stage.purge(destination).await?;
    stage.publish(destination, all).await?;
    stage.sink.forget();
    let worker = stage.sluice_with(std::slice::from_ref(destination), receipts).await?;
    stage.sink.has_seen(warm).await?;
    let before = (stage.sink.requests(), worker.process.cpu()?, clock::now());
    stage.sink.has_seen(all).await?;
    let (seen, took) = (stage.sink.requests() - before.0, before.2.elapsed());
    worker.has_delivered(destination, all, PATIENCE).await?;
    let dropped = if receipts { worker.has_told(all, PATIENCE).await? } else { 0.0 };
    let spent = worker.process.cpu()? - before.1;
    worker.process.stop().await?;
    Ok(Round {
        microseconds: spent.as_secs_f64() * 1e6 / f64::from(seen),
        per_second: f64::from(seen) / took.as_secs_f64(),
        dropped: 100.0 * dropped / f64::from(all),
    })
}
