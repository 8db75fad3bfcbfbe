//! The calls for a token that were made, in; when the next may be made, out. Never more of them than the vendor allows in
//! any window, and the last one is kept for an operator.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::span;
use crate::backoff::{Backoff, Bounds};
use crate::vendors::Calls;

/// Each call is counted for this much longer than the vendor's window, since calls do not take equally long to arrive.
const ROOM: Duration = Duration::from_secs(1);
/// The first pause after a failure is this part of the window (15 s of an hour),
const FIRST_PAUSE: u32 = 240;
/// but never shorter than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The factor from one pause to the next: with 5 calls an hour 15 s, 5 min, 20 min. So the few calls last through an outage; with slower
/// growth they would be spent in its first minutes.
const GROWTH: f64 = 20.0;
/// A refused sign-in is not tried again earlier than this unless an operator says so.
const REFUSED_PAUSE: Duration = Duration::from_secs(15);

/// Counts calls in the steady clock; the calendar is only for what outlives a worker.
#[derive(Debug)]
pub(super) struct Budget {
    count: usize,
    window: Duration,
    /// When each call stops to count, oldest first.
    ends: VecDeque<Instant>,
    backoff: Backoff,
    /// Our own pause after failures.
    pause: Option<Instant>,
    /// The vendor's `Retry-After`.
    asked: Option<Instant>,
    /// An operator wants the next call now.
    pressed: bool,
}

impl Budget {
    /// Goes on with earlier `calls`. One in the future (a clock was set back) counts as made now.
    pub fn new(calls: Calls, made: &[Timestamp], now: Instant, wall: Timestamp) -> Self {
        let (count, window) = (calls.count.max(1), calls.window + ROOM);
        let mut made: Vec<Duration> = made.iter().map(|at| span(*at, wall)).filter(|age| *age < window).collect();
        made.sort_unstable();
        let ends = made.into_iter().take(count).rev().map(|age| now + window.saturating_sub(age)).collect();
        Self {
            count,
            window,
            ends,
            backoff: Backoff::new(growing(count, window)),
            pause: None,
            asked: None,
            pressed: false,
        }
    }

    /// When the next call may be made; `None`: now.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let pause = self.pause.filter(|_| !self.pressed);
        [self.place(now), self.asked, pause].into_iter().flatten().filter(|until| *until > now).max()
    }

    /// Counts a call. It has been looked at [`Budget::next`].
    pub fn spend(&mut self, now: Instant) {
        self.ends.retain(|end| *end > now);
        self.ends.push_back(now + self.window);
        self.pressed = false;
    }

    /// The call that was counted last was not made.
    pub fn take_back(&mut self) {
        self.ends.pop_back();
    }

    /// The call that was counted last is over. Whatever the vendor counted, it counted before now.
    pub fn answered(&mut self, now: Instant) {
        if let Some(last) = self.ends.back_mut() {
            *last = now + self.window;
        }
    }

    /// It brought a token.
    pub fn succeeded(&mut self) {
        self.backoff.reset();
        self.pause = None;
        self.asked = None;
        self.pressed = false;
    }

    /// It brought none; `refused` for good unless a person does something, and `asked` is how long the vendor wants to
    /// be left alone.
    pub fn failed(&mut self, refused: bool, asked: Duration, now: Instant) {
        let growing = self.backoff.pause();
        let pause = if refused { self.longest_pause().max(REFUSED_PAUSE) } else { growing };
        self.pause = Some(now + pause);
        self.asked = Some(now + asked);
    }

    /// The next call is made without a pause, and may be the last of its window.
    pub fn press(&mut self) {
        self.pressed = true;
    }

    pub fn release(&mut self) {
        self.pressed = false;
    }

    pub fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// Calls that far apart never use up a window, and leave one of those that need no operator.
    pub fn longest_pause(&self) -> Duration {
        longest_pause(self.count, self.window)
    }

    /// A sentence, when there is no call left for now.
    pub fn spent(&self, now: Instant) -> Option<String> {
        let wait = SignedDuration::from_secs(i64::try_from(self.place(now)?.duration_since(now).as_secs()).ok()?);
        let window = SignedDuration::from_secs(i64::try_from(self.window.saturating_sub(ROOM).as_secs()).ok()?);
        let kept = if self.ends.iter().filter(|end| **end > now).count() < self.count {
            "; the last of them is kept for a resume"
        } else {
            ""
        };
        Some(format!(
            "the calls for a token are used up ({} in {window:#} are allowed), the next is free in {wait:#}{kept}",
            self.count
        ))
    }

    /// When the calls that still count were made, oldest first; to the second, so that they read the same whenever that is asked.
    pub fn calls(&self, now: Instant, wall: Timestamp) -> Vec<Timestamp> {
        let age = |end: &Instant| self.window.saturating_sub(end.saturating_duration_since(now));
        self.ends.iter().filter(|end| **end > now).map(|end| whole_second(earlier(wall, age(end)))).collect()
    }

    /// When the window has room for the next call; `None`: now.
    fn place(&self, now: Instant) -> Option<Instant> {
        let most = if self.pressed { self.count } else { self.count.saturating_sub(1).max(1) };
        let counting: Vec<Instant> = self.ends.iter().copied().filter(|end| *end > now).collect();
        counting.len().checked_sub(most).and_then(|oldest| counting.get(oldest).copied())
    }
}

/// That second's end: no call counts for too short a time.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second() + i64::from(at.subsec_nanosecond() > 0)).unwrap_or(at)
}

fn longest_pause(count: usize, window: Duration) -> Duration {
    window / u32::try_from(count.saturating_sub(2).max(1)).unwrap_or(u32::MAX)
}

fn growing(count: usize, window: Duration) -> Bounds {
    let first = (window / FIRST_PAUSE).max(SHORTEST_PAUSE);
    Bounds { first, max: longest_pause(count, window).max(SHORTEST_PAUSE), times: GROWTH, jitter: 0.0 }
}

fn earlier(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_sub(by).unwrap_or(Timestamp::MIN)
}
