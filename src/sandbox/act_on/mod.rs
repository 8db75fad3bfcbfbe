//! Act-On as documented: a request comes in, and what Act-On would answer goes out.
//! In this order: path and method, token, rate limit, body. Token calls have a limit of their own.

mod answers;
mod auth;
mod dates;
mod form;
mod jobs;
mod table;
mod upload;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};

use super::announce::{self, RetryAfterForm};
use super::api::{Answer, Api, Call, Revoked};
use super::latency::Latency;
use super::ledger::CallOutcome;
use super::limit::{Enforcement, Limit, Limiter};
use super::lock;
use answers::Broken;
use auth::Auth;
use jobs::Jobs;
use upload::Upload;

const TOKEN: &str = "/token";
const API: &str = "/api/1/";
const FACT: &str = "/api/1/customevents/fact";
const CSV: &str = "/api/1/customevents";

/// The endpoint that all calls but token calls are counted under, and that of token calls.
const CALLS: &str = "act-on";
const AUTH: &str = "act-on/auth";

/// How Act-On is played.
#[derive(Clone, Debug)]
pub struct ActOnSettings {
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: String,
    /// How long an access token holds.
    pub token_life: Duration,
    /// The limits of all calls but token calls.
    pub limits: Vec<Limit>,
    /// The limits of token calls.
    pub auth_limits: Vec<Limit>,
    /// How they are counted.
    pub enforcement: Enforcement,
    /// `Retry-After` on a refusal; Act-On documents none.
    pub retry_after: RetryAfterForm,
    /// How long a job takes: pending for the first half, running for the second.
    pub job_time: Duration,
    /// How many uploads of CSV are accepted and then fail, from the first on. Nothing of them is applied.
    pub failing_jobs: u64,
    /// Addresses whose rows are accepted and then rejected, as those of people who opted out: by CSV and as facts.
    pub reject_emails: Vec<String>,
    /// The custom events that exist from the start; a CSV creates others, a fact only if it says so.
    pub destinations: Vec<String>,
    /// A note that begins with this is the identity of its event; else the whole row is.
    pub note_marker: Option<String>,
}

impl Default for ActOnSettings {
    /// As documented: 5 calls a second, 30,000 a day, 5 token calls an hour, tokens that hold for an hour.
    /// `sandbox` is every id, name and secret; a job takes 2 s; the documentation's custom event exists.
    fn default() -> Self {
        Self {
            client_id: "sandbox".to_owned(),
            client_secret: "sandbox".to_owned(),
            username: "sandbox".to_owned(),
            password: "sandbox".to_owned(),
            token_life: Duration::from_hours(1),
            limits: vec![Limit::per_second(5), Limit::per_day(30_000)],
            auth_limits: vec![Limit { count: 5, window: Duration::from_hours(1) }],
            enforcement: Enforcement::default(),
            retry_after: RetryAfterForm::default(),
            job_time: Duration::from_secs(2),
            failing_jobs: 0,
            reject_emails: Vec::new(),
            destinations: vec!["TestCustomEvent".to_owned()],
            note_marker: None,
        }
    }
}

/// The played API.
pub(super) struct ActOn {
    settings: ActOnSettings,
    auth: Mutex<Auth>,
    account: Mutex<Account>,
}

/// What the account holds.
struct Account {
    limiter: Limiter,
    jobs: Jobs,
    /// The titles of each custom event.
    titles: HashMap<String, HashSet<String>>,
    failed: u64,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    facts: u64,
    csvs: u64,
    csv_events: u64,
    rejected: u64,
}

/// What a request asks for.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Fact,
    Csv,
    Status(&'a str),
}

impl ActOn {
    /// An account that has seen no request.
    pub fn new(settings: ActOnSettings) -> Self {
        let account = Account {
            limiter: Limiter::new(&settings.limits, settings.enforcement),
            jobs: Jobs::default(),
            titles: settings.destinations.iter().map(|name| (name.clone(), HashSet::new())).collect(),
            failed: 0,
            figures: Figures::default(),
        };
        Self { auth: Mutex::new(Auth::new(&settings)), account: Mutex::new(account), settings }
    }

    fn upload(&self, call: &Call, asked: Asked<'_>, now: Duration) -> (CallOutcome, Answer) {
        let is_fact = matches!(asked, Asked::Fact);
        let read = if is_fact { upload::fact(call) } else { upload::csv(call) };
        let mut account = lock(&self.account);
        let read = read.map(|mut upload| {
            upload.reject(&self.settings.reject_emails);
            upload
        });
        let uploaded = read.and_then(|upload| account.enter(&upload).map(|()| upload));
        let upload = match uploaded {
            Ok(upload) => upload,
            Err(broken) => return (CallOutcome::Invalid, answers::broken(&broken)),
        };
        let count = u64::try_from(upload.events.len()).unwrap_or(u64::MAX);
        let fails = !is_fact && account.failed < self.settings.failing_jobs;
        let job = account.jobs.begin(&upload.destination, now, count, upload.rejected, fails);
        account.failed += u64::from(fails);
        account.figures.count(is_fact, if fails { 0 } else { count }, upload.rejected);
        drop(account);
        // What the job will do is settled now, so its events are written down now and not when it ends.
        let events = if fails { Vec::new() } else { upload.events };
        let marker = self.settings.note_marker.as_deref();
        (CallOutcome::Accepted(events.iter().map(|event| event.taken(marker)).collect()), answers::accepted(&job))
    }
}

impl Account {
    /// Makes the upload's destination and titles known.
    fn enter(&mut self, upload: &Upload) -> Result<(), Broken> {
        let known = self.titles.get(&upload.destination);
        if known.is_none() && !upload.create {
            let sentence = format!("destination: {:?} does not exist, createlistingentry is N", upload.destination);
            return Err(sentence.into());
        }
        let titles = upload.events.iter().map(|event| &event.title);
        let new: HashSet<&String> = titles.filter(|title| known.is_none_or(|known| !known.contains(*title))).collect();
        if let Some(said) = upload.titlecount.filter(|said| *said < new.len()) {
            // What Act-On makes of it is not documented; a count that is too small is a mistake in any case.
            return Err(format!("titlecount: is {said}, the file brings {} new titles", new.len()).into());
        }
        let new: Vec<String> = new.into_iter().cloned().collect();
        self.titles.entry(upload.destination.clone()).or_default().extend(new);
        Ok(())
    }
}

impl Figures {
    fn count(&mut self, is_fact: bool, events: u64, rejected: u64) {
        self.facts += u64::from(is_fact);
        self.csvs += u64::from(!is_fact);
        self.csv_events += if is_fact { 0 } else { events };
        self.rejected += rejected;
    }
}

impl Api for ActOn {
    fn name(&self) -> &'static str {
        CALLS
    }

    fn owns(&self, path: &str) -> bool {
        path == TOKEN || path.starts_with(API)
    }

    fn endpoint<'a>(&'a self, call: &'a Call) -> &'a str {
        if call.uri().path() == TOKEN { AUTH } else { CALLS }
    }

    fn limits(&self, endpoint: &str) -> &[Limit] {
        if endpoint == AUTH { &self.settings.auth_limits } else { &self.settings.limits }
    }

    fn endpoints(&self) -> Vec<&str> {
        vec![CALLS, AUTH]
    }

    fn typical_latency(&self) -> Latency {
        Latency::exponential(Duration::from_millis(600))
    }

    fn answer(&self, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        let path = call.uri().path();
        if path == TOKEN {
            return lock(&self.auth).grant(&self.settings, call, now);
        }
        let job = path.strip_prefix(CSV).and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/status"));
        let asked = match (path, job) {
            (FACT, _) => Asked::Fact,
            (CSV, _) => Asked::Csv,
            (_, Some(job)) if !job.contains('/') => Asked::Status(job),
            _ => return (CallOutcome::Unknown, answers::gateway(StatusCode::NOT_FOUND, "")),
        };
        let method = if matches!(asked, Asked::Status(_)) { Method::GET } else { Method::POST };
        if call.method() != method {
            return (CallOutcome::Unknown, answers::gateway(StatusCode::METHOD_NOT_ALLOWED, ""));
        }
        if !lock(&self.auth).admit(call, now) {
            return (CallOutcome::Unauthorized, answers::gateway(StatusCode::UNAUTHORIZED, ""));
        }
        let admitted = lock(&self.account).limiter.admit(now);
        if let Err(wait) = admitted {
            let mut answer = answers::gateway(StatusCode::TOO_MANY_REQUESTS, "Rate Limit exceeded");
            announce::retry_after(answer.headers_mut(), self.settings.retry_after, now, wait);
            return (CallOutcome::Refused, answer);
        }
        match asked {
            Asked::Fact | Asked::Csv => self.upload(call, asked, now),
            Asked::Status(id) => match lock(&self.account).jobs.status(id, now, self.settings.job_time) {
                Some(answer) => (CallOutcome::Read, answer),
                None => (CallOutcome::Invalid, Jobs::unknown()),
            },
        }
    }

    fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        let account = lock(&self.account);
        let Figures { facts, csvs, csv_events, rejected } = account.figures;
        let calls = [
            ("jobs", account.jobs.count()),
            ("failed_jobs", account.failed),
            ("facts", facts),
            ("csvs", csvs),
            ("csv_events", csv_events),
            ("rejected_rows", rejected),
        ];
        let calls = calls.map(|(name, figure)| (CALLS, name, figure));
        calls.into_iter().chain(lock(&self.auth).figures().map(|(name, figure)| (AUTH, name, figure))).collect()
    }

    fn forget(&self) {
        lock(&self.account).figures = Figures::default();
        lock(&self.auth).forget();
    }

    fn revoke(&self, tokens: Revoked) {
        lock(&self.auth).revoke(tokens);
    }
}
