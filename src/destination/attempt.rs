//! One attempt: a request sent, with what came of it and how long it took.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::ready_queue::Batch;
use crate::clock;
use crate::delivery::{Transport, Trouble, machine};
use crate::gate::Permit;
use crate::lease::Fence;
use crate::record::history;
use crate::redact;
use crate::traces::Span;
use crate::vendors::{Reply, secrets_of};
use crate::verdict::Verdict;

/// What a request is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Events on their way to the vendor.
    Events(Batch),
    /// A new access token.
    Token,
    /// A lookup, by its name.
    Lookup(String),
    /// The state of a job, by its number.
    Job(String),
    /// Whether the credentials are good.
    Credentials,
}

/// A finished or given-up attempt, not yet judged.
pub(super) struct Attempted {
    pub purpose: Purpose,
    pub permit: Permit,
    pub exchange: Exchange,
}

/// A request and what came of it.
pub(super) struct Exchange {
    pub request: Request<Bytes>,
    /// The generation of the access token that it carried, if any.
    pub generation: Option<u64>,
    /// None when it was given up because the worker stops: the vendor may have taken it.
    pub result: Option<Result<Reply, Trouble>>,
    pub at: Timestamp,
    pub took: Duration,
}

/// Sends a request, once, and ends its `span`; gives up when `hurry` is cancelled.
pub(super) async fn make(
    transport: Arc<dyn Transport>,
    purpose: Purpose,
    request: Request<Bytes>,
    generation: Option<u64>,
    permit: Permit,
    span: Span,
    hurry: CancellationToken,
) -> Attempted {
    let (at, sent) = (clock::wall(), clock::now());
    let sending = AssertUnwindSafe(transport.send(&request, &permit.written)).catch_unwind();
    let fence = request.extensions().get::<Fence>().cloned();
    let may_send = || fence.as_ref().is_none_or(|fence| fence.is_open(clock::now()));
    let result = tokio::select! {
        biased;
        // Another may drive by now.
        () = std::future::ready(()), if !may_send() => None,
        result = sending => Some(result.unwrap_or_else(|panic| {
            let host = request.uri().host().unwrap_or_default().to_owned();
            Err(match machine::lack_of_threads(panic.as_ref()) {
                Some(cause) => Trouble::Machine { host, cause },
                None => Trouble::Broken { host, cause: "Sluice failed while sending; this is a bug in Sluice".into() },
            })
        })),
        () = hurry.cancelled() => None,
    };
    // It was held back before it was written.
    let result = result.filter(|result| result.is_ok() || permit.written.at().is_some() || may_send());
    let took = clock::now().saturating_duration_since(sent);
    match &result {
        Some(Ok(reply)) => span.end(Some(reply.status), None),
        Some(Err(trouble)) => span.end(None, Some(&trouble.to_string())),
        None => span.end(None, None),
    }
    Attempted { purpose, permit, exchange: Exchange { request, generation, result, at, took } }
}

impl Exchange {
    /// The answer's status, where there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        self.reply().map(|reply| reply.status)
    }

    /// The answer, where there was one.
    pub fn reply(&self) -> Option<&Reply> {
        self.result.as_ref().and_then(|result| result.as_ref().ok())
    }

    /// Milliseconds that it took.
    pub fn ms(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }

    /// `text` with e-mail addresses and this request's secrets masked.
    pub fn masked(&self, text: &str) -> String {
        redact::masked(text, &secrets_of(&self.request))
    }

    /// This attempt as the event's history keeps it.
    pub fn record(&self, verdict: &Verdict, sentence: &str) -> history::Attempt {
        history::Attempt {
            at: self.at,
            status: self.status().map(|status| status.as_u16()),
            ms: self.ms(),
            verdict: verdict.name().to_owned(),
            excerpt: sentence.to_owned(),
        }
    }
}
