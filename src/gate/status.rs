//! A gate as people and metrics see it: its state, the reason as a sentence, until when, and the rate. Values only.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ledger::{later, span};
use super::pause::{CloseCause, Closed};
use super::why::{Answered, Why};
use super::{Doubt, Gate, Paused, quota};

/// A smaller share of the quota means that the vendor's limit is really lower.
const MUCH_LESS: f64 = 0.9;
/// After this time a cause that held back a request does not hold the pace any more.
const HELD_FOR: Duration = Duration::from_secs(3);

/// The state of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
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

impl GateState {
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

impl From<CloseCause> for GateState {
    fn from(cause: CloseCause) -> Self {
        match cause {
            CloseCause::Throttled => Self::Throttled,
            CloseCause::Broken => Self::Broken,
            CloseCause::Alone | CloseCause::Unauthorized | CloseCause::Rejections | CloseCause::Invalid => Self::Parked,
        }
    }
}

/// What holds the pace of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// The gate is not open.
    Closed,
    /// The quota: all of it is used.
    Quota,
    /// What was learned after refusals.
    Learned,
    /// What remains as the vendor's headers say.
    Remaining,
    /// The day budget.
    #[serde(rename = "day_budget")]
    Day,
    /// `concurrency` as it was set.
    Concurrency,
    /// The vendor's latency: more requests in flight would not help, or are being tried.
    Latency,
    /// There is nothing to send.
    #[serde(rename = "nothing_to_send")]
    Nothing,
}

impl HeldBy {
    /// Every one, for metrics.
    pub const ALL: [Self; 8] = [
        Self::Closed,
        Self::Quota,
        Self::Learned,
        Self::Remaining,
        Self::Day,
        Self::Concurrency,
        Self::Latency,
        Self::Nothing,
    ];

    /// The name in metrics and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Quota => "quota",
            Self::Learned => "learned",
            Self::Remaining => "remaining",
            Self::Day => "day_budget",
            Self::Concurrency => "concurrency",
            Self::Latency => "latency",
            Self::Nothing => "nothing_to_send",
        }
    }

    /// The same in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Closed => "the gate is closed",
            Self::Quota => "the quota",
            Self::Learned => "what was learned from refusals",
            Self::Remaining => "what remains, as the vendor's headers say",
            Self::Day => "the day budget",
            Self::Concurrency => "`concurrency`, at the vendor's latency",
            Self::Latency => "the vendor's latency: more in flight makes it slower",
            Self::Nothing => "nothing to send",
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
    pub state: GateState,
    /// Why, as a sentence without an end.
    pub why: String,
    /// The answer that the sentence tells of, if it tells of one.
    pub answered: Option<Answered>,
    /// It is open, though its last request failed.
    pub fails: bool,
    /// When that may end by itself: a probe goes out, there is quota again, or a pause ends. None when open, paused until somebody
    /// resumes, or due now.
    pub until: Option<Until>,
    /// Requests per second that the limits allow; none where nothing paces it.
    pub quota: Option<f64>,
    /// Requests per second that it now lets through; 0 when not open, none where nothing paces it.
    pub rate: Option<f64>,
    /// The share of the quota that is used after repeated refusals, 0.05 to 1.
    pub learned: f64,
    /// Permits that are out.
    pub in_flight: usize,
    /// How many may be out at once, as set or as found.
    pub concurrency: usize,
    /// What holds the pace.
    pub held: HeldBy,
    /// When the vendor's day ends, and as people say it.
    pub day_ends: (Timestamp, String),
    /// Requests that took a place in the vendor's day.
    pub day_used: u64,
    /// The day budget, where there is one.
    pub day_limit: Option<u64>,
}

impl Gate {
    /// The state alone.
    #[must_use]
    pub fn state(&self, now: Instant) -> GateState {
        let empty = self.budget_back.max(self.remaining.empty_until).is_some_and(|until| until > now);
        match self.pauses.closed() {
            _ if self.paused.is_some() => GateState::Paused,
            Some(closed) => GateState::from(closed.cause),
            None if empty => GateState::Throttled,
            None => GateState::Open,
        }
    }

    /// The state beneath an operator's pause.
    #[must_use]
    pub fn state_beneath(&self) -> GateState {
        self.pauses.closed().map_or(GateState::Open, |closed| GateState::from(closed.cause))
    }

    /// Whether it is parked for events that our own check refused.
    #[must_use]
    pub fn is_parked_for_invalid(&self) -> bool {
        self.pauses.closed().is_some_and(|closed| closed.cause == CloseCause::Invalid)
    }

    /// Whether an operator paused it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// The pause, where an operator paused it.
    #[must_use]
    pub fn pause_set(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    /// Requests per second that the limits, as far as learned, let through while it is open; none where nothing paces it.
    #[must_use]
    pub fn pace(&self) -> Option<f64> {
        quota::rate(&self.limits).map(|rate| rate * self.learned.share())
    }

    /// [`Gate::pace`] in large steps, never less: each change of what is held costs a new consumer.
    #[must_use]
    pub fn pace_about(&self) -> Option<f64> {
        let share = self.learned.share();
        let steps = [1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0];
        quota::rate(&self.limits).map(|rate| rate * steps.into_iter().find(|step| share <= *step).unwrap_or(1.0))
    }

    /// What to show of the gate.
    #[must_use]
    pub fn status(&self, now: Instant, wall: Timestamp) -> Status {
        let (state, Why { text: why, answered }) = (self.state(now), self.why(now, wall));
        let pause_ends = self.paused.as_ref().and_then(|pause| pause.until);
        let until = match state {
            GateState::Open => None,
            GateState::Paused => pause_ends.map(|at| now + span(wall, at)),
            // That takes a person.
            GateState::Parked if self.is_parked_for_invalid() => None,
            GateState::Throttled | GateState::Broken | GateState::Parked => self.opens_at(now).filter(|at| *at > now),
        };
        Status {
            state,
            why,
            answered,
            fails: state == GateState::Open && self.trouble.is_some(),
            until: until.map(|at| Until { at, wall: pause_ends.unwrap_or_else(|| later(wall, at - now)) }),
            quota: quota::rate(&self.limits),
            rate: if state == GateState::Open { self.rate(now) } else { Some(0.0) },
            learned: self.learned.share(),
            in_flight: self.concurrency.in_flight(),
            concurrency: self.concurrency.bound(self.pace(), now),
            held: self.held(state, now),
            day_ends: (self.days.ends(), self.days.starts.to_string()),
            day_used: self.days.used_at(wall),
            day_limit: self.day_limit(),
        }
    }

    fn why(&self, now: Instant, wall: Timestamp) -> Why {
        let spent = self.day_limit().filter(|limit| self.days.used_at(wall) >= *limit);
        if let Some(pause) = &self.paused {
            return Why::plain(pause.why(wall));
        }
        if let Some(Closed { why, .. }) = self.pauses.closed() {
            return why.clone();
        }
        if let Some(limit) = spent {
            return Why::plain(format!(
                "the day budget of {limit} is used up; it starts again at {}",
                self.days.starts
            ));
        }
        if self.remaining.empty_until.is_some_and(|until| until > now) {
            return Why::plain("the vendor's headers say that its quota is used up");
        }
        if self.doubt() == Doubt::Few {
            return self.pauses.of_doubt();
        }
        let why = self.why_open(now, wall);
        match &self.trouble {
            Some(said) => Why::quoting(&format!("{why}; the last request failed"), said, ""),
            None => Why::plain(why),
        }
    }

    /// Why an open gate is as it is.
    fn why_open(&self, now: Instant, wall: Timestamp) -> String {
        if self.ahead_until(now, wall).is_some() {
            return format!("open, slowed to make the day budget last until {}", self.days.starts);
        }
        let why = if self.spreading(now).is_some() {
            "open, slowed to make the vendor's remaining quota last until it resets"
        } else if self.learned.share() < MUCH_LESS {
            "open, slowed to what the vendor accepted before it refused: its limit is lower, or the account is used by others too"
        } else if self.learned.share() < 1.0 {
            "open, slowed by a little since the vendor refused at a legal pace"
        } else {
            "open"
        };
        why.to_owned()
    }

    /// What holds the pace: what held back the last request that had to wait, unless that is a while ago.
    fn held(&self, state: GateState, now: Instant) -> HeldBy {
        let lately = self.held.filter(|(_, at)| now.saturating_duration_since(*at) < HELD_FOR);
        match state {
            GateState::Open => lately.map_or(HeldBy::Nothing, |(held, _)| held),
            GateState::Throttled | GateState::Paused | GateState::Broken | GateState::Parked => HeldBy::Closed,
        }
    }

    fn rate(&self, now: Instant) -> Option<f64> {
        let paced = self.pace();
        let spread = self.spreading(now).map(|spread| 1.0 / spread.spacing.as_secs_f64());
        [paced, spread].into_iter().flatten().min_by(f64::total_cmp)
    }
}
