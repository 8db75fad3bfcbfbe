//! The vendor's side of the comparison: takes every request with 201, counts it, and knows how long its event was under way.
//! As cheap as can be, because it shares the processor with what is measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::serve::ListenerExt as _;
use sluice::clock;
use tokio::net::TcpListener;

use crate::Error;
use crate::vendor::Latency;

/// What stands before the time of publication in an event's body: nanoseconds since 1970, as a string.
pub const SENT: &str = "\"sent\":\"";
/// How often the count is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// No figure takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running sink; it ends with the bench.
#[derive(Clone, Debug)]
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    requests: AtomicU32,
    delays: Mutex<Vec<Duration>>,
    latency: Mutex<Latency>,
}

impl Sink {
    /// Listens on a free port of the loopback.
    ///
    /// # Errors
    /// The system's.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (requests, delays) = (AtomicU32::default(), Mutex::default());
        let seen = Arc::new(Seen { requests, delays, latency: Mutex::new(Latency::NONE) });
        let router = Router::new().fallback(take).with_state(Arc::clone(&seen));
        // A connection that cannot be told so is only slower.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, seen })
    }

    /// Its address, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on its answers take that long.
    pub fn set_latency(&self, latency: Latency) {
        *self.seen.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    /// Counts from nought again.
    pub fn forget(&self) {
        self.seen.requests.store(0, Ordering::Relaxed);
        self.delays().clear();
    }

    /// How many requests came.
    pub fn requests(&self) -> u32 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Waits until that many requests have come.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn has_seen(&self, requests: u32) -> Result<(), Error> {
        let deadline = clock::now() + PATIENCE;
        while self.requests() < requests {
            if clock::now() > deadline {
                let seen = self.requests();
                return Err(format!("only {seen} of {requests} events arrived within {PATIENCE:?}").into());
            }
            clock::sleep(LOOK).await;
        }
        Ok(())
    }

    /// From publication to arrival, of each event, in order of size.
    pub fn sorted_delays(&self) -> Vec<Duration> {
        let mut delays = std::mem::take(&mut *self.delays());
        delays.sort_unstable();
        delays
    }

    fn delays(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.seen.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(seen): State<Arc<Seen>>, body: Bytes) -> (StatusCode, &'static str) {
    let now = clock::wall();
    if let Some(sent) = sent(&body) {
        let delay = Duration::try_from(now.duration_since(sent)).unwrap_or_default();
        seen.delays.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }
    seen.requests.fetch_add(1, Ordering::Relaxed);
    let latency = *seen.latency.lock().unwrap_or_else(PoisonError::into_inner);
    if latency != Latency::NONE {
        clock::sleep(latency.draw(&mut fastrand::Rng::new())).await;
    }
    (StatusCode::CREATED, "{}")
}

fn sent(body: &[u8]) -> Option<jiff::Timestamp> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once(SENT)?;
    jiff::Timestamp::from_nanosecond(rest.split('"').next()?.parse().ok()?).ok()
}
