//! What each part of an event's path costs by itself: `cargo bench --bench parts`, one part with `-- decode`.
//! `benches/sluice` measures the whole path beside a bare loop.

mod destination;
mod log_line;
mod ready_queue;

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use jiff::Timestamp;
use sluice::clock;
use sluice::config::{self, Config};
use sluice::event::{self, Context, Event};
use sluice::gate::{Answer, Gate, Hints, Ledger, Limit, Pass, Policy};
use sluice::message::{Field, Message, Properties};
use sluice::vendors::Facts;

type Error = Box<dyn std::error::Error>;

/// About the size of a body that people send.
const BODY_BYTES: usize = 1_000;

const CONFIG: &str = r#"
[broker]
url = "amqp://localhost"

[destinations.px]
vendor = "gainsight-px"
api_key = "bench"
property_key = "AP-BENCH-2"
limits = ["1000000/s"]
concurrency = 16
subscribe = ["product.#"]

[destinations.hook]
vendor = "http"
url = "https://vendor.example/v1/track"
limits = ["100/s"]
subscribe = ["product.#"]

[[destinations.hook.map]]
type = "product.#"
body = { jq = "{name: .eventName, user: .identifyId, at: $event.time, attributes: (.attributes | {plan, seats})}" }

[destinations.apsis]
vendor = "apsis-one"
client_id = "bench"
client_secret = "bench"
keyspace = "com.apsis1.keyspaces.email"
section = "usercreated.sections.my_section-h4h3dpu3qi"
limits = ["1000000/s"]
profile_limit = "1000/s"
concurrency = 16
subscribe = ["shop.#"]
"#;

fn data() -> String {
    let start = r#"{"identifyId":"u-1042","accountId":"a-77","eventName":"Report exported","propertyKey":"AP-BENCH-2","userType":"USER","attributes":{"plan":"enterprise","seats":120,"trial":false,"region":"eu-central-1","format":"pdf","pages":12,"note":""#;
    let end = r#""}}"#;
    format!("{start}{}{end}", "x".repeat(BODY_BYTES - start.len() - end.len()))
}

fn plain() -> Message {
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        message_id: Some("018f6a3e-7a1c-7b7e-9c60-2f1d5a3b9c11".to_owned()),
        app_id: Some("billing".to_owned()),
        kind: Some("product.report.exported".to_owned()),
        timestamp: Some(1_795_000_000),
        ..Properties::default()
    };
    Message { body: Bytes::from(data()), properties }
}

fn structured() -> Message {
    let body = format!(
        r#"{{"specversion":"1.0","id":"018f6a3e-7a1c-7b7e-9c60-2f1d5a3b9c11","source":"billing","type":"product.report.exported","time":"2026-11-20T10:00:00Z","datacontenttype":"application/json","data":{}}}"#,
        data()
    );
    let properties =
        Properties { content_type: Some("application/cloudevents+json".to_owned()), ..Properties::default() };
    Message { body: Bytes::from(body), properties }
}

fn binary() -> Message {
    let attributes = [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", "018f6a3e-7a1c-7b7e-9c60-2f1d5a3b9c11"),
        ("cloudEvents:source", "billing"),
        ("cloudEvents:type", "product.report.exported"),
        ("cloudEvents:time", "2026-11-20T10:00:00Z"),
    ];
    let headers = attributes.into_iter().map(|(name, value)| (name.to_owned(), Field::text(value))).collect();
    let properties = Properties { content_type: Some("application/json".to_owned()), headers, ..Properties::default() };
    Message { body: Bytes::from(data()), properties }
}

fn context() -> Context<'static> {
    Context { routing_key: "product.report.exported", received: Timestamp::UNIX_EPOCH, max_bytes: 256 * 1024 }
}

fn settings() -> Result<Config, Error> {
    let no_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    Ok(config::parse("bench.toml", CONFIG, &|_| None, &no_file)?)
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (form, message) in [("plain", plain()), ("structured", structured()), ("binary", binary())] {
        group.throughput(Throughput::Bytes(u64::try_from(message.body.len()).unwrap_or_default()));
        group.bench_function(form, |bencher| bencher.iter(|| event::decode(black_box(&message), context())));
    }
    group.finish();
}

fn map_and_check(criterion: &mut Criterion, config: &Config, event: &Event) {
    if let Some(hook) = config.destinations.get("hook") {
        criterion.bench_function("map by jq", |bencher| bencher.iter(|| hook.map.apply(black_box(event))));
    }
    if let Some(px) = config.destinations.get("px") {
        let facts = Facts::blind();
        criterion.bench_function("check and build a request, gainsight-px", |bencher| {
            bencher.iter(|| px.vendor.request_for(black_box(event), &facts));
        });
    }
}

fn gate(criterion: &mut Criterion, limits: &[Limit]) {
    let (begun, wall) = (clock::now(), clock::wall());
    let policy = Policy { concurrency: Some(64), ..Policy::default() };
    let mut gate = Gate::new(limits, policy, &Ledger::default(), begun, wall);
    let mut now = begun;
    criterion.bench_function("gate: a place, and its answer", |bencher| {
        bencher.iter(|| {
            // Later than any pace allows, so that each call gets a place.
            now += Duration::from_millis(10);
            if let Pass::Go(permit) = gate.pass(now, wall) {
                gate.finished(permit, Answer::Success, &Hints::default(), now, wall);
            }
        });
    });
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let (config, event) = (settings()?, event::decode(&plain(), context())?);
    decode(&mut criterion);
    map_and_check(&mut criterion, &config, &event);
    gate(&mut criterion, &["200/s".parse()?]);
    ready_queue::measure(&mut criterion, &config)?;
    destination::measure(&mut criterion, &config)?;
    log_line::measure(&mut criterion);
    criterion.final_summary();
    Ok(())
}
