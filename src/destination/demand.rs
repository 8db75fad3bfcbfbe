//! How many deliveries to hold: enough to keep the gate busy, never so many that one waits for minutes. Pure.

use std::time::{Duration, Instant};

use crate::broker::port::Prefetch;

/// Most deliveries held at once, unless more are in flight.
const MAX_PREFETCH: f64 = 500.0;
/// Deliveries held beside those in flight: as many again, up to this.
const FEW: f64 = 32.0;
/// Deliveries for this time of the gate's pace are fetched ahead.
const AHEAD: Duration = Duration::from_millis(500);
/// No delivery should wait longer than this for its place while the gate is open.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// While the gate is closed for long: enough to probe with, and to probe with another one when one fails.
const PROBES: u16 = 2;
/// Before a place that was far away, deliveries are taken up this much earlier.
const EARLY: Duration = Duration::from_secs(30);
/// A delivery that waits this long goes back, well before the broker's consumer time-out (30 minutes by default).
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(500);
/// No delivery stays unsettled for longer: one whose job is not done by then waits at the broker.
pub(super) const LONGEST_UNSETTLED: Duration = Duration::from_secs(570);
/// Where requests carry many events: bytes held for them at most, about.
const HELD_BYTES: f64 = 24.0 * 1024.0 * 1024.0;
/// What a delivery takes in memory beside its body, about.
const OVERHEAD_BYTES: f64 = 2_500.0;
/// Deliveries whose copies wait for the broker: so many of them and so many bytes at most, about.
const MOST_ASIDE: u16 = 2_000;
const ASIDE_BYTES: usize = 16 * 1024 * 1024;
const OVERHEAD: usize = 2_500;
/// This many of them are normal.
const FEW_ASIDE: usize = 8;
/// How many requests may be sent without proof that the broker is there, and the bounds of the time that makes.
const UNPROVEN: f64 = 16.0;
const UNPROVEN_FOR: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The room for deliveries grows by this factor when it is used up.
const GROWTH: u16 = 4;

/// How many deliveries the destination needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// The gate is open, or closed for a moment.
    Open,
    /// Closed for long: only probes are needed.
    Closed,
    /// Paused, or the next place is far away: nothing is needed.
    Idle,
}

/// The state of the gate, as far as holding deliveries depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateOutlook {
    /// It is open.
    pub open: bool,
    /// An operator paused it.
    pub paused: bool,
    /// It is closed for long.
    pub closed_for_long: bool,
    /// Nothing can be sent before then.
    pub resting_until: Option<Instant>,
}

/// When to take deliveries again, if the next place at `next` is too far away to hold them until then.
pub(super) fn resume_at(next: Instant, now: Instant) -> Option<Instant> {
    (next.saturating_duration_since(now) > LONGEST_WAIT).then(|| next - EARLY)
}

/// At that pace, how long ago the broker may last have been heard so that a request may still be sent. No ack arrives over a connection that
/// was cut.
pub(super) fn unproven(pace: Option<f64>) -> Duration {
    let seconds = pace.map_or(0.0, |pace| UNPROVEN / pace.max(UNPROVEN / UNPROVEN_FOR.1.as_secs_f64()));
    Duration::from_secs_f64(seconds).clamp(UNPROVEN_FOR.0, UNPROVEN_FOR.1)
}

impl Demand {
    /// The demand after this one. Once closed for long it stays so until the gate opens: giving everything back before each
    /// probe would count against the broker's delivery limit.
    pub fn next(self, outlook: GateOutlook, now: Instant) -> Self {
        if outlook.paused || outlook.resting_until.is_some_and(|until| until > now) {
            Self::Idle
        } else if outlook.closed_for_long || (!outlook.open && self != Self::Open) {
            Self::Closed
        } else {
            Self::Open
        }
    }

    /// What to consume, for a gate that lets `pace` requests a second through, `concurrency` at once, and `room` for batches.
    pub fn prefetch(self, pace: Option<f64>, concurrency: usize, room: &BatchRoom) -> Prefetch {
        match self {
            Self::Open => Prefetch::Of(room.with(for_rate(pace.unwrap_or(f64::INFINITY), concurrency))),
            Self::Closed => Prefetch::Of(PROBES),
            Self::Idle => Prefetch::None,
        }
    }

    /// Whether so many are enough while the gate is closed: what came after them would only go back.
    pub fn is_enough(self, held: usize) -> bool {
        self == Self::Closed && held >= usize::from(PROBES)
    }

    /// How many waiting deliveries may be kept, the first of their ordering keys.
    pub fn keeps(self) -> usize {
        match self {
            Self::Open => usize::MAX,
            // Those that there were, and those that a consumer brought to make them enough again.
            Self::Closed => usize::from(PROBES) * 2,
            Self::Idle => 0,
        }
    }
}

/// How many deliveries are held so that batches can be large: more when what there is proves too little, within a bound in bytes.
#[derive(Clone, Debug)]
pub(super) struct BatchRoom {
    /// Most that batches can use.
    most: u16,
    now: u16,
    mean_bytes: f64,
}

impl BatchRoom {
    /// For requests that carry up to `items` events: one such batch under way and one that gathers.
    pub fn new(items: usize) -> Self {
        let most = if items > 1 { u16::try_from(items.saturating_mul(2)).unwrap_or(u16::MAX) } else { 0 };
        // Where that is little it is there from the start: each change costs a new consumer.
        let now = if f64::from(most) <= MAX_PREFETCH { most } else { 0 };
        Self { most, now, mean_bytes: 0.0 }
    }

    /// Takes note of a delivery of that size.
    pub fn note(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).map_or(f64::from(u32::MAX), f64::from) + OVERHEAD_BYTES;
        self.mean_bytes =
            if self.mean_bytes > 0.0 { self.mean_bytes + (bytes - self.mean_bytes) / 64.0 } else { bytes };
    }

    /// With so many held of `prefetch` that may be: what there is room for now. Changes in large steps, since each change costs a new
    /// consumer.
    pub fn adapt(&mut self, held: usize, prefetch: u16) -> u16 {
        let bound = f64::from(self.most).min(HELD_BYTES / self.mean_bytes.max(1.0));
        let used_up = held.saturating_mul(10) >= usize::from(prefetch) * 9;
        let wanted = f64::from(prefetch.saturating_mul(GROWTH)).min(bound);
        if used_up && wanted > f64::from(prefetch) * 1.5 {
            self.now = rounded(wanted);
        } else if f64::from(self.now) > bound * 2.0 {
            self.now = rounded(bound);
        }
        self.now
    }

    fn with(&self, prefetch: u16) -> u16 {
        self.now.max(prefetch)
    }
}

/// Deliveries whose copies the broker does not take for now (an alarm, a queue without its majority). They keep their places at the
/// broker, so that others come in places of their own: in large steps, since each costs a new consumer, and within a bound.
#[derive(Debug, Default)]
pub(super) struct CopiesWaiting {
    /// Places beside the usual ones.
    now: u16,
    /// Copies on their way, and their bytes.
    copies: usize,
    bytes: usize,
}

impl CopiesWaiting {
    /// A copy of so many bytes is on its way.
    pub fn add(&mut self, bytes: usize) {
        self.copies += 1;
        self.bytes += bytes;
    }

    /// It is settled.
    pub fn remove(&mut self, bytes: usize) {
        self.copies = self.copies.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Copies on their way.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// How many places there have to be beside the `usual` ones.
    pub fn adapt(&mut self, usual: u16) -> u16 {
        let many = usize::from(usual / 2).max(FEW_ASIDE);
        let most = self.most();
        if self.copies > usize::from(self.now) + many && self.now < most {
            self.now = u16::try_from(self.copies.saturating_mul(2)).unwrap_or(u16::MAX).max(usual).min(most);
        } else if self.copies <= usize::from(usual / 4) {
            self.now = 0;
        }
        self.now
    }

    /// Whether no more can be put aside, so that nothing more is taken until copies are confirmed.
    pub fn is_full(&self, usual: u16) -> bool {
        self.copies > FEW_ASIDE && self.now >= self.most() && self.copies >= usize::from(self.now) + usize::from(usual)
    }

    fn most(&self) -> u16 {
        let mean = self.bytes / self.copies.max(1) + OVERHEAD;
        u16::try_from(ASIDE_BYTES / mean).unwrap_or(u16::MAX).min(MOST_ASIDE)
    }
}

/// A number as a whole one from 1 to 65,535, rounded down.
fn rounded(number: f64) -> u16 {
    let mut whole = 0_u16;
    for bit in (0..16).rev().map(|bit| 1_u16 << bit) {
        if f64::from(whole | bit) <= number {
            whole |= bit;
        }
    }
    whole.max(1)
}

fn for_rate(rate: f64, concurrency: usize) -> u16 {
    let concurrency = f64::from(u16::try_from(concurrency).unwrap_or(u16::MAX));
    let wanted = concurrency + concurrency.min(FEW) + rate * AHEAD.as_secs_f64();
    let most = MAX_PREFETCH.max(concurrency * 1.25);
    let bound = (rate * LONGEST_WAIT.as_secs_f64()).clamp(1.0, most);
    rounded(wanted.min(bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_gate_holds_what_it_can_use_in_a_moment() {
        assert_eq!(Demand::Open.prefetch(Some(200.0), 32, &BatchRoom::new(1)), Prefetch::Of(164));
        assert_eq!(Demand::Open.prefetch(Some(4000.0), 64, &BatchRoom::new(1)), Prefetch::Of(500));
        assert_eq!(Demand::Open.prefetch(None, 1000, &BatchRoom::new(1)), Prefetch::Of(1250));
    }

    #[test]
    fn a_slow_gate_holds_no_more_than_a_minutes_worth() {
        assert_eq!(Demand::Open.prefetch(Some(0.1), 32, &BatchRoom::new(1)), Prefetch::Of(6));
        assert_eq!(Demand::Open.prefetch(Some(0.001), 32, &BatchRoom::new(1)), Prefetch::Of(1));
    }

    #[test]
    fn a_gate_closed_for_long_holds_only_probes_and_a_paused_one_nothing() {
        let now = crate::clock::now();
        let parked = GateOutlook { open: false, paused: false, closed_for_long: true, resting_until: None };
        assert_eq!(Demand::Open.next(parked, now).keeps(), 4);
        assert_eq!(
            Demand::Open.next(GateOutlook { paused: true, ..parked }, now).prefetch(
                Some(200.0),
                32,
                &BatchRoom::new(1)
            ),
            Prefetch::None
        );
    }

    #[test]
    fn a_gate_that_was_closed_for_long_stays_so_until_it_opens() {
        let now = crate::clock::now();
        let soon = GateOutlook { open: false, paused: false, closed_for_long: false, resting_until: None };
        assert_eq!(Demand::Open.next(soon, now), Demand::Open);
        assert_eq!(Demand::Closed.next(soon, now), Demand::Closed);
        assert_eq!(Demand::Idle.next(soon, now), Demand::Closed);
        assert_eq!(Demand::Closed.next(GateOutlook { open: true, ..soon }, now), Demand::Open);
    }

    #[test]
    fn the_room_for_batches_grows_while_it_is_used_up_and_keeps_to_the_bytes() {
        let mut room = BatchRoom::new(10_000);
        let mut prefetch = 66;
        let grow = |room: &mut BatchRoom, prefetch: &mut u16, bytes: usize| {
            for _ in 0..20 {
                (0..100).for_each(|_| room.note(bytes));
                *prefetch = room.adapt(usize::from(*prefetch), *prefetch).max(*prefetch);
            }
        };
        assert_eq!(room.adapt(10, prefetch), 0);
        grow(&mut room, &mut prefetch, 300);
        assert!((8_000..=9_000).contains(&prefetch), "{prefetch}");
        let mut large = BatchRoom::new(10_000);
        let mut few = 66;
        grow(&mut large, &mut few, 250_000);
        assert!((66..=134).contains(&few), "{few}");
        assert_eq!(BatchRoom::new(1).adapt(500, 500), 0);
    }

    #[test]
    fn copies_that_wait_get_places_of_their_own_within_a_bound() {
        let mut copies = CopiesWaiting::default();
        (0..82).for_each(|_| copies.add(300));
        assert_eq!(copies.adapt(164), 0, "half of the places are left");
        copies.add(300);
        assert_eq!(copies.adapt(164), 166);
        (0..4_000).for_each(|_| copies.add(300));
        assert_eq!(copies.adapt(164), MOST_ASIDE);
        assert!(copies.is_full(164));
        (0..4_083).for_each(|_| copies.remove(300));
        assert_eq!((copies.adapt(164), copies.copies(), copies.is_full(164)), (0, 0, false));
    }

    #[test]
    fn large_copies_get_fewer_places() {
        let mut copies = CopiesWaiting::default();
        (0..100).for_each(|_| copies.add(250_000));
        assert!((60..70).contains(&copies.adapt(164)));
    }

    #[test]
    fn about_sixteen_requests_may_be_sent_without_proof_of_the_broker() {
        for (pace, milliseconds) in [(Some(500.0), 50), (Some(200.0), 80), (Some(20.0), 800), (Some(0.01), 1_000)] {
            assert_eq!(unproven(pace), Duration::from_millis(milliseconds), "{pace:?}");
        }
        assert_eq!(unproven(None), Duration::from_millis(50));
    }

    #[test]
    fn nothing_is_held_for_a_place_that_is_over_a_minute_away() {
        let now = crate::clock::now();
        assert_eq!(resume_at(now + Duration::from_secs(60), now), None);
        let until = resume_at(now + Duration::from_secs(100), now);
        assert_eq!(until, Some(now + Duration::from_secs(70)));
        let outlook = GateOutlook { open: true, paused: false, closed_for_long: false, resting_until: until };
        assert_eq!(Demand::Open.next(outlook, now), Demand::Idle);
        assert_eq!(Demand::Idle.next(outlook, now + Duration::from_secs(71)), Demand::Open);
    }
}
