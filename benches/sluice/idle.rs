//! What many destinations cost that have nothing to do: memory, and the time until all of them consume.

use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, MEBIBYTE, Report, Target, Unit};
use crate::stage::Stage;
use crate::worker::Worker;

/// The first start waits for the broker, which makes 100 to 200 queues a second.
const FIRST_START: Duration = Duration::from_secs(300);
const START: Duration = Duration::from_secs(30);
/// Then it is as it stays.
const SETTLED: Duration = Duration::from_secs(15);

/// Measures the second start, which finds every queue there. Leaves the queues to the broker's end.
///
/// # Errors
/// When a worker does not get ready.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let count = size.destinations;
    report.say(&format!("idle: declaring {count} destinations"))?;
    let first = start(stage, count, FIRST_START).await?;
    first.0.process.stop().await?;
    report.say(&format!("idle: starting with {count} destinations"))?;
    let (worker, took) = start(stage, count, START).await?;
    clock::sleep(SETTLED).await;
    let memory = worker.process.resident()?;
    worker.process.stop().await?;
    let seconds = |what: &str, took: Duration| {
        Figure::alone(format!("{what}, {count} destinations"), Unit::Seconds, took.as_secs_f64())
    };
    report.add(seconds("time to start, all queues to be made", first.1));
    report.add(seconds("time to start", took).with(Target::AtMost(START.as_secs_f64())));
    let resident = Figure::alone(format!("resident memory, {count} idle destinations"), Unit::Mebibytes, memory.now);
    report.add(resident.with(Target::AtMost(120.0 * MEBIBYTE)));
    Ok(())
}

/// One retry delay each: with the six that are usual, the broker would be what is measured.
async fn start(stage: &Stage, count: u32, patience: Duration) -> Result<(Worker, Duration), Error> {
    let vendor = stage.sink.url();
    let destinations: String = (0..count)
        .map(|number| {
            format!(
                "[destinations.idle-{number}]\nvendor = \"http\"\nurl = {vendor:?}\nsubscribe = [\"idle.{number}\"]\nlimits = [\"10/s\"]\n"
            )
        })
        .collect();
    let rest = format!("[retry]\ndelays = [\"5s\"]\n{destinations}");
    let begun = clock::now();
    let worker = stage.worker("prefix = \"idle\"", &rest, "idle", patience).await?;
    Ok((worker, begun.elapsed()))
}
