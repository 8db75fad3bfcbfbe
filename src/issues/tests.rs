//! What counts as an issue, and how an issue is after what operators said of it.

use std::collections::BTreeMap;

use super::*;
use crate::destination::Hindrance;
use crate::destination::bulk::BulkView;
use crate::gate::{GateState, HeldBy, Paused};
use crate::watch::{BulkDepths, Depths};

const LATE_AFTER: Duration = Duration::from_mins(15);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A destination that this worker drives, and that has nothing to do.
fn view() -> View {
    View {
        name: "px".to_owned(),
        vendor: "gainsight-px".to_owned(),
        subscribe: Vec::new(),
        limits: Vec::new(),
        configured: Vec::new(),
        drives: true,
        driver: None,
        as_of: None,
        hindered: None,
        state: Some(GateState::Open),
        why: "open".to_owned(),
        answered: None,
        paused: None,
        fails: false,
        since: None,
        until: None,
        quota: None,
        rate: None,
        learned: 1.0,
        in_flight: 0,
        concurrency: 1,
        held: HeldBy::Nothing,
        day_ends: at(80_000),
        day_starts: "midnight UTC".to_owned(),
        day_used: 0,
        day_limit: Some(1_000),
        held_here: 0,
        unread: 0,
        being_mapped: 0,
        oldest: None,
        unconfirmed: 0,
        consuming: true,
        ready: true,
        machine: None,
        delivered: 0,
        left: 0,
        requests: 0,
        carried: 0.0,
        together: 1,
        throttled: 0,
        retried: 0,
        scheduled: 0,
        quiet_until: None,
        outside_hours: None,
        dead: BTreeMap::new(),
        last_dead: None,
        copies_waiting: 0,
        copies_full: false,
        bulk: BulkView::default(),
    }
}

fn kinds(view: &View, depths: &Depths) -> Vec<Kind> {
    conditions(view, depths, LATE_AFTER, at(0)).into_iter().map(|condition| condition.kind).collect()
}

#[test]
fn bulk_events_that_wait_are_not_late_and_are_not_counted_among_those_that_are() {
    let old = BulkDepths { ready: Some(100_000), oldest: Some(at(-80_000)), ..BulkDepths::default() };
    let depths = Depths { ready: Some(0), bulk: old, ..Depths::default() };
    assert_eq!(kinds(&view(), &depths), []);
    let depths = Depths { ready: Some(7), oldest: Some(at(-901)), bulk: old, ..Depths::default() };
    let found = conditions(&view(), &depths, LATE_AFTER, at(0));
    assert_eq!(found.iter().map(|one| (one.kind, one.count)).collect::<Vec<_>>(), [(Kind::Late, Some(7))]);
}

#[test]
fn a_destination_that_works_has_no_issues() {
    let depths = Depths { ready: Some(50_000), oldest: Some(at(-899)), ..Depths::default() };
    assert_eq!(kinds(&view(), &depths), []);
    let elsewhere = View { drives: false, ready: false, driver: Some("pod-2".to_owned()), ..view() };
    assert_eq!(kinds(&elsewhere, &depths), [], "another worker drives it");
    let throttled = View { state: Some(GateState::Throttled), ..view() };
    assert_eq!(kinds(&throttled, &depths), [], "a vendor that asks to wait needs nobody");
}

#[test]
fn what_needs_a_person_is_an_issue() {
    let none = Depths::default();
    let late = Depths { ready: Some(5), oldest: Some(at(-901)), ..Depths::default() };
    let runs_out = Depths { budget_runs_out: Some(at(7_200)), ..Depths::default() };
    let nobody = View { state: None, drives: false, ready: false, ..view() };
    let paused = |hours: i64| {
        let paused = Some(Paused { at: Some(at(-hours * 3_600)), ..Paused::default() });
        View { state: Some(GateState::Paused), paused, ..view() }
    };
    for (view, depths, expected) in [
        (View { state: Some(GateState::Parked), ..view() }, none, vec![Kind::Parked]),
        (View { state: Some(GateState::Broken), ..view() }, late, vec![Kind::Broken, Kind::Late]),
        (View { ready: false, ..view() }, none, vec![Kind::NotAtWork]),
        (View { machine: Some("no file descriptors".to_owned()), ..view() }, none, vec![Kind::NotAtWork]),
        (nobody, none, vec![Kind::NotAtWork]),
        (view(), late, vec![Kind::Late]),
        (View { copies_waiting: 3, ..view() }, none, vec![Kind::CopiesNotTaken]),
        (View { day_used: 1_000, ..view() }, none, vec![Kind::DayBudget]),
        (View { day_used: 300, ..view() }, runs_out, vec![Kind::DayBudget]),
        (View { day_used: 100, ..view() }, runs_out, vec![]),
        (View { learned: 0.7, ..view() }, none, vec![Kind::Slowed]),
        (paused(9), late, vec![Kind::PausedLong]),
        (paused(7), late, vec![]),
    ] {
        assert_eq!(kinds(&view, &depths), expected, "{} {:?}", view.why, view.state);
    }
}

#[test]
fn what_every_worker_is_kept_from_driving_by_is_told_and_sooner_where_it_needs_a_person() {
    let hindered = |lasts| View {
        state: None,
        drives: false,
        ready: false,
        hindered: Some(Hindrance { why: "sealed with another key: run it (pod-2)".to_owned(), lasts }),
        ..view()
    };
    let found = conditions(&hindered(true), &Depths::default(), LATE_AFTER, at(0)).remove(0);
    assert_eq!(found.says, "no worker drives it: sealed with another key: run it (pod-2)");
    assert_eq!(found.kind.settles_within(&hindered(true)), Duration::from_secs(10), "another worker may be able to");
    assert_eq!(
        found.kind.settles_within(&hindered(false)),
        Duration::from_secs(30),
        "a queue may be there again in a moment"
    );
}

#[test]
fn an_issue_says_how_many_events_wait_and_since_when() {
    let view = View { state: Some(GateState::Parked), why: "wrong key".to_owned(), since: Some(at(-60)), ..view() };
    let depths = Depths { ready: Some(12), ..Depths::default() };
    let found = conditions(&view, &depths, LATE_AFTER, at(0)).remove(0);
    assert_eq!((found.says.as_str(), found.count, found.since), ("wrong key", Some(12), Some(at(-60))));
    let late = Depths { ready: Some(5), oldest: Some(at(-1_000)), ..Depths::default() };
    let found = conditions(&View { state: Some(GateState::Open), ..view }, &late, LATE_AFTER, at(0)).remove(0);
    assert_eq!((found.kind, found.since), (Kind::Late, Some(at(-100))));
    assert!(found.says.contains("15 min"), "{}", found.says);
}

fn word(state: Option<IssueState>, until: Option<i64>, note: Option<&str>) -> Word {
    Word { state, until: until.map(at), note: note.map(str::to_owned) }
}

#[test]
fn an_acknowledged_issue_opens_again_when_it_comes_again_and_an_ignored_one_when_its_time_is_over() {
    let mark = |state, until: Option<i64>| Mark {
        at: at(10),
        by: "ann".to_owned(),
        issue: "px.parked".to_owned(),
        state,
        since: at(10),
        until: until.map(at),
        note: None,
        count: None,
    };
    let acknowledged = mark(IssueState::Acknowledged, None);
    assert_eq!(state(&acknowledged, false, at(20)), (IssueState::Acknowledged, false));
    assert_eq!(state(&acknowledged, true, at(20)), (IssueState::Open, true));
    let ignored = mark(IssueState::Ignored, Some(100));
    assert_eq!(state(&ignored, true, at(20)), (IssueState::Ignored, false), "it was to be left out");
    assert_eq!(state(&ignored, true, at(100)), (IssueState::Open, true));
    assert_eq!(state(&ignored, false, at(100)), (IssueState::Open, false));
    assert_eq!(state(&mark(IssueState::Open, None), true, at(20)), (IssueState::Open, false));
}

#[test]
fn a_note_leaves_an_issue_as_it_is() {
    let by = ("ann", "console");
    let issue = Issue::new(Kind::Parked, Some("px"), "", "wrong key".to_owned());
    let said = entry(&issue, word(Some(IssueState::Acknowledged), None, Some("  on it\nnow ")), by);
    assert_eq!(
        (said.act.as_str(), said.outcome.as_deref(), said.destination.as_str()),
        ("acknowledge", Some("on it now"), "px")
    );
    let first = said.mark.unwrap();
    let issue = Issue { state: IssueState::Acknowledged, mark: Some(first.clone()), ..issue };
    let noted = entry(&issue, word(None, None, Some(&"x".repeat(900))), by).mark.unwrap();
    assert_eq!((noted.state, noted.since), (IssueState::Acknowledged, first.since));
    assert_eq!(noted.note.unwrap().len(), LONGEST_NOTE);
    let ignored = entry(&issue, word(Some(IssueState::Ignored), Some(100), None), by);
    assert!(ignored.filter.contains(" until "), "{}", ignored.filter);
    let ignored = ignored.mark.unwrap();
    assert_eq!(
        (ignored.state, ignored.until, ignored.note.as_deref()),
        (IssueState::Ignored, Some(at(100)), Some("on it now"))
    );
    assert!(ignored >= first, "the later word holds, whatever the clock does");
}

#[test]
fn what_dies_after_a_letter_was_seen_is_news_whatever_the_clocks_say() {
    let issue = Issue { last_seen: Some(at(-500)), ..Issue::new(Kind::DeadLetters, Some("px"), "a", String::new()) };
    let mark = entry(&issue, word(Some(IssueState::Acknowledged), None, None), ("ann", "api")).mark.unwrap();
    assert_eq!(mark.since, at(-500));
}

#[test]
fn an_issue_has_the_same_id_whenever_it_comes() {
    let id = |kind, destination, group| Issue::new(kind, destination, group, String::new()).id;
    assert_eq!(id(Kind::Parked, Some("px"), ""), "px.parked");
    assert_eq!(id(Kind::DeadLetters, Some("px"), "4f1c"), "px.dead_letters.4f1c");
    assert_eq!(id(Kind::Unrouted, None, ""), "unrouted");
    assert!(is_of("px.parked", "px") && !is_of("px2.parked", "px"));
}
