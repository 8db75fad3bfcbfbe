//! The played vendors with their faults and their ledger: a request comes in, and an answer or a cut goes out.
//! Knows nothing of sockets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use http_body_util::Full;

use super::announce;
use super::api::{self, Answer, Api, Call, Revoked};
use super::control;
use super::fault::{Active, Befallen, FaultKind, FaultRule, Faults, RetryAfter, RuleError};
use super::latency::{Latencies, Latency, LatencyError, LatencyOf};
use super::ledger::{Arrival, CallOutcome, EndpointStats, Ledger};
use super::lock;
use crate::clock;

const LATE: Duration = Duration::from_secs(1);
const DATE_AHEAD: Duration = Duration::from_secs(5);

/// The connection is to be reset instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is to be reset")]
pub(super) struct Cut;

/// Everything that the connections share.
pub(super) struct World {
    apis: Vec<Arc<dyn Api>>,
    faults: Mutex<Faults>,
    ledger: Arc<Mutex<Ledger>>,
    latencies: Mutex<Latencies>,
    started: Instant,
    /// The wall clock when `started`, since the Unix epoch.
    epoch: Duration,
}

impl World {
    /// A world of these vendors, which write to `ledger` and take their typical time to answer.
    pub fn new(apis: Vec<Arc<dyn Api>>, ledger: Arc<Mutex<Ledger>>, seed: u64) -> Self {
        for api in &apis {
            for endpoint in api.endpoints() {
                lock(&ledger).open(endpoint, api.limits(endpoint));
            }
        }
        let epoch = Duration::try_from(clock::wall().as_duration()).unwrap_or_default();
        let typical = apis.iter().map(|api| (api.name(), api.typical_latency()));
        let latencies = Mutex::new(Latencies::typical(typical, seed));
        Self { faults: Mutex::new(Faults::new(seed)), latencies, apis, ledger, started: clock::now(), epoch }
    }

    /// The time since the Unix epoch, by the wall clock at the start and the steady clock since.
    fn now(&self) -> Duration {
        self.epoch + clock::now().duration_since(self.started)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`Cut`] when a fault says so.
    pub async fn answer(&self, call: Call) -> Result<Answer, Cut> {
        let path = call.uri().path();
        if control::owns(path) {
            return Ok(control::answer(self, &call));
        }
        let Some(api) = self.apis.iter().find(|api| api.owns(path)) else {
            return Ok(api::error(StatusCode::NOT_FOUND, "the sandbox plays no API with this path"));
        };
        let now = self.now();
        let befallen = lock(&self.faults).befall(path, now);
        let works = befallen.as_ref().is_none_or(|befallen| befallen.rule.fault.works());
        let (outcome, answer) = if works { api.answer(&call, now) } else { (CallOutcome::Faulted, Answer::default()) };
        let endpoint = api.endpoint(&call);
        lock(&self.ledger).record(&Arrival {
            endpoint,
            limits: api.limits(endpoint),
            at: now,
            faulted: befallen.is_some(),
            outcome: &outcome,
        });
        let latency = lock(&self.latencies).draw(api.name());
        if !latency.is_zero() {
            clock::sleep(latency).await;
        }
        match befallen {
            Some(befallen) => distort(befallen, answer, now).await,
            None => Ok(answer),
        }
    }

    /// Figures by endpoint.
    pub fn stats(&self) -> BTreeMap<String, EndpointStats> {
        let mut stats = lock(&self.ledger).stats();
        for (endpoint, name, figure) in self.apis.iter().flat_map(|api| api.figures()) {
            if let Some(stats) = stats.get_mut(endpoint) {
                stats.figures.insert(name, figure);
            }
        }
        stats
    }

    /// The last `limit` bodies taken, oldest first; those of one endpoint, or all.
    pub fn events(&self, endpoint: Option<&str>, limit: usize) -> Vec<Bytes> {
        lock(&self.ledger).events(endpoint, limit)
    }

    /// Forgets all that arrived.
    pub fn forget(&self) {
        lock(&self.ledger).forget();
        self.apis.iter().for_each(|api| api.forget());
    }

    /// Ends the tokens that the vendor of this name handed out; none: every vendor's. False: no such vendor.
    pub fn revoke(&self, vendor: Option<&str>, tokens: Revoked) -> bool {
        let mut named = self.apis.iter().filter(|api| vendor.is_none_or(|vendor| vendor == api.name())).peekable();
        let found = named.peek().is_some();
        named.for_each(|api| api.revoke(tokens));
        found
    }

    /// Answers take that long from now on.
    ///
    /// # Errors
    /// [`LatencyError::Unknown`] where one is for a vendor that is not played; then all stay as they were.
    pub fn set_latencies(&self, asked: &[LatencyOf]) -> Result<(), LatencyError> {
        lock(&self.latencies).set(asked)
    }

    /// How long each vendor's answers take.
    pub fn latencies(&self) -> BTreeMap<&'static str, Latency> {
        lock(&self.latencies).list()
    }

    /// Adds a fault, which counts from now.
    ///
    /// # Errors
    /// As [`FaultRule::check`].
    pub fn add_fault(&self, rule: FaultRule) -> Result<(), RuleError> {
        lock(&self.faults).add(rule, self.now())
    }

    /// The faults that are not over.
    pub fn faults(&self) -> Vec<Active> {
        lock(&self.faults).list(self.now())
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        lock(&self.faults).clear();
    }
}

/// What a fault makes of the vendor's `answer` to a request that arrived at `now`.
async fn distort(befallen: Befallen, mut answer: Answer, now: Duration) -> Result<Answer, Cut> {
    let rule = &befallen.rule;
    match rule.fault {
        FaultKind::Reset | FaultKind::DropAfter => Err(Cut),
        FaultKind::Hang => std::future::pending().await,
        FaultKind::Slow => {
            clock::sleep(rule.ms.map_or(LATE, Duration::from_millis)).await;
            Ok(answer)
        }
        FaultKind::BadBody => {
            if answer.status().is_success() {
                let garbage = rule.body.clone().unwrap_or_else(|| "{\"body\":{,,\u{0} garbage".to_owned());
                *answer.body_mut() = Full::from(garbage);
            }
            Ok(answer)
        }
        FaultKind::Status => {
            let status = status(rule, StatusCode::SERVICE_UNAVAILABLE);
            let told = || api::error(status, "the sandbox was told to answer this");
            let answer = rule.body.clone().map_or_else(told, |body| api::json(status, body));
            Ok(with_retry_after(answer, &befallen, now))
        }
        FaultKind::Html => {
            let status = status(rule, StatusCode::BAD_GATEWAY);
            let page = rule.body.clone().unwrap_or_else(|| api::error_page(status));
            Ok(with_retry_after(api::html(status, page), &befallen, now))
        }
    }
}

fn status(rule: &FaultRule, default: StatusCode) -> StatusCode {
    rule.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(default)
}

fn with_retry_after(mut answer: Answer, befallen: &Befallen, now: Duration) -> Answer {
    let value = match &befallen.rule.retry_after {
        None => None,
        Some(RetryAfter::Seconds(seconds)) => Some(HeaderValue::from(*seconds)),
        Some(RetryAfter::Date { date }) => announce::date(now.saturating_add(Duration::from_secs(*date))),
        Some(RetryAfter::Text(text)) if text == "date" => {
            announce::date(befallen.ends.unwrap_or_else(|| now.saturating_add(DATE_AHEAD)))
        }
        Some(RetryAfter::Text(text)) => HeaderValue::from_str(text).ok(),
    };
    if let Some(value) = value {
        answer.headers_mut().insert(RETRY_AFTER, value);
    }
    answer
}
