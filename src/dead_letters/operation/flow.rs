//! How many replayed letters may be under way at once: few enough that live events always find room. Pure.
//!
//! A worker holds so many events ahead of its gate, and lets the live ones among them go first. If replayed letters took up all of
//! that, live events would wait behind them at the broker. So no more are sent than a second's worth until their outcomes come.

use std::time::{Duration, Instant};

/// At any pace, since a worker holds 500 at most.
const MOST: f64 = 400.0;
/// At any pace, so that a canary gets through.
const LEAST: f64 = 10.0;
/// After so long without an outcome, while nothing may be sent, the gate is asked.
const SILENCE: Duration = Duration::from_secs(2);
/// How long the answer counts.
const HOLDS: Duration = Duration::from_secs(10);

/// What the destination's gate is like, as far as replays go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dead_letters) enum GateView {
    /// No worker drives the destination.
    Nobody,
    /// A person paused it.
    Paused,
    /// It is outside of its hours: with these and when it goes on.
    Quiet(String),
    /// In another state, by name.
    Other(String),
}

/// Whether letters may be sent.
#[derive(Clone, Debug)]
pub(super) struct ReplayFlow {
    most: f64,
    /// Nobody delivers, so nothing is held up: letters go on into the queue.
    unbounded_until: Option<Instant>,
    asked: Option<Instant>,
}

impl ReplayFlow {
    /// For a pace of so many letters a second.
    pub fn new(per_second: Option<f64>) -> Self {
        Self { most: per_second.unwrap_or(MOST).clamp(LEAST, MOST), unbounded_until: None, asked: None }
    }

    /// Whether one more may go while so many are under way.
    pub fn is_open(&self, under_way: usize, now: Instant) -> bool {
        let under_way = u32::try_from(under_way).map_or(f64::INFINITY, f64::from);
        under_way < self.most || self.unbounded_until.is_some_and(|until| now < until)
    }

    /// Whether to ask how the gate is: nothing may be sent, and nothing has been heard for a while.
    pub fn should_ask(
        &mut self,
        under_way: usize,
        oldest: Option<Instant>,
        heard: Option<Instant>,
        now: Instant,
    ) -> bool {
        let silent = oldest.max(heard).is_some_and(|last| now.saturating_duration_since(last) >= SILENCE);
        let asked = self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < SILENCE);
        let ask = silent && !asked && !self.is_open(under_way, now);
        if ask {
            self.asked = Some(now);
        }
        ask
    }

    /// What was found out; says what the replay waits for, or why it does not.
    pub fn learn(&mut self, gate: &GateView, destination: &str, now: Instant) -> String {
        match gate {
            GateView::Nobody | GateView::Paused => {
                self.unbounded_until = Some(now + HOLDS);
                let why = if *gate == GateView::Paused { "is paused" } else { "is driven by no worker now" };
                format!("{destination} {why}: the letters wait in its queue")
            }
            // Letters that went on into its queue would lie before the live events that come until then.
            GateView::Quiet(outside) => {
                self.unbounded_until = None;
                format!("{destination} is {outside}; the letters under way wait until then, and the others for these")
            }
            GateView::Other(state) => {
                self.unbounded_until = None;
                format!("waits for what becomes of the letters under way; the gate of {destination} is {state}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_seconds_worth_is_under_way_while_a_worker_delivers() {
        let now = crate::clock::now();
        let mut flow = ReplayFlow::new(Some(40.0));
        assert!(flow.is_open(39, now) && !flow.is_open(40, now));
        flow.learn(&GateView::Other("broken".into()), "px", now);
        assert!(!flow.is_open(40, now));
        assert!(ReplayFlow::new(Some(0.1)).is_open(9, now) && !ReplayFlow::new(Some(5000.0)).is_open(400, now));
    }

    #[test]
    fn outside_of_its_hours_a_replay_says_which_these_are_and_when_it_goes_on() {
        let now = crate::clock::now();
        let mut flow = ReplayFlow::new(Some(40.0));
        let outside = "outside of its hours (08:00-20:00 Europe/Stockholm), goes on at 08:00 Europe/Stockholm";
        let said = flow.learn(&GateView::Quiet(outside.into()), "px", now);
        assert!(said.starts_with(&format!("px is {outside}; ")), "{said}");
        assert!(!flow.is_open(40, now));
    }

    #[test]
    fn where_nobody_delivers_the_letters_go_on_for_a_while() {
        let now = crate::clock::now();
        for gate in [GateView::Nobody, GateView::Paused] {
            let mut flow = ReplayFlow::new(Some(40.0));
            flow.learn(&gate, "px", now);
            assert!(flow.is_open(10_000, now));
            assert!(!flow.is_open(10_000, now + Duration::from_secs(11)));
        }
    }

    #[test]
    fn the_gate_is_asked_after_a_silence_and_not_all_the_time() {
        let now = crate::clock::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut flow = ReplayFlow::new(Some(40.0));
        assert!(!flow.should_ask(40, Some(now), None, later(1)));
        assert!(!flow.should_ask(39, Some(now), None, later(5)));
        assert!(!flow.should_ask(40, Some(now), Some(later(4)), later(5)));
        assert!(flow.should_ask(40, Some(now), Some(later(4)), later(6)));
        assert!(!flow.should_ask(40, Some(now), Some(later(4)), later(7)));
    }
}
