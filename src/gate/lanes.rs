//! Lanes inside one gate: one request of a lane at a time, so that its events arrive in their order, and each lane held to a limit
//! of its own. Decides and never acts; `now` is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::quota::Limit;
use super::window::Places;
use super::written::Written;

/// The first pause of a lane whose event failed; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(500);
/// So many failures in a row are waited out in place; then the event gives way to those after it.
const MOST_RESTS: u32 = 5;

/// The lanes of one destination.
#[derive(Debug)]
pub struct Lanes {
    limit: Option<Limit>,
    /// What the gate before this one sent is not known: no lane begins before.
    from: Instant,
    lanes: HashMap<String, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    busy: bool,
    /// The place of the request that is out.
    place: u64,
    places: Places,
    resting_until: Option<Instant>,
    failures: u32,
}

/// Whether a lane lets a request through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// Now.
    Now,
    /// Not before then.
    At(Instant),
    /// Once the request that is out has been answered.
    Busy,
}

impl Lanes {
    /// Lanes that are held to `limit` each, from `now` on.
    #[must_use]
    pub fn new(limit: Option<Limit>, now: Instant) -> Self {
        let from = limit.map_or(now, |limit| now + limit.window.length().min(Duration::from_secs(60)));
        Self { limit, from, lanes: HashMap::new() }
    }

    /// Whether `lane` lets a request through.
    #[must_use]
    pub fn free(&self, lane: &str, now: Instant) -> Free {
        let Some(state) = self.lanes.get(lane) else {
            return if self.from > now { Free::At(self.from) } else { Free::Now };
        };
        if state.busy {
            return Free::Busy;
        }
        let until = state.places.none_before(now).max(state.resting_until).max(Some(self.from));
        until.filter(|until| *until > now).map_or(Free::Now, Free::At)
    }

    /// A request of `lane` goes out.
    pub fn take(&mut self, lane: &str) {
        let state = self.lanes.entry(lane.to_owned()).or_insert_with(|| {
            let mut places = Places::default();
            if let Some(limit) = self.limit {
                places.keep(limit);
            }
            Lane { places, ..Lane::default() }
        });
        state.busy = true;
        state.place = state.places.take(Written::default());
        // One at a time costs nothing more by being counted as late as its answer.
        state.places.late(state.place);
    }

    /// It was answered, or given up.
    pub fn answered(&mut self, lane: &str, now: Instant) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.busy = false;
            state.places.answered(state.place, now);
        }
    }

    /// Its event failed in a way that may be its own: true when the lane now rests so that the event can go first again, false when
    /// it has failed too often for that.
    pub fn rest(&mut self, lane: &str, now: Instant) -> bool {
        let Some(state) = self.lanes.get_mut(lane) else { return false };
        // Events that travelled together failed once.
        if state.resting_until.is_some_and(|until| until > now) {
            return true;
        }
        if state.failures >= MOST_RESTS {
            state.failures = 0;
            return false;
        }
        state.resting_until = Some(now + FIRST_REST * 2_u32.pow(state.failures));
        state.failures += 1;
        true
    }

    /// Its event was taken.
    pub fn went_well(&mut self, lane: &str) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.failures = 0;
        }
    }

    /// Whether a request of any lane is out.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.lanes.values().any(|lane| lane.busy)
    }

    /// Forgets the lanes of which nothing matters any more.
    pub fn sweep(&mut self, now: Instant) {
        self.lanes.retain(|_, lane| {
            let resting = lane.resting_until.is_some_and(|until| until > now);
            lane.busy || resting || lane.failures > 0 || !lane.places.forgotten(now)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(limit: &str) -> (Lanes, Instant) {
        let now = crate::clock::now();
        (Lanes::new(Some(limit.parse().unwrap()), now), now + Duration::from_secs(1))
    }

    #[test]
    fn one_request_of_a_lane_is_out_at_a_time_and_others_do_not_notice() {
        let (mut lanes, now) = lanes("10/s");
        lanes.take("a");
        assert_eq!((lanes.free("a", now), lanes.free("b", now)), (Free::Busy, Free::Now));
        lanes.answered("a", now);
        assert_eq!(lanes.free("a", now), Free::Now);
    }

    #[test]
    fn no_second_holds_more_of_a_lane_than_its_limit() {
        let (mut lanes, start) = lanes("10/s");
        let mut sent = Vec::new();
        let mut now = start;
        while sent.len() < 100 {
            match lanes.free("a", now) {
                Free::Now => {
                    lanes.take("a");
                    sent.push(now);
                    now += Duration::from_millis(3);
                    lanes.answered("a", now);
                }
                Free::At(until) => now = until,
                Free::Busy => panic!("answered at once"),
            }
        }
        for window in sent.windows(11) {
            assert!(window[10] - window[0] >= Duration::from_secs(1));
        }
        let all = sent[99] - sent[0];
        assert!(all < Duration::from_millis(9_400), "{all:?} for 100 at 10/s");
    }

    #[test]
    fn a_new_lane_waits_out_what_a_worker_before_may_have_sent() {
        let now = crate::clock::now();
        let lanes = Lanes::new(Some("10/s".parse().unwrap()), now);
        assert_eq!(lanes.free("a", now), Free::At(now + Duration::from_secs(1)));
    }

    #[test]
    fn an_event_that_fails_keeps_its_turn_for_a_while_and_then_gives_way() {
        let (mut lanes, now) = lanes("10/s");
        lanes.take("a");
        lanes.answered("a", now);
        let mut at = now;
        for rest in [500, 1_000, 2_000, 4_000, 8_000] {
            assert!(lanes.rest("a", at) && lanes.rest("a", at), "two that failed together count once");
            let until = at + Duration::from_millis(rest);
            assert_eq!(lanes.free("a", at), Free::At(until));
            at = until;
        }
        assert!(!lanes.rest("a", at));
    }

    #[test]
    fn lanes_are_forgotten_once_they_are_idle() {
        let (mut lanes, now) = lanes("10/s");
        lanes.take("a");
        lanes.sweep(now + Duration::from_secs(100));
        assert_eq!(lanes.lanes.len(), 1);
        lanes.answered("a", now);
        lanes.sweep(now + Duration::from_secs(100));
        assert!(lanes.lanes.is_empty());
    }
}
