//! The places taken in the tightest one-second window: sends and answers come in; when the next place is free goes out.
//!
//! Pacing alone has to leave room for requests that take longer on their way than others. What is known of each request tells more:
//! a vendor counts it after it was written and before it is answered. So a place is free again one window after the answer, or,
//! where the answer takes longer than [`JITTER`], one window and `JITTER` after the request was written. A request that may be
//! counted as late as its answer keeps its own place until then, and no other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::quota::{JITTER, Limit, Window};
use super::written::WrittenAt;

/// Larger windows than this are left to the pacer, to bound memory (48 bytes a place).
const MOST_PLACES: u32 = 20_000;

/// A quota allows few calls if its places are further apart than this.
const FEW: Duration = Duration::from_millis(50);
/// If a timer was this late a moment ago, the machine is busy: it may be late again, and so may a vendor on the same machine.
const LATEST: Duration = Duration::from_millis(250);
/// For how long a late timer is remembered.
const REMEMBERED: Duration = Duration::from_secs(4);

/// Whether a limit is kept by remembering places, and not by pacing with some room.
fn keeps(limit: &Limit) -> bool {
    limit.window == Window::Second && limit.count <= MOST_PLACES
}

/// The last places taken, as many as the window allows.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// In the order of sending.
    counted: VecDeque<Place>,
    /// The numbers of those that are taken until their answers.
    late: Vec<u64>,
    taken: u64,
    /// So many in a window of that length.
    limit: Option<(usize, Duration)>,
    /// A call can carry many events.
    carry_much: bool,
    /// How late a timer was lately, and when.
    lateness: Option<(Duration, Instant)>,
}

/// A place whose request is counted soon after it is written.
#[derive(Debug)]
struct Place {
    number: u64,
    written: WrittenAt,
    answered: Option<Instant>,
}

impl Place {
    /// By when the vendor has counted the request; none as long as it is not written.
    fn counted(&self, jitter: Duration) -> Option<Instant> {
        let written = self.written.at().map(|at| at + jitter);
        [written, self.answered].into_iter().flatten().min()
    }
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
        let last = self.counted.back().map(|last| last.counted(JITTER).unwrap_or(now));
        self.late.is_empty() && last.is_none_or(|last| last + window <= now)
    }

    /// When the next place is free, if there is none at `now`. None also if the next place comes with an answer: see
    /// [`Places::awaits_answer`].
    pub fn none_before(&self, now: Instant) -> Option<Instant> {
        let (_, window) = self.limit?;
        let first = self.counted.get(self.beyond_limit()?)?;
        let free = first.counted(self.jitter(now)).unwrap_or(now) + window;
        (free > now).then_some(free)
    }

    /// Whether the next place comes with an answer, nobody knows when.
    pub fn awaits_answer(&self) -> bool {
        self.beyond_limit().is_some_and(|index| index >= self.counted.len())
    }

    /// The index of the place whose end makes room for one more; none while there is room.
    fn beyond_limit(&self) -> Option<usize> {
        let (count, _) = self.limit?;
        (self.counted.len() + self.late.len()).checked_sub(count)
    }

    /// A request that is not written a window after its place was taken keeps that place alone.
    pub fn set_aside_unwritten(&mut self) {
        while self.beyond_limit().is_some()
            && let Some(place) = self.counted.pop_front_if(|place| place.counted(Duration::ZERO).is_none())
        {
            self.late.push(place.number);
        }
    }

    /// Takes a place; its number is for [`Places::answered`], and `written` is marked once its request is written.
    pub fn take(&mut self, written: WrittenAt) -> u64 {
        // Without a limit the last ones are kept for the one that may come.
        let most = self.limit.map_or(1_000, |(count, _)| count);
        while self.counted.len() + self.late.len() >= most && self.counted.pop_front().is_some() {}
        self.taken += 1;
        if self.counts_calls() {
            self.late.push(self.taken);
        } else {
            self.counted.push_back(Place { number: self.taken, written, answered: None });
        }
        self.taken
    }

    /// The request of that place takes long to arrive: nobody knows when the vendor counts it, but before it answers.
    pub fn late(&mut self, number: u64) {
        if let Some(index) = self.at(number) {
            self.counted.remove(index);
            self.late.push(number);
        }
    }

    /// The request of that place was answered: the vendor has counted it by now.
    pub fn answered(&mut self, number: u64, now: Instant) {
        if let Some(index) = self.late.iter().position(|late| *late == number) {
            self.late.swap_remove(index);
            self.taken += 1;
            self.counted.push_back(Place { number: self.taken, written: WrittenAt::default(), answered: Some(now) });
        } else if let Some(index) = self.at(number)
            && let Some(place) = self.counted.get_mut(index)
        {
            place.answered = Some(now);
        }
    }

    /// A timer was so late.
    pub fn was_late(&mut self, by: Duration, now: Instant) {
        let by = by.min(LATEST);
        if self.lately(now) < by {
            self.lateness = Some((by, now));
        }
    }

    fn lately(&self, now: Instant) -> Duration {
        let recent = self.lateness.filter(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED);
        recent.map_or(Duration::ZERO, |(by, _)| by)
    }

    /// How long after it was written a request may be counted.
    fn jitter(&self, now: Instant) -> Duration {
        JITTER.max(self.lately(now))
    }

    /// Whether each place is taken until its answer: calls are few and carry much.
    fn counts_calls(&self) -> bool {
        let spacing = self.limit.and_then(|(count, window)| Some(window / u32::try_from(count).ok()?));
        self.carry_much && spacing.is_some_and(|spacing| spacing > FEW)
    }

    fn at(&self, number: u64) -> Option<usize> {
        self.counted.binary_search_by_key(&number, |place| place.number).ok()
    }
}

/// The room that pacing leaves in a window. Where the places keep it: a little, so that a place which was taken late does not
/// make every later one late as well. Else: for a late timer that catches up, for a place that was taken and could not be
/// used at once, and for requests that take longer on their way than others.
pub(super) fn slack(limit: &Limit, catch_up: Duration) -> Duration {
    if keeps(limit) { Duration::from_millis(3) } else { catch_up + JITTER + JITTER }
}
