//! Every worker puts operators' commands in the same order. If two commands contradict each other, the one with the later stamp wins, whichever
//! arrived first. So workers that got the same commands do the same. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::gate::{Limit, Paused, Window};

/// What an operator can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Send nothing until resumed, or until the pause ends by itself.
    Pause(Paused),
    /// Go on; a parked destination probes at once.
    Resume,
    /// Hold to these limits until the limits in its configuration change, and to those of other windows as before.
    Limits(Vec<Limit>),
    /// Hold to what the configuration says of these windows.
    ResetLimits(Vec<Window>),
    /// The same for bulk events alone.
    Bulk(BulkChange),
}

/// What an operator can change for bulk events alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum BulkChange {
    /// Send none until resumed, or until the pause ends by itself.
    Pause {
        /// By whom, until when and why.
        #[serde(default)]
        how: Paused,
    },
    /// Go on.
    Resume,
    /// Send no more of them than these allow, within the limits of all events.
    Limits {
        /// Such as `50/s`; none takes the bound away.
        limits: Vec<String>,
    },
}

/// The latest commands about bulk events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkCommands {
    /// The last pause or resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Stamp>,
    /// The last limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Stamp>,
}

impl BulkCommands {
    fn about(&mut self, change: &BulkChange) -> &mut Option<Stamp> {
        match change {
            BulkChange::Pause { .. } | BulkChange::Resume => &mut self.flow,
            BulkChange::Limits { .. } => &mut self.limits,
        }
    }

    /// Knows what the other knows too.
    pub fn merge(&mut self, other: Self) {
        (self.flow, self.limits) = (self.flow.max(other.flow), self.limits.max(other.limits));
    }
}

impl Change {
    /// A pause of which nothing more is known.
    pub const PAUSE: Self = Self::Pause(Paused { by: None, at: None, until: None, reason: None });

    /// The limits in force once it is carried out where `in_force` were, and `configured` are the configuration's.
    #[must_use]
    pub fn limits_after(&self, in_force: &[Limit], configured: &[Limit]) -> Vec<Limit> {
        match self {
            Self::Limits(given) => changed(in_force, given),
            Self::ResetLimits(windows) => reset(in_force, configured, windows),
            Self::Pause(_) | Self::Resume | Self::Bulk(_) => in_force.to_vec(),
        }
    }
}

/// The position of a command among all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// When it was given: microseconds of Unix time, but always later than every command known there. So a clock that is behind
    /// cannot make a new command an old one.
    pub at: i64,
    /// Orders commands of the same microsecond.
    pub id: Uuid,
}

impl Stamp {
    /// When it was given.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_microsecond(self.at).unwrap_or(Timestamp::MAX)
    }

    /// The stamp of a command that is given at `wall`; `known` is the latest stamp known there.
    #[must_use]
    pub fn after(known: Option<i64>, wall: Timestamp, id: Uuid) -> Self {
        let at = known.map_or(i64::MIN, |known| known.saturating_add(1)).max(wall.as_microsecond());
        Self { at, id }
    }
}

/// What a command sets. Of two commands with the same subject the later wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Subject {
    Flow,
    Limit(Window),
}

/// What to do with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Carry out this part; no later command is known about it.
    Due {
        /// The part.
        change: Change,
        /// For the rest a later command holds: its time.
        later: Option<i64>,
    },
    /// It was carried out before.
    Repeated,
    /// Do nothing: a later command holds. Its time.
    Superseded(i64),
}

/// The latest commands to a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(Subject, Stamp)>", into = "Vec<(Subject, Stamp)>")]
pub struct LatestCommands {
    latest: BTreeMap<Subject, Stamp>,
    /// Those about bulk events. They are written elsewhere: an earlier version could not read them here.
    pub bulk: BulkCommands,
}

impl From<Vec<(Subject, Stamp)>> for LatestCommands {
    fn from(latest: Vec<(Subject, Stamp)>) -> Self {
        Self { latest: latest.into_iter().collect(), bulk: BulkCommands::default() }
    }
}

impl From<LatestCommands> for Vec<(Subject, Stamp)> {
    fn from(commands: LatestCommands) -> Self {
        commands.latest.into_iter().collect()
    }
}

impl LatestCommands {
    /// The stamp for a command that is given now.
    #[must_use]
    pub fn stamp(&self, wall: Timestamp, id: Uuid) -> Stamp {
        let bulk = [self.bulk.flow, self.bulk.limits].into_iter().flatten();
        Stamp::after(self.latest.values().copied().chain(bulk).map(|stamp| stamp.at).max(), wall, id)
    }

    /// Decides what of a command is to be carried out, and remembers its stamp.
    pub fn place(&mut self, change: Change, stamp: Stamp) -> Placement {
        let (newest, due) = match change {
            Change::Limits(mut limits) => {
                let newest = limits.iter().filter_map(|limit| self.latest(Subject::Limit(limit.window))).max();
                limits.retain(|limit| self.latest(Subject::Limit(limit.window)) < Some(stamp));
                limits.iter().for_each(|limit| self.note(Subject::Limit(limit.window), stamp));
                (newest, Some(limits).filter(|limits| !limits.is_empty()).map(Change::Limits))
            }
            Change::ResetLimits(mut windows) => {
                let newest = windows.iter().filter_map(|window| self.latest(Subject::Limit(*window))).max();
                windows.retain(|window| self.latest(Subject::Limit(*window)) < Some(stamp));
                windows.iter().for_each(|window| self.note(Subject::Limit(*window), stamp));
                (newest, Some(windows).filter(|windows| !windows.is_empty()).map(Change::ResetLimits))
            }
            Change::Bulk(change) => {
                let latest = self.bulk.about(&change);
                let before = *latest;
                *latest = before.max(Some(stamp));
                (before, (before < Some(stamp)).then_some(Change::Bulk(change)))
            }
            flow @ (Change::Pause(_) | Change::Resume) => match self.latest(Subject::Flow) {
                latest if latest < Some(stamp) => {
                    self.note(Subject::Flow, stamp);
                    (latest, Some(flow))
                }
                latest => (latest, None),
            },
        };
        let later = newest.filter(|newest| *newest > stamp).map(|newest| newest.at);
        match (due, later) {
            (Some(change), later) => Placement::Due { change, later },
            (None, Some(at)) => Placement::Superseded(at),
            (None, None) => Placement::Repeated,
        }
    }

    /// Whether the last pause or resume known here is later than the other's.
    #[must_use]
    pub fn flow_is_later_than(&self, other: &Self) -> bool {
        self.latest(Subject::Flow) > other.latest(Subject::Flow)
    }

    /// Whether the last limits known here are later than the other's.
    #[must_use]
    pub fn limits_are_later_than(&self, other: &Self) -> bool {
        let last = |orders: &Self| {
            orders.latest.iter().filter(|(subject, _)| **subject != Subject::Flow).map(|(_, stamp)| *stamp).max()
        };
        last(self) > last(other)
    }

    /// Knows what the other knows too.
    pub fn merge(&mut self, other: Self) {
        for (subject, stamp) in other.latest {
            if self.latest(subject) < Some(stamp) {
                self.note(subject, stamp);
            }
        }
    }

    fn latest(&self, subject: Subject) -> Option<Stamp> {
        self.latest.get(&subject).copied()
    }

    fn note(&mut self, subject: Subject, stamp: Stamp) {
        self.latest.insert(subject, stamp);
    }
}

/// The limits in force once `changed` replace those of their windows.
#[must_use]
pub fn changed(limits: &[Limit], changed: &[Limit]) -> Vec<Limit> {
    let kept = limits.iter().filter(|old| changed.iter().all(|new| new.window != old.window));
    let mut limits: Vec<Limit> = changed.iter().chain(kept).copied().collect();
    limits.sort_by_key(|limit| limit.window);
    limits
}

/// The limits in force once those of `windows` are again as they are configured.
fn reset(limits: &[Limit], configured: &[Limit], windows: &[Window]) -> Vec<Limit> {
    let kept = limits.iter().filter(|limit| !windows.contains(&limit.window));
    let again = configured.iter().filter(|limit| windows.contains(&limit.window));
    let mut limits: Vec<Limit> = kept.chain(again).copied().collect();
    limits.sort_by_key(|limit| limit.window);
    limits
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_700_049_600, 0);

    fn limits(texts: &[&str]) -> Vec<Limit> {
        texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{error}"))).collect()
    }

    fn at(micros: i64) -> Stamp {
        Stamp { at: micros, id: Uuid::from_u128(u128::from(micros.unsigned_abs())) }
    }

    /// A worker that keeps to what it hears.
    #[derive(Debug, Default, PartialEq)]
    struct Heard {
        paused: bool,
        limits: Vec<Limit>,
    }

    fn hear<'a>(commands: impl IntoIterator<Item = &'a (Change, Stamp)>) -> Heard {
        let (mut heard, mut known) = (Heard::default(), LatestCommands::default());
        for (change, stamp) in commands {
            match known.place(change.clone(), *stamp) {
                Placement::Due { change: Change::Limits(new), .. } => heard.limits = changed(&heard.limits, &new),
                Placement::Due { change: Change::ResetLimits(windows), .. } => {
                    heard.limits = reset(&heard.limits, &limits(&["1/s"]), &windows);
                }
                Placement::Due { change: flow, .. } => heard.paused = flow == Change::PAUSE,
                Placement::Repeated | Placement::Superseded(_) => {}
            }
        }
        heard
    }

    #[test]
    fn of_opposite_commands_the_later_holds_whichever_is_heard_first() {
        let (pause, resume) = ((Change::PAUSE, at(1)), (Change::Resume, at(2)));
        assert!(!hear([&pause, &resume]).paused && !hear([&resume, &pause]).paused);
        let same = |id| Stamp { at: 5, id: Uuid::from_u128(id) };
        let (resume, pause) = ((Change::Resume, same(1)), (Change::PAUSE, same(2)));
        assert!(hear([&pause, &resume]).paused && hear([&resume, &pause]).paused, "given at the same microsecond");
    }

    #[test]
    fn a_command_that_is_heard_again_is_not_carried_out_again() {
        let mut commands = LatestCommands::default();
        assert_eq!(commands.place(Change::Resume, at(7)), Placement::Due { change: Change::Resume, later: None });
        assert_eq!(commands.place(Change::Resume, at(7)), Placement::Repeated);
        assert_eq!(commands.place(Change::PAUSE, at(6)), Placement::Superseded(7));
    }

    #[test]
    fn what_is_given_after_another_command_is_later_whatever_the_clock_says() {
        let mut commands = LatestCommands::default();
        let ahead = commands.stamp(NOON + Duration::from_secs(3_600), Uuid::nil());
        assert_eq!(commands.place(Change::PAUSE, ahead), Placement::Due { change: Change::PAUSE, later: None });
        let next = commands.stamp(NOON, Uuid::nil());
        assert_eq!(commands.place(Change::Resume, next), Placement::Due { change: Change::Resume, later: None });
        assert_eq!(
            commands.stamp(NOON + Duration::from_secs(7_200), Uuid::nil()).at,
            NOON.as_microsecond() + 7_200_000_000
        );
    }

    #[test]
    fn a_limit_replaces_that_of_its_window_and_leaves_the_others() {
        let now = changed(&limits(&["200/s", "18000/h", "1000000/day"]), &limits(&["50/s"]));
        assert_eq!(now, limits(&["50/s", "18000/h", "1000000/day"]));
        assert_eq!(changed(&now, &limits(&["500/day", "10/min"])), limits(&["50/s", "10/min", "18000/h", "500/day"]));
    }

    #[test]
    fn of_several_limits_those_hold_that_nothing_later_was_said_about() {
        let mut commands = LatestCommands::default();
        assert!(matches!(commands.place(Change::Limits(limits(&["50/s"])), at(9)), Placement::Due { later: None, .. }));
        let older = commands.place(Change::Limits(limits(&["80/s", "500/day"])), at(8));
        assert_eq!(older, Placement::Due { change: Change::Limits(limits(&["500/day"])), later: Some(9) });
        assert_eq!(commands.place(Change::Limits(limits(&["80/s"])), at(8)), Placement::Superseded(9));
    }

    #[test]
    fn limits_that_are_reset_are_as_configured_but_for_windows_that_something_later_was_said_about() {
        let (configured, all) = (limits(&["200/s"]), Window::ALL.to_vec());
        assert_eq!(reset(&limits(&["50/s", "500/day"]), &configured, &all), configured, "also what an operator added");
        let mut commands = LatestCommands::default();
        commands.place(Change::Limits(limits(&["500/day"])), at(9));
        let Placement::Due { change: Change::ResetLimits(windows), later: Some(9) } =
            commands.place(Change::ResetLimits(all), at(8))
        else {
            panic!("{commands:?}")
        };
        assert_eq!(reset(&limits(&["50/s", "500/day"]), &configured, &windows), limits(&["200/s", "500/day"]));
    }

    fn some_change() -> impl Strategy<Value = Change> {
        let limit = prop_oneof![Just("5/s"), Just("9/s"), Just("7/min"), Just("100/day"), Just("200/day")];
        let few = prop::collection::vec(limit, 1..3).prop_map(|texts| Change::Limits(limits(&texts)));
        let reset = Change::ResetLimits(Window::ALL.to_vec());
        prop_oneof![Just(Change::PAUSE), Just(Change::Resume), few, Just(reset)]
    }

    proptest! {
        #[test]
        fn workers_that_heard_the_same_commands_in_any_order_do_the_same(
            (given, shuffled) in prop::collection::vec((some_change(), 0..4_i64, any::<u128>()), 1..12)
                .prop_map(|commands| {
                    let stamp = |at, id| Stamp { at, id: Uuid::from_u128(id) };
                    commands.into_iter().map(|(change, at, id)| (change, stamp(at, id))).collect::<Vec<_>>()
                })
                .prop_flat_map(|given| (Just(given.clone()), Just(given).prop_shuffle()))
        ) {
            prop_assert_eq!(hear(&given), hear(&shuffled));
        }
    }
}
