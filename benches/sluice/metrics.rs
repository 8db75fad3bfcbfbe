//! What metrics cost: counting one event all through, and making the text that Prometheus reads of many destinations.

use std::hint::black_box;

use http::StatusCode;
use sluice::clock;
use sluice::metrics::{DestinationMetrics, Metrics, Shows};

use crate::Error;
use crate::report::{Figure, MEBIBYTE, Report, Target, Unit, median};

const EVENTS: u32 = 1_000_000;
const ROUNDS: u32 = 5;
const DESTINATIONS: u32 = 1_000;

/// Measures both; no broker is needed.
///
/// # Errors
/// When metrics cannot be made.
pub fn measure(report: &mut Report) -> Result<(), Error> {
    report.say(&format!("metrics: counting {EVENTS} events, and the text of {DESTINATIONS} destinations"))?;
    let metrics = Metrics::new()?;
    let handles: Vec<DestinationMetrics> =
        (0..DESTINATIONS).map(|number| metrics.destination(&format!("destination-{number}"))).collect();
    let first = handles.first().ok_or("there is a destination")?;
    let per_event: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = clock::now();
            (0..EVENTS).for_each(|_| count(black_box(first)));
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS)
        })
        .collect();
    report.add(
        Figure::alone("metrics of an event".to_owned(), Unit::Microseconds, median(&per_event))
            .with(Target::AtMost(1.0)),
    );
    let names = (0..DESTINATIONS).map(|number| format!("destination-{number}"));
    let shows = Shows { destinations: names.collect(), shared: true };
    let mut bytes = 0_usize;
    let mut texts = Vec::new();
    for _ in 0..ROUNDS {
        let begun = clock::now();
        bytes = black_box(metrics.text(&shows)?).len();
        texts.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let of = |what: &str| format!("{what} of {DESTINATIONS} destinations");
    report.add(Figure::alone(of("making the metrics' text"), Unit::Milliseconds, median(&texts)));
    let mebibytes = f64::from(u32::try_from(bytes)?);
    report.add(Figure::alone(of("the metrics' text"), Unit::Mebibytes, mebibytes).with(Target::AtMost(8.0 * MEBIBYTE)));
    Ok(())
}

/// As for an event that is taken, sent alone and delivered at once.
fn count(metrics: &DestinationMetrics) {
    metrics.consumed.inc();
    metrics.received.inc();
    metrics.requests.inc();
    metrics.batch_events.observe(1.0);
    metrics.attempt(Some(StatusCode::CREATED));
    metrics.request_duration.observe(black_box(0.042));
    metrics.delivered.inc();
    metrics.delivery_latency.observe(black_box(0.123));
}
