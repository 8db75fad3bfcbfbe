//! Whose turn the next place of the gate is: live events go first; replayed letters and bulk events share what is left, and have a share of all
//! places at least while they wait. Pure; the time is an argument.

use std::time::{Duration, Instant};

use crate::config::Share;
use crate::gate::{Limit, Paused};

/// No more than this is caught up, so that a late timer costs nothing of the pace.
const CATCH_UP: Duration = Duration::from_millis(100);

/// What waits for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Events that go first.
    Live,
    /// Letters that were replayed.
    Replayed,
    /// Events that may wait.
    Bulk,
}

/// Counts whose turn it is.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    share: Share,
    /// What those behind have coming, in the units of a share.
    credit: u32,
    /// The last place of those behind was a replayed letter's.
    replayed_last: bool,
}

impl Turns {
    /// Those behind get that share at least.
    pub fn new(share: Share) -> Self {
        Self { share, credit: 0, replayed_last: false }
    }

    /// Whose turn the next place is, where `waits` tells which lines have something that could be sent now.
    pub fn next(&self, waits: impl Fn(Line) -> bool) -> Option<Line> {
        let (first, second) =
            if self.replayed_last { (Line::Bulk, Line::Replayed) } else { (Line::Replayed, Line::Bulk) };
        let is_due = self.credit + self.share.parts() >= Share::WHOLE.parts();
        let order = if is_due { [first, second, Line::Live] } else { [Line::Live, first, second] };
        order.into_iter().find(|line| waits(*line))
    }

    /// A place was taken by that line, while others `behind` live ones were waiting or not.
    pub fn took(&mut self, line: Line, behind_waits: bool) {
        let whole = Share::WHOLE.parts();
        match line {
            Line::Live if behind_waits => self.credit = (self.credit + self.share.parts()).min(whole),
            Line::Live => {}
            Line::Replayed | Line::Bulk => {
                // What they got beyond their share is not held against them, and what they did not need is not saved up.
                self.credit = (self.credit + self.share.parts()).saturating_sub(whole);
                self.replayed_last = line == Line::Replayed;
            }
        }
    }
}

/// What an operator wants of bulk events, and when the next may go.
#[derive(Clone, Debug, Default)]
pub(super) struct BulkFlow {
    /// The pause, where there is one.
    pub paused: Option<Paused>,
    /// Bounds of their pace; none where the gate alone bounds it.
    pub limits: Vec<Limit>,
    due: Option<Instant>,
}

impl BulkFlow {
    /// As an operator wanted it before.
    pub fn new(paused: Option<Paused>, limits: Vec<Limit>) -> Self {
        Self { paused, limits, due: None }
    }

    /// When the next may go, if that is not now.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| *due > now)
    }

    /// Requests a second at most; none where nothing bounds it. A day's bound is a pace too: no count has to outlive a driver.
    pub fn rate(&self) -> Option<f64> {
        let rates = self.limits.iter().map(|limit| f64::from(limit.count) / limit.window.length().as_secs_f64());
        rates.min_by(f64::total_cmp)
    }

    /// One goes now.
    pub fn went(&mut self, now: Instant) {
        let Some(period) = self.rate().and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()) else {
            self.due = None;
            return;
        };
        let before = self.due.unwrap_or(now).max(now.checked_sub(CATCH_UP.min(period)).unwrap_or(now));
        self.due = Some(before + period);
    }

    /// Holds to other limits from now on. The first goes a period later.
    pub fn set_limits(&mut self, limits: Vec<Limit>, now: Instant) {
        self.limits = limits;
        self.due = None;
        self.went(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate of 100 places a second for `minutes`, with so many live and replayed ones coming a second, and bulk that always waits;
    /// returns the places of each line, and the longest that a live one waited, in places.
    fn simulate(share: &str, live: f64, replayed: f64, limit: Option<&str>, minutes: u32) -> ([u32; 3], u32) {
        let mut turns = Turns::new(share.parse().unwrap());
        let start = crate::clock::now();
        let mut flow = BulkFlow::default();
        if let Some(limit) = limit {
            flow.set_limits(vec![limit.parse().unwrap()], start);
        }
        let (mut places, mut longest, mut waited) = ([0; 3], 0, 0);
        let (mut live_waits, mut replayed_waits) = (0.0, 0.0);
        for place in 0..minutes * 6_000 {
            let now = start + Duration::from_millis(10) * place;
            live_waits += live / 100.0;
            replayed_waits += replayed / 100.0;
            let bulk_waits = flow.due(now).is_none();
            let line = turns.next(|line| match line {
                Line::Live => live_waits >= 1.0,
                Line::Replayed => replayed_waits >= 1.0,
                Line::Bulk => bulk_waits,
            });
            waited = if live_waits >= 1.0 { waited + 1 } else { 0 };
            longest = longest.max(waited);
            let Some(line) = line else { continue };
            match line {
                Line::Live => (live_waits, places[0], waited) = (live_waits - 1.0, places[0] + 1, 0),
                Line::Replayed => (replayed_waits, places[1]) = (replayed_waits - 1.0, places[1] + 1),
                Line::Bulk => {
                    places[2] += 1;
                    flow.went(now);
                }
            }
            turns.took(line, replayed_waits >= 1.0 || bulk_waits);
        }
        (places, longest)
    }

    #[test]
    fn live_events_have_the_next_place_and_bulk_the_rest() {
        let ([live, _, bulk], longest) = simulate("5%", 20.0, 0.0, None, 10);
        assert_eq!((live, live + bulk), (12_000, 60_000));
        assert_eq!(longest, 1, "no live event waits for more than the place that comes next");
    }

    #[test]
    fn where_live_alone_would_fill_the_gate_the_others_have_their_share() {
        for (share, expected) in [("5%", 3_000), ("0%", 0), ("2.5%", 1_500), ("50%", 30_000), ("100%", 60_000)] {
            let ([live, _, bulk], _) = simulate(share, 100.0, 0.0, None, 10);
            assert!(bulk.abs_diff(expected) <= 1 && live + bulk == 60_000, "{share}: {live} {bulk}");
        }
        let ([_, replayed, bulk], _) = simulate("10%", 100.0, 50.0, None, 10);
        assert!(replayed.abs_diff(3_000) <= 1 && bulk.abs_diff(3_000) <= 1, "{replayed} {bulk}: they share it");
    }

    #[test]
    fn a_days_bound_is_an_even_pace() {
        let flow = BulkFlow::new(None, vec!["86400/day".parse().unwrap(), "50/s".parse().unwrap()]);
        assert_eq!(flow.rate(), Some(1.0));
    }

    #[test]
    fn what_is_not_needed_of_the_share_is_not_saved_up() {
        let mut turns = Turns::new("10%".parse().unwrap());
        (0..1_000).for_each(|_| turns.took(Line::Live, false));
        let all_wait = |_: Line| true;
        let mut order = Vec::new();
        for _ in 0..20 {
            let line = turns.next(all_wait).unwrap();
            turns.took(line, true);
            order.push(line);
        }
        assert_eq!(order.iter().filter(|line| **line != Line::Live).count(), 2, "{order:?}");
        assert!(order[..9].iter().all(|line| *line == Line::Live), "{order:?}");
    }

    #[test]
    fn bulk_keeps_to_a_pace_of_its_own_and_leaves_the_rest_to_others() {
        let ([live, _, bulk], _) = simulate("50%", 60.0, 0.0, Some("10/s"), 10);
        assert!(bulk.abs_diff(6_000) <= 1, "{bulk}");
        assert!(live.abs_diff(36_000) <= 1, "{live}");
        let ([_, replayed, bulk], _) = simulate("0%", 0.0, 100.0, Some("600/min"), 10);
        assert!(bulk.abs_diff(6_000) <= 2 && replayed.abs_diff(54_000) <= 2, "{replayed} {bulk}");
    }
}
