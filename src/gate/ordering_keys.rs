//! Ordering keys inside one gate: one request of a key and a class at a time, so that its events arrive in their order, and a limit for each
//! key, whatever the class. Decides and never acts; `now` is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::quota::Limit;
use super::window::Places;
use super::written::WrittenAt;
use crate::class::Class;

/// The first pause of an ordering key whose event failed; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(500);
/// After this many failures in a row the event no longer keeps its turn: those after it go first.
const MOST_RESTS: u32 = 5;

/// The ordering keys of one destination.
#[derive(Debug)]
pub struct OrderingKeys {
    limit: Option<Limit>,
    /// No ordering key begins before this time, since what the gate before this one sent is not known.
    from: Instant,
    ordering_keys: HashMap<String, OrderingKey>,
    /// Requests that are out.
    out: usize,
}

#[derive(Debug, Default)]
struct OrderingKey {
    places: Places,
    live: Turn,
    bulk: Turn,
}

/// Where the events of one class stand.
#[derive(Debug, Default)]
struct Turn {
    busy: bool,
    /// The place of the request that is out.
    place: u64,
    resting_until: Option<Instant>,
    failures: u32,
}

impl OrderingKey {
    fn turn(&self, class: Class) -> &Turn {
        match class {
            Class::Live => &self.live,
            Class::Bulk => &self.bulk,
        }
    }

    fn turn_mut(&mut self, class: Class) -> &mut Turn {
        match class {
            Class::Live => &mut self.live,
            Class::Bulk => &mut self.bulk,
        }
    }

    fn turns(&self) -> [&Turn; 2] {
        [&self.live, &self.bulk]
    }
}

/// Whether an ordering key lets a request through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// Now.
    Now,
    /// Not before then.
    At(Instant),
    /// Once the request that is out has been answered.
    Busy,
}

impl OrderingKeys {
    /// Ordering keys that are held to `limit` each, from `now` on.
    #[must_use]
    pub fn new(limit: Option<Limit>, now: Instant) -> Self {
        let from = limit.map_or(now, |limit| now + limit.window.length().min(Duration::from_secs(60)));
        Self { limit, from, ordering_keys: HashMap::new(), out: 0 }
    }

    /// Whether `ordering_key` lets a request of that class through.
    #[must_use]
    pub fn free(&self, ordering_key: &str, class: Class, now: Instant) -> Free {
        let Some(state) = self.ordering_keys.get(ordering_key) else {
            return if self.from > now { Free::At(self.from) } else { Free::Now };
        };
        let turn = state.turn(class);
        // With two out at once the next place of its limit may come with an answer.
        if turn.busy || state.places.awaits_answer() {
            return Free::Busy;
        }
        let until = state.places.none_before(now).max(turn.resting_until).max(Some(self.from));
        until.filter(|until| *until > now).map_or(Free::Now, Free::At)
    }

    /// A request of `ordering_key` goes out.
    pub fn take(&mut self, ordering_key: &str, class: Class) {
        if !self.ordering_keys.contains_key(ordering_key) {
            let mut places = Places::default();
            if let Some(limit) = self.limit {
                places.keep(limit);
            }
            self.ordering_keys.insert(ordering_key.to_owned(), OrderingKey { places, ..OrderingKey::default() });
        }
        let Some(state) = self.ordering_keys.get_mut(ordering_key) else { return };
        let place = state.places.take(WrittenAt::default());
        // One at a time costs nothing more by being counted as late as its answer.
        state.places.late(place);
        let turn = state.turn_mut(class);
        self.out += usize::from(!turn.busy);
        (turn.busy, turn.place) = (true, place);
    }

    /// It was answered, or given up.
    pub fn answered(&mut self, ordering_key: &str, class: Class, now: Instant) {
        if let Some(state) = self.ordering_keys.get_mut(ordering_key) {
            let turn = state.turn_mut(class);
            self.out -= usize::from(turn.busy);
            turn.busy = false;
            let place = turn.place;
            state.places.answered(place, now);
        }
    }

    /// Its event failed in a way that may be its own: true when the ordering key now rests so that the event can go first again, false when
    /// it has failed too often for that.
    pub fn rest(&mut self, ordering_key: &str, class: Class, now: Instant) -> bool {
        let Some(state) = self.ordering_keys.get_mut(ordering_key).map(|state| state.turn_mut(class)) else {
            return false;
        };
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
    pub fn went_well(&mut self, ordering_key: &str, class: Class) {
        if let Some(state) = self.ordering_keys.get_mut(ordering_key) {
            state.turn_mut(class).failures = 0;
        }
    }

    /// Whether a request of any ordering key is out.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.out > 0
    }

    /// Forgets the ordering keys of which nothing matters any more.
    pub fn sweep(&mut self, now: Instant) {
        self.ordering_keys.retain(|_, ordering_key| {
            let matters =
                |turn: &&Turn| turn.busy || turn.failures > 0 || turn.resting_until.is_some_and(|until| until > now);
            ordering_key.turns().iter().any(matters) || !ordering_key.places.forgotten(now)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordering_keys(limit: &str) -> (OrderingKeys, Instant) {
        let now = crate::clock::now();
        (OrderingKeys::new(Some(limit.parse().unwrap()), now), now + Duration::from_secs(1))
    }

    #[test]
    fn one_request_of_a_ordering_key_is_out_at_a_time_and_others_do_not_notice() {
        let (mut ordering_keys, now) = ordering_keys("10/s");
        ordering_keys.take("a", Class::Live);
        assert_eq!(
            (ordering_keys.free("a", Class::Live, now), ordering_keys.free("b", Class::Live, now)),
            (Free::Busy, Free::Now)
        );
        ordering_keys.answered("a", Class::Live, now);
        assert_eq!(ordering_keys.free("a", Class::Live, now), Free::Now);
    }

    #[test]
    fn it_is_busy_until_the_last_request_of_all_ordering_keys_was_answered() {
        let (mut ordering_keys, now) = ordering_keys("10/s");
        ordering_keys.take("a", Class::Live);
        ordering_keys.take("a", Class::Bulk);
        ordering_keys.take("b", Class::Live);
        ordering_keys.answered("b", Class::Live, now);
        ordering_keys.answered("b", Class::Live, now);
        ordering_keys.answered("a", Class::Live, now);
        assert!(ordering_keys.is_busy());
        ordering_keys.answered("a", Class::Bulk, now);
        assert!(!ordering_keys.is_busy());
    }

    #[test]
    fn no_second_holds_more_of_a_ordering_key_than_its_limit() {
        let (mut ordering_keys, start) = ordering_keys("10/s");
        let mut sent = Vec::new();
        let mut now = start;
        while sent.len() < 100 {
            match ordering_keys.free("a", Class::Live, now) {
                Free::Now => {
                    ordering_keys.take("a", Class::Live);
                    sent.push(now);
                    now += Duration::from_millis(3);
                    ordering_keys.answered("a", Class::Live, now);
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
    fn a_new_ordering_key_waits_out_what_a_worker_before_may_have_sent() {
        let now = crate::clock::now();
        let ordering_keys = OrderingKeys::new(Some("10/s".parse().unwrap()), now);
        assert_eq!(ordering_keys.free("a", Class::Live, now), Free::At(now + Duration::from_secs(1)));
    }

    #[test]
    fn an_event_that_fails_keeps_its_turn_for_a_while_and_then_gives_way() {
        let (mut ordering_keys, now) = ordering_keys("10/s");
        ordering_keys.take("a", Class::Live);
        ordering_keys.answered("a", Class::Live, now);
        let mut at = now;
        for rest in [500, 1_000, 2_000, 4_000, 8_000] {
            assert!(
                ordering_keys.rest("a", Class::Live, at) && ordering_keys.rest("a", Class::Live, at),
                "two that failed together count once"
            );
            let until = at + Duration::from_millis(rest);
            assert_eq!(ordering_keys.free("a", Class::Live, at), Free::At(until));
            at = until;
        }
        assert!(!ordering_keys.rest("a", Class::Live, at));
    }

    #[test]
    fn ordering_keys_are_forgotten_once_they_are_idle() {
        let (mut ordering_keys, now) = ordering_keys("10/s");
        ordering_keys.take("a", Class::Live);
        ordering_keys.sweep(now + Duration::from_secs(100));
        assert_eq!(ordering_keys.ordering_keys.len(), 1);
        ordering_keys.answered("a", Class::Live, now);
        ordering_keys.sweep(now + Duration::from_secs(100));
        assert!(ordering_keys.ordering_keys.is_empty());
    }
}
