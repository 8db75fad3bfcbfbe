//! Measures how long this machine keeps a ready task waiting, and remembers the longest time: a request that is held up arrives later than
//! planned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::clock;

/// Between two looks at the clock.
const EVERY: Duration = Duration::from_millis(5);

/// A task that looks. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Stalls {
    worst_ms: Arc<AtomicU64>,
    _looking: AbortOnDropHandle<()>,
}

impl Stalls {
    /// Looks from now on.
    pub fn watch() -> Self {
        let worst_ms = Arc::new(AtomicU64::new(0));
        let looking = tokio::spawn(look(Arc::clone(&worst_ms)));
        Self { worst_ms, _looking: AbortOnDropHandle::new(looking) }
    }

    /// The longest wait so far, beside the one that was asked for.
    pub fn worst(&self) -> Duration {
        Duration::from_millis(self.worst_ms.load(Ordering::Relaxed))
    }
}

async fn look(worst_ms: Arc<AtomicU64>) {
    loop {
        let due = clock::now() + EVERY;
        clock::sleep(EVERY).await;
        let late = clock::now().saturating_duration_since(due).as_millis();
        worst_ms.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
