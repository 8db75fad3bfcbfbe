//! How many events a second each token may publish. Pure; the time is an argument.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// This much of a rate may come at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The longest that a request makes its token wait.
const LONGEST: Duration = Duration::from_hours(1);

/// When each token's events come up to its rate again. A request may go beyond it, since a batch cannot be divided: the next waits for it.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<String, Instant>>);

impl Rates {
    /// How long a token still has to wait.
    pub fn wait(&self, token: &str, now: Instant) -> Option<Duration> {
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied()?;
        Some(due.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// So many events of a token came.
    pub fn count(&self, token: &str, per_second: f64, events: usize, now: Instant) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let takes = Duration::try_from_secs_f64(f64::from(events) / per_second).unwrap_or(LONGEST).min(LONGEST);
        let earliest = now.checked_sub(AT_ONCE).unwrap_or(now);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = all.entry(token.to_owned()).or_insert(earliest);
        *due = (*due).max(earliest) + takes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_comes_at_once_and_what_is_beyond_is_waited_for() {
        let (rates, now) = (Rates::default(), crate::clock::now());
        let wait = |rates: &Rates, after: u64| rates.wait("shop", now + Duration::from_millis(after));
        assert_eq!(wait(&rates, 0), None);
        rates.count("shop", 10.0, 10, now);
        assert_eq!(wait(&rates, 0), None, "as much as a second's");
        rates.count("shop", 10.0, 20, now);
        assert_eq!(wait(&rates, 0), Some(Duration::from_secs(2)));
        assert_eq!(rates.wait("crm", now), None, "each token has its own");
        assert_eq!((wait(&rates, 1999), wait(&rates, 2000)), (Some(Duration::from_millis(1)), None));
        rates.count("shop", 10.0, 10, now + Duration::from_hours(1));
        assert_eq!(wait(&rates, 3_600_000), None, "what was not used is not saved up");
    }
}
