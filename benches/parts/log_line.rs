//! What the line of a delivery costs, from its fields to bytes that are handed over.

use std::io;

use criterion::Criterion;
use sluice::config::Format;
use sluice::log;

/// Times both formats.
pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log line");
    for (name, format) in [("text", Format::Text), ("json", Format::Json)] {
        tracing::subscriber::with_default(log::lines(format, io::sink), || {
            group.bench_function(name, |bencher| bencher.iter(delivered));
        });
    }
    group.finish();
}

/// As `src/destination/outcome.rs` writes it.
fn delivered() {
    tracing::info!(
        destination = "px",
        event.id = "018f6a3e-7a1c-7b7e-9c60-2f1d5a3b9c11",
        event.r#type = "product.report.exported",
        trace_id = None::<&str>,
        outcome = "delivered",
        status = Some(201_u16),
        ms = 12_u64,
        retries = 0_u32,
        "delivered"
    );
}
