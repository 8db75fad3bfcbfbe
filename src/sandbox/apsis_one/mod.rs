//! APSIS One as documented: a request comes in, and what APSIS One would answer goes out.
//! In this order: path and method, token, limits of profile and account, keyspace and section, size, body.

mod answers;
mod catalogue;
mod items;
mod path;
mod profiles;
mod token;

use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};

pub use catalogue::{ApsisEventType, ApsisVersion, EventTypeError, FieldType};

use super::announce::{self, RetryAfterForm};
use super::api::{self, Answer, Api, Call, Revoked};
use super::latency::Latency;
use super::ledger::CallOutcome;
use super::limit::{Enforcement, Limit, Limiter};
use super::{lock, oauth};
use answers::problem;
use items::{Good, Rules};
use path::{ApsisCall, Target, Wrong};
use profiles::Profiles;
use token::Auth;

const TOKEN: &str = "/oauth/token";
const API: &str = "/audience/";

/// The endpoint that all calls but token calls are counted under, and that of token calls.
const CALLS: &str = "apsis-one";
const AUTH: &str = "apsis-one/auth";

/// How APSIS One is played.
#[derive(Clone, Debug)]
pub struct ApsisSettings {
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// How long a token holds; `exp` tells it, in whole seconds.
    pub token_life: Duration,
    /// The limits of all calls but token calls.
    pub limits: Vec<Limit>,
    /// The limits of each profile key.
    pub profile_limits: Vec<Limit>,
    /// The limits of token calls.
    pub auth_limits: Vec<Limit>,
    /// How they are counted.
    pub enforcement: Enforcement,
    /// `Retry-After` on a refusal; APSIS One documents none.
    pub retry_after: RetryAfterForm,
    /// The longest body.
    pub body_bytes: usize,
    /// The keyspaces that exist.
    pub keyspaces: Vec<String>,
    /// The sections that exist.
    pub sections: Vec<String>,
    /// The event types, the same in every section.
    pub event_types: Vec<ApsisEventType>,
    /// A version that is not the current one is refused; else it is taken and counted.
    pub refuse_deprecated: bool,
    /// An event that lacks a field of its version is refused.
    pub require_all_fields: bool,
    /// Events are answered 207 with a result for each, and the good ones are taken; else one bad one refuses all.
    pub multi_status: bool,
    /// The field of an event's data that is its identity; none: all that it holds is.
    pub id_field: Option<String>,
}

impl Default for ApsisSettings {
    /// As documented: 100 calls a second, 10 a profile key, 10 token calls a minute, bodies of 100 kB, the keyspaces
    /// that may be written, and the guide's section and event type. `sandbox` is id and secret, a token holds for an
    /// hour.
    fn default() -> Self {
        let keyspaces = ["email", "mobile", "crm-id", "web"];
        let sections = ["com.apsis1.sections.default", "usercreated.sections.my_section-h4h3dpu3qi"];
        Self {
            client_id: "sandbox".to_owned(),
            client_secret: "sandbox".to_owned(),
            token_life: Duration::from_hours(1),
            limits: vec![Limit::per_second(100)],
            profile_limits: vec![Limit::per_second(10)],
            auth_limits: vec![Limit { count: 10, window: Duration::from_mins(1) }],
            enforcement: Enforcement::default(),
            retry_after: RetryAfterForm::default(),
            body_bytes: 100_000,
            keyspaces: keyspaces.map(|name| format!("com.apsis1.keyspaces.{name}")).to_vec(),
            sections: sections.map(str::to_owned).to_vec(),
            event_types: vec![ApsisEventType::documented()],
            refuse_deprecated: false,
            require_all_fields: true,
            multi_status: false,
            id_field: None,
        }
    }
}

/// The played API.
pub(super) struct ApsisOne {
    settings: ApsisSettings,
    auth: Mutex<Auth>,
    types: Mutex<Vec<ApsisEventType>>,
    account: Mutex<Account>,
}

struct Account {
    limiter: Limiter,
    profiles: Profiles,
    deprecated: u64,
}

impl ApsisOne {
    /// An account that has seen no request.
    pub fn new(settings: ApsisSettings) -> Self {
        let account = Account {
            limiter: Limiter::new(&settings.limits, settings.enforcement),
            profiles: Profiles::new(&settings.profile_limits, settings.enforcement),
            deprecated: 0,
        };
        Self {
            auth: Mutex::new(Auth::new(&settings)),
            types: Mutex::new(settings.event_types.clone()),
            account: Mutex::new(account),
            settings,
        }
    }

    /// From now on these are the event types.
    pub fn set_event_types(&self, types: Vec<ApsisEventType>) {
        *lock(&self.types) = types;
    }

    fn types(&self, section: &str) -> (CallOutcome, Answer) {
        if !self.settings.sections.iter().any(|known| known == section) {
            return (CallOutcome::Unknown, problem(StatusCode::NOT_FOUND, "the section does not exist"));
        }
        let body = serde_json::json!({ "items": *lock(&self.types) });
        (CallOutcome::Read, api::json(StatusCode::OK, body.to_string()))
    }

    fn events(&self, call: &Call, target: &Target) -> (CallOutcome, Answer) {
        let ApsisSettings { keyspaces, sections, body_bytes, .. } = &self.settings;
        let invalid = |status, detail: &str| (CallOutcome::Invalid, problem(status, detail));
        if !keyspaces.contains(&target.keyspace) || !sections.contains(&target.section) {
            return (
                CallOutcome::Unknown,
                problem(StatusCode::NOT_FOUND, "the keyspace or the section does not exist"),
            );
        }
        if call.body().len() > *body_bytes {
            return invalid(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is over {body_bytes} bytes"));
        }
        if !oauth::is(call, "application/json") {
            return invalid(StatusCode::BAD_REQUEST, "the content type must be application/json");
        }
        let types = lock(&self.types).clone();
        let rules = Rules {
            types: &types,
            refuse_deprecated: self.settings.refuse_deprecated,
            require_all_fields: self.settings.require_all_fields,
            id_field: self.settings.id_field.as_deref(),
        };
        match items::read(call.body(), target, rules) {
            Ok(items) => self.take(items),
            Err(wrong) => invalid(StatusCode::BAD_REQUEST, &wrong),
        }
    }

    /// Takes all items or none; with `multi_status` the good ones.
    fn take(&self, items: Vec<Result<Good, String>>) -> (CallOutcome, Answer) {
        let wrong: Vec<&str> = items.iter().filter_map(|item| item.as_ref().err()).map(String::as_str).collect();
        let answer = if self.settings.multi_status {
            answers::multi_status(items.iter().map(|item| item.as_ref().err().map(String::as_str)))
        } else if wrong.is_empty() {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        } else {
            return (CallOutcome::Invalid, problem(StatusCode::BAD_REQUEST, &wrong.join("; ")));
        };
        let good: Vec<Good> = items.into_iter().flatten().collect();
        let deprecated = good.iter().filter(|good| good.deprecated).count();
        lock(&self.account).deprecated += u64::try_from(deprecated).unwrap_or(u64::MAX);
        (CallOutcome::Accepted(good.into_iter().map(|good| good.event).collect()), answer)
    }
}

impl Account {
    /// Lets a request in if the account and the profile may have it; refused, it uses up neither.
    fn admit(&mut self, asked: &ApsisCall, now: Duration) -> Result<(), Duration> {
        let ApsisCall::Events(target) = asked else { return self.limiter.admit(now) };
        let profile = self.profiles.arrive(&target.keyspace, &target.profile, now);
        self.limiter.wait(now).max(profile.wait(now)).map_or(Ok(()), Err)?;
        self.limiter.admit(now).and_then(|()| profile.admit(now))
    }
}

impl Api for ApsisOne {
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
        Latency::exponential(Duration::from_millis(250))
    }

    fn answer(&self, call: &Call, now: Duration) -> (CallOutcome, Answer) {
        if call.uri().path() == TOKEN {
            return lock(&self.auth).grant(&self.settings, call, now);
        }
        let asked = match path::read(call.uri().path()) {
            Ok(asked) => asked,
            Err(Wrong::Unknown) => {
                return (CallOutcome::Unknown, problem(StatusCode::NOT_FOUND, "there is no such path"));
            }
            Err(Wrong::Encoding) => {
                return (
                    CallOutcome::Invalid,
                    problem(StatusCode::BAD_REQUEST, "the path is not encoded as it must be"),
                );
            }
        };
        let method = if matches!(asked, ApsisCall::Types { .. }) { Method::GET } else { Method::POST };
        if call.method() != method {
            return (CallOutcome::Unknown, problem(StatusCode::METHOD_NOT_ALLOWED, "there is no such method here"));
        }
        if !lock(&self.auth).admit(call, now) {
            return (CallOutcome::Unauthorized, problem(StatusCode::UNAUTHORIZED, "no token, or one that ended"));
        }
        let admitted = lock(&self.account).admit(&asked, now);
        if let Err(wait) = admitted {
            let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, "over the limit of the account or the profile");
            announce::retry_after(answer.headers_mut(), self.settings.retry_after, now, wait);
            return (CallOutcome::Refused, answer);
        }
        match asked {
            ApsisCall::Types { section } => self.types(&section),
            ApsisCall::Events(target) => self.events(call, &target),
        }
    }

    fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        let account = lock(&self.account);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        vec![
            (CALLS, "profiles", count(account.profiles.count())),
            (CALLS, "busiest_second_of_a_profile", count(account.profiles.busiest())),
            (CALLS, "deprecated_versions", account.deprecated),
        ]
    }

    fn forget(&self) {
        let mut account = lock(&self.account);
        account.profiles.forget();
        account.deprecated = 0;
    }

    fn revoke(&self, _tokens: Revoked) {
        lock(&self.auth).revoke();
    }
}
