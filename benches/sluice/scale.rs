//! Whether an event costs the same however many wait, and over however many destinations they are spread; and what 200 destinations at work take in
//! memory.

use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, MEBIBYTE, Report, Target, Unit, number, ratio};
use crate::stage::{Destination, Side, Stage};

/// Destinations at work beside each other.
const MANY: u32 = 200;
/// Events a second, over however many destinations: a burst to all of them would measure how many connections a vendor is given at once.
const PACE: u32 = 2_000;
/// Events that wait beside those that are worked off, where few do.
const FEW: u32 = 1_000;
/// What an event may cost, of what it costs where there is little.
const FLAT: f64 = 1.05;
/// How long the worker is looked at before there is anything to do.
const IDLE: Duration = Duration::from_secs(4);
/// A worker makes all queues of the destinations within that.
const START: Duration = Duration::from_secs(120);

/// Measures few and many in turns.
///
/// # Errors
/// When a round does not come to its end.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    waiting(stage, size, report).await?;
    destinations(stage, size, report).await
}

async fn waiting(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let destination = Destination { name: "waiting".to_owned(), ..Destination::open("gainsight-px", &stage.sink) };
    stage.declare(std::slice::from_ref(&destination)).await?;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for round in 1..=size.rounds {
        report.say(&format!("cost with {FEW} and {} waiting: round {round} of {}", size.waiting, size.rounds))?;
        for (waiting, costs) in [(FEW, &mut few), (size.waiting, &mut many)] {
            stage.purge(&destination).await?;
            stage.publish(&destination, size.events + waiting).await?;
            stage.sink.forget();
            let worker = stage.start(Side::Sluice, &destination).await?;
            stage.sink.has_seen(size.events / 10).await?;
            let before = (stage.sink.requests(), worker.cpu()?);
            stage.sink.has_seen(size.events).await?;
            let after = (stage.sink.requests(), worker.cpu()?);
            costs.push((after.1 - before.1).as_secs_f64() * 1e6 / f64::from(after.0 - before.0));
            worker.stop().await?;
        }
    }
    stage.remove(&destination).await?;
    let row = format!("CPU an event with {} waiting, of that with {FEW}", size.waiting);
    report.add(Figure::alone(row, Unit::Times, ratio(&many, &few)).with(Target::AtMost(FLAT)));
    Ok(())
}

async fn destinations(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    let mut memory = number(0);
    let open = Destination::open("gainsight-px", &stage.sink);
    let named = |count: u32| -> Vec<Destination> {
        (0..count).map(|n| Destination { name: format!("of-{count}-{n}"), ..open.clone() }).collect()
    };
    for round in 1..=size.rounds {
        report.say(&format!("cost with 1 and {MANY} destinations: round {round} of {}", size.rounds))?;
        for (count, costs) in [(1, &mut one), (MANY, &mut many)] {
            let destinations = named(count);
            let sections: String = destinations.iter().map(Destination::section).collect();
            let rest = format!("[retry]\ndelays = [\"5s\"]\n{sections}");
            let worker = stage.worker("prefix = \"bench\"", &rest, "scale", START).await?;
            let before = worker.process.cpu()?;
            clock::sleep(IDLE).await;
            let idle = (worker.process.cpu()? - before).as_secs_f64() / IDLE.as_secs_f64();
            stage.sink.forget();
            stage.publish_in_turn(&destinations, PACE, PACE).await?;
            stage.sink.has_seen(PACE).await?;
            // The connections stand, and what is looked up once is known.
            stage.sink.forget();
            let before = worker.process.cpu()?;
            stage.publish_in_turn(&destinations, size.events, PACE).await?;
            stage.sink.has_seen(size.events).await?;
            clock::sleep(Duration::from_millis(300)).await;
            costs.push((worker.process.cpu()? - before).as_secs_f64() * 1e6 / f64::from(size.events));
            report.say(&format!(
                "{count} destinations: {:.1} µs of processor time an event, {:.1} ms a second without any",
                costs.last().copied().unwrap_or_default(),
                1e3 * idle
            ))?;
            memory = worker.process.resident()?.now;
            worker.process.stop().await?;
        }
    }
    for destination in named(1).iter().chain(&named(MANY)) {
        stage.remove(destination).await?;
    }
    let row = format!("CPU an event over {MANY} destinations, of that of one");
    report.add(Figure::alone(row, Unit::Times, ratio(&many, &one)).with(Target::AtMost(FLAT)));
    let resident = Figure::alone(format!("resident memory, {MANY} destinations at work"), Unit::Mebibytes, memory);
    report.add(resident.with(Target::AtMost(120.0 * MEBIBYTE)));
    Ok(())
}
