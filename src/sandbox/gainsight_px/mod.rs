//! Gainsight PX as documented: a request comes in, and what PX would answer goes out.
//! In PX's order: path, method, key, rate limit, content type, body.

mod answers;
mod read_back;
mod rules;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;

use super::announce::{self, QuotaHeaders, RetryAfterForm};
use super::api::{Answer, Api, Call};
use super::latency::Latency;
use super::ledger::{CallOutcome, Ledger};
use super::limit::{Enforcement, Limit, Limiter};
use super::lock;

const PATH: &str = "/v1/events/custom";
const KEY_HEADER: &str = "x-aptrinsic-api-key";

/// How Gainsight PX is played.
#[derive(Clone, Debug)]
pub struct PxSettings {
    /// The API keys that PX knows; each is an account with limits of its own. The first is counted as
    /// `gainsight-px`, the next as `gainsight-px/2` and so on.
    pub keys: Vec<PxKey>,
    /// The limits of each account.
    pub limits: Vec<Limit>,
    /// How they are counted.
    pub enforcement: Enforcement,
    /// `Retry-After` on a refusal; PX documents none.
    pub retry_after: RetryAfterForm,
    /// Headers that tell what is left; PX documents none.
    pub quota_headers: QuotaHeaders,
    /// Event names that PX refuses with 400, to play a mapping mistake.
    pub reject_names: Vec<String>,
}

impl Default for PxSettings {
    /// The documented limits, 200 a second and 1,000,000 a day, and the key `sandbox`.
    fn default() -> Self {
        Self {
            keys: vec![PxKey::new("sandbox")],
            limits: vec![Limit::per_second(200), Limit::per_day(1_000_000)],
            enforcement: Enforcement::default(),
            retry_after: RetryAfterForm::default(),
            quota_headers: QuotaHeaders::default(),
            reject_names: Vec::new(),
        }
    }
}

/// An API key that PX knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PxKey {
    /// The key.
    pub key: String,
    /// Without the right to write: PX answers 403 to events.
    pub read_only: bool,
}

impl PxKey {
    /// A key with the right to write.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), read_only: false }
    }

    /// A key without the right to write.
    #[must_use]
    pub fn read_only(key: impl Into<String>) -> Self {
        Self { key: key.into(), read_only: true }
    }
}

/// The played API.
pub(super) struct GainsightPx {
    settings: PxSettings,
    accounts: Vec<Account>,
    ledger: Arc<Mutex<Ledger>>,
}

struct Account {
    key: PxKey,
    name: String,
    limiter: Mutex<Limiter>,
}

impl GainsightPx {
    /// `ledger` is where events are read back from.
    pub fn new(settings: PxSettings, ledger: Arc<Mutex<Ledger>>) -> Self {
        let account = |(position, key): (usize, &PxKey)| Account {
            key: key.clone(),
            name: if position == 0 { "gainsight-px".to_owned() } else { format!("gainsight-px/{}", position + 1) },
            limiter: Mutex::new(Limiter::new(&settings.limits, settings.enforcement)),
        };
        let accounts = settings.keys.iter().enumerate().map(account).collect();
        Self { settings, accounts, ledger }
    }

    fn account(&self, call: &Call) -> Option<&Account> {
        let key = call.headers().get(KEY_HEADER)?.as_bytes();
        self.accounts.iter().find(|account| account.key.key.as_bytes() == key)
    }

    /// What comes past the rate limit.
    fn work(&self, account: &Account, call: &Call) -> (CallOutcome, Answer) {
        if call.method() == Method::GET {
            return read_back::answer(&lock(&self.ledger), &account.name, call.uri().query().unwrap_or_default());
        }
        if !is_json(call) {
            return (CallOutcome::Invalid, answers::bad_request(&["the content type must be application/json".into()]));
        }
        match rules::check(call.body(), &self.settings.reject_names) {
            Ok(event) => (CallOutcome::Accepted(vec![event]), answers::created()),
            Err(broken) => (CallOutcome::Invalid, answers::bad_request(&broken)),
        }
    }
}

impl Api for GainsightPx {
    fn name(&self) -> &'static str {
        "gainsight-px"
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/v1/")
    }

    fn endpoint<'a>(&'a self, call: &'a Call) -> &'a str {
        self.account(call).map_or("gainsight-px", |account| &account.name)
    }

    fn limits(&self, _endpoint: &str) -> &[Limit] {
        &self.settings.limits
    }

    fn endpoints(&self) -> Vec<&str> {
        self.accounts.iter().map(|account| account.name.as_str()).collect()
    }

    fn typical_latency(&self) -> Latency {
        Latency::exponential(Duration::from_millis(300))
    }

    fn answer(&self, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        if call.uri().path() != PATH {
            return (CallOutcome::Unknown, answers::not_found(call.uri().path()));
        }
        if call.method() != Method::POST && call.method() != Method::GET {
            return (CallOutcome::Unknown, answers::method_not_allowed(call.method()));
        }
        let Some(account) = self.account(call) else {
            return (CallOutcome::Unauthorized, answers::unauthorized());
        };
        if account.key.read_only && call.method() == Method::POST {
            return (CallOutcome::Unauthorized, answers::forbidden());
        }
        let mut limiter = lock(&account.limiter);
        let admitted = limiter.admit(now);
        let standing = limiter.standing(now);
        drop(limiter);

        let (outcome, mut answer) = match admitted {
            Ok(()) => self.work(account, call),
            Err(wait) => {
                let mut answer = answers::rate_limit_exceeded();
                announce::retry_after(answer.headers_mut(), self.settings.retry_after, now, wait);
                (CallOutcome::Refused, answer)
            }
        };
        if let Some(standing) = standing {
            announce::quota(answer.headers_mut(), self.settings.quota_headers, now, &standing);
        }
        (outcome, answer)
    }
}

fn is_json(call: &Call) -> bool {
    let content_type = call.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
