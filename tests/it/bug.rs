//! A bug in Sluice, for tests of what becomes of it: whatever logs a certain line panics.

use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Panics the first `times` times that this thread logs a line with all of `parts`, while the guard lives. How often it was logged is counted.
pub fn where_it_logs(parts: &'static [&'static str], times: u32) -> (DefaultGuard, Arc<AtomicU32>) {
    let logged = Arc::new(AtomicU32::new(0));
    let bug = Bug { parts, times, logged: Arc::clone(&logged) };
    (tracing::subscriber::set_default(tracing_subscriber::registry().with(bug)), logged)
}

struct Bug {
    parts: &'static [&'static str],
    times: u32,
    logged: Arc<AtomicU32>,
}

impl<S: Subscriber> Layer<S> for Bug {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if self.parts.iter().all(|part| line.0.contains(part)) {
            assert!(self.logged.fetch_add(1, Ordering::Relaxed) >= self.times, "a bug");
        }
    }
}

/// `field=value`, each with a space behind it.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}
