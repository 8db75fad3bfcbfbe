//! The vendors: each checks an event, turns one or several into a request, and an answer into a verdict. Pure: no I/O,
//! no clock.
//!
//! Adding a vendor is one folder here and one line in [`REGISTRY`]; the conformance suite in
//! `tests/it/conformance/` then runs over it.

use std::borrow::Cow;

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::event::{Event, Invalid};
use crate::gate::Limit;
use crate::redact;
use crate::section::Section;
use crate::verdict::Verdict;

mod account;
pub mod act_on;
mod answer;
pub mod apsis_one;
mod earlier;
pub mod gainsight_px;
mod grant;
pub mod http;
mod item;
mod job;
mod number;
pub mod oauth;
mod time;

pub use account::Account;
pub use earlier::EarlierAttempts;
pub use grant::{AccessToken, Calls, Grant};
pub use item::{Batching, Fact, Facts, Item, Refusal, When};
pub use job::Job;

/// An answer to events is a status and a sentence, or the number of a job.
const ANSWER_BYTES: usize = 16 * 1024;

/// Every vendor that a destination's `vendor` may name.
pub const REGISTRY: &[Kind] = &[act_on::KIND, apsis_one::KIND, gainsight_px::KIND, http::KIND];

/// A vendor as it stands in the registry.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The name in `vendor = "…"`.
    pub name: &'static str,
    /// The limits that the vendor documents, used when the destination sets none.
    pub limits: &'static [&'static str],
    /// The fields that `map` may set, by the names that the vendor gives them.
    pub fields: &'static [&'static str],
    /// The fields that say whom an event is about: the first that is there counts.
    pub person: &'static [&'static str],
    /// Whether the field of that name may be that value, whatever the event is.
    pub check: fn(&str, &Value) -> Result<(), Invalid>,
    /// Reads the vendor's own keys of a destination. Problems go to the section; `None` when there is one.
    pub configure: fn(&mut Section<'_>) -> Option<Box<dyn Vendor>>,
}

/// One configured vendor account. A vendor that sends one event a request, with a key that does not change, needs only the
/// methods without a body here.
pub trait Vendor: Send + Sync + std::fmt::Debug {
    /// Checks an event, and makes of it what travels. Every check that can be made without the vendor is made here, before
    /// a request is spent.
    ///
    /// # Errors
    /// [`Refusal`] when the event breaks one of the vendor's rules, or when the vendor has to be asked something first.
    fn prepare(&self, event: &Event, facts: &Facts) -> Result<Item, Refusal>;

    /// The exact request for `items`: a single one, or several of one group within [`Vendor::batching`]. Secrets in it are marked
    /// sensitive ([`::http::HeaderValue::set_sensitive`]). `Authorization` is added to it where there is a [`Vendor::grant`].
    ///
    /// # Errors
    /// [`Invalid`] when they cannot become a request after all.
    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid>;

    /// What an answer means.
    fn judge(&self, reply: &Reply) -> Verdict;

    /// The same for an answer to the `request` of one event, after what is known of the attempts before.
    fn judge_after(&self, _request: &Request<Bytes>, reply: &Reply, _before: &EarlierAttempts) -> Verdict {
        self.judge(reply)
    }

    /// A request that tells good credentials from bad and changes nothing at the vendor, where the vendor has one.
    /// Its answer means good credentials unless it is judged unauthorized or unavailable.
    fn credentials_check(&self) -> Option<Request<Bytes>>;

    /// How many events may travel in one request.
    fn batching(&self) -> Batching {
        Batching::ALONE
    }

    /// The limit that each ordering key is held to, beside the account's.
    fn ordering_key_limit(&self) -> Option<Limit> {
        None
    }

    /// How many bytes of an answer to `items` events [`Vendor::judge`], [`Vendor::judge_each`] and [`Vendor::job`] look at, at most: no
    /// more is read.
    fn answer_bytes(&self, _items: usize) -> usize {
        ANSWER_BYTES
    }

    /// What a success means for each of `items`, where the answer tells them apart (as 207 does).
    fn judge_each(&self, _reply: &Reply, _items: &[&Item]) -> Option<Vec<Verdict>> {
        None
    }

    /// How access tokens are had, where the vendor wants them.
    fn grant(&self) -> Option<&dyn Grant> {
        None
    }

    /// What this destination has of the vendor's that another destination could have as well.
    fn accounts(&self) -> Vec<Account> {
        Vec::new()
    }

    /// The request that looks up what [`Refusal::Needs`] named.
    fn lookup(&self, _name: &str) -> Option<Request<Bytes>> {
        None
    }

    /// What an answer to a lookup that [`Vendor::judge`] calls a success teaches, for [`Facts`].
    ///
    /// # Errors
    /// A sentence when it cannot be read: the events that need it are then invalid.
    fn learn(&self, _name: &str, reply: &Reply) -> Result<Value, String> {
        Err(format!("the answer {} was not asked for", reply.status.as_u16()))
    }

    /// The job whose end decides what becomes of `items`, where an accepted answer names one that has to be watched.
    fn job(&self, _reply: &Reply, _items: &[&Item]) -> Option<String> {
        None
    }

    /// The request that asks how a job is.
    fn job_status(&self, _job: &str) -> Option<Request<Bytes>> {
        None
    }

    /// What the answer to it says, where [`Vendor::judge`] calls it a success or rejected.
    fn judge_job(&self, job: &str, _reply: &Reply) -> Job {
        Job::Unknown(format!("job {job} cannot be asked about"))
    }
}

impl dyn Vendor + '_ {
    /// The request for one event alone.
    ///
    /// # Errors
    /// As [`Vendor::prepare`] and [`Vendor::request`].
    pub fn request_for(&self, event: &Event, facts: &Facts) -> Result<Request<Bytes>, Refusal> {
        let item = self.prepare(event, facts)?;
        Ok(self.request(&[&item])?)
    }
}

/// Marks a request whose address is a secret, as a webhook's may be: put it among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct SecretAddress;

/// Secrets that stand in a request's body: put them among the request's extensions.
#[derive(Clone, Debug)]
pub struct Secrets(pub Vec<SecretString>);

impl Secrets {
    /// Adds to the secrets that stand in a request's body.
    pub fn add(request: &mut Request<Bytes>, secrets: &[&str]) {
        if secrets.is_empty() {
            return;
        }
        let known = request.extensions_mut().get_or_insert_with(|| Self(Vec::new()));
        known.0.extend(secrets.iter().map(|secret| SecretString::from(*secret)));
    }
}

/// Every secret in a request, to be masked in whatever is said of it: sensitive headers, and [`Secrets`].
#[must_use]
pub fn secrets_of(request: &Request<Bytes>) -> Vec<&str> {
    let headers = request.headers().values().filter(|value| value.is_sensitive());
    let in_body = request.extensions().get::<Secrets>().into_iter().flat_map(|secrets| &secrets.0);
    headers
        .filter_map(|value| str::from_utf8(value.as_bytes()).ok())
        .chain(in_body.map(|secret| secret.expose_secret()))
        .collect()
}

/// A vendor's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it is read for what was asked ([`Vendor::answer_bytes`]).
    pub body: Bytes,
}

impl Reply {
    /// An answer that is not a success with the secrets of its request masked in its body: a vendor's reading cuts it, and a secret
    /// cut in two could not be told any more. A success is as it came, since it may be a token.
    #[must_use]
    pub fn without_secrets(&self, request: &Request<Bytes>) -> Cow<'_, Self> {
        if self.status.is_success() {
            return Cow::Borrowed(self);
        }
        let body = redact::masked(&String::from_utf8_lossy(&self.body), &secrets_of(request)).into();
        Cow::Owned(Self { body, ..self.clone() })
    }
}

/// The vendor of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    REGISTRY.iter().find(|kind| kind.name == name)
}
