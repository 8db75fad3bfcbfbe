//! What Sluice adds to the way of an event, from its publication to its request's arrival, at a pace that leaves room.

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, quantile};
use crate::stage::{Destination, Side, Stage};
use crate::vendor::Latency;

const PER_SECOND: u32 = 500;
/// Events before a round counts: by then all connections stand.
const WARM_UP: u32 = 500;

#[derive(Clone, Copy, Debug)]
struct Round {
    p50: f64,
    p99: f64,
    p999: f64,
}

/// Rounds where the vendor takes 300 ms.
const LATE_ROUNDS: u32 = 3;

/// Measures both sides in turn, then where the vendor takes 300 ms and Sluice finds its concurrency.
///
/// # Errors
/// When a round does not come to its end.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let open = Destination::open("gainsight-px", &stage.sink);
    compare(stage, &open, "published to request seen", size, size.rounds, report).await?;
    let late = Destination::late("gainsight-px", &stage.sink, None);
    stage.sink.set_latency(Latency::TYPICAL);
    compare(stage, &late, "published to request seen, 300 ms", size, size.rounds.min(LATE_ROUNDS), report).await?;
    stage.sink.set_latency(Latency::NONE);
    Ok(())
}

async fn compare(
    stage: &Stage,
    destination: &Destination,
    row: &str,
    size: Size,
    rounds: u32,
    report: &mut Report,
) -> Result<(), Error> {
    stage.declare(std::slice::from_ref(destination)).await?;
    let (mut bare, mut sluice) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        report.say(&format!("latency at {PER_SECOND} events/s, {row}: round {round} of {rounds}"))?;
        bare.push(follow(stage, Side::Bare, destination, size.seconds).await?);
        sluice.push(follow(stage, Side::Sluice, destination, size.seconds).await?);
    }
    let figure = |what: &str, pick: fn(&Round) -> f64| {
        let of = |rounds: &[Round]| rounds.iter().map(pick).collect::<Vec<_>>();
        Figure::compared(format!("{what}, {row}"), Unit::Milliseconds, &of(&bare), &of(&sluice))
    };
    report.add(figure("p50", |r| r.p50));
    report.add(figure("p99", |r| r.p99).with(Target::RatioAtMost(1.2)));
    report.add(figure("p99.9", |r| r.p999));
    Ok(())
}

async fn follow(stage: &Stage, side: Side, destination: &Destination, seconds: u32) -> Result<Round, Error> {
    stage.purge(destination).await?;
    stage.sink.forget();
    let child = stage.start(side, destination).await?;
    stage.publish(destination, WARM_UP).await?;
    stage.sink.has_seen(WARM_UP).await?;
    stage.sink.forget();
    let events = PER_SECOND * seconds;
    stage.publish_evenly(destination, events, PER_SECOND).await?;
    stage.sink.has_seen(events).await?;
    let delays = stage.sink.sorted_delays();
    child.stop().await?;
    let at = |per_mille| quantile(&delays, per_mille);
    Ok(Round { p50: at(500)?, p99: at(990)?, p999: at(999)? })
}
