//! Dead letters in large numbers: how long a pass takes, whether a replay holds its pace, and what both need of memory.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use sluice::broker::{Broker, BrokerSettings, Declare};
use sluice::clock;
use sluice::message::{Message, Properties};
use sluice::record::death::Death;
use sluice::record::history::{Attempt, History};
use sluice::verdict::Reason;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::bench::Size;
use crate::child::Child;
use crate::report::{Figure, MEBIBYTE, Report, Target, Unit};
use crate::sink::Sink;
use crate::stage::{Destination, Stage};
use crate::vendor::Latency;

/// Letters a second that are replayed.
const PACE: u32 = 1_000;
/// Letters on their way to the broker at once.
const WINDOW: usize = 256;
/// Where the vendor takes 300 ms, so many times fewer letters are replayed.
const LATE_SHARE: u32 = 10;
/// How often a process's memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Measures a pass over the letters, then their replay, and a replay where the vendor takes 300 ms.
///
/// # Errors
/// When the broker does not take the letters or a process does not start.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let open = Destination::open("gainsight-px", &stage.sink);
    let destination = Destination { name: "dead".to_owned(), ..open };
    let letters = size.letters;
    let worker = stage.sluice(std::slice::from_ref(&destination)).await?;
    report.say(&format!("dead letters: publishing {letters}"))?;
    publish(stage, &destination, letters).await?;
    let name = |what: &str| format!("{what}, {letters} dead letters");
    let (took, peak) = command(stage, &["dead", "groups", &destination.name]).await?;
    report.add(Figure::alone(name("groups in one pass"), Unit::Seconds, took).with(Target::AtMost(60.0)));
    report.add(
        Figure::alone(name("memory at most, groups"), Unit::Mebibytes, peak).with(Target::AtMost(80.0 * MEBIBYTE)),
    );
    replay(stage, &destination, letters, "", report).await?;
    worker.process.stop().await?;

    let late = Destination { name: "dead-late".to_owned(), concurrency: None, ..destination };
    let worker = stage.sluice(std::slice::from_ref(&late)).await?;
    publish(stage, &late, letters / LATE_SHARE).await?;
    stage.sink.set_latency(Latency::TYPICAL);
    replay(stage, &late, letters / LATE_SHARE, ", 300 ms", report).await?;
    stage.sink.set_latency(Latency::NONE);
    worker.process.stop().await
}

/// Replays all letters of a destination.
async fn replay(
    stage: &Stage,
    destination: &Destination,
    letters: u32,
    row: &str,
    report: &mut Report,
) -> Result<(), Error> {
    report.say(&format!("dead letters: replaying {letters} at {PACE}/s{row}"))?;
    stage.sink.forget();
    let pace = format!("{PACE}/s");
    let arguments = ["dead", "replay", &destination.name, "--all", "--yes", "--rate", &pace];
    let replay = command(stage, &arguments);
    let mut watch = pin!(off_pace(&stage.sink, letters));
    let mut replay = pin!(replay);
    // A replay that fails is told rather than watched for ever.
    let (off, replayed) = tokio::select! {
        off = &mut watch => (off, replay.await),
        replayed = &mut replay => (f64::INFINITY, replayed),
    };
    let (_, peak) = replayed?;
    let name = |what: &str| format!("{what}, {letters} dead letters{row}");
    report.add(Figure::alone(name("off its pace, replay"), Unit::Percent, off).with(Target::AtMost(3.0)));
    report.add(
        Figure::alone(name("memory at most, replay"), Unit::Mebibytes, peak).with(Target::AtMost(80.0 * MEBIBYTE)),
    );
    Ok(())
}

/// By how many per cent letters arrive faster or slower than they should, between the first tenth and the last.
async fn off_pace(sink: &Sink, letters: u32) -> f64 {
    let reaches = async |wanted: u32| loop {
        let seen = sink.requests();
        if seen >= wanted {
            return (clock::now(), seen);
        }
        clock::sleep(LOOK).await;
    };
    let (begun, first) = reaches(letters / 10).await;
    let (ended, last) = reaches(letters - letters / 10).await;
    let rate = f64::from(last - first) / ended.saturating_duration_since(begun).as_secs_f64();
    (rate / f64::from(PACE) - 1.0).abs() * 100.0
}

/// Runs a command to its end: the seconds that it took and its memory at most.
async fn command(stage: &Stage, arguments: &[&str]) -> Result<(f64, f64), Error> {
    let config = stage.config().display().to_string();
    let arguments = [arguments, &["--config", &config]].concat();
    let program: PathBuf = env!("CARGO_BIN_EXE_sluice").into();
    let (began, mut peak) = (clock::now(), 0.0_f64);
    let mut child = Child::start(&program, &arguments, &stage.log("command"))?;
    while !child.has_ended()? {
        if let Ok(resident) = child.resident() {
            peak = peak.max(resident.peak);
        }
        clock::sleep(LOOK).await;
    }
    Ok((clock::now().saturating_duration_since(began).as_secs_f64(), peak))
}

/// Puts letters of one cause, each naming its own user, among the dead ones, as a worker writes them.
async fn publish(stage: &Stage, destination: &Destination, letters: u32) -> Result<(), Error> {
    let settings = BrokerSettings {
        url: stage.url().into(),
        prefix: "bench".to_owned(),
        declare: Declare::Never,
        delivery_limit: 20,
        name: "bench".to_owned(),
    };
    let broker = Broker::start(settings, CancellationToken::new());
    let (publisher, queue) = (broker.publisher(), broker.names().dead(&destination.name));
    let mut confirms = FuturesUnordered::new();
    for n in 0..letters {
        confirms.push(publisher.submit("", &queue, letter(destination, n, clock::wall())).await?);
        while confirms.len() >= WINDOW {
            confirms.next().await.transpose()?;
        }
    }
    while let Some(confirmed) = confirms.next().await {
        confirmed?;
    }
    broker.close(Duration::from_secs(10)).await;
    Ok(())
}

fn letter(destination: &Destination, n: u32, now: Timestamp) -> Message {
    let id = format!("order-{n}");
    let body = format!(
        r#"{{"identifyId":"u-{n}","eventName":"Report exported","propertyKey":"AP-BENCH-2","userType":"USER","attributes":{{"note":"{}"}}}}"#,
        "x".repeat(700)
    );
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        delivery_mode: Some(2),
        message_id: Some(id.clone()),
        ..Properties::default()
    };
    let sentence = format!("Gainsight PX answered 400: user u-{n} is unknown");
    let mut history = History::new(&destination.name, now);
    history.add(Attempt { at: now, status: Some(400), ms: 12, verdict: "rejected".into(), excerpt: sentence.clone() });
    let death = Death {
        reason: Reason::Rejected,
        sentence: &sentence,
        destination: &destination.name,
        event_id: Some(&id),
        event_type: &destination.name,
        at: now,
    };
    death.write(&Message { body: body.into(), properties }, &history)
}
