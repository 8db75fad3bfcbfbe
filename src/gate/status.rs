//! A gate as people and metrics see it: its state, the reason as a sentence, until when, and the rate. Values only.

use std::time::Instant;

use jiff::Timestamp;

use super::ledger::later;
use super::pause::{Cause, Closed};
use super::{Gate, quota};

/// The state of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Requests go through at the allowed pace.
    Open,
    /// The vendor, or the day budget, lets nothing through for now.
    Throttled,
    /// An operator paused it.
    Paused,
    /// The vendor is in trouble: a probe decides when it reopens.
    Broken,
    /// A person is needed: refused credentials, or everything is rejected.
    Parked,
}

impl State {
    /// Every state, for metrics.
    pub const ALL: [Self; 5] = [Self::Open, Self::Throttled, Self::Paused, Self::Broken, Self::Parked];

    /// The name in logs, metrics and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Throttled => "throttled",
            Self::Paused => "paused",
            Self::Broken => "broken",
            Self::Parked => "parked",
        }
    }
}

impl From<Cause> for State {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Throttled => Self::Throttled,
            Cause::Broken | Cause::Doubted => Self::Broken,
            Cause::Alone | Cause::Unauthorized | Cause::Rejections => Self::Parked,
        }
    }
}

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// On the steady clock.
    pub at: Instant,
    /// On the calendar clock.
    pub wall: Timestamp,
}

/// A gate at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Why, as a sentence without an end.
    pub why: String,
    /// When that may end by itself: a probe goes out, or there is quota again. None when open, paused, or due now.
    pub until: Option<Until>,
    /// Requests per second that the limits allow; none where nothing paces it.
    pub quota: Option<f64>,
    /// Requests per second that it now lets through; 0 when not open, none where nothing paces it.
    pub rate: Option<f64>,
    /// The share of the quota that is used after repeated refusals, 0.05 to 1.
    pub learned: f64,
    /// Permits that are out.
    pub in_flight: usize,
    /// Requests that took a place today, in UTC.
    pub day_used: u64,
    /// The day budget, where there is one.
    pub day_limit: Option<u64>,
}

impl Gate {
    /// The state alone.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let empty = self.budget_back.max(self.empty_until).is_some_and(|until| until > now);
        match self.pauses.closed() {
            _ if self.paused => State::Paused,
            Some(closed) => State::from(closed.cause),
            None if empty => State::Throttled,
            None => State::Open,
        }
    }

    /// The state beneath an operator's pause.
    #[must_use]
    pub fn state_beneath(&self) -> State {
        self.pauses.closed().map_or(State::Open, |closed| State::from(closed.cause))
    }

    /// Whether an operator paused it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Requests per second that the limits, as far as learned, let through while it is open; none where nothing paces it.
    #[must_use]
    pub fn pace(&self) -> Option<f64> {
        quota::rate(&self.limits).map(|rate| rate * self.pauses.learned())
    }

    /// What to show of the gate.
    #[must_use]
    pub fn status(&self, now: Instant, wall: Timestamp) -> Status {
        let (state, why) = (self.state(now), self.why(now, wall));
        let until = match state {
            State::Open | State::Paused => None,
            State::Throttled | State::Broken | State::Parked => self.opens_at(now).filter(|at| *at > now),
        };
        Status {
            state,
            why,
            until: until.map(|at| Until { at, wall: later(wall, at - now) }),
            quota: quota::rate(&self.limits),
            rate: if state == State::Open { self.rate(now) } else { Some(0.0) },
            learned: self.pauses.learned(),
            in_flight: self.in_flight,
            day_used: self.days.used_at(wall),
            day_limit: quota::day_limit(&self.limits),
        }
    }

    fn why(&self, now: Instant, wall: Timestamp) -> String {
        let spent = quota::day_limit(&self.limits).filter(|limit| self.days.used_at(wall) >= *limit);
        if self.paused {
            return "an operator paused it".to_owned();
        }
        if let Some(Closed { why, .. }) = self.pauses.closed() {
            return why.clone();
        }
        if let Some(limit) = spent {
            return format!("the day budget of {limit} is used up; it begins anew at midnight UTC");
        }
        if self.empty_until.is_some_and(|until| until > now) {
            return "the vendor's headers say that its quota is used up".to_owned();
        }
        let why = if self.ahead_until(now, wall).is_some() {
            "open, slowed to make the day budget last until midnight UTC"
        } else if self.spreading(now).is_some() {
            "open, slowed to make the vendor's remaining quota last until it resets"
        } else if self.pauses.learned() < 1.0 {
            "open, slowed because the vendor refused repeatedly: someone else may be using the account"
        } else {
            "open"
        };
        why.to_owned()
    }

    fn rate(&self, now: Instant) -> Option<f64> {
        let paced = self.pace();
        let spread = self.spreading(now).map(|spread| 1.0 / spread.spacing.as_secs_f64());
        [paced, spread].into_iter().flatten().min_by(f64::total_cmp)
    }
}
