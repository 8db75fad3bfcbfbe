//! What became of issues since somebody was told last, and when to tell it. Pure; the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::{Issue, Kind};
use crate::audit::IssueState;
use crate::config::What;

/// Between two notifications about one destination.
pub(super) const TOLD_EVERY: Duration = Duration::from_mins(1);
/// What a driver finds that began so long before it drives was told by the one before.
const NEW: Duration = Duration::from_mins(2);
/// Changes in one notification; more are counted.
const MOST: usize = 20;

/// Something became of an issue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    pub what: What,
    pub issue: Issue,
}

/// Of which destination, none for those of no destination.
pub(super) type Whose = Option<String>;

/// What is known of the issues that this worker looks after.
#[derive(Debug, Default)]
pub(super) struct Known {
    issues: BTreeMap<String, Issue>,
    mine: BTreeSet<Whose>,
    /// Destinations of mine whose dead letters have been read.
    read: BTreeSet<String>,
    /// Issues that somebody was told of.
    told: BTreeSet<String>,
}

impl Known {
    /// What changed. `issues` are those of `mine`; the dead letters of those `unread` are not among them.
    pub fn changes(
        &mut self,
        issues: Vec<Issue>,
        mine: BTreeSet<Whose>,
        unread: &BTreeSet<String>,
        wall: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let there: BTreeSet<String> = issues.iter().map(|issue| issue.id.clone()).collect();
        let is_unread = |issue: &Issue| {
            issue.kind == Kind::DeadLetters && issue.destination.as_ref().is_some_and(|name| unread.contains(name))
        };
        let Self { issues: known, mine: mine_before, read, told } = self;
        known.retain(|id, issue| {
            if there.contains(id) || is_unread(issue) {
                return mine.contains(&issue.destination);
            }
            // What nobody was told of needs no end.
            if mine.contains(&issue.destination) && told.remove(id) {
                changes.push(Change { what: What::Over, issue: issue.clone() });
            }
            false
        });
        for issue in issues {
            let is_recent = issue.first_seen.is_some_and(|first| wall.duration_since(first).unsigned_abs() <= NEW);
            let was_looked_at = match (&issue.kind, &issue.destination) {
                (Kind::DeadLetters, Some(name)) => read.contains(name),
                _ => mine_before.contains(&issue.destination),
            };
            let what = match known.get(&issue.id) {
                _ if issue.state != IssueState::Open => None,
                None if was_looked_at || is_recent => Some(What::New),
                // It was acknowledged, or ignored until now.
                Some(before) if before.state != IssueState::Open => Some(What::Again),
                None | Some(_) => None,
            };
            if let Some(what) = what {
                told.insert(issue.id.clone());
                changes.push(Change { what, issue: issue.clone() });
            }
            known.insert(issue.id.clone(), issue);
        }
        let is_read = |name: &&String| !unread.contains(*name);
        *read = mine.iter().flatten().filter(is_read).cloned().collect();
        told.retain(|id| known.contains_key(id));
        self.mine = mine;
        changes
    }
}

#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<Whose, Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<Change>,
    more: u64,
    told: Option<Instant>,
}

impl Pending {
    /// A change is to be told. One that was over before anybody heard of it is not.
    pub fn add(&mut self, change: Change) {
        let waiting = self.0.entry(change.issue.destination.clone()).or_default();
        let before = waiting.changes.iter().position(|before| before.issue.id == change.issue.id);
        match before.map(|place| waiting.changes.remove(place).what) {
            Some(What::New | What::Again) if change.what == What::Over => {}
            // It went and came.
            Some(What::Over) if change.what != What::Over => {}
            _ if waiting.changes.len() >= MOST => waiting.more += 1,
            _ => waiting.changes.push(change),
        }
    }

    /// What may be told now, of all destinations together, and how many more there were.
    pub fn due(&mut self, now: Instant) -> (Vec<Change>, u64) {
        let mut due = (Vec::new(), 0);
        for waiting in self.0.values_mut() {
            let is_due = waiting.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
            if is_due && !waiting.changes.is_empty() {
                waiting.told = Some(now);
                due.0.append(&mut waiting.changes);
                due.1 += std::mem::take(&mut waiting.more);
            }
        }
        self.0.retain(|_, waiting| {
            !waiting.changes.is_empty()
                || waiting.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY)
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn issue(destination: &str, kind: Kind, first: i64) -> Issue {
        Issue { first_seen: Some(at(first)), ..Issue::new(kind, Some(destination), "", "why".to_owned()) }
    }

    fn mine(names: &[&str]) -> BTreeSet<Whose> {
        names.iter().map(|name| Some((*name).to_owned())).collect()
    }

    fn told(changes: &[Change]) -> Vec<(What, String)> {
        changes.iter().map(|change| (change.what, change.issue.id.clone())).collect()
    }

    #[test]
    fn what_is_new_what_comes_again_and_what_is_over_is_told_once() {
        let (mut known, none) = (Known::default(), BTreeSet::new());
        let parked = issue("px", Kind::Parked, 0);
        let mut look = |issues: &[Issue]| told(&known.changes(issues.to_vec(), mine(&["px"]), &none, at(500)));
        assert_eq!(look(&[]), []);
        assert_eq!(look(std::slice::from_ref(&parked)), [(What::New, "px.parked".to_owned())]);
        assert_eq!(look(std::slice::from_ref(&parked)), []);
        let acknowledged = Issue { state: IssueState::Acknowledged, ..parked.clone() };
        assert_eq!(look(&[acknowledged]), []);
        let again = Issue { came_again: true, ..parked.clone() };
        assert_eq!(look(std::slice::from_ref(&again)), [(What::Again, "px.parked".to_owned())]);
        assert_eq!(look(&[again]), []);
        assert_eq!(look(&[]), [(What::Over, "px.parked".to_owned())]);
        assert_eq!(look(&[Issue { state: IssueState::Ignored, ..parked }]), [], "nobody wants to hear of it");
    }

    #[test]
    fn the_next_driver_tells_nothing_that_was_told_before_it() {
        let (mut known, none) = (Known::default(), BTreeSet::new());
        let old = issue("px", Kind::Parked, 0);
        assert_eq!(told(&known.changes(vec![old.clone()], mine(&["px"]), &none, at(500))), []);
        assert_eq!(told(&known.changes(Vec::new(), mine(&[]), &none, at(501))), [], "it is another's now");
        let fresh = issue("px", Kind::Late, 550);
        let both = known.changes(vec![old, fresh], mine(&["px"]), &none, at(600));
        assert_eq!(told(&both), [(What::New, "px.late".to_owned())], "it began while nobody drove");
    }

    #[test]
    fn letters_that_cannot_be_read_are_not_over() {
        let mut known = Known::default();
        let letters = issue("px", Kind::DeadLetters, 0);
        let unread = BTreeSet::from(["px".to_owned()]);
        known.changes(vec![letters.clone()], mine(&["px"]), &BTreeSet::new(), at(10));
        assert_eq!(told(&known.changes(Vec::new(), mine(&["px"]), &unread, at(20))), []);
        assert_eq!(told(&known.changes(Vec::new(), mine(&["px"]), &BTreeSet::new(), at(30))).len(), 1);
        // A worker that has just started reads them at its second look.
        let (mut known, later) = (Known::default(), at(9_000));
        assert_eq!(told(&known.changes(Vec::new(), mine(&["px"]), &unread, later)), []);
        assert_eq!(
            told(&known.changes(vec![letters], mine(&["px"]), &BTreeSet::new(), later)),
            [],
            "they died long ago"
        );
    }

    #[test]
    fn a_destination_is_told_of_once_a_minute_and_what_went_by_in_between_is_left_out() {
        let (mut pending, now) = (Pending::default(), crate::clock::now());
        let change = |what, kind, destination| Change { what, issue: issue(destination, kind, 0) };
        pending.add(change(What::New, Kind::Parked, "px"));
        pending.add(change(What::New, Kind::Late, "crm"));
        let (due, more) = pending.due(now);
        assert_eq!((due.len(), more), (2, 0), "one message for all");
        for _ in 0..50 {
            pending.add(change(What::Over, Kind::Parked, "px"));
            pending.add(change(What::New, Kind::Parked, "px"));
            pending.add(change(What::New, Kind::Late, "px"));
            pending.add(change(What::Over, Kind::Late, "px"));
        }
        pending.add(change(What::New, Kind::Slowed, "px"));
        assert_eq!(pending.due(now + TOLD_EVERY / 2), (Vec::new(), 0));
        let (due, _) = pending.due(now + TOLD_EVERY);
        assert_eq!(told(&due), [(What::New, "px.slowed".to_owned())]);
    }

    #[test]
    fn a_notification_has_so_many_changes_and_counts_the_others() {
        let mut pending = Pending::default();
        for number in 0..30 {
            let issue = Issue { id: format!("px.dead_letters.{number}"), ..issue("px", Kind::DeadLetters, 0) };
            pending.add(Change { what: What::New, issue });
        }
        let (due, more) = pending.due(crate::clock::now());
        assert_eq!((due.len(), more), (MOST, 10));
    }
}
