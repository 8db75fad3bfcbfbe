//! Tells a webhook what became of issues. It is tried again for some minutes and never holds anything else up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::changes::Change;
use crate::backoff::{Backoff, Bounds};
use crate::clock;
use crate::config::{Notify, What};
use crate::delivery::Transport as _;
use crate::delivery::http::HttpTransport;
use crate::event::{Data, Event, Time};
use crate::gate::WrittenAt;
use crate::mapping::{self, Hard, Input};
use crate::metrics::Metrics;
use crate::threads;

/// Requests that are tried.
const TRIES: u32 = 6;
const PAUSES: Bounds = Bounds::doubling(Duration::from_secs(2), Duration::from_mins(1), 0.2);
/// Longest wait that a webhook may ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Notifications under way to one webhook; further ones are dropped and counted. A minute has twelve at most.
const AT_ONCE: usize = 64;
/// Changes in one notification; more are counted.
const MOST: usize = 100;

/// What is sent.
#[derive(Debug, Serialize)]
struct Notification<'a> {
    /// Whose issues; null where they are of several destinations, or of none.
    destination: Option<&'a str>,
    /// All of it in a few lines, for people.
    text: String,
    /// Where people look.
    console: Option<String>,
    /// The worker that tells.
    worker: &'a str,
    changes: &'a [Change],
    /// How many more there were.
    more: u64,
}

/// The webhooks of a configuration.
#[derive(Debug)]
pub(super) struct Notifier {
    metrics: Metrics,
    worker: String,
    /// By address: one that hangs holds no other up.
    slots: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// Why a webhook was not told.
enum Failure {
    /// It may be told later; after that wait, if it asked for one.
    Later(String, Option<Duration>),
    /// Telling it again changes nothing.
    Never(String),
}

impl Notifier {
    pub fn new(metrics: Metrics, worker: String) -> Self {
        Self { metrics, worker, slots: Mutex::default() }
    }

    /// Tells `notify` of those changes that it wants, in a task of its own.
    pub fn tell(&self, notify: &Notify, changes: &[Change], mut more: u64) {
        let wants = |change: &&Change| notify.wants(change.what, change.issue.destination.as_deref());
        let mut wanted: Vec<Change> = changes.iter().filter(wants).cloned().collect();
        if wanted.is_empty() {
            return;
        }
        more += u64::try_from(wanted.len().saturating_sub(MOST)).unwrap_or(0);
        wanted.truncate(MOST);
        let host = notify.url.host_str().unwrap_or_default().to_owned();
        let Ok(slot) = self.slots_of(notify).try_acquire_owned() else {
            tracing::warn!(host, "a notification is dropped: {AT_ONCE} others have not been taken yet");
            return self.count("failed");
        };
        let (notify, worker, metrics) = (notify.clone(), self.worker.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let _slot = slot;
            let outcome = match tell(notify, wanted, more, worker).await {
                Ok(()) => "sent",
                Err(Untold::Unmade(error)) => {
                    tracing::warn!(host, error, "a notification cannot be made: mend body under [[notify]]");
                    "failed"
                }
                Err(Untold::Unsent(why)) => {
                    tracing::warn!(host, why, "a webhook was not told of an issue");
                    "failed"
                }
            };
            metrics.notifications_total.with_label_values(&[outcome]).inc();
        });
    }

    fn slots_of(&self, notify: &Notify) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = slots.entry(notify.url.to_string()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
        Arc::clone(slots)
    }

    fn count(&self, outcome: &str) {
        self.metrics.notifications_total.with_label_values(&[outcome]).inc();
    }
}

/// Why a webhook was not told in the end.
enum Untold {
    /// There is nothing to send.
    Unmade(String),
    /// Nobody took it.
    Unsent(String),
}

/// Makes the request, without holding up a thread of the runtime, and sends it.
async fn tell(notify: Notify, changes: Vec<Change>, more: u64, worker: String) -> Result<(), Untold> {
    let timeout = notify.timeout;
    let made = match mapping::easily(|| request(&notify, &changes, more, &worker)) {
        Ok(made) => made,
        Err(Hard) => {
            let made = threads::beside(move || request(&notify, &changes, more, &worker)).await;
            made.map_err(|lack| Untold::Unsent(lack.to_string()))?
                .unwrap_or_else(|| Err("making it failed; this is a bug in Sluice".to_owned()))
        }
    };
    send(&made.map_err(Untold::Unmade)?, timeout).await.map_err(Untold::Unsent)
}

fn request(notify: &Notify, changes: &[Change], more: u64, worker: &str) -> Result<Request<Bytes>, String> {
    let first = changes.first().and_then(|change| change.issue.destination.as_deref());
    let is_one = changes.iter().all(|change| change.issue.destination.as_deref() == first);
    let console = notify.console.as_ref().map(|base| format!("{}/issues", base.as_str().trim_end_matches('/')));
    let text = text(changes, more, console.as_deref());
    let notification = Notification { destination: first.filter(|_| is_one), text, console, worker, changes, more };
    let whole = serde_json::to_vec(&notification).map_err(|error| error.to_string())?;
    let body = match &notify.body {
        None => Bytes::from(whole),
        Some(made) => made.json(&Input::of(&input(whole)?))?.ok_or("it gives nothing")?.into(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = notify.url.as_str().parse().map_err(|_| "its url cannot be used")?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers_mut().extend(notify.headers.clone());
    Ok(request)
}

/// A notification as jq sees it: `.` is all of it.
fn input(whole: Vec<u8>) -> Result<Event, String> {
    let data = Data::read("it", whole.into())?;
    let now = clock::wall();
    let time = now.to_string().parse::<Time>().map_err(|_| "the time cannot be written")?;
    Ok(Event {
        id: String::new(),
        source: String::new(),
        kind: "sluice.issues".to_owned(),
        time,
        data,
        trace: None,
        expires: None,
        not_before: None,
        id_derived: false,
        original: None,
    })
}

/// What happened, a line each.
fn text(changes: &[Change], more: u64, console: Option<&str>) -> String {
    let mut lines: Vec<String> = changes
        .iter()
        .map(|Change { what, issue }| {
            let count = issue.count.filter(|_| *what != What::Over);
            let count = count
                .map(|count| format!(", {count} {}", if count == 1 { "event" } else { "events" }))
                .unwrap_or_default();
            let kind = issue.kind.name().replace('_', " ");
            let whose = issue.destination.as_deref().unwrap_or("Sluice");
            match what {
                What::Over => format!("{whose}: {kind}: over"),
                What::New => format!("{whose}: {kind}{count}: {}", issue.says),
                What::Again => format!("{whose}: {kind} again{count}: {}", issue.says),
            }
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.extend(console.map(str::to_owned));
    lines.join("\n")
}

async fn send(request: &Request<Bytes>, timeout: Duration) -> Result<(), String> {
    let transport = HttpTransport::new(timeout, None, false).map_err(|error| error.to_string())?;
    let (mut pauses, mut why) = (Backoff::new(PAUSES), String::new());
    for left in (0..TRIES).rev() {
        match once(&transport, request).await {
            Ok(()) => return Ok(()),
            Err(Failure::Never(said)) => return Err(said),
            Err(Failure::Later(said, wait)) => {
                why = said;
                if left > 0 {
                    let pause = pauses.pause();
                    clock::sleep(wait.unwrap_or(pause).clamp(pause, LONGEST_WAIT)).await;
                }
            }
        }
    }
    Err(format!("{why}; given up after {TRIES} tries"))
}

async fn once(transport: &HttpTransport, request: &Request<Bytes>) -> Result<(), Failure> {
    let reply = transport.send(request, &WrittenAt::default()).await;
    let reply = reply.map_err(|trouble| Failure::Later(trouble.to_string(), None))?;
    let said = || format!("it answered {}", reply.status);
    match reply.status {
        status if status.is_success() => Ok(()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            let wait = reply.headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
            Err(Failure::Later(said(), wait.map(Duration::from_secs)))
        }
        status if status.is_server_error() => Err(Failure::Later(said(), None)),
        _ => Err(Failure::Never(said())),
    }
}
