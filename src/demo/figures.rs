//! Figures from what a worker and the sandbox show: samples come in, quota used and latencies go out. Pure.

use std::time::Duration;

use serde::Serialize;

/// How the troubled destination was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct GateSample {
    /// On the steady clock, from any start.
    pub at: Duration,
    /// Whether its gate was open.
    pub open: bool,
    /// Whether deliveries waited for a place.
    pub backlog: bool,
    /// Requests that took from the vendor's quota so far.
    pub requests: u64,
}

/// The quota used while the gate was open and had work.
#[derive(Clone, Debug, Default)]
pub struct QuotaUse {
    last: Option<GateSample>,
    open_for: Duration,
    requests: u64,
}

impl QuotaUse {
    /// Takes a sample; what lies between two counts where the gate was open with a backlog at both.
    pub fn sample(&mut self, sample: GateSample) {
        if let Some(last) = self.last.replace(sample)
            && [last, sample].iter().all(|sample| sample.open && sample.backlog)
        {
            self.open_for += sample.at.saturating_sub(last.at);
            self.requests += sample.requests.saturating_sub(last.requests);
        }
    }

    /// Requests a second; none before it was seen open.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (!self.open_for.is_zero()).then(|| float(self.requests) / self.open_for.as_secs_f64())
    }
}

/// Observations by upper bound, as in a Prometheus histogram: cumulative, in the order of the bounds.
pub type Buckets = Vec<(f64, u64)>;

/// The buckets of `metric` for `destination` in Prometheus's text format.
#[must_use]
pub fn buckets(text: &str, metric: &str, destination: &str) -> Buckets {
    let (start, label) = (format!("{metric}_bucket{{"), format!("destination=\"{destination}\""));
    let lines = text.lines().filter(|line| line.starts_with(&start) && line.contains(&label));
    lines
        .filter_map(|line| {
            let (_, bound) = line.split_once("le=\"")?;
            let (bound, count) = bound.split_once("\"}")?;
            Some((bound.parse().ok()?, count.trim().parse().ok()?))
        })
        .collect()
}

/// Latencies that were observed in some of the time.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// Cumulative, as they came.
    seen: Buckets,
}

/// Latencies in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many there were.
    pub count: u64,
    /// 99 of 100 took no longer, in seconds: the upper bound of a histogram's bucket.
    pub p99_at_most_seconds: f64,
}

impl Latencies {
    /// Adds what was observed between two readings of the same histogram.
    pub fn add(&mut self, before: &Buckets, after: &Buckets) {
        if self.seen.is_empty() {
            self.seen = after.iter().map(|(bound, _)| (*bound, 0)).collect();
        }
        for (index, (sum, (_, count))) in self.seen.iter_mut().zip(after).enumerate() {
            let earlier = before.get(index).map_or(0, |(_, count)| *count);
            sum.1 += count.saturating_sub(earlier);
        }
    }

    /// None where nothing was observed.
    #[must_use]
    pub fn summary(&self) -> Option<LatencySummary> {
        let count = self.seen.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let (bound, _) = self.seen.iter().find(|(_, below)| below * 100 >= count * 99)?;
        Some(LatencySummary { count, p99_at_most_seconds: *bound })
    }
}

/// A count as a number to reckon with.
#[must_use]
pub fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, open: bool, backlog: bool, requests: u64) -> GateSample {
        GateSample { at: Duration::from_secs(seconds), open, backlog, requests }
    }

    #[test]
    fn only_time_open_with_a_backlog_counts_towards_the_quota() {
        let mut quota = QuotaUse::default();
        assert_eq!(quota.rate(), None);
        for sample in [
            sample(0, true, true, 0),
            sample(1, true, true, 200),
            sample(2, false, true, 300),
            sample(7, true, true, 301),
            sample(9, true, true, 699),
            sample(20, true, false, 710),
        ] {
            quota.sample(sample);
        }
        assert_eq!(quota.rate(), Some(598.0 / 3.0));
    }

    #[test]
    fn latencies_are_read_from_the_workers_own_metrics() {
        let text = "# HELP l x\nl_bucket{destination=\"px\",le=\"0.1\"} 9\n\
                    l_bucket{destination=\"hook\",le=\"0.1\"} 98\nl_bucket{destination=\"hook\",le=\"0.5\"} 99\n\
                    l_bucket{destination=\"hook\",le=\"+Inf\"} 100\nl_sum{destination=\"hook\"} 4.2\n";
        let read = buckets(text, "l", "hook");
        assert_eq!(read, [(0.1, 98), (0.5, 99), (f64::INFINITY, 100)]);
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), None);
        latencies.add(&Vec::new(), &read);
        assert_eq!(latencies.summary(), Some(LatencySummary { count: 100, p99_at_most_seconds: 0.5 }));
    }

    #[test]
    fn latencies_of_some_of_the_time_leave_out_the_rest() {
        let reading = |fast, all| vec![(0.1, fast), (1.0, all)];
        let mut latencies = Latencies::default();
        latencies.add(&reading(10, 10), &reading(20, 20));
        latencies.add(&reading(20, 90), &reading(25, 95));
        assert_eq!(latencies.summary(), Some(LatencySummary { count: 15, p99_at_most_seconds: 0.1 }));
    }
}
