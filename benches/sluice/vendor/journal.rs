//! What came to a vendor, and when. Times are since the Unix epoch.

use std::ops::Range;
use std::time::Duration;

/// All that came, in order.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// When requests were let in.
    pub accepted: Vec<Duration>,
    /// When requests were refused.
    pub refused: Vec<Duration>,
    /// When another user's requests were let in.
    pub others: Vec<Duration>,
    /// How long the answers took, of requests that were let in.
    pub took: Vec<Duration>,
}

/// What came within a time.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Requests let in.
    pub accepted: f64,
    /// Requests refused.
    pub refused: f64,
    /// Another user's requests let in.
    pub others: f64,
    /// The length of the time, in seconds.
    pub seconds: f64,
}

impl Journal {
    /// When the first request was let in.
    pub fn first(&self) -> Option<Duration> {
        self.accepted.first().copied()
    }

    /// What came within a time, beginning so long after `from`.
    pub fn within(&self, from: Duration, length: Duration) -> Seen {
        let time = from..from + length;
        let [accepted, refused, others] = [&self.accepted, &self.refused, &self.others].map(|page| count(page, &time));
        Seen { accepted, refused, others, seconds: length.as_secs_f64() }
    }

    /// The seconds within a time in which requests were wanted: not those that followed a refusal by less than `pause`, nor those in
    /// which the one request after it was being answered.
    pub fn open_seconds(&self, from: Duration, length: Duration, pause: Duration) -> f64 {
        let (mut at, end) = (from, from + length);
        let mut open = Duration::ZERO;
        for refused in self.refused.iter().copied().filter(|refused| *refused < end) {
            open += refused.saturating_sub(at);
            at = at.max(refused + pause + self.probe_took(refused + pause));
        }
        (open + end.saturating_sub(at)).as_secs_f64()
    }

    /// How long the first request from then on was the only one: others wait for its answer.
    fn probe_took(&self, from: Duration) -> Duration {
        let first = self.accepted.partition_point(|at| *at < from);
        match self.accepted.get(first..) {
            Some([probe, next, ..]) => *next - *probe,
            Some([] | [_]) | None => Duration::ZERO,
        }
    }
}

impl Seen {
    /// Requests let in a second.
    pub fn pace(self) -> f64 {
        self.accepted / self.seconds
    }

    /// What was used, in per cent of what another user left of the limit.
    pub fn used(self, per_second: u32) -> f64 {
        100.0 * self.accepted / (f64::from(per_second) * self.seconds - self.others)
    }

    /// What was refused, in per cent of the requests.
    pub fn refused(self) -> f64 {
        100.0 * self.refused / (self.accepted + self.refused).max(1.0)
    }
}

fn count(times: &[Duration], time: &Range<Duration>) -> f64 {
    let before = |end: Duration| times.partition_point(|at| *at < end);
    u32::try_from(before(time.end) - before(time.start)).map_or(f64::NAN, f64::from)
}
