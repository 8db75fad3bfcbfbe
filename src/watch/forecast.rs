//! Foretells when a backlog is gone and when a day budget is used up, from the last minutes. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How long samples are kept: a budget's pace is measured over this time.
const KEPT: Duration = Duration::from_secs(300);
/// The pace of a backlog is measured over the last of these seconds …
const RECENT: Duration = Duration::from_secs(60);
/// … once there are at least this many of them, …
const ENOUGH: Duration = Duration::from_secs(15);
/// … and this many requests could be made in them. With few requests that carry many events each, one more or less changes much.
const ENOUGH_REQUESTS: f64 = 3.0;

/// A destination at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct BacklogSample {
    pub at: Instant,
    /// Events in its queue and in hand that wait.
    pub waiting: u64,
    /// Events that have left the queue so far, whatever became of them.
    pub left: u64,
    /// Requests with events so far.
    pub requests: u64,
    /// Events that these carried.
    pub carried: f64,
    /// Requests counted against today's budget.
    pub day_used: u64,
}

/// How a destination's backlog and budget changed in the last minutes.
#[derive(Debug, Default)]
pub(super) struct Trend {
    samples: VecDeque<BacklogSample>,
    /// Since when something waits that the destination has not read.
    unread_since: Option<Timestamp>,
    /// When the budget runs out, as it was last worked out.
    runs_out: Option<Timestamp>,
}

impl Trend {
    /// Adds the latest, and forgets what is old.
    pub fn note(&mut self, sample: BacklogSample) {
        while self.samples.front().is_some_and(|first| sample.at.saturating_duration_since(first.at) > KEPT) {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The time of the oldest event that waits: as the destination knows it, or else, where what waits is `unread`, since when that was
    /// first seen. None where nothing waits.
    pub fn oldest(&mut self, known: Option<Timestamp>, unread: bool, wall: Timestamp) -> Option<Timestamp> {
        let waits = self.samples.back().is_some_and(|last| last.waiting > 0);
        let is_new = waits && unread && known.is_none();
        self.unread_since = if is_new { self.unread_since.or(Some(wall)) } else { None };
        known.filter(|_| waits).or(self.unread_since)
    }

    /// What waits now does so on purpose: it begins to be old later.
    pub fn rests(&mut self) {
        self.unread_since = None;
    }

    /// Seconds until nothing waits, were nothing more to come; infinite while nothing gets through. `rate` is the requests that the gate
    /// lets through in a second: with what a request of the present backlog has carried, or `together` before there was one, that is
    /// believed until there has been a backlog for long enough to see how fast it goes. None where there is neither.
    pub fn drained_in(&self, rate: Option<f64>, together: usize) -> Option<f64> {
        let last = self.samples.back()?;
        if last.waiting == 0 {
            return Some(0.0);
        }
        if rate == Some(0.0) {
            return Some(f64::INFINITY);
        }
        let requests = rate.and_then(|rate| Duration::try_from_secs_f64(ENOUGH_REQUESTS / rate).ok());
        let enough = requests.unwrap_or_default().max(ENOUGH);
        let recent = enough.saturating_mul(2).max(RECENT);
        let busy =
            |sample: &&BacklogSample| sample.waiting > 0 && last.at.saturating_duration_since(sample.at) <= recent;
        let first = self.samples.iter().rev().take_while(busy).last()?;
        let pace = match last.at.saturating_duration_since(first.at) {
            span if span >= enough => number(last.left.saturating_sub(first.left)) / span.as_secs_f64(),
            _ => {
                let a_request = match last.requests.saturating_sub(first.requests) {
                    0 => number(last.waiting).min(number(u64::try_from(together).unwrap_or(u64::MAX))),
                    requests => (last.carried - first.carried) / number(requests),
                };
                rate? * a_request
            }
        };
        Some(number(last.waiting) / pace)
    }

    /// When a day budget of `limit` is used up, if that is before the day `ends`: at the pace of the last minutes, or when that was.
    pub fn runs_out(&mut self, limit: Option<u64>, ends: Timestamp, wall: Timestamp) -> Option<Timestamp> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let left = limit?.saturating_sub(last.day_used);
        self.runs_out = if left == 0 {
            self.runs_out.filter(|then| *then <= wall).or(Some(wall))
        } else {
            let span = last.at.saturating_duration_since(first.at);
            let used = number(last.day_used.saturating_sub(first.day_used));
            let seconds = number(left) * span.as_secs_f64() / used;
            let then = Duration::try_from_secs_f64(seconds).ok().and_then(|left| wall.checked_add(left).ok());
            then.filter(|then| span >= RECENT && *then < ends)
        };
        self.runs_out
    }
}

/// Exact up to 2^53, which no count of events reaches.
fn number(count: u64) -> f64 {
    let (high, low) = (u32::try_from(count >> 32).unwrap_or(u32::MAX), u32::try_from(count & 0xffff_ffff).unwrap_or(0));
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_700_049_600, 0);
    const MIDNIGHT: Timestamp = Timestamp::constant(1_700_092_800, 0);

    fn nothing(at: Instant) -> BacklogSample {
        BacklogSample { at, waiting: 0, left: 0, requests: 0, carried: 0.0, day_used: 0 }
    }

    /// A course of one sample every five seconds, with a request an event.
    fn course(samples: impl IntoIterator<Item = (u64, u64, u64)>) -> Trend {
        let start = crate::clock::now();
        let mut course = Trend::default();
        for (index, (waiting, left, day_used)) in (0..).zip(samples) {
            let at = start + Duration::from_secs(5) * index;
            course.note(BacklogSample { at, waiting, left, requests: left, carried: number(left), day_used });
        }
        course
    }

    #[test]
    fn an_empty_queue_is_drained_and_a_closed_gate_never_drains_one() {
        assert_eq!(course([(0, 0, 0)]).drained_in(Some(0.0), 1), Some(0.0));
        assert_eq!(course([(9, 0, 0)]).drained_in(Some(0.0), 1), Some(f64::INFINITY));
        assert_eq!(course([]).drained_in(Some(5.0), 1), None);
    }

    #[test]
    fn what_waits_and_was_never_taken_up_is_as_old_as_it_was_seen_to_wait() {
        let mut course = course([(0, 0, 0)]);
        let sample = |waiting| BacklogSample { waiting, ..nothing(crate::clock::now()) };
        assert_eq!(course.oldest(Some(NOON), false, NOON), None, "what was given back has been taken away");
        course.note(sample(9));
        assert_eq!(course.oldest(None, true, NOON), Some(NOON));
        let later = NOON + Duration::from_secs(600);
        assert_eq!(course.oldest(None, true, later), Some(NOON));
        let known = NOON - Duration::from_secs(60);
        assert_eq!(course.oldest(Some(known), true, later), Some(known));
        assert_eq!(course.oldest(None, false, later), None, "only replays wait");
        course.note(sample(0));
        assert_eq!(course.oldest(None, true, later), None);
    }

    #[test]
    fn a_new_backlog_is_taken_to_go_at_the_gates_rate_and_an_older_one_at_the_rate_seen() {
        assert_eq!(course([(0, 0, 0), (600, 0, 0)]).drained_in(Some(200.0), 1), Some(3.0));
        assert_eq!(course([(600, 0, 0)]).drained_in(None, 1), None);
        let slow = course([(9_000, 0, 0), (8_500, 500, 0), (8_000, 1_000, 0), (7_500, 1_500, 0)]);
        assert_eq!(slow.drained_in(Some(200.0), 1), Some(75.0));
        let stuck = course([(9_000, 0, 0), (9_000, 0, 0), (9_000, 0, 0), (9_000, 0, 0)]);
        assert_eq!(stuck.drained_in(Some(200.0), 1), Some(f64::INFINITY));
    }

    #[test]
    fn requests_that_carry_many_events_count_as_many() {
        let start = crate::clock::now();
        let sample = |second, waiting, left, requests, carried| {
            let at = start + Duration::from_secs(second);
            BacklogSample { waiting, left, requests, carried, ..nothing(at) }
        };
        let mut course = Trend::default();
        // Single facts until then; now 100,000 events wait, and a call takes 4,000.
        course.note(sample(0, 0, 500, 500, 500.0));
        course.note(sample(5, 100_000, 500, 500, 500.0));
        assert_eq!(course.drained_in(Some(5.0), 4_000), Some(5.0), "no request was made yet");
        course.note(sample(10, 60_000, 500, 520, 40_500.0));
        assert_eq!(course.drained_in(Some(5.0), 4_000), Some(6.0), "they carried 2,000 each");
        let mut few = Trend::default();
        few.note(sample(0, 30, 0, 0, 0.0));
        assert_eq!(few.drained_in(Some(5.0), 4_000), Some(0.2), "one call takes all");
    }

    #[test]
    fn where_a_request_is_rare_the_pace_is_not_judged_before_three_could_be_made() {
        // One call a minute, which takes 1,000 events.
        let start = crate::clock::now();
        let mut course = Trend::default();
        for second in (0..=170).step_by(5) {
            let calls = second / 60;
            let (waiting, left) = (10_000 - 1_000 * calls, 1_000 * calls);
            let at = start + Duration::from_secs(second);
            course.note(BacklogSample { at, waiting, left, requests: calls, carried: number(left), day_used: 0 });
            let drained = course.drained_in(Some(1.0 / 60.0), 1_000).unwrap_or_default();
            assert!((479.9..=600.1).contains(&drained), "{drained} after {second} s");
        }
    }

    #[test]
    fn only_the_last_minute_of_the_present_backlog_counts() {
        // Nothing went for five minutes, then 100 a second.
        let stood = (0..40).map(|_| (50_000, 0, 0));
        let goes = (1..=12).map(|step| (50_000 - step * 500, step * 500, 0));
        let drained = course(stood.chain(goes)).drained_in(Some(200.0), 1).unwrap_or_default();
        assert!((440.0..=480.0).contains(&drained), "{drained}");
    }

    #[test]
    fn a_budget_that_does_not_last_tells_when_it_runs_out() {
        // 10 requests a second since a minute; 36,000 are left for twelve hours.
        let samples = || (0..=12).map(|step| (0, 0, 64_000 + step * 50 - 600));
        let then = course(samples()).runs_out(Some(100_000), MIDNIGHT, NOON);
        assert_eq!(then, Some(NOON + Duration::from_secs(3_600)));
        assert_eq!(course(samples()).runs_out(Some(1_000_000), MIDNIGHT, NOON), None, "it lasts until midnight");
        assert_eq!(course(samples()).runs_out(None, MIDNIGHT, NOON), None, "there is none");
        assert_eq!(course(samples().take(3)).runs_out(Some(100_000), MIDNIGHT, NOON), None, "too early to tell");
    }

    #[test]
    fn a_spent_budget_tells_since_when_until_the_day_is_over() {
        let mut course = course([(5, 0, 100)]);
        assert_eq!(course.runs_out(Some(100), MIDNIGHT, NOON), Some(NOON));
        let later = NOON + Duration::from_secs(60);
        assert_eq!(course.runs_out(Some(100), MIDNIGHT, later), Some(NOON));
        course.note(nothing(crate::clock::now()));
        assert_eq!(course.runs_out(Some(100), MIDNIGHT, later), None);
    }
}
