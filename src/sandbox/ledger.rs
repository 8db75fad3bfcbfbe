//! The ledger of what arrived: outcomes of requests come in, figures go out. Bounded: ids are kept as hashes,
//! and only the last bodies are kept.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::limit::Limit;

/// Bytes of bodies kept.
const BODY_BYTES: usize = 256 << 20;
/// Event ids remembered, over all endpoints: about 70 MB when full.
const IDS: usize = 3_600_000;
/// Endpoints told apart; what comes after is counted as one.
const ENDPOINTS: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);

/// What a vendor made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallOutcome {
    /// It took these events; none where the request was for something else, such as a token.
    Accepted(Vec<Taken>),
    /// Over the limit.
    Refused,
    /// It broke a rule for bodies.
    Invalid,
    /// A wrong key, or one without the right.
    Unauthorized,
    /// No such path or method.
    Unknown,
    /// It was read from.
    Read,
    /// A fault came first.
    Faulted,
}

/// A 128-bit hash of an event's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventId(u128);

impl EventId {
    /// The id as the vendor received it, or the whole body where it carries none.
    pub fn of(id: &[u8]) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, id).as_u128())
    }

    /// Eight hexadecimal digits of it, for ids that are shown.
    pub fn short(self) -> String {
        let mut digits = format!("{:032x}", self.0);
        digits.truncate(8);
        digits
    }
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// What tells it from others.
    pub id: EventId,
    /// Its body, as JSON.
    pub body: Bytes,
}

impl Taken {
    /// The event with this `id`, as the vendor received it.
    pub fn new(id: &[u8], body: impl Into<Bytes>) -> Self {
        Self { id: EventId::of(id), body: body.into() }
    }
}

/// A request and what came of it.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// Where it came to.
    pub endpoint: &'a str,
    /// The limits that the endpoint is held to.
    pub limits: &'a [Limit],
    /// When it came.
    pub at: Duration,
    /// Whether a fault befell it.
    pub faulted: bool,
    /// What the vendor made of it.
    pub outcome: &'a CallOutcome,
}

/// What arrived at one endpoint: one vendor account, or one hook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointStats {
    /// Requests.
    pub received: u64,
    /// Requests taken.
    pub accepted: u64,
    /// Requests over the limit (429).
    pub refused: u64,
    /// Requests that broke a rule for bodies (400, 413, 422).
    pub invalid: u64,
    /// Requests with a wrong key, or one without the right (401, 403).
    pub unauthorized: u64,
    /// Requests to no known path or method (404, 405).
    pub unknown: u64,
    /// Requests that read.
    pub reads: u64,
    /// Requests that a fault befell, whatever else became of them.
    pub faulted: u64,
    /// Events taken, the same one again included.
    pub events: u64,
    /// Different events taken.
    pub distinct: u64,
    /// Events taken more than once, counted each time after the first.
    pub duplicates: u64,
    /// Events whose id was not remembered, for there were too many: they are in neither figure above.
    pub untracked: u64,
    /// When the first request came.
    pub first_arrival: Option<Timestamp>,
    /// When the last request came.
    pub last_arrival: Option<Timestamp>,
    /// The most requests that came in any one second, wherever that second begins.
    pub busiest_second: usize,
    /// The most requests that were taken in any one second.
    pub busiest_second_accepted: usize,
    /// The limit with the shortest window.
    pub limit: Option<Limit>,
    /// Requests taken or read from as a share of what that limit allowed from the first request to the last.
    pub quota_use: Option<f64>,
    /// What only this vendor counts, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<&'static str, u64>,
}

/// The books of all endpoints, and the last bodies. Times are since the Unix epoch.
#[derive(Debug)]
pub(super) struct Ledger {
    books: BTreeMap<Arc<str>, Book>,
    /// How many bodies are kept.
    keep: usize,
    bodies: VecDeque<(Arc<str>, Bytes)>,
    body_bytes: usize,
    /// Ids remembered over all books.
    remembered: usize,
}

impl Ledger {
    /// An empty ledger, which keeps the last `keep` bodies.
    pub fn keeping(keep: usize) -> Self {
        Self { books: BTreeMap::new(), keep, bodies: VecDeque::new(), body_bytes: 0, remembered: 0 }
    }

    /// Begins the book of `endpoint`, which is held to `limits`.
    pub fn open(&mut self, endpoint: &str, limits: &[Limit]) {
        self.books.entry(Arc::from(endpoint)).or_insert_with(|| Book::new(limits));
    }

    /// Writes a request down.
    pub fn record(&mut self, arrival: &Arrival<'_>) {
        let endpoint = self.endpoint(arrival.endpoint);
        let book = self.books.entry(Arc::clone(&endpoint)).or_insert_with(|| Book::new(arrival.limits));
        book.record(arrival, &mut self.remembered);
        if let CallOutcome::Accepted(events) = arrival.outcome {
            events.iter().for_each(|event| self.keep(Arc::clone(&endpoint), &event.body));
        }
    }

    /// Figures by endpoint.
    pub fn stats(&self) -> BTreeMap<String, EndpointStats> {
        self.books.iter().map(|(endpoint, book)| (endpoint.to_string(), book.stats())).collect()
    }

    /// The last `limit` bodies taken, oldest first; those of one endpoint, or all.
    pub fn events(&self, endpoint: Option<&str>, limit: usize) -> Vec<Bytes> {
        let matching = self.bodies.iter().rev().filter(|(name, _)| endpoint.is_none_or(|wanted| **name == *wanted));
        let mut last: Vec<Bytes> = matching.take(limit).map(|(_, body)| body.clone()).collect();
        last.reverse();
        last
    }

    /// Forgets all that arrived.
    pub fn forget(&mut self) {
        self.bodies.clear();
        self.body_bytes = 0;
        self.remembered = 0;
        for book in self.books.values_mut() {
            *book = Book { limit: book.limit, ..Book::default() };
        }
    }

    /// The name under which an endpoint is counted.
    fn endpoint(&self, endpoint: &str) -> Arc<str> {
        match self.books.get_key_value(endpoint) {
            Some((name, _)) => Arc::clone(name),
            None if self.books.len() < ENDPOINTS => Arc::from(endpoint),
            None => Arc::from("others"),
        }
    }

    fn keep(&mut self, endpoint: Arc<str>, body: &Bytes) {
        // A copy of its own: a slice would keep the connection's whole read buffer alive.
        self.bodies.push_back((endpoint, Bytes::copy_from_slice(body)));
        self.body_bytes += body.len();
        while self.bodies.len() > self.keep || self.body_bytes > BODY_BYTES {
            match self.bodies.pop_front() {
                Some((_, oldest)) => self.body_bytes -= oldest.len(),
                None => break,
            }
        }
    }
}

/// One endpoint's figures.
#[derive(Debug, Default)]
struct Book {
    limit: Option<Limit>,
    received: u64,
    accepted: u64,
    refused: u64,
    invalid: u64,
    unauthorized: u64,
    unknown: u64,
    reads: u64,
    faulted: u64,
    events: u64,
    duplicates: u64,
    untracked: u64,
    ids: HashSet<EventId>,
    first: Option<Duration>,
    last: Option<Duration>,
    arrivals: Second,
    acceptances: Second,
}

impl Book {
    fn new(limits: &[Limit]) -> Self {
        Self { limit: limits.iter().min_by_key(|limit| limit.window).copied(), ..Self::default() }
    }

    fn record(&mut self, arrival: &Arrival<'_>, remembered: &mut usize) {
        let now = arrival.at;
        self.received += 1;
        self.faulted += u64::from(arrival.faulted);
        self.first.get_or_insert(now);
        self.last = self.last.max(Some(now));
        self.arrivals.count(now);
        match arrival.outcome {
            CallOutcome::Accepted(events) => {
                self.accepted += 1;
                self.acceptances.count(now);
                events.iter().for_each(|event| self.take(event.id, remembered));
            }
            CallOutcome::Refused => self.refused += 1,
            CallOutcome::Invalid => self.invalid += 1,
            CallOutcome::Unauthorized => self.unauthorized += 1,
            CallOutcome::Unknown => self.unknown += 1,
            CallOutcome::Read => self.reads += 1,
            CallOutcome::Faulted => {}
        }
    }

    fn take(&mut self, id: EventId, remembered: &mut usize) {
        self.events += 1;
        if self.ids.contains(&id) {
            self.duplicates += 1;
        } else if *remembered < IDS {
            self.ids.insert(id);
            *remembered += 1;
        } else {
            self.untracked += 1;
        }
    }

    fn quota_use(&self) -> Option<f64> {
        let limit = self.limit?;
        let span = self.last?.saturating_sub(self.first?).as_secs_f64();
        let allowed = f64::from(limit.count) * span / limit.window.as_secs_f64() + 1.0;
        // The request that opens the span is one more than its length allows.
        u32::try_from(self.accepted + self.reads).ok().map(|used| f64::from(used) / allowed)
    }

    fn stats(&self) -> EndpointStats {
        EndpointStats {
            received: self.received,
            accepted: self.accepted,
            refused: self.refused,
            invalid: self.invalid,
            unauthorized: self.unauthorized,
            unknown: self.unknown,
            reads: self.reads,
            faulted: self.faulted,
            events: self.events,
            distinct: u64::try_from(self.ids.len()).unwrap_or(u64::MAX),
            duplicates: self.duplicates,
            untracked: self.untracked,
            first_arrival: self.first.and_then(timestamp),
            last_arrival: self.last.and_then(timestamp),
            busiest_second: self.arrivals.most,
            busiest_second_accepted: self.acceptances.most,
            limit: self.limit,
            quota_use: self.quota_use(),
            figures: BTreeMap::new(),
        }
    }
}

/// The most that was counted within one second.
#[derive(Debug, Default)]
pub(super) struct Second {
    times: VecDeque<Duration>,
    /// The most so far.
    pub most: usize,
}

impl Second {
    /// Counts what came at `now`.
    pub fn count(&mut self, now: Duration) {
        let now = self.times.back().map_or(now, |latest| now.max(*latest));
        while self.times.front().is_some_and(|time| *time + SECOND <= now) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.most = self.most.max(self.times.len());
    }
}

/// A time since the Unix epoch as a date.
pub(super) fn timestamp(time: Duration) -> Option<Timestamp> {
    Timestamp::from_duration(SignedDuration::try_from(time).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn accept(ledger: &mut Ledger, ms: u64, id: &str) {
        ledger.record(&Arrival {
            endpoint: "px",
            limits: &[],
            at: NOW + Duration::from_millis(ms),
            faulted: false,
            outcome: &CallOutcome::Accepted(vec![Taken::new(id.as_bytes(), id.to_owned())]),
        });
    }

    #[test]
    fn the_same_event_twice_is_one_distinct_and_one_duplicate() {
        let mut ledger = Ledger::keeping(10_000);
        for id in ["a", "b", "a"] {
            accept(&mut ledger, 0, id);
        }
        let stats = &ledger.stats()["px"];
        assert_eq!((stats.accepted, stats.distinct, stats.duplicates), (3, 2, 1));
    }

    #[test]
    fn the_busiest_second_is_found_wherever_it_begins() {
        let mut ledger = Ledger::keeping(10_000);
        for ms in [0, 600, 900, 1_100, 1_599, 1_600, 5_000] {
            accept(&mut ledger, ms, &ms.to_string());
        }
        assert_eq!(ledger.stats()["px"].busiest_second, 4, "600, 900, 1100, 1599");
    }

    #[test]
    fn an_even_stream_at_the_limit_uses_all_of_the_quota() {
        let mut ledger = Ledger::keeping(10_000);
        ledger.open("px", &[Limit::per_second(200), "1000000/day".parse().unwrap()]);
        for n in 0..3_000 {
            accept(&mut ledger, n * 5, &n.to_string());
        }
        let used = ledger.stats()["px"].quota_use.unwrap();
        assert!((used - 1.0).abs() < 1e-9, "{used}");
    }

    #[test]
    fn only_the_last_bodies_are_kept_and_forgetting_keeps_the_limit() {
        let mut ledger = Ledger::keeping(10_000);
        ledger.open("px", &[Limit::per_second(1)]);
        for n in 0..10_003 {
            accept(&mut ledger, n, &n.to_string());
        }
        assert_eq!(ledger.events(None, usize::MAX).len(), 10_000);
        assert_eq!(ledger.events(Some("px"), 2), ["10001", "10002"]);
        assert!(ledger.events(Some("hook"), 2).is_empty());
        ledger.forget();
        let stats = &ledger.stats()["px"];
        assert_eq!((stats.received, stats.limit), (0, Some(Limit::per_second(1))));
        assert!(ledger.events(None, 1).is_empty());
    }
}
