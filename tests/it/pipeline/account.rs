//! A vendor for the tests that has everything a vendor can have: batches, ordering keys, access tokens, lookups and jobs, each where a
//! test wants it. Beside it the answers of a server that is well.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use sluice::destination::Handover;
use sluice::event::{Event, Invalid};
use sluice::gate::Limit;
use sluice::mapping::{Expression, Input};
use sluice::message::Message;
use sluice::vendors::{AccessToken, Batching, Calls, Facts, Grant, Item, Job, Refusal, Reply, Vendor, When};
use sluice::verdict::Verdict;

use super::vendor::{Answer, Call};
use super::{Stage, message};

/// An account and what there is to it.
#[derive(Clone, Debug)]
pub struct Account {
    batching: Batching,
    ordering_key_limit: Option<Limit>,
    sign_in: Option<SignIn>,
    has_check: bool,
}

#[derive(Clone, Debug)]
struct SignIn;

impl Account {
    /// One that takes one event a request, without any of the rest.
    pub const PLAIN: Self =
        Self { batching: Batching::ALONE, ordering_key_limit: None, sign_in: None, has_check: false };

    /// It takes up to `items` in one request, and `bytes` of them.
    pub fn batches(self, items: usize, bytes: usize, when: When) -> Self {
        Self { batching: Batching { items, bytes, when }, ..self }
    }

    /// It holds each ordering key to a limit.
    pub fn ordering_keys(self, limit: &str) -> Self {
        Self { ordering_key_limit: Some(limit.parse().unwrap()), ..self }
    }

    /// It has a request that tries the credentials.
    pub fn checks(self) -> Self {
        Self { has_check: true, ..self }
    }

    /// It wants access tokens, and allows 5 calls for them in an hour.
    pub fn signs_in(self) -> Self {
        Self { sign_in: Some(SignIn), ..self }
    }

    /// A stage with this account, its server well, and a worker at work.
    pub fn stage(self, lines: &str) -> Stage {
        let mut stage = self.idle(lines);
        stage.start(&Handover::default());
        stage
    }

    /// The same without a worker.
    pub fn idle(self, lines: &str) -> Stage {
        let mut stage = Stage::idle(lines);
        stage.settings.vendor = Arc::new(self);
        stage.vendor.behave(well);
        stage
    }
}

/// An event of an ordering key.
pub fn in_ordering_key(event: u64, ordering_key: u64) -> Message {
    with(event, &json!({ "ordering_key": ordering_key }))
}

/// An event with more in it: `ordering key`, `group`, `needs`, `hard` mean something, anything else fills it.
pub fn with(event: u64, more: &Value) -> Message {
    let mut body = more.clone();
    body["event"] = event.into();
    Message { body: body.to_string().into(), ..message(event, true) }
}

impl Vendor for Account {
    fn prepare(&self, event: &Event, facts: &Facts) -> Result<Item, Refusal> {
        if event.data.fields().get("hard") == Some(&Value::Bool(true)) {
            let hard = Expression::compile("last(range(20000))").unwrap();
            hard.evaluate(&Input::of(event)).map_err(Refusal::Invalid)?;
        }
        let text = |name: &str| event.data.fields().get(name).map(ToString::to_string);
        if let Some(needs) = event.data.fields().get("needs").and_then(Value::as_str) {
            match facts.get(needs) {
                None => return Err(Refusal::Needs(needs.to_owned())),
                Some(fact) if fact.value["good"] == true => {}
                Some(fact) if !fact.fresh => return Err(Refusal::Needs(needs.to_owned())),
                Some(_) => return Err(Refusal::Invalid(format!("{needs} is not good"))),
            }
        }
        let ordering_key = text("ordering_key");
        let group = text("group").or_else(|| ordering_key.clone()).unwrap_or_default();
        let lookup = event.data.fields().get("needs").and_then(Value::as_str).map(str::to_owned);
        Ok(Item { group, ordering_key, content: event.data.raw().clone(), lookup })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let contents: Vec<&str> = items.iter().map(|item| std::str::from_utf8(&item.content).unwrap()).collect();
        Ok(request("/events", format!("[{}]", contents.join(","))))
    }

    fn judge(&self, reply: &Reply) -> Verdict {
        let said = || format!("the account answered {}", reply.status.as_u16());
        match reply.status.as_u16() {
            202 => Verdict::Accepted,
            200..=299 => Verdict::Delivered,
            401 | 403 => Verdict::Unauthorized(said()),
            413 => Verdict::TooLarge(said()),
            429 => Verdict::Throttled(said()),
            400..=499 => Verdict::Rejected(said()),
            _ => Verdict::Unavailable(said()),
        }
    }

    fn credentials_check(&self) -> Option<Request<Bytes>> {
        self.has_check.then(|| request("/me", String::new()))
    }

    fn batching(&self) -> Batching {
        self.batching
    }

    fn ordering_key_limit(&self) -> Option<Limit> {
        self.ordering_key_limit
    }

    fn judge_each(&self, reply: &Reply, _: &[&Item]) -> Option<Vec<Verdict>> {
        let statuses: Vec<u16> = (reply.status == StatusCode::MULTI_STATUS).then(|| read(reply))?;
        let each =
            |status: &u16| self.judge(&Reply { status: StatusCode::from_u16(*status).unwrap(), ..reply.clone() });
        Some(statuses.iter().map(each).collect())
    }

    fn grant(&self) -> Option<&dyn Grant> {
        self.sign_in.as_ref().map(|grant| -> &dyn Grant { grant })
    }

    fn lookup(&self, name: &str) -> Option<Request<Bytes>> {
        (name != "unheard-of").then(|| request(&format!("/lookups/{name}"), String::new()))
    }

    fn learn(&self, name: &str, reply: &Reply) -> Result<Value, String> {
        serde_json::from_slice(&reply.body).map_err(|_| format!("the answer about {name} cannot be read"))
    }

    fn job(&self, reply: &Reply, _: &[&Item]) -> Option<String> {
        (reply.status == StatusCode::ACCEPTED).then(|| read::<String>(reply))
    }

    fn job_status(&self, job: &str) -> Option<Request<Bytes>> {
        Some(request(&format!("/jobs/{job}"), String::new()))
    }

    fn judge_job(&self, job: &str, reply: &Reply) -> Job {
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        match (reply.status.as_u16(), answer[0].as_str()) {
            (200, Some("running")) => Job::Running,
            (200, Some("failed")) => Job::Failed(format!("job {job} failed")),
            (200, Some("done")) => {
                let (applied, rejected) = (answer[1].as_u64().unwrap(), answer[2].as_u64().unwrap());
                let sentence = format!("job {job}: {applied} applied, {rejected} rejected");
                Job::Done { applied, rejected, sentence }
            }
            _ => Job::Unknown(format!("job {job} is not known")),
        }
    }
}

impl Grant for SignIn {
    fn request(&self, _: Option<&SecretString>) -> Option<Request<Bytes>> {
        Some(request("/token", String::new()))
    }

    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict> {
        match reply.status.as_u16() {
            200 => {
                let (access, life): (String, u64) = read(reply);
                Ok(AccessToken { access: access.into(), expires: wall + Duration::from_secs(life), refresh: None })
            }
            429 => Err(Verdict::Throttled("the token endpoint answered 429".to_owned())),
            400..=499 => Err(Verdict::Unauthorized("the sign-in was refused: check the password".to_owned())),
            status => Err(Verdict::Unavailable(format!("the token endpoint answered {status}"))),
        }
    }

    fn calls(&self) -> Calls {
        Calls { count: 5, window: Duration::from_secs(3_600) }
    }
}

fn request(path: &str, body: String) -> Request<Bytes> {
    Request::builder().uri(format!("http://vendor.test{path}")).body(body.into()).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(reply: &Reply) -> T {
    serde_json::from_slice(&reply.body).unwrap()
}

/// A server that is well: it takes everything, gives a new token at each call, knows every name, and has done every job.
pub fn well(call: &Call) -> Answer {
    match call.path.split('/').collect::<Vec<_>>()[..] {
        ["", "token"] => token(call, 3_600),
        ["", "lookups", _] => Answer::Body(200, r#"{"good":true}"#.to_owned()),
        ["", "jobs", job] => done(rows(job), 0),
        _ => Answer::Status(200),
    }
}

/// The same, that takes events as jobs.
pub fn with_jobs(call: &Call) -> Answer {
    if call.path == "/events" { accepted(call) } else { well(call) }
}

/// A token that is good for `seconds`: the first is `token-0`.
pub fn token(call: &Call, seconds: u64) -> Answer {
    Answer::Body(200, format!("[\"token-{}\",{seconds}]", call.seen))
}

/// The number of the token that a call came with.
pub fn bearer(call: &Call) -> Option<usize> {
    call.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer token-")?.parse().ok()
}

/// The call's events become a job, which has their number in its name.
pub fn accepted(call: &Call) -> Answer {
    Answer::Body(202, format!("\"{}-{}\"", call.before, call.events.len()))
}

/// How many events are in a job of that name.
pub fn rows(job: &str) -> u64 {
    job.split_once('-').unwrap().1.parse().unwrap()
}

/// A job is done.
pub fn done(applied: u64, rejected: u64) -> Answer {
    Answer::Body(200, format!("[\"done\",{applied},{rejected}]"))
}

/// A job is not done yet, or will never be.
pub fn job(state: &str) -> Answer {
    Answer::Body(200, format!("[\"{state}\"]"))
}
