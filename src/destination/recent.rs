//! What happened to a destination lately, for whoever looks at it: changes of its gate, what became of events, and figures of every
//! ten seconds. Bounded, and nothing is allocated before something happens. Pure; the time is an argument.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tap::{Outcomes, Tapped};
use crate::gate::{GateState, Status};

/// How far back figures go.
pub const KEPT: Duration = Duration::from_mins(30);
/// What one sample is about.
pub const EVERY: Duration = Duration::from_secs(10);
/// Changes of the gate that are kept.
const CHANGES: usize = 60;
/// Outcomes that are kept.
const OUTCOMES: usize = 50;
/// Samples that are kept: all of [`KEPT`].
const SAMPLES: usize = 180;
/// Longest text that is kept of an event's id or type, or of a sentence.
const LONGEST: usize = 300;
/// The outcome of an event that became a dead letter.
const DEAD: &str = "dead_lettered";

/// A change of the gate's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateChange {
    /// When it was seen.
    pub at: Timestamp,
    /// The state before.
    pub from: GateState,
    /// The state after.
    pub to: GateState,
    /// Why, as a sentence.
    pub why: String,
    /// When it may end by itself.
    pub until: Option<Timestamp>,
}

/// What became of an event, or of one attempt for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecentOutcome {
    /// When its request was sent, or when it was found out without one.
    pub at: Timestamp,
    /// The event's id, addresses masked; of a request without events what it was about.
    pub id: String,
    /// The event's type; of a request without events what was asked.
    pub kind: String,
    /// As in the log: `delivered`, `retry`, `scheduled`, `dead_lettered`, `already_delivered`; `probe` and `waits` where the event waits for the gate;
    /// `failed` of a request without events.
    pub outcome: Cow<'static, str>,
    /// The answer's status, where there was one.
    pub status: Option<u16>,
    /// Milliseconds that the request took, where there was one.
    pub ms: Option<u64>,
    /// What the vendor, the network or Sluice said of it; of a delivered one nothing.
    pub said: String,
}

/// Figures of some ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Their end.
    pub at: Timestamp,
    /// Requests answered, a second.
    pub requests: f32,
    /// Of these, answered with 429.
    pub refused: f32,
    /// Of these, answered with another error or not at all.
    pub failed: f32,
    /// Events delivered, a second.
    pub delivered: f32,
    /// Requests a second that the gate let through at the end; none where nothing paced it.
    pub allowed: Option<f32>,
    /// Milliseconds that half of the requests took at most.
    pub median_ms: Option<u32>,
    /// Milliseconds that 99 of 100 requests took at most.
    pub slowest_ms: Option<u32>,
}

/// Everything that is kept. What is shown of it can be sent to another worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    changes: VecDeque<GateChange>,
    outcomes: VecDeque<RecentOutcome>,
    samples: VecDeque<Sample>,
    /// From when on it is known how the gate was.
    since: Option<Timestamp>,
    /// When an event became a dead letter last.
    #[serde(default)]
    last_dead: Option<Timestamp>,
    state: Option<GateState>,
    #[serde(skip)]
    began: Option<Instant>,
    #[serde(skip)]
    delivered: u64,
    #[serde(skip)]
    requests: u32,
    #[serde(skip)]
    refused: u32,
    #[serde(skip)]
    failed: u32,
    #[serde(skip)]
    times: Times,
    #[serde(skip)]
    tapped: Tapped,
}

impl Recent {
    /// The changes of the gate, the latest first.
    pub fn changes(&self) -> impl Iterator<Item = &GateChange> {
        self.changes.iter().rev()
    }

    /// From when on the gate's states are known: since somebody drives the destination here, or since the first change that is kept.
    /// None before it was looked at.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// When the gate came into that state, if it was seen to. None of a state that was there before anybody looked.
    #[must_use]
    pub fn came_into(&self, state: GateState) -> Option<Timestamp> {
        let last = self.changes.back().filter(|last| last.to == state)?;
        (Some(last.at) > self.since).then_some(last.at)
    }

    /// When an event became a dead letter last; none where none did here.
    #[must_use]
    pub fn last_dead(&self) -> Option<Timestamp> {
        self.last_dead
    }

    /// What became of the last events, the latest first.
    pub fn outcomes(&self) -> impl Iterator<Item = &RecentOutcome> {
        self.outcomes.iter().rev()
    }

    /// The samples, the oldest first. Where nothing happened there are none.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }

    /// The samples alone.
    #[must_use]
    pub fn only_samples(self) -> Self {
        Self { samples: self.samples, ..Self::default() }
    }

    /// The gate as it is now: keeps it where the state is another than before.
    pub fn see(&mut self, gate: &Status, wall: Timestamp) {
        self.since.get_or_insert(wall);
        let from = self.state.replace(gate.state).unwrap_or(GateState::Open);
        if from == gate.state {
            return;
        }
        if let Some(forgotten) = make_room(&mut self.changes, CHANGES) {
            self.since = Some(forgotten.at);
        }
        let (why, until) = (cut(&gate.why).to_owned(), gate.until.map(|until| until.wall));
        self.changes.push_back(GateChange { at: wall, from, to: gate.state, why, until });
    }

    /// A request was answered, or nobody answered it.
    pub fn answered(&mut self, status: Option<StatusCode>, took: Duration) {
        self.requests += 1;
        match status {
            Some(StatusCode::TOO_MANY_REQUESTS) => self.refused += 1,
            Some(status) if status.as_u16() < 400 => {}
            Some(_) | None => self.failed += 1,
        }
        self.times.add(took);
    }

    /// Something became of an event. Of the strings only `id` is kept as it is; the others go into the room of an outcome that is forgotten.
    pub fn ended(&mut self, id: String, kind: &str, said: &str, outcome: RecentOutcome) {
        if outcome.outcome == DEAD {
            self.last_dead = Some(outcome.at);
        }
        let before = make_room(&mut self.outcomes, OUTCOMES).unwrap_or_default();
        let id = if id.len() > LONGEST { cut(&id).to_owned() } else { id };
        let kind = refilled(before.kind, kind);
        let outcome = RecentOutcome { id, kind, said: refilled(before.said, said), ..outcome };
        self.tapped.add(&outcome);
        self.outcomes.push_back(outcome);
    }

    /// The outcomes since an earlier look, or from now on, for whoever watches them.
    pub fn tap(&mut self, since: Option<u64>, now: Instant) -> Outcomes {
        self.tapped.look(since, now)
    }

    /// Whether the last event ended in the same way, for the same reason.
    #[must_use]
    pub fn ended_so_last(&self, outcome: &str, status: Option<u16>, said: &str) -> bool {
        let is_same = |last: &RecentOutcome| last.outcome == outcome && last.status == status && last.said == cut(said);
        self.outcomes.back().is_some_and(is_same)
    }

    /// Called every second or so: closes a sample every ten. `delivered` counts from the start of the worker.
    pub fn sample(&mut self, gate: &Status, delivered: u64, now: Instant, wall: Timestamp) {
        self.tapped.tidy(now);
        let Some(began) = self.began else {
            (self.began, self.delivered) = (Some(now), delivered);
            return;
        };
        let took = now.saturating_duration_since(began);
        if took < EVERY {
            return;
        }
        let a_second = |count: u32| narrow(f64::from(count) / took.as_secs_f64());
        let events = u32::try_from(delivered.saturating_sub(self.delivered)).unwrap_or(u32::MAX);
        let sample = Sample {
            at: wall,
            requests: a_second(self.requests),
            refused: a_second(self.refused),
            failed: a_second(self.failed),
            delivered: a_second(events),
            allowed: gate.rate.map(narrow),
            median_ms: self.times.quantile(50),
            slowest_ms: self.times.quantile(99),
        };
        (self.began, self.delivered) = (Some(now), delivered);
        (self.requests, self.refused, self.failed) = (0, 0, 0);
        self.times.clear();
        let since = wall.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        while self.samples.front().is_some_and(|sample| sample.at < since) {
            self.samples.pop_front();
        }
        // One quiet sample shows that it became quiet; more would say the same.
        if !sample.is_quiet() || self.samples.back().is_some_and(|before| !before.is_quiet()) {
            make_room(&mut self.samples, SAMPLES);
            self.samples.push_back(sample);
        }
    }
}

impl Sample {
    /// Whether nothing happened.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.requests <= 0.0 && self.delivered <= 0.0
    }
}

/// How long requests took, to within 25 %.
#[derive(Clone, Debug, Default)]
struct Times {
    /// By [`Times::place`]; empty before the first.
    counts: Vec<u32>,
    total: u32,
}

impl Times {
    /// Up to 2.3 hours; what took longer is told as that.
    const PLACES: usize = 88;

    fn add(&mut self, took: Duration) {
        if self.counts.is_empty() {
            self.counts = vec![0; Self::PLACES];
        }
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.counts[Self::place(ms)] += 1;
        self.total += 1;
    }

    /// Single milliseconds up to 7, then four places to each doubling.
    fn place(ms: u32) -> usize {
        let at = if ms < 8 {
            ms
        } else {
            let doublings = ms.ilog2();
            8 + (doublings - 3) * 4 + ((ms >> (doublings - 2)) & 3)
        };
        usize::try_from(at).map_or(Self::PLACES - 1, |at| at.min(Self::PLACES - 1))
    }

    /// The largest number of milliseconds in a place.
    fn most(place: usize) -> u32 {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        if place < 8 {
            return place;
        }
        let (doublings, quarter) = ((place - 8) / 4 + 3, (place - 8) % 4);
        ((5 + quarter) << (doublings - 2)) - 1
    }

    fn quantile(&self, percent: u32) -> Option<u32> {
        let wanted = (u64::from(self.total) * u64::from(percent)).div_ceil(100);
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen > 0 && seen >= wanted
        });
        place.map(Self::most)
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

/// Takes the oldest out where `all` is full.
fn make_room<T>(all: &mut VecDeque<T>, most: usize) -> Option<T> {
    if all.len() < most { None } else { all.pop_front() }
}

/// The text, in the room of another one.
fn refilled(mut room: String, text: &str) -> String {
    room.clear();
    room.push_str(cut(text));
    room
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[expect(clippy::as_conversions, reason = "a figure to look at: f32 has no From<f64>")]
fn narrow(figure: f64) -> f32 {
    figure as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(state: GateState, why: &str) -> Status {
        Status {
            fails: false,
            quota: Some(200.0),
            state,
            why: why.to_owned(),
            answered: None,
            until: None,
            rate: Some(200.0),
            learned: 1.0,
            in_flight: 0,
            concurrency: 32,
            held: crate::gate::HeldBy::Nothing,
            day_ends: (Timestamp::MAX, String::new()),
            day_used: 0,
            day_limit: None,
        }
    }

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_change_of_the_gate_is_kept_once_and_only_so_many() {
        let mut recent = Recent::default();
        recent.see(&gate(GateState::Open, "open"), wall(0));
        for second in 0..200 {
            recent.see(&gate(GateState::Broken, "no answer"), wall(second * 2));
            recent.see(&gate(GateState::Broken, "no answer again"), wall(second * 2));
            recent.see(&gate(GateState::Open, "open"), wall(second * 2 + 1));
        }
        let changes: Vec<&GateChange> = recent.changes().collect();
        assert_eq!((changes.len(), changes[0].to, changes[0].at), (CHANGES, GateState::Open, wall(399)));
        assert_eq!(
            (changes[1].from, changes[1].to, changes[1].why.as_str()),
            (GateState::Open, GateState::Broken, "no answer")
        );
        // 340 of 400 are forgotten: how the gate was before the last of them is not known any more.
        assert_eq!((changes[59].at, recent.since()), (wall(340), Some(wall(339))));
    }

    #[test]
    fn how_the_gate_was_is_known_from_the_first_look_on() {
        let mut recent = Recent::default();
        assert_eq!(recent.since(), None);
        recent.see(&gate(GateState::Paused, "an operator paused it"), wall(5));
        recent.see(&gate(GateState::Open, "open"), wall(9));
        assert_eq!(recent.since(), Some(wall(5)));
    }

    #[test]
    fn the_last_outcomes_are_kept_however_long_their_texts_are() {
        let mut recent = Recent::default();
        for number in 0..=OUTCOMES {
            let outcome = RecentOutcome { outcome: "delivered".into(), status: Some(201), ..RecentOutcome::default() };
            recent.ended(format!("e-{number}{}", "x".repeat(100_000)), &"å".repeat(100_000), "", outcome);
        }
        let outcomes: Vec<&RecentOutcome> = recent.outcomes().collect();
        assert_eq!(outcomes.len(), OUTCOMES);
        assert!(outcomes[0].id.starts_with("e-50x") && outcomes[0].id.capacity() <= LONGEST);
        assert_eq!(outcomes[49].kind, "å".repeat(LONGEST / 2));
    }

    #[test]
    fn a_sample_tells_rates_and_times_of_ten_seconds() {
        let (mut recent, start) = (Recent::default(), crate::clock::now());
        let open = gate(GateState::Open, "open");
        recent.sample(&open, 100, start, wall(0));
        for number in 0..100_u16 {
            let status = [200, 201, 429, 500, 0][usize::from(number % 5)];
            recent.answered(StatusCode::from_u16(status).ok(), Duration::from_millis(u64::from(number)));
        }
        for second in 1..=10 {
            recent.sample(&open, 150, start + Duration::from_secs(second), wall(second.try_into().unwrap()));
        }
        let [sample] = recent.samples()[..] else { panic!("one sample: {recent:?}") };
        assert_eq!((sample.requests, sample.refused, sample.failed, sample.delivered), (10.0, 2.0, 4.0, 5.0));
        assert_eq!((sample.at, sample.allowed), (wall(10), Some(200.0)));
        assert!((45..=56).contains(&sample.median_ms.unwrap()) && (95..=112).contains(&sample.slowest_ms.unwrap()));
    }

    #[test]
    fn nothing_is_kept_of_quiet_times_and_nothing_older_than_half_an_hour() {
        let (mut recent, start) = (Recent::default(), crate::clock::now());
        let open = gate(GateState::Open, "open");
        let mut delivered = 0;
        for tick in 0..1_000_u64 {
            let (now, seconds) = (start + EVERY * u32::try_from(tick).unwrap(), i64::try_from(tick * 10).unwrap());
            if (500..700).contains(&tick) {
                delivered += 1;
            }
            recent.sample(&open, delivered, now, wall(seconds));
            match tick {
                0..500 => assert_eq!(recent.samples.capacity(), 0, "nothing is allocated before something happens"),
                // However long it is busy.
                699 => {
                    let samples = recent.samples();
                    assert_eq!((samples.len(), samples[0].at), (SAMPLES, wall(seconds) - KEPT + EVERY));
                    assert!(recent.samples.capacity() <= SAMPLES.next_power_of_two(), "{}", recent.samples.capacity());
                }
                700 => assert!(recent.samples().last().unwrap().is_quiet(), "one shows that it became quiet"),
                _ => {}
            }
        }
        assert!(recent.samples().is_empty(), "{:?}", recent.samples());
    }

    #[test]
    fn every_time_has_a_place_that_tells_it_within_a_quarter() {
        for ms in (0..200_000).chain([u32::MAX]) {
            let most = Times::most(Times::place(ms));
            assert!(ms > 100_000_000 || (most >= ms && most - ms <= ms / 4), "{ms}: {most}");
        }
        assert_eq!(Times::most(Times::PLACES - 1), 8_388_607, "2.3 hours");
    }
}
