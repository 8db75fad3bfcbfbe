//! How much memory a worker has while far more events wait than its gate lets through.

use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, MEBIBYTE, Report, Target, Unit};
use crate::stage::{Destination, Stage};
use crate::vendor::Latency;

/// Measures one destination at 200/s, then where its vendor takes 300 ms.
///
/// # Errors
/// When the broker does not take the events or the worker does not start.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let open = Destination::open("gainsight-px", &stage.sink);
    let destination = Destination { name: "backlog".to_owned(), limit: Some("200/s".to_owned()), ..open };
    stage.declare(std::slice::from_ref(&destination)).await?;
    report.say(&format!("memory: publishing {} events", size.waiting))?;
    stage.publish(&destination, size.waiting).await?;
    // At 300 ms with as many in flight as Sluice finds.
    let late = Destination { concurrency: None, ..destination.clone() };
    for (destination, latency, row) in [(&destination, Latency::NONE, ""), (&late, Latency::TYPICAL, ", 300 ms")] {
        stage.sink.set_latency(latency);
        report.say(&format!("memory: {} s at 200/s{row}", size.waiting_seconds))?;
        let worker = stage.sluice(std::slice::from_ref(destination)).await?;
        clock::sleep(Duration::from_secs(size.waiting_seconds)).await;
        let memory = worker.process.resident()?;
        worker.process.stop().await?;
        let name = |what: &str| format!("{what}, {} events waiting{row}", size.waiting);
        report.add(Figure::alone(name("resident memory"), Unit::Mebibytes, memory.now));
        let peak = Figure::alone(name("resident memory at most"), Unit::Mebibytes, memory.peak);
        report.add(peak.with(Target::AtMost(48.0 * MEBIBYTE)));
    }
    stage.sink.set_latency(Latency::NONE);
    stage.purge(&destination).await
}
