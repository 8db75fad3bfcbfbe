//! What an event costs: processor time, time and memory, of both sides in turn, while a backlog is worked off.

use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, median};
use crate::stage::{Destination, MANY, Side, Stage};
use crate::vendor::Latency;

/// The share of the events after which a round counts: by then all connections stand.
const WARM_UP: u32 = 10;
/// Time for the last acks to leave.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
struct Round {
    microseconds: f64,
    per_second: f64,
    resident: f64,
    peak: f64,
}

/// What an event may cost, of what the bare loop takes.
const PX: f64 = 1.15;
const HTTP: f64 = 1.10;
/// A body of its own for each event, with all that the event has.
const BY_JQ: &str =
    "body = { jq = \"{name: .eventName, user: .identifyId, account: .accountId, at: $event.time, attributes}\" }\n";
/// Events of a round whose requests take 300 ms.
const LATE_EVENTS: u32 = 8_000;

/// Measures both vendors, and one of them where answers take 300 ms.
///
/// # Errors
/// When a round does not come to its end.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    for (vendor, row, more, most) in [
        ("gainsight-px", "gainsight-px", "", PX),
        ("http", "http", "", HTTP),
        ("http", "http, body by jq", BY_JQ, HTTP),
    ] {
        let destination = Destination { more, ..Destination::open(vendor, &stage.sink) };
        compare(stage, &destination, (row, most), size.events, size.rounds, report).await?;
    }
    let late = Destination::late("gainsight-px", &stage.sink, Some(MANY));
    stage.sink.set_latency(Latency::TYPICAL);
    compare(stage, &late, ("gainsight-px, 300 ms", PX), size.events.min(LATE_EVENTS), size.rounds, report).await?;
    stage.sink.set_latency(Latency::NONE);
    Ok(())
}

async fn compare(
    stage: &Stage,
    destination: &Destination,
    (row, most): (&str, f64),
    events: u32,
    rounds: u32,
    report: &mut Report,
) -> Result<(), Error> {
    stage.declare(std::slice::from_ref(destination)).await?;
    let (mut bare, mut sluice) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        report.say(&format!("cost of an event, {row}: round {round} of {rounds}"))?;
        bare.push(work_off(stage, Side::Bare, destination, events).await?);
        sluice.push(work_off(stage, Side::Sluice, destination, events).await?);
    }
    let figure = |what: &str, unit, pick: fn(&Round) -> f64| {
        let of = |rounds: &[Round]| rounds.iter().map(pick).collect::<Vec<_>>();
        Figure::compared(format!("{what}, {row}"), unit, &of(&bare), &of(&sluice))
    };
    report.add(figure("CPU an event", Unit::Microseconds, |r| r.microseconds).with(Target::RatioAtMost(most)));
    report.add(figure("throughput", Unit::PerSecond, |r| r.per_second));
    report.add(figure("resident memory", Unit::Mebibytes, |r| r.resident));
    report.add(figure("resident memory at most", Unit::Mebibytes, |r| r.peak));
    let mean = median(&sluice.iter().map(|r| r.microseconds).collect::<Vec<_>>());
    report.say(&format!("{row}: Sluice took {mean:.1} µs of processor time an event"))
}

async fn work_off(stage: &Stage, side: Side, destination: &Destination, events: u32) -> Result<Round, Error> {
    let warm = events / WARM_UP;
    stage.purge(destination).await?;
    stage.publish(destination, warm + events).await?;
    stage.sink.forget();
    let child = stage.start(side, destination).await?;
    stage.sink.has_seen(warm).await?;
    let before = (stage.sink.requests(), child.cpu()?, clock::now());
    stage.sink.has_seen(warm + events).await?;
    let after = (stage.sink.requests(), child.cpu()?, clock::now());
    clock::sleep(SETTLE).await;
    let memory = child.resident()?;
    child.stop().await?;
    let handled = f64::from(after.0 - before.0);
    Ok(Round {
        microseconds: (after.1 - before.1).as_secs_f64() * 1e6 / handled,
        per_second: handled / after.2.duration_since(before.2).as_secs_f64(),
        resident: memory.now,
        peak: memory.peak,
    })
}
