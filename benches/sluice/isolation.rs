//! What a fast destination loses by neighbours of every bad kind: one that hangs, one that is throttled, one whose events are rejected, one whose
//! map runs away, one with events of 250 kB. Measured alone, beside neighbours in the same worker, and beside the same neighbours in a worker of
//! their own: the last takes as much of the machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse as _;
use sluice::clock;
use tokio::net::TcpListener;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, median, quantile, ratio};
use crate::stage::{Destination, Stage};
use crate::worker::Worker;

/// Events a second of the fast one while its latency is looked at.
const PER_SECOND: u32 = 500;
/// Events of the fast one before anything counts.
const WARM_UP: u32 = 500;
/// The neighbours are at work for this long before.
const SETTLE: Duration = Duration::from_secs(2);
/// A worker gets ready within that.
const START: Duration = Duration::from_secs(30);
/// Longer than any round.
const LONG: u32 = 120;

/// A neighbour: its name, the lines of its section, events a second, and bytes of each.
type Neighbour = (&'static str, &'static str, u32, usize);

const NEIGHBOURS: [Neighbour; 5] = [
    ("hanging", "timeout = \"5s\"", 20, 1_000),
    ("throttled", "", 50, 1_000),
    ("rejecting", "park_after_rejections = 0", 20, 1_000),
    (
        "runaway",
        "park_after_rejections = 0\n[[destinations.runaway.map]]\ntype = \"#\"\nbody = { jq = \"last(repeat(1))\" }",
        2,
        1_000,
    ),
    ("large", "", 4, 250_000),
];

/// Where the neighbours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Nowhere,
    SameWorker,
    OtherWorker,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    p50: f64,
    p99: f64,
    per_second: f64,
}

/// Measures the three in turn.
///
/// # Errors
/// When a round does not come to its end.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let vendors = vendors().await?;
    let fast = Destination { name: "fast".to_owned(), ..Destination::open("gainsight-px", &stage.sink) };
    let mut rounds: [Vec<Round>; 3] = Default::default();
    for round in 1..=size.rounds {
        for (place, seen) in [Where::Nowhere, Where::SameWorker, Where::OtherWorker].into_iter().zip(&mut rounds) {
            report.say(&format!("isolation, {place:?}: round {round} of {}", size.rounds))?;
            seen.push(follow(stage, &fast, &vendors, place, size).await?);
        }
    }
    let [alone, same, other] = rounds;
    let of = |rounds: &[Round], pick: fn(&Round) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
    for (place, rounds) in
        [("alone", &alone), ("beside bad neighbours", &same), ("beside them in another worker", &other)]
    {
        let tell =
            |what: &str, unit, pick| Figure::alone(format!("{what} of a fast one, {place}"), unit, of(rounds, pick));
        report.add(tell("p50 at 500/s", Unit::Milliseconds, |r| r.p50));
        report.add(tell("p99 at 500/s", Unit::Milliseconds, |r| r.p99));
        report.add(tell("events a second", Unit::PerSecond, |r| r.per_second));
    }
    let pairs = |with: &[Round], without: &[Round], pick: fn(&Round) -> f64| {
        let of = |rounds: &[Round]| rounds.iter().map(pick).collect::<Vec<_>>();
        ratio(&of(with), &of(without))
    };
    for (than, without) in [("alone", &alone), ("in another worker", &other)] {
        let tell = |what: &str, pick| {
            Figure::alone(
                format!("{what} beside bad neighbours, of that {than}"),
                Unit::Times,
                pairs(&same, without, pick),
            )
        };
        report.add(tell("p99", |r| r.p99).with(Target::AtMost(1.05)));
        report.add(tell("events a second", |r| r.per_second).with(Target::AtLeast(0.95)));
    }
    Ok(())
}

/// The latency at an even pace, then how fast a backlog is worked off.
async fn follow(
    stage: &Stage,
    fast: &Destination,
    vendors: &[String],
    place: Where,
    size: Size,
) -> Result<Round, Error> {
    let neighbours = sections(vendors);
    let beside = if place == Where::SameWorker { neighbours.as_str() } else { "" };
    let worker =
        |own: String, name: &'static str| async move { stage.worker("prefix = \"bench\"", &own, name, START).await };
    let other = match place {
        Where::OtherWorker => Some(worker(neighbours.clone(), "neighbours").await?),
        Where::Nowhere | Where::SameWorker => None,
    };
    let driver = worker(format!("{}{beside}", fast.section()), "isolation").await?;
    stage.sink.forget();
    let measured = async {
        clock::sleep(SETTLE).await;
        look(stage, fast, &driver, size).await
    };
    let seen = tokio::select! {
        seen = measured => seen,
        failed = trouble(stage), if place != Where::Nowhere => Err(failed),
    };
    driver.process.stop().await?;
    if let Some(other) = other {
        other.process.stop().await?;
    }
    for name in std::iter::once(fast.name.as_str()).chain(NEIGHBOURS.map(|neighbour| neighbour.0)) {
        stage.remove(&Destination { name: name.to_owned(), ..fast.clone() }).await?;
    }
    seen
}

async fn look(stage: &Stage, fast: &Destination, worker: &Worker, size: Size) -> Result<Round, Error> {
    stage.publish(fast, WARM_UP).await?;
    stage.sink.has_seen(WARM_UP).await?;
    stage.sink.forget();
    let events = PER_SECOND * size.seconds;
    stage.publish_evenly(fast, events, PER_SECOND).await?;
    stage.sink.has_seen(events).await?;
    let delays = stage.sink.sorted_delays();
    stage.sink.forget();
    let begun = clock::now();
    stage.publish(fast, size.events).await?;
    stage.sink.has_seen(size.events).await?;
    worker.has_delivered(fast, WARM_UP + events + size.events, Duration::from_secs(60)).await?;
    let per_second = f64::from(size.events) / begun.elapsed().as_secs_f64();
    Ok(Round { p50: quantile(&delays, 500)?, p99: quantile(&delays, 990)?, per_second })
}

/// Publishes for all neighbours until a round ends; ends itself only when that fails.
async fn trouble(stage: &Stage) -> Error {
    let publish = NEIGHBOURS.map(|(name, _, per_second, bytes)| async move {
        let body = format!(r#"{{"fill":"{}"}}"#, "x".repeat(bytes));
        stage.publish_evenly_each(name, per_second * LONG, per_second, |_| body.clone()).await
    });
    match futures_util::future::try_join_all(publish).await {
        Ok(_) => "the neighbours ran out of events".into(),
        Err(error) => error,
    }
}

fn sections(vendors: &[String]) -> String {
    let section = |((name, lines, _, _), url): (Neighbour, &String)| {
        format!(
            "[destinations.{name}]\nvendor = \"http\"\nsubscribe = [{name:?}]\nlimits = [\"1000/s\"]\nurl = {url:?}\n{lines}\n\n"
        )
    };
    NEIGHBOURS.into_iter().zip(vendors).map(section).collect()
}

/// One vendor for each neighbour, as bad as that needs.
async fn vendors() -> Result<Vec<String>, Error> {
    let mut urls = Vec::new();
    for (name, ..) in NEIGHBOURS {
        let answer = move || async move {
            match name {
                "hanging" => std::future::pending().await,
                "throttled" => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response(),
                "rejecting" => StatusCode::BAD_REQUEST.into_response(),
                _ => StatusCode::CREATED.into_response(),
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        urls.push(format!("http://{}/", listener.local_addr()?));
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    }
    Ok(urls)
}
