//! The one place that reads the time: everything that decides takes it as an argument.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The steady clock, for pacing and waiting. Follows tokio's paused time in tests.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the steady clock")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The calendar clock, for ages, `Retry-After` dates and day budgets. Follows tokio's paused time in tests, which run without optimization.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the calendar clock")]
pub fn wall() -> Timestamp {
    let wall = Timestamp::now();
    // Nobody pauses time in a release, and two more looks at a clock, six times an event, would be seen.
    if !cfg!(debug_assertions) {
        return wall;
    }
    // Zero unless time is paused: then the steady clock stands still, or was moved on.
    let (shown, real) = (now(), Instant::now());
    let (ahead, behind) = (shown.saturating_duration_since(real), real.saturating_duration_since(shown));
    wall.checked_add(ahead).and_then(|wall| wall.checked_sub(behind)).unwrap_or(wall)
}

/// Waits until the steady clock shows `until`.
pub async fn sleep_until(until: Instant) {
    tokio::time::sleep_until(tokio::time::Instant::from_std(until)).await;
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
