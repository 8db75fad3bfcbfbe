//! The places taken in the tightest one-second window: sends and answers come in; when the next place is free goes out.
//!
//! Pacing alone has to leave room for requests that take longer on their way than others. An answer tells more: whatever
//! the vendor counted, it counted before it answered. So a place is free again one window after the answer, or, where the
//! answer is slower than [`JITTER`], one window and `JITTER` after the send.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::quota::{JITTER, Limit, Window};

/// Larger windows than this are left to the pacer, to bound memory (16 bytes a place).
const MOST_PLACES: u32 = 20_000;

/// Quotas whose places are further apart than this are of few calls.
const FEW: Duration = Duration::from_millis(50);
/// Longer than any request takes.
const UNANSWERED: Duration = Duration::from_secs(3_600);

/// Whether a limit is kept by the places rather than by pacing with room to spare.
fn keeps(limit: &Limit) -> bool {
    limit.window == Window::Second && limit.count <= MOST_PLACES
}

/// The last places taken, as many as the window allows.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Each with its number, in the order of sending, and by when the vendor must have counted it.
    counted: VecDeque<(u64, Instant)>,
    taken: u64,
    /// So many in a window of that length.
    limit: Option<(usize, Duration)>,
    /// A call can carry many events.
    carry_much: bool,
}

impl Places {
    /// No places taken; `carry_much` where a call can carry many events.
    pub fn new(carry_much: bool) -> Self {
        Self { carry_much, ..Self::default() }
    }

    /// Keeps to the tightest of `limits` from now on; what was taken is remembered.
    pub fn keep_to(&mut self, limits: &[Limit]) {
        let tightest = limits.iter().filter(|limit| keeps(limit)).min_by_key(|limit| limit.count);
        self.limit = None;
        if let Some(tightest) = tightest {
            self.keep(*tightest);
        }
    }

    /// Keeps to this limit alone, whatever its window.
    pub fn keep(&mut self, limit: Limit) {
        let count = usize::try_from(limit.count.max(1)).unwrap_or(usize::MAX);
        self.limit = Some((count, limit.window.length()));
        while self.counted.len() > count {
            self.counted.pop_front();
        }
    }

    /// Whether no place taken until now matters any more.
    pub fn forgotten(&self, now: Instant) -> bool {
        let window = self.limit.map_or(Duration::ZERO, |(_, window)| window);
        self.counted.back().is_none_or(|(_, last)| *last + window <= now)
    }

    /// Before when there is no place, where there is none at `now`.
    pub fn none_before(&self, now: Instant) -> Option<Instant> {
        let (count, window) = self.limit?;
        let (_, (_, counted)) = self.next_free().filter(|_| self.counted.len() >= count)?;
        let free = counted + window;
        (free > now).then_some(free)
    }

    /// The place that is free first. Where one may be taken for long, it is not the one that was taken first.
    fn next_free(&self) -> Option<(usize, (u64, Instant))> {
        let mut places = self.counted.iter().copied().enumerate();
        if self.carry_much { places.min_by_key(|(_, (_, counted))| *counted) } else { places.next() }
    }

    /// Whether the next place comes with an answer, nobody knows when.
    pub fn awaits_answer(&self, now: Instant) -> bool {
        self.none_before(now).is_some_and(|free| free > now + UNANSWERED / 2)
    }

    /// Takes a place; its number is for [`Places::answered`].
    pub fn take(&mut self, now: Instant) -> u64 {
        // Without a limit the last ones are kept for the one that may come.
        let most = self.limit.map_or(1_000, |(count, _)| count);
        if let Some((index, _)) = self.next_free().filter(|_| self.counted.len() >= most) {
            self.counted.remove(index);
        }
        self.taken += 1;
        self.counted.push_back((self.taken, now + self.jitter()));
        self.taken
    }

    /// The request of that place takes long to arrive: nobody knows when the vendor counts it, but before it answers.
    pub fn late(&mut self, number: u64, now: Instant) {
        if let Some(counted) = self.at(number) {
            *counted = now + UNANSWERED;
        }
    }

    /// The request of that place was answered: the vendor has counted it by now.
    pub fn answered(&mut self, number: u64, now: Instant) {
        if let Some(counted) = self.at(number) {
            *counted = now.min(*counted);
        }
    }

    /// How late a request may be counted.
    fn jitter(&self) -> Duration {
        let spacing = self.limit.and_then(|(count, window)| Some(window / u32::try_from(count).ok()?));
        if self.carry_much && spacing.is_some_and(|spacing| spacing > FEW) { UNANSWERED } else { JITTER }
    }

    fn at(&mut self, number: u64) -> Option<&mut Instant> {
        let index = self.counted.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.counted.get_mut(index).map(|(_, counted)| counted)
    }
}

/// The room that pacing leaves in a window. Where the places keep it: a little, so that a place which was taken late does not
/// make every later one late as well. Else: for a late timer that catches up, for a place that was taken and could not be
/// used at once, and for requests that take longer on their way than others.
pub(super) fn room(limit: &Limit, catch_up: Duration) -> Duration {
    if keeps(limit) { Duration::from_millis(3) } else { catch_up + JITTER + JITTER }
}
