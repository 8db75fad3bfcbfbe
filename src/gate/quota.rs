//! A vendor's limits in; the pace and the day budget that keep to them out. The time is an argument:
//! nothing here may read a clock, and no window may ever hold more requests than its limit allows.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use serde::{Deserialize, Serialize};

use super::window;

/// How far behind its schedule a late caller may be and still catch up. Timers wake up to 1 ms late and a busy
/// machine much more: without this, lateness would add up to a lower rate.
pub const CATCH_UP: Duration = Duration::from_millis(15);

/// The time between our sending and the vendor's counting may vary by this much from request to request, and still no window holds one too
/// many. If a vendor answers faster than this, its answers tell exactly and it costs next to nothing. Otherwise it costs 1.5 % of `N/s`, and
/// next to nothing of longer windows.
pub const JITTER: Duration = Duration::from_millis(15);

/// The cells of the limiter are about this long, so that rounding them to whole nanoseconds costs under 0.02 %.
const CELL_NANOS: u64 = 5_000;

/// What a limit counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// `s`
    Second,
    /// `min`
    Minute,
    /// `h`
    Hour,
    /// `day`: the calendar day in UTC.
    Day,
}

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "day",
        }
    }
}

/// At most `count` requests in any window. Written `200/s`, `100/min`, `18000/h`, `1000000/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How many; 0 is taken as 1.
    pub count: u32,
    /// In which window.
    pub window: Window,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.window.name())
    }
}

/// Why a text is not a limit, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not `COUNT/WINDOW`.
    #[error(
        "{0:?} is not a limit: write a count, a slash and one of s, min, h or day, like \"200/s\" or \"1000000/day\""
    )]
    Form(String),
    /// A count that is zero or too large.
    #[error("the count of the limit {0:?} must be a whole number from 1 to 4294967295")]
    Count(String),
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let form = || LimitError::Form(text.to_owned());
        let (count, window) = text.split_once('/').ok_or_else(form)?;
        let window = Window::ALL.into_iter().find(|w| w.name() == window.trim()).ok_or_else(form)?;
        match count.trim().parse() {
            Ok(count) if count > 0 => Ok(Self { count, window }),
            _ => Err(LimitError::Count(text.to_owned())),
        }
    }
}

/// The time between two requests that keeps every short window, or none where all limits are by the day.
///
/// An evenly paced stream with period T, whose requests may be up to [`CATCH_UP`] early against their schedule and
/// be counted up to [`JITTER`] late, puts at most n in a window W when n·T ≥ W plus that room. The longest of these
/// periods therefore keeps all windows at once, so one pacer is enough for any number of them. One-second windows need
/// hardly any, since their places are remembered one by one.
#[must_use]
pub fn period(limits: &[Limit]) -> Option<Duration> {
    limits
        .iter()
        .filter(|limit| limit.window != Window::Day)
        .map(|limit| {
            let nanos = (limit.window.length() + window::slack(limit, CATCH_UP)).as_nanos();
            Duration::from_nanos(u64::try_from(nanos.div_ceil(u128::from(limit.count.max(1)))).unwrap_or(u64::MAX))
        })
        .max()
}

/// The lowest rate that the short windows state, in requests per second; none where all limits are by the day.
#[must_use]
pub fn rate(limits: &[Limit]) -> Option<f64> {
    limits
        .iter()
        .filter(|limit| limit.window != Window::Day)
        .map(|limit| f64::from(limit.count.max(1)) / limit.window.length().as_secs_f64())
        .min_by(f64::total_cmp)
}

/// The smallest day budget.
#[must_use]
pub fn day_limit(limits: &[Limit]) -> Option<u64> {
    limits.iter().filter(|limit| limit.window == Window::Day).map(|limit| u64::from(limit.count.max(1))).min()
}

/// Limits as people read them: `200/s, 1000000/day`.
#[must_use]
pub fn listed(limits: &[Limit]) -> String {
    limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Those of the `documented` limits that `limits` let be passed over.
#[must_use]
pub fn beyond(limits: &[Limit], documented: &[Limit]) -> Vec<Limit> {
    let pace = rate(limits).unwrap_or(f64::INFINITY);
    let passes_over = |documented: &&Limit| {
        let allows = f64::from(documented.count) / documented.window.length().as_secs_f64();
        let budget = day_limit(limits).filter(|_| documented.window == Window::Day);
        budget.map_or(pace > allows, |budget| budget > u64::from(documented.count))
    };
    documented.iter().filter(passes_over).copied().collect()
}

/// Spaces requests evenly, one `period` apart. A place once taken cannot be given back.
#[derive(Debug)]
pub struct Pacer {
    limiter: RateLimiter<NotKeyed, InMemoryState, ManualClock, NoOpMiddleware<Duration>>,
    clock: ManualClock,
    cells: NonZeroU32,
    period: Duration,
    from: Instant,
}

impl Pacer {
    /// A pacer whose first place comes one period after `from`.
    ///
    /// Each request counts as many small cells, so that the limiter's tolerance is a time and not a whole request.
    #[must_use]
    pub fn drained(period: Duration, from: Instant) -> Self {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        let cells = u32::try_from((nanos / CELL_NANOS).clamp(1, 1_000)).unwrap_or(1);
        let cell = nanos.div_ceil(u64::from(cells));
        let spare = u32::try_from(CATCH_UP.as_nanos() / u128::from(cell)).unwrap_or(u32::MAX - cells);
        let cells = NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN);
        let burst = cells.saturating_add(spare);
        let quota = Quota::with_period(Duration::from_nanos(cell))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let clock = ManualClock::default();
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        // A fresh limiter is full: taking all of it is what drains it.
        let drained = limiter.check_n(burst);
        debug_assert!(matches!(drained, Ok(Ok(()))), "a fresh limiter gives its whole burst");
        Self { limiter, clock, cells, period: Duration::from_nanos(cell) * cells.get(), from }
    }

    /// The time between two places.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Takes a place.
    ///
    /// # Errors
    /// The time before which there is none.
    pub fn take(&self, now: Instant) -> Result<(), Instant> {
        self.clock.set(now.saturating_duration_since(self.from));
        match self.limiter.check_n(self.cells) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(self.from + not_until.wait_time_from(Duration::ZERO)),
            // Cannot be: the burst is never smaller than the cells of one request.
            Err(_) => Err(now + self.period),
        }
    }
}

/// A clock that is set by hand: nanoseconds since the pacer began.
#[derive(Clone, Debug, Default)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn set(&self, since: Duration) {
        self.0.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_above_what_the_vendor_documents_are_told_whatever_their_windows() {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Limit>>();
        let documented = parsed(&["200/s", "1000000/day"]);
        for (limits, passed) in [
            (&["200/s", "1000000/day"][..], &[][..]),
            (&["300/s", "1000000/day"], &["200/s"]),
            (&["300/s", "12000/min", "500/day"], &[]),
            (&["100/s", "2000000/day"], &["1000000/day"]),
            (&["100/s"], &["1000000/day"]),
            (&["500/day"], &["200/s"]),
        ] {
            assert_eq!(beyond(&parsed(limits), &documented), parsed(passed), "{limits:?}");
        }
        assert!(beyond(&parsed(&["9000/s"]), &[]).is_empty(), "nothing is documented");
    }
}
