//! A strict vendor: counts a request when it has been read whole, answers 201 or 429 when its latency is over, and writes
//! down what came when. Refuses more than its limit asks for where it is told to. It is the other side: it shares no
//! code with the gate that it is there to try.

pub mod counting;
mod journal;
pub mod others;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use sluice::clock;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Error;
use counting::{Counter, Counting};
pub use journal::Journal;
use others::{Others, Usage};

/// More than any vendor answers at once.
const ALL_AT_ONCE: usize = 100_000;

/// How long answers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// All the same.
    Fixed(Duration),
    /// Exponential with this mean, and never longer than ten times the mean: 300 ms have a p99 of 1.4 s.
    Exponential(Duration),
}

/// What a vendor is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests a second that it lets in.
    pub per_second: u32,
    /// How it counts them.
    pub counting: Counting,
    /// How long its answers take.
    pub latency: Latency,
    /// The `Retry-After` of a refusal, in seconds.
    pub retry_after: Option<u32>,
    /// The share of requests that it refuses for no reason.
    pub refused_share: f64,
    /// How many requests it works on at once; others wait for their turn.
    pub at_once: usize,
}

/// A running vendor; it ends with the bench.
#[derive(Clone, Debug)]
pub struct Vendor {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    turns: Semaphore,
    started: Instant,
    /// The wall clock when `started`, since the Unix epoch: fixed windows begin with its seconds.
    epoch: Duration,
}

/// What a request changes.
#[derive(Debug)]
struct Desk {
    plan: Plan,
    counter: Counter,
    others: Others,
    /// So many requests more are refused for no reason.
    refuse: u32,
    chance: fastrand::Rng,
    journal: Journal,
}

impl Latency {
    /// None.
    pub const NONE: Self = Self::ms(0);
    /// What the other parts call "300 ms": exponential.
    pub const TYPICAL: Self = Self::Exponential(Duration::from_millis(300));

    /// All answers take that many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self::Fixed(Duration::from_millis(ms))
    }

    /// As it is named in a figure.
    pub fn name(self) -> String {
        match self {
            Self::Fixed(time) => format!("{} ms", time.as_millis()),
            Self::Exponential(mean) => format!("{} ms exponential", mean.as_millis()),
        }
    }

    /// Half of the answers take longer.
    pub fn median(self) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Exponential(mean) => mean.mul_f64(std::f64::consts::LN_2),
        }
    }

    /// The latency of one answer.
    pub fn draw(self, chance: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - chance.f64()).ln()).min(mean * 10),
        }
    }
}

impl Plan {
    /// A vendor without whims: counts so many a second in a sliding window and answers at once.
    pub fn plain(per_second: u32) -> Self {
        Self {
            per_second,
            counting: Counting::Sliding,
            latency: Latency::ms(0),
            retry_after: None,
            refused_share: 0.0,
            at_once: ALL_AT_ONCE,
        }
    }
}

impl Vendor {
    /// Listens on a free port of the loopback.
    ///
    /// # Errors
    /// The system's.
    pub async fn start(plan: Plan) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Desk {
            plan,
            counter: Counter::new(plan.counting, plan.per_second),
            others: Others::none(plan.per_second),
            refuse: 0,
            chance: fastrand::Rng::with_seed(1),
            journal: Journal::default(),
        };
        let shared = Arc::new(Shared {
            desk: Mutex::new(desk),
            turns: Semaphore::new(plan.at_once),
            started: clock::now(),
            epoch: Duration::try_from(clock::wall().as_duration())?,
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        // A connection that cannot be told so is only slower.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, shared })
    }

    /// Its address, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The time by its clock, since the Unix epoch.
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// From now on its answers take that long.
    pub fn set_latency(&self, latency: Latency) {
        self.shared.desk().plan.latency = latency;
    }

    /// Refuses the next requests, whatever its limit.
    pub fn refuse(&self, requests: u32) {
        self.shared.desk().refuse += requests;
    }

    /// From now on another user of the account sends so much.
    pub fn share_with(&self, usage: Usage) {
        let now = self.now();
        self.shared.desk().others.send(usage, now);
    }

    /// What came so far.
    pub fn journal(&self) -> Journal {
        self.shared.desk().journal.clone()
    }

    /// When the first request was let in, once one was.
    ///
    /// # Errors
    /// When none comes within `patience`.
    pub async fn first(&self, patience: Duration) -> Result<Duration, Error> {
        let deadline = clock::now() + patience;
        loop {
            if let Some(first) = self.shared.desk().journal.first() {
                return Ok(first);
            }
            if clock::now() > deadline {
                return Err(format!("no request came within {patience:?}").into());
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.epoch + clock::now().duration_since(self.started)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Lets a request in that has been read at `now`, or refuses it; how long the answer takes.
    fn admit(&mut self, now: Duration) -> (bool, Duration) {
        while let Some(at) = self.others.next(now) {
            if self.counter.admit(at) {
                self.journal.others.push(at);
            }
        }
        let whim = self.refuse > 0 || self.chance.f64() < self.plan.refused_share;
        self.refuse = self.refuse.saturating_sub(1);
        let admitted = !whim && self.counter.admit(now);
        let page = if admitted { &mut self.journal.accepted } else { &mut self.journal.refused };
        page.push(now);
        (admitted, self.plan.latency.draw(&mut self.chance))
    }
}

/// The request has been read: the body is here.
async fn take(State(shared): State<Arc<Shared>>, _body: Bytes) -> Response {
    let came = clock::now();
    let (admitted, latency, retry_after) = {
        let mut desk = shared.desk();
        // By the clock inside the lock: times in the journal and in the counter only grow.
        let (admitted, latency) = desk.admit(shared.now());
        (admitted, latency, desk.plan.retry_after)
    };
    if !admitted {
        clock::sleep(latency).await;
        let told = retry_after.map(|seconds| [(RETRY_AFTER, seconds.to_string())]);
        return (StatusCode::TOO_MANY_REQUESTS, told, "{}").into_response();
    }
    let turn = shared.turns.acquire().await;
    if !latency.is_zero() {
        clock::sleep(latency).await;
    }
    drop(turn);
    shared.desk().journal.took.push(came.elapsed());
    (StatusCode::CREATED, "{}").into_response()
}
