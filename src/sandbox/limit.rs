//! The vendors' side of a rate limit: requests come in with their time, and are let in or refused.
//! Pure: the time is an argument. A refused request uses up nothing.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// A number of requests in a window of time, written `200/s`, `100/min`, `5000/h` or `1000000/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Limit {
    /// Requests let in per window, at least 1.
    pub count: u32,
    /// The window's length.
    pub window: Duration,
}

impl Limit {
    /// `count` requests a second.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self { count, window: SECOND }
    }

    /// `count` requests a day.
    #[must_use]
    pub const fn per_day(count: u32) -> Self {
        Self { count, window: DAY }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let unreadable = || LimitError(text.to_owned());
        let (count, unit) = text.split_once('/').ok_or_else(unreadable)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(unreadable)?;
        let window = match unit.trim() {
            "s" => SECOND,
            "min" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            "day" => DAY,
            _ => return Err(unreadable()),
        };
        Ok(Self { count, window })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window.as_secs() {
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/min", self.count),
            3_600 => write!(f, "{}/h", self.count),
            86_400 => write!(f, "{}/day", self.count),
            _ => write!(f, "{}/{:?}", self.count, self.window),
        }
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

/// A limit that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a limit: write a count of at least 1 and a window, such as 200/s, 100/min, 5000/h or 1000000/day"
)]
pub struct LimitError(String);

/// How a limit is counted. A limit a day or longer is a fixed window under each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Enforcement {
    /// At most n in any window whatever, wherever it begins.
    #[default]
    Sliding,
    /// At most n in each window of the wall clock: each full second, each day from midnight UTC.
    Fixed,
    /// At most n in a window that begins with the first request after the one before has ended.
    FixedFromFirst,
    /// A bucket that holds n and fills at n a window; it starts full.
    Bucket,
}

/// What is left of the tightest limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuotaLeft {
    /// The limit.
    pub limit: Limit,
    /// Requests it would still let in now.
    pub remaining: u32,
    /// Time until it lets in more than now.
    pub reset: Duration,
}

/// Several limits at once; each has to let a request in. Times are since the Unix epoch.
#[derive(Debug)]
pub(super) struct Limiter {
    counters: Vec<(Limit, Counter)>,
    latest: Duration,
}

impl Limiter {
    /// A limiter that has seen no request. No limits: everything is let in.
    pub fn new(limits: &[Limit], enforcement: Enforcement) -> Self {
        let counters = limits.iter().map(|limit| (*limit, Counter::new(*limit, enforcement))).collect();
        Self { counters, latest: Duration::ZERO }
    }

    /// Lets a request in that arrived at `now`, or refuses it. A `now` before an earlier one counts as that one.
    ///
    /// # Errors
    /// How long until the limits would let a request in.
    pub fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        self.wait(now).map_or(Ok(()), Err)?;
        for (limit, counter) in &mut self.counters {
            counter.take(*limit, self.latest);
        }
        Ok(())
    }

    /// How long a request that arrives at `now` has to wait, without counting it; none: it would be let in.
    pub fn wait(&mut self, now: Duration) -> Option<Duration> {
        self.latest = now.max(self.latest);
        let waits = self.counters.iter_mut().map(|(limit, counter)| counter.wait(*limit, self.latest));
        waits.max().filter(|wait| !wait.is_zero())
    }

    /// The limit with the smallest share left, if there is a limit.
    pub fn standing(&mut self, now: Duration) -> Option<QuotaLeft> {
        let now = now.max(self.latest);
        let standings = self.counters.iter_mut().map(|(limit, counter)| counter.standing(*limit, now));
        standings.min_by(|a, b| {
            let [a_left, b_left] =
                [(a, b), (b, a)].map(|(one, other)| u64::from(one.remaining) * u64::from(other.limit.count));
            a_left.cmp(&b_left)
        })
    }
}

/// The state of one limit.
#[derive(Debug)]
enum Counter {
    /// The times of the requests let in within the window.
    Sliding(VecDeque<Duration>),
    /// The window that `used` belongs to; `start` is none before the first request.
    Fixed { aligned: bool, start: Option<Duration>, used: u32 },
    /// In units of 1/window of a request (a request costs the window's nanoseconds), exact in integers.
    Bucket { level: u128, at: Duration },
}

impl Counter {
    fn new(limit: Limit, enforcement: Enforcement) -> Self {
        let aligned = enforcement != Enforcement::FixedFromFirst;
        match enforcement {
            Enforcement::Sliding if limit.window < DAY => Self::Sliding(VecDeque::new()),
            Enforcement::Bucket if limit.window < DAY => Self::Bucket { level: full(limit), at: Duration::ZERO },
            Enforcement::Sliding | Enforcement::Bucket | Enforcement::Fixed | Enforcement::FixedFromFirst => {
                Self::Fixed { aligned, start: None, used: 0 }
            }
        }
    }

    /// Brings the state to `now`: what has left the window is forgotten, what has dripped in is added.
    fn advance(&mut self, limit: Limit, now: Duration) {
        match self {
            Self::Sliding(times) => {
                while times.front().is_some_and(|time| *time + limit.window <= now) {
                    times.pop_front();
                }
            }
            Self::Fixed { aligned, start, used } => {
                if start.is_none_or(|start| start + limit.window <= now) {
                    *used = 0;
                    *start = aligned.then(|| now - remainder(now, limit.window));
                }
            }
            Self::Bucket { level, at } => {
                let dripped = now.saturating_sub(*at).as_nanos().saturating_mul(u128::from(limit.count));
                *level = level.saturating_add(dripped).min(full(limit));
                *at = now;
            }
        }
    }

    /// How long until a request would be let in; zero: now.
    fn wait(&mut self, limit: Limit, now: Duration) -> Duration {
        self.advance(limit, now);
        match self {
            Self::Sliding(times) if times.len() >= usize_of(limit.count) => {
                times.front().map_or(Duration::ZERO, |oldest| *oldest + limit.window - now)
            }
            Self::Fixed { start: Some(start), used, .. } if *used >= limit.count => *start + limit.window - now,
            Self::Bucket { level, .. } => drip_time(limit, limit.window.as_nanos().saturating_sub(*level)),
            Self::Sliding(_) | Self::Fixed { .. } => Duration::ZERO,
        }
    }

    /// Counts a request that is let in.
    fn take(&mut self, limit: Limit, now: Duration) {
        match self {
            Self::Sliding(times) => times.push_back(now),
            Self::Fixed { start, used, .. } => {
                start.get_or_insert(now);
                *used += 1;
            }
            Self::Bucket { level, .. } => *level = level.saturating_sub(limit.window.as_nanos()),
        }
    }

    fn standing(&mut self, limit: Limit, now: Duration) -> QuotaLeft {
        self.advance(limit, now);
        let (remaining, reset) = match self {
            Self::Sliding(times) => {
                let used = u32::try_from(times.len()).unwrap_or(u32::MAX);
                let reset = times.front().map_or(Duration::ZERO, |oldest| *oldest + limit.window - now);
                (limit.count.saturating_sub(used), reset)
            }
            Self::Fixed { start, used, .. } => {
                (limit.count - *used, start.map_or(limit.window, |start| start + limit.window - now))
            }
            Self::Bucket { level, .. } => {
                let whole = *level / limit.window.as_nanos();
                let to_next = limit.window.as_nanos() - *level % limit.window.as_nanos();
                (u32::try_from(whole).unwrap_or(u32::MAX), drip_time(limit, to_next))
            }
        };
        QuotaLeft { limit, remaining, reset }
    }
}

/// A full bucket.
fn full(limit: Limit) -> u128 {
    u128::from(limit.count) * limit.window.as_nanos()
}

/// The time in which `amount` drips into the bucket, rounded up.
fn drip_time(limit: Limit, amount: u128) -> Duration {
    let nanos = amount.div_ceil(u128::from(limit.count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How far `now` is into its window of the wall clock.
fn remainder(now: Duration, window: Duration) -> Duration {
    let nanos = now.as_nanos() % window.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn usize_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock at the start of a minute, `ms` milliseconds on.
    fn at(ms: u64) -> Duration {
        Duration::from_secs(1_700_000_040) + Duration::from_millis(ms)
    }

    fn admitted(limiter: &mut Limiter, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        times.into_iter().filter(|ms| limiter.admit(at(*ms)).is_ok()).collect()
    }

    fn limiter(limits: &[&str], enforcement: Enforcement) -> Limiter {
        let limits: Vec<Limit> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        Limiter::new(&limits, enforcement)
    }

    #[test]
    fn limits_are_read_and_written_alike() {
        for text in ["200/s", "1/min", "5000/h", "1000000/day"] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
        for text in ["", "200", "0/s", "-1/s", "1.5/s", "200/sec", "/s"] {
            assert!(text.parse::<Limit>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_sliding_window_lets_in_n_wherever_the_window_begins() {
        let mut limiter = limiter(&["3/s"], Enforcement::Sliding);
        // Full at 900; 0 leaves at 1000, 500 at 1500: each makes room for one.
        let seen = admitted(&mut limiter, [0, 500, 900, 950, 999, 1000, 1001, 1499, 1500, 1501]);
        assert_eq!(seen, [0, 500, 900, 1000, 1500]);
    }

    #[test]
    fn a_fixed_window_follows_the_wall_clock() {
        let mut limiter = limiter(&["2/s"], Enforcement::Fixed);
        let seen = admitted(&mut limiter, [900, 950, 999, 1000, 1001, 1002, 1999, 2000]);
        assert_eq!(seen, [900, 950, 1000, 1001, 2000]);
    }

    #[test]
    fn a_fixed_window_can_begin_with_the_first_request() {
        let mut limiter = limiter(&["2/s"], Enforcement::FixedFromFirst);
        let seen = admitted(&mut limiter, [900, 950, 1000, 1899, 1900, 2500, 2899, 4000, 4999, 4999, 5000]);
        assert_eq!(seen, [900, 950, 1900, 2500, 4000, 4999, 5000]);
    }

    #[test]
    fn a_bucket_starts_full_and_fills_evenly() {
        let mut limiter = limiter(&["4/s"], Enforcement::Bucket);
        let seen = admitted(&mut limiter, [0, 0, 0, 0, 0, 249, 250, 251, 499, 500, 2000, 2000, 2000, 2000, 2000]);
        assert_eq!(seen, [0, 0, 0, 0, 250, 500, 2000, 2000, 2000, 2000]);
    }

    #[test]
    fn a_refused_request_uses_up_nothing() {
        for enforcement in [Enforcement::Sliding, Enforcement::Fixed, Enforcement::FixedFromFirst, Enforcement::Bucket]
        {
            let mut limiter = limiter(&["1/s", "2/day"], enforcement);
            let seen = admitted(&mut limiter, (0..5_000).step_by(10));
            assert_eq!(seen, [0, 1_000], "{enforcement:?}: a refusal by the second counted for the day");
        }
    }

    #[test]
    fn a_day_is_counted_from_midnight_utc() {
        let mut limiter = limiter(&["1/day"], Enforcement::Sliding);
        let midnight = Duration::from_secs(20_000 * 86_400);
        assert!(limiter.admit(midnight - SECOND).is_ok());
        assert_eq!(limiter.admit(midnight - SECOND), Err(SECOND));
        assert!(limiter.admit(midnight).is_ok());
    }

    #[test]
    fn a_refusal_says_how_long_to_wait() {
        let cases = [
            (Enforcement::Sliding, 1_000),
            (Enforcement::Fixed, 700),
            (Enforcement::FixedFromFirst, 1_000),
            (Enforcement::Bucket, 500),
        ];
        for (enforcement, wait) in cases {
            let mut limiter = limiter(&["2/s"], enforcement);
            assert_eq!(admitted(&mut limiter, [300, 300]).len(), 2);
            let refusal = limiter.admit(at(300)).unwrap_err();
            assert_eq!(refusal, Duration::from_millis(wait), "{enforcement:?}");
            assert!(limiter.admit(at(300) + refusal - Duration::from_nanos(1)).is_err(), "{enforcement:?}");
            assert!(limiter.admit(at(300) + refusal).is_ok(), "{enforcement:?}");
        }
    }

    #[test]
    fn the_standing_is_that_of_the_tightest_limit() {
        let mut limiter = limiter(&["10/s", "4/min"], Enforcement::Fixed);
        assert_eq!(admitted(&mut limiter, [0, 0, 0]).len(), 3);
        let standing = limiter.standing(at(0)).unwrap();
        assert_eq!((standing.limit.to_string().as_str(), standing.remaining), ("4/min", 1));
        assert_eq!(standing.reset, Duration::from_secs(60));
        assert_eq!(Limiter::new(&[], Enforcement::Sliding).standing(at(0)), None);
    }

    #[test]
    fn two_hundred_a_second_evenly_spaced_are_never_refused() {
        for enforcement in [Enforcement::Sliding, Enforcement::Fixed, Enforcement::FixedFromFirst, Enforcement::Bucket]
        {
            let mut limiter = limiter(&["200/s"], enforcement);
            assert_eq!(admitted(&mut limiter, (0..5_000).map(|n| n * 5)).len(), 5_000, "{enforcement:?}");
        }
    }
}
