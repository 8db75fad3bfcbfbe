//! What live events lose by a large import behind them: each vendor is followed with an empty queue, then with bulk events waiting, and last with more
//! live events than its limit lets through, where bulk has its share.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use sluice::clock;
use sluice::sandbox::{ApsisEventType, Latency, Sandbox, Settings};
use tokio::net::TcpListener;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, quantile};
use crate::stage::{Destination, Stage};

/// Live events a second.
const LIVE: u32 = 20;
/// Requests a second of the vendor whose limit is set here.
const PER_SECOND: u32 = 100;
/// What stands in a live event before the time of its publication, in nanoseconds since 1970, and after it.
const SENT: (&str, char) = ("sent-at-", '.');
/// What stands in a bulk event.
const BULK: &str = "from-an-import";
/// What a live event may lose by the import, at p99.
const MOST_LOST: f64 = 60.0;
/// The import is under way for this long before live events count.
const SETTLE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is followed: a row, a vendor, how long its answers take, its limit, requests a second by which its quota is judged.
#[derive(Clone, Copy)]
struct Account {
    row: &'static str,
    vendor: &'static str,
    latency: Latency,
    limit: Option<&'static str>,
    /// A body with that text in it.
    body: fn(u32, &str) -> Value,
}

/// What came, as seen in front of the vendor.
#[derive(Debug, Default)]
struct Seen {
    delays: Vec<Duration>,
    requests: u32,
    with_bulk: u32,
}

/// Stands in front of a sandbox, and looks at what passes.
#[derive(Clone)]
struct Watch {
    seen: Arc<Mutex<Seen>>,
    behind: SocketAddr,
    client: reqwest::Client,
}

/// Measures one vendor after the other.
///
/// # Errors
/// When an event does not arrive.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let late = Latency::exponential(Duration::from_millis(300));
    let px =
        Account { row: "Gainsight PX", vendor: "gainsight-px", latency: Latency::NONE, limit: Some("100/s"), body: px };
    let accounts = [
        px,
        Account { row: "Gainsight PX, 300 ms", latency: late, ..px },
        Account { row: "Act-On", vendor: "act-on", latency: late, limit: None, body: act_on },
        Account { row: "APSIS One", vendor: "apsis-one", latency: late, limit: Some("100/s"), body: apsis_one },
    ];
    for account in accounts {
        account.follow(stage, size, report).await?;
    }
    Ok(())
}

impl Account {
    async fn follow(self, stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
        let Self { row, vendor, .. } = self;
        let sandbox = Sandbox::start(Settings { latency: vec![self.latency.into()], ..Settings::default() }).await?;
        let watch = Watch::start(sandbox.address()).await?;
        let destination = Destination {
            name: format!("behind-{}", row.to_lowercase().replace([' ', ','], "-")),
            vendor,
            base: watch.0,
            limit: self.limit.map(str::to_owned),
            concurrency: None,
            more: "",
        };
        let watch = watch.1;
        let worker = stage.sluice(std::slice::from_ref(&destination)).await?;
        report.say(&format!("live beside bulk, {row}: an empty queue"))?;
        // The first signs in and looks up what there is.
        stage.publish_each(&destination, 1, |n| self.live(n)).await?;
        worker.has_delivered(&destination, 1, PATIENCE).await?;
        let empty = self.live_events(stage, &destination, &watch, size).await?;
        report.say(&format!("live beside bulk, {row}: {} bulk events", size.bulk_events))?;
        stage.publish_bulk(&destination, size.bulk_events, |n| (self.body)(n, BULK).to_string()).await?;
        clock::sleep(SETTLE).await;
        let beside = self.live_events(stage, &destination, &watch, size).await?;
        let tell = |what: &str, unit, value| Figure::alone(format!("{what}, {row}"), unit, value);
        let (lone, busy) = (empty.at(99)?, beside.at(99)?);
        report.add(tell("live p99, empty queue", Unit::Milliseconds, lone));
        report.add(tell("live p99, bulk waiting", Unit::Milliseconds, busy));
        report.add(tell("live p99 lost by bulk", Unit::Milliseconds, busy - lone).with(Target::AtMost(MOST_LOST)));
        if self.limit.is_some() {
            let used = 100.0 * f64::from(beside.requests) / f64::from(PER_SECOND * size.bulk_seconds);
            report.add(tell("quota used, bulk waiting", Unit::Percent, used).with(Target::AtLeast(98.0)));
            report.say(&format!("live beside bulk, {row}: more live events than may go"))?;
            stage.publish_each(&destination, 2 * PER_SECOND * size.bulk_seconds, |n| self.live(n)).await?;
            clock::sleep(SETTLE).await;
            watch.forget();
            clock::sleep(Duration::from_secs(size.bulk_seconds.into())).await;
            let full = watch.take();
            let share = 100.0 * f64::from(full.with_bulk) / f64::from(full.requests);
            report
                .add(tell("share of bulk where live fills the gate", Unit::Percent, share).with(Target::AtLeast(4.5)));
        }
        worker.process.stop().await?;
        sandbox.stop().await;
        stage.remove(&destination).await
    }

    /// What was seen while live events came evenly.
    async fn live_events(self, stage: &Stage, to: &Destination, watch: &Watch, size: Size) -> Result<Seen, Error> {
        watch.forget();
        let events = LIVE * size.bulk_seconds;
        stage.publish_evenly_each(&to.name, events, LIVE, |n| self.live(n)).await?;
        let requests = watch.seen().requests;
        let deadline = clock::now() + PATIENCE;
        while watch.seen().delays.len() < usize::try_from(events)? {
            if clock::now() > deadline {
                return Err(
                    format!("{}: {} of {events} live events arrived", self.row, watch.seen().delays.len()).into()
                );
            }
            clock::sleep(Duration::from_millis(20)).await;
        }
        Ok(Seen { requests, ..watch.take() })
    }

    fn live(self, n: u32) -> String {
        (self.body)(n, &format!("{}{}{}", SENT.0, clock::wall().as_nanosecond(), SENT.1)).to_string()
    }
}

impl Seen {
    fn at(&self, per_cent: usize) -> Result<f64, Error> {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        quantile(&delays, 10 * per_cent)
    }
}

impl Watch {
    /// In front of that sandbox; where it listens.
    async fn start(behind: SocketAddr) -> Result<(String, Self), Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let watch = Self { seen: Arc::default(), behind, client: reqwest::Client::builder().no_proxy().build()? };
        let router = Router::new().fallback(pass).with_state(watch.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((base, watch))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }

    fn forget(&self) {
        drop(self.take());
    }

    fn note(&self, body: &[u8]) {
        let (now, text) = (clock::wall().as_nanosecond(), String::from_utf8_lossy(body));
        let sent = text.split(SENT.0).skip(1).filter_map(|rest| rest.split(SENT.1).next()?.parse::<i128>().ok());
        let mut seen = self.seen();
        seen.delays.extend(sent.filter_map(|sent| Some(Duration::from_nanos(u64::try_from(now - sent).ok()?))));
        seen.requests += u32::from(text.contains(SENT.0) || text.contains(BULK));
        seen.with_bulk += u32::from(text.contains(BULK));
    }
}

/// Looks at a request and hands it on.
async fn pass(State(watch): State<Watch>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    watch.note(&body);
    let url = format!("http://{}{uri}", watch.behind);
    match watch.client.request(method, url).headers(headers).body(body).send().await {
        Ok(reply) => {
            let (status, headers) = (reply.status(), reply.headers().clone());
            (status, headers, reply.bytes().await.unwrap_or_default()).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn px(_: u32, text: &str) -> Value {
    json!({
        "identifyId": "u-1042", "accountId": "a-77", "eventName": "Report exported", "propertyKey": "AP-BENCH-2", "userType": "USER",
        "attributes": { "note": text },
    })
}

fn act_on(n: u32, text: &str) -> Value {
    json!({
        "destination": "Bench", "customeventaction": "CUSTOM_ATTENDED", "email": format!("reader-{n}@example.com"), "title": "Webinar",
        "note": text,
    })
}

fn apsis_one(n: u32, text: &str) -> Value {
    json!({
        "profile": format!("{}-{n}", text.len()), "keyspace": "com.apsis1.keyspaces.crm-id",
        "section": "usercreated.sections.my_section-h4h3dpu3qi", "event": ApsisEventType::documented().discriminator,
        "data": { "myNumberField": n, "myNumberWithDecimalField": 1.5, "myTextField": text, "myTrueFalseField": true, "source": "bench" },
    })
}
