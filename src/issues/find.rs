//! What is wrong with a destination, from its view and its depths. Pure; the time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::destination::View;
use crate::gate::GateState;
use crate::watch::{Depths, age};

/// A pause that lasts longer may have been forgotten.
const LONG_PAUSE: Duration = Duration::from_hours(8);
/// An account that is held to less of its limits is used by others, or allows less.
const SLOWED: f64 = 0.8;
/// A day's budget is worth a word when this part of it is used.
const BUDGET_USED: f64 = 0.2;

/// What kind of issue, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only a person can help: a wrong key, or a mapping that is always refused.
    Parked,
    /// No worker sends its events: none has the lease, or there is no consumer at the broker.
    NotAtWork,
    /// The vendor is down, or refuses everything.
    Broken,
    /// The oldest event has waited longer than it should.
    Late,
    /// Events could not be delivered, all for one cause.
    DeadLetters,
    /// The broker does not take retries or dead letters.
    CopiesNotTaken,
    /// Today's requests are used up, or will be.
    DayBudget,
    /// Nobody subscribes to events that producers publish.
    Unrouted,
    /// The vendor refuses at a pace that the limits allow.
    Slowed,
    /// An operator paused it long ago.
    PausedLong,
}

impl Kind {
    /// Its name in ids and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::NotAtWork => "not_at_work",
            Self::Broken => "broken",
            Self::Late => "late",
            Self::DeadLetters => "dead_letters",
            Self::CopiesNotTaken => "copies_not_taken",
            Self::DayBudget => "day_budget",
            Self::Unrouted => "unrouted",
            Self::Slowed => "slowed",
            Self::PausedLong => "paused_long",
        }
    }

    /// How long it has to last at that destination before anybody hears of it.
    pub(super) fn settles_within(self, view: &View) -> Duration {
        match self {
            Self::NotAtWork if view.hindered.as_ref().is_some_and(|hindrance| hindrance.lasts) => {
                // Another worker may be able to: what one cannot use it passes on within a second.
                Duration::from_secs(10)
            }
            // A start, a reload or a failover takes a moment.
            Self::NotAtWork | Self::CopiesNotTaken => Duration::from_secs(30),
            Self::DayBudget | Self::Slowed => Duration::from_mins(1),
            Self::Parked | Self::Broken | Self::Late | Self::DeadLetters | Self::Unrouted | Self::PausedLong => {
                Duration::ZERO
            }
        }
    }
}

/// Something that is wrong with a destination now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub kind: Kind,
    /// In a sentence.
    pub says: String,
    /// How many events it is about.
    pub count: Option<u64>,
    /// Since when, where that is known better than by looking.
    pub since: Option<Timestamp>,
}

/// What is wrong with a destination. Its dead letters have their own issues, by cause.
pub(super) fn conditions(view: &View, depths: &Depths, late_after: Duration, wall: Timestamp) -> Vec<Condition> {
    let waiting = depths.waiting(view.held_here);
    let is_paused = view.state == Some(GateState::Paused);
    let mut found = Vec::new();
    let mut add = |kind, says: String, count, since| found.push(Condition { kind, says, count, since });
    match view.state {
        Some(GateState::Parked) => add(Kind::Parked, view.why.clone(), waiting, view.since),
        Some(GateState::Broken) => add(Kind::Broken, view.why.clone(), waiting, view.since),
        Some(GateState::Open | GateState::Throttled | GateState::Paused) | None => {}
    }
    if let Some(says) = not_at_work(view) {
        add(Kind::NotAtWork, says, waiting, None);
    }
    let late = depths.oldest.filter(|oldest| !is_paused && age(*oldest, wall) > late_after.as_secs_f64());
    if let Some(oldest) = late {
        let says = format!("its oldest event has waited for more than the {} that are meant", minutes(late_after));
        // A backlog of events that may wait is none of a destination that is late.
        let bulk = depths.bulk.waiting(view.bulk.held_here).unwrap_or(0);
        let live = waiting.map(|waiting| waiting.saturating_sub(bulk));
        add(Kind::Late, says, live, oldest.checked_add(late_after).ok());
    }
    if view.copies_waiting > 0 {
        let says = "the broker does not take its retries or dead letters; they stay in their queue meanwhile";
        add(Kind::CopiesNotTaken, says.to_owned(), u64::try_from(view.copies_waiting).ok(), None);
    }
    if let Some(says) = budget(view, depths, wall) {
        add(Kind::DayBudget, says, waiting, None);
    }
    if view.learned < SLOWED && view.state == Some(GateState::Open) {
        let says = "its vendor refuses (429) at a pace that the limits allow: somebody else uses the account, or it allows less";
        add(Kind::Slowed, says.to_owned(), None, None);
    }
    if let Some(at) = view.paused.as_ref().filter(|_| is_paused).and_then(|paused| paused.at)
        && age(at, wall) > LONG_PAUSE.as_secs_f64()
    {
        add(Kind::PausedLong, format!("{}; was it forgotten?", view.why), waiting, Some(at));
    }
    found
}

/// Why nothing of it is sent, where that is not the gate's doing.
fn not_at_work(view: &View) -> Option<String> {
    if let Some(hindrance) = &view.hindered {
        return Some(hindrance.sentence());
    }
    match (&view.machine, view.drives) {
        (Some(lack), _) => Some(lack.clone()),
        (None, true) if !view.ready => Some("no consumer at the broker: its queue may be missing".to_owned()),
        (None, false) if view.driver.is_none() => Some(view.why.clone()),
        (None, _) => None,
    }
}

fn budget(view: &View, depths: &Depths, wall: Timestamp) -> Option<String> {
    let limit = view.day_limit?;
    if view.day_used >= limit {
        return Some(format!("all {limit} requests of its day are used; it goes on at {}", view.day_starts));
    }
    let out = depths.budget_runs_out?;
    let part = |count: u64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    let is_near = part(view.day_used) > part(limit) * BUDGET_USED && out > wall;
    is_near.then(|| {
        let out = out.strftime("%F %H:%M UTC");
        format!("{} of {limit} requests of its day are used; at this pace the rest is used up at {out}", view.day_used)
    })
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
