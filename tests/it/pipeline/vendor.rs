//! A vendor that answers as told, over a transport without a network.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use sluice::clock;
use sluice::delivery::{Transport, Trouble};
use sluice::vendors::Reply;

use super::event_numbers;

/// Longest time for one request, as the destinations have it configured by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request as the vendor saw it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Since the vendor was set up.
    pub at: Duration,
    /// When its answer was there, on the same clock.
    pub answered: Option<Duration>,
    /// What it was sent to.
    pub path: String,
    /// The numbers of the events in it.
    pub events: Vec<u64>,
    /// The first of them.
    pub event: u64,
    /// How many calls came before it.
    pub before: usize,
    /// How many of those were for the same event, or without one to the same path.
    pub seen: usize,
    pub headers: HeaderMap,
}

/// What the vendor does with a call.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// A status with one header.
    With(u16, &'static str, String),
    /// A status with a body.
    Body(u16, String),
    /// That answer after so long.
    After(Duration, Box<Self>),
    /// No answer at all.
    Hang,
    /// The connection breaks before an answer.
    Reset,
    /// No connection.
    Refuse,
    /// The machine has no file descriptors left, so that nothing reaches the vendor.
    Machine,
}

type Behaviour = Box<dyn FnMut(&Call) -> Answer + Send>;

struct Scene {
    calls: Vec<(Call, Answer)>,
    seen: HashMap<(String, u64), usize>,
    behave: Behaviour,
}

/// The vendor. Cheap to clone.
#[derive(Clone)]
pub struct ScriptedVendor {
    since: Instant,
    scene: Arc<Mutex<Scene>>,
}

impl ScriptedVendor {
    /// How long it takes to answer.
    pub const LATENCY: Duration = Duration::from_millis(10);

    /// One that takes everything.
    pub fn new() -> Self {
        let scene = Scene { calls: Vec::new(), seen: HashMap::new(), behave: Box::new(|_| Answer::Status(201)) };
        Self { since: clock::now(), scene: Arc::new(Mutex::new(scene)) }
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does from now on.
    pub fn behave(&self, behave: impl FnMut(&Call) -> Answer + Send + 'static) {
        self.scene().behave = Box::new(behave);
    }

    /// How long it has been there.
    pub fn now(&self) -> Duration {
        clock::now() - self.since
    }

    /// Every call so far, with its answer.
    pub fn calls(&self) -> Vec<(Call, Answer)> {
        self.scene().calls.clone()
    }

    /// How many calls came so far.
    pub fn count(&self) -> usize {
        self.scene().calls.len()
    }

    /// The calls for one event.
    pub fn calls_for(&self, event: u64) -> Vec<Call> {
        self.calls().into_iter().map(|(call, _)| call).filter(|call| call.events.contains(&event)).collect()
    }

    /// The calls to one path, or to what lies beneath it.
    pub fn calls_to(&self, path: &str) -> Vec<Call> {
        self.calls().into_iter().map(|(call, _)| call).filter(|call| call.path.starts_with(path)).collect()
    }

    /// How often it answered that it took an event.
    pub fn taken(&self, event: u64) -> usize {
        self.deliveries().into_iter().filter(|taken| *taken == event).count()
    }

    /// Every event that it took, in the order of its answers.
    pub fn deliveries(&self) -> Vec<u64> {
        let mut calls = self.calls();
        calls.retain(|(_, answer)| answer.status().is_some_and(|status| status < 300));
        calls.sort_by_key(|(call, _)| call.answered.unwrap_or(Duration::MAX));
        calls.into_iter().flat_map(|(call, _)| call.events).collect()
    }

    /// Whether it took each of `events` once.
    pub fn took_each_once(&self, events: impl IntoIterator<Item = u64>) -> bool {
        let mut counts = HashMap::<u64, usize>::new();
        self.deliveries().into_iter().for_each(|event| *counts.entry(event).or_default() += 1);
        events.into_iter().all(|event| counts.get(&event) == Some(&1))
    }

    /// When an event was first sent; now, where it never was.
    pub fn first_sent(&self, event: u64) -> Instant {
        self.calls_for(event).first().map_or_else(clock::now, |call| self.since + call.at)
    }

    /// How many calls came from `from` to `to`.
    pub fn calls_between(&self, from: Duration, to: Duration) -> usize {
        self.calls().iter().filter(|(call, _)| call.at >= from && call.at < to).count()
    }

    /// The call's number and what becomes of it.
    fn take(&self, request: &Request<Bytes>) -> (usize, Answer) {
        let (at, path, events) = (self.now(), request.uri().path().to_owned(), event_numbers(request.body()));
        let event = events.first().copied().unwrap_or(u64::MAX);
        let mut scene = self.scene();
        let before = scene.calls.len();
        let times = scene.seen.entry((path.clone(), event)).or_default();
        let seen = std::mem::replace(times, *times + 1);
        let call = Call { at, answered: None, path, events, event, before, seen, headers: request.headers().clone() };
        let answer = (scene.behave)(&call);
        scene.calls.push((call, answer.clone()));
        (before, answer)
    }

    fn answered(&self, call: usize) {
        let now = self.now();
        self.scene().calls[call].0.answered = Some(now);
    }
}

impl Answer {
    /// The status, where there is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) | Self::With(status, ..) | Self::Body(status, _) => Some(*status),
            Self::After(_, answer) => answer.status(),
            Self::Hang | Self::Reset | Self::Refuse | Self::Machine => None,
        }
    }

    /// A status after so long.
    pub fn slow(status: u16, after: Duration) -> Self {
        Self::Status(status).after(after)
    }

    /// The same after so long.
    pub fn after(self, after: Duration) -> Self {
        Self::After(after, Box::new(self))
    }

    /// How long it takes.
    fn takes(&self) -> Duration {
        match self {
            Self::After(after, _) => *after,
            Self::Hang => TIMEOUT,
            Self::Status(_) | Self::With(..) | Self::Body(..) | Self::Reset | Self::Refuse | Self::Machine => {
                ScriptedVendor::LATENCY
            }
        }
    }

    /// What comes of it in the end.
    fn outcome(self) -> Result<Reply, Trouble> {
        let host = "vendor.test".to_owned();
        match self {
            Self::After(_, answer) => answer.outcome(),
            Self::Status(status) => Ok(reply(status, HeaderMap::new())),
            Self::Body(status, body) => Ok(Reply { body: body.into(), ..reply(status, HeaderMap::new()) }),
            Self::With(status, name, value) => {
                let value = HeaderValue::from_str(&value).unwrap();
                Ok(reply(status, HeaderMap::from_iter([(HeaderName::from_static(name), value)])))
            }
            Self::Hang => Err(Trouble::Timeout { host, timeout: TIMEOUT }),
            Self::Reset => Err(Trouble::Broken { host, cause: "connection reset by peer".to_owned() }),
            Self::Machine => Err(Trouble::Machine { host, cause: "no file descriptors left".to_owned() }),
            Self::Refuse => Err(Trouble::Connect { host, cause: "connection refused".to_owned() }),
        }
    }
}

impl Transport for ScriptedVendor {
    fn send<'a>(
        &'a self,
        request: &'a Request<Bytes>,
        written: &'a sluice::gate::WrittenAt,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Trouble>> + Send + 'a>> {
        Box::pin(async move {
            let (call, answer) = self.take(request);
            written.mark(clock::now());
            tokio::time::sleep(answer.takes()).await;
            self.answered(call);
            answer.outcome()
        })
    }
}

fn reply(status: u16, headers: HeaderMap) -> Reply {
    Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from_static(b"said the vendor") }
}
