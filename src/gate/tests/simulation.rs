//! A gate and a vendor over minutes of made-up time: how much of the quota is used, and how much is refused. `cargo test
//! gate::tests::simulation -- --nocapture` plots it.

#![expect(clippy::as_conversions, reason = "a simulation reckons in floats")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

/// What else the account is used for, in requests a second, at a time since the start.
type Others = fn(f64) -> f64;

/// How a vendor counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Counts {
    Sliding,
    Fixed,
    /// Holds so many at most.
    Bucket(f64),
}

/// How long an answer takes, by a random number from 0 to 1.
type Latency = fn(f64, f64) -> f64;

/// A vendor, and who else uses the account.
#[derive(Clone, Copy)]
pub(super) struct World {
    pub documented: u32,
    /// What the vendor really allows in a second.
    pub real: f64,
    pub counts: Counts,
    pub others: Others,
    pub latency: Latency,
    /// The chance that a request is refused for no reason.
    pub chance: f64,
    /// So many are refused every 8 s for no reason, until then.
    pub spell: (u32, f64),
    pub retry_after: Option<u64>,
    pub seconds: u64,
    /// Requests at once that the vendor works on; more wait for their turn.
    pub workers: usize,
}

impl World {
    pub const GOOD: Self = Self {
        documented: 200,
        real: 200.0,
        counts: Counts::Sliding,
        others: |_| 0.0,
        latency: |_, _| 0.05,
        chance: 0.0,
        spell: (0, 0.0),
        retry_after: None,
        seconds: 120,
        workers: usize::MAX,
    };
}

/// What happened in each second.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub taken: Vec<u32>,
    pub refused: Vec<u32>,
    /// What the account had left for us.
    pub left: Vec<f64>,
    pub most_in_flight: usize,
    /// At the end of each second.
    pub in_flight: Vec<usize>,
}

impl Seen {
    /// Taken a second from `from` until `to`.
    pub fn rate(&self, from: usize, to: usize) -> f64 {
        f64::from(self.taken[from..to].iter().sum::<u32>()) / (to - from) as f64
    }

    pub fn used(&self, from: usize, to: usize) -> f64 {
        f64::from(self.taken[from..to].iter().sum::<u32>()) / self.left[from..to].iter().sum::<f64>()
    }

    pub fn refused(&self) -> f64 {
        self.refused_from(0)
    }

    pub fn refused_from(&self, second: usize) -> f64 {
        let refused = self.refused[second..].iter().sum::<u32>();
        f64::from(refused) / f64::from(refused + self.taken[second..].iter().sum::<u32>())
    }

    fn plot(&self, name: &str) {
        let bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.taken.iter().copied().max().unwrap_or(1).max(1);
        let bar = |taken: &u32| bars[(taken * 7 / most) as usize];
        let line: String = self.taken.iter().map(bar).collect();
        let end = self.taken.len();
        eprintln!(
            "{name:44} used {:5.1} %  refused {:.3} %  most in flight {}",
            self.used(5, end) * 100.0,
            self.refused() * 100.0,
            self.most_in_flight
        );
        eprintln!("    {line}");
    }
}

/// A vendor's count of one account.
struct Account {
    counts: Counts,
    real: f64,
    window: VecDeque<f64>,
    second: u64,
    used: f64,
    bucket: (f64, f64),
}

impl Account {
    fn takes(&mut self, at: f64) -> bool {
        match self.counts {
            Counts::Sliding => {
                while self.window.front().is_some_and(|first| first + 1.0 <= at) {
                    self.window.pop_front();
                }
                let takes = (self.window.len() as f64) < self.real;
                takes.then(|| self.window.push_back(at));
                takes
            }
            Counts::Fixed => {
                if at as u64 != self.second {
                    (self.second, self.used) = (at as u64, 0.0);
                }
                let takes = self.used < self.real;
                self.used += f64::from(u8::from(takes));
                takes
            }
            Counts::Bucket(holds) => {
                let (tokens, since) = self.bucket;
                let tokens = (tokens + (at - since) * self.real).min(holds);
                let takes = tokens >= 1.0;
                self.bucket = (tokens - f64::from(u8::from(takes)), at);
                takes
            }
        }
    }
}

/// What was expected and not seen, all of it.
#[derive(Default)]
struct Missed(Vec<String>);

impl Missed {
    fn unless(&mut self, seen: bool, what: String) {
        if !seen {
            eprintln!("    MISSED {what}");
            self.0.push(what);
        }
    }
}

impl Drop for Missed {
    fn drop(&mut self) {
        assert!(self.0.is_empty() || std::thread::panicking(), "{:#?}", self.0);
    }
}

/// Runs it against a backlog that never ends.
#[expect(clippy::too_many_lines, reason = "one loop of events, in the order of their time")]
pub(super) fn run(world: World, name: &str) -> Seen {
    let mut bench = Bench::new(&[&format!("{}/s", world.documented)]);
    let start = bench.now;
    let mut random = fastrand::Rng::with_seed(7);
    let mut account = Account {
        counts: world.counts,
        real: world.real,
        window: VecDeque::new(),
        second: 0,
        used: 0.0,
        bucket: (world.real.min(20.0), 0.0),
    };
    let mut seen = Seen::default();
    // Answers to come, by microseconds; with the permit's place in `out`.
    let mut answers: BinaryHeap<Reverse<(u128, usize)>> = BinaryHeap::new();
    let mut out: Vec<Option<(Permit, Answer)>> = Vec::new();
    let mut busy_until: Vec<f64> = Vec::new();
    let (mut others_next, mut in_spell) = (0.0, 0);
    let mut spell_due = 8.0;
    let seconds = usize::try_from(world.seconds).unwrap();
    seen.taken = vec![0; seconds];
    seen.refused = vec![0; seconds];
    seen.left = (0..seconds)
        .map(|second| (world.real - (world.others)(second as f64)).max(0.0))
        .map(|left| left.min(f64::from(world.documented)))
        .collect();
    loop {
        let at = (bench.now - start).as_secs_f64();
        while seen.in_flight.len() < at as usize {
            seen.in_flight.push(answers.len());
        }
        if at >= world.seconds as f64 {
            break;
        }
        while let Some(Reverse((due, index))) =
            answers.peek().copied().filter(|Reverse((due, _))| *due <= (bench.now - start).as_micros())
        {
            answers.pop();
            let _ = due;
            let (permit, answer) = out[index].take().unwrap();
            let hints =
                Hints { retry_after: world.retry_after.filter(|_| answer == Answer::Throttled).map(secs), quota: None };
            bench.give_back_with(permit, answer, &hints);
        }
        let next_answer =
            answers.peek().map(|Reverse((due, _))| start + Duration::from_micros(u64::try_from(*due).unwrap()));
        let wait = match bench.pass() {
            Pass::Go(permit) => {
                // The others' requests until now come first.
                while others_next <= at {
                    let rate = (world.others)(others_next);
                    if rate > 0.0 {
                        account.takes(others_next);
                        others_next += (0.5 + random.f64()) / rate;
                    } else {
                        others_next += 0.1;
                    }
                }
                if world.spell.0 > 0 && at >= spell_due && at < world.spell.1 {
                    (in_spell, spell_due) = (world.spell.0, spell_due + 8.0);
                }
                let by_mistake = in_spell > 0 || random.f64() < world.chance;
                in_spell = in_spell.saturating_sub(1);
                let takes = !by_mistake && account.takes(at);
                let second = at as usize;
                let answer = if takes { Answer::Success } else { Answer::Throttled };
                *(if takes { &mut seen.taken } else { &mut seen.refused }).get_mut(second).unwrap() += 1;
                let mut took = (world.latency)(at, random.f64());
                if world.workers < usize::MAX && takes {
                    busy_until.retain(|until| *until > at);
                    busy_until.sort_by(f64::total_cmp);
                    let begins = if busy_until.len() < world.workers {
                        at
                    } else {
                        busy_until[busy_until.len() - world.workers]
                    };
                    busy_until.push(begins + took);
                    took += begins - at;
                }
                answers.push(Reverse(((bench.now - start).as_micros() + (took * 1e6) as u128, out.len())));
                out.push(Some((permit, answer)));
                seen.most_in_flight = seen.most_in_flight.max(answers.len());
                continue;
            }
            Pass::Wait(until) => Some(until.max(bench.now + Duration::from_micros(1))),
            Pass::Full => None,
            Pass::Shut => panic!("nobody paused it"),
        };
        let next = [wait, next_answer].into_iter().flatten().min().expect("something comes");
        bench.advance(next.max(bench.now + Duration::from_micros(1)) - bench.now);
    }
    seen.plot(name);
    seen
}

fn exponential(mean: f64, random: f64) -> f64 {
    (-mean * (1.0 - random).ln()).min(mean * 5.0)
}

#[test]
fn the_whole_quota_is_used_whatever_the_vendors_latency() {
    let mut missed = Missed::default();
    let latencies: [(&str, Latency); 5] = [
        ("0", |_, _| 0.001),
        ("50 ms", |_, _| 0.05),
        ("400 ms", |_, _| 0.4),
        ("1.5 s", |_, _| 1.5),
        ("300 ms, exponential", |_, random| exponential(0.3, random)),
    ];
    for counts in [Counts::Sliding, Counts::Fixed, Counts::Bucket(20.0)] {
        for (latency, by) in latencies {
            let seen =
                run(World { counts, latency: by, seconds: 40, ..World::GOOD }, &format!("{counts:?}, {latency}"));
            missed.unless(seen.rate(4, 40) >= 196.0 && seen.refused() == 0.0, format!("{counts:?}, {latency}"));
        }
    }
}

#[test]
fn a_vendor_that_becomes_slow_gets_the_whole_quota_a_second_later() {
    let mut missed = Missed::default();
    let latencies: [(&str, Latency); 4] = [
        ("50 ms, then 500 ms", |at, _| if at < 20.0 { 0.05 } else { 0.5 }),
        ("150 ms, then 1.5 s", |at, _| if at < 20.0 { 0.15 } else { 1.5 }),
        ("400 ms, then 40 ms", |at, _| if at < 20.0 { 0.4 } else { 0.04 }),
        ("30 ms, then 300 ms, exponential", |at, random| exponential(if at < 20.0 { 0.03 } else { 0.3 }, random)),
    ];
    for (name, latency) in latencies {
        let seen = run(World { latency, seconds: 40, ..World::GOOD }, name);
        missed.unless(seen.rate(21, 40) >= 194.0, format!("{name}: {:?}", &seen.taken[18..26]));
    }
}

#[test]
fn a_vendor_that_only_gets_slower_is_not_flooded() {
    let mut missed = Missed::default();
    // Ten at once of 100 ms each: 100 a second, whatever is in flight.
    let latency: Latency = |_, _| 0.1;
    let seen = run(World { workers: 10, latency, seconds: 120, ..World::GOOD }, "ten workers of 100 ms");
    let above = seen.in_flight[30..].iter().filter(|in_flight| **in_flight > 60).count();
    missed.unless(above <= 6, format!("more than 60 in flight in {above} of 90 seconds: {:?}", seen.in_flight));
    missed.unless(seen.most_in_flight <= 150, format!("{} in flight", seen.most_in_flight));
    missed.unless(seen.rate(30, 120) >= 95.0, format!("{}", seen.rate(30, 120)));
}

#[test]
fn refusals_by_chance_cost_their_pauses_and_little_more() {
    let mut missed = Missed::default();
    for (chance, most) in [(0.000_1, 0.04), (0.001, 0.15), (0.003, 0.45), (0.01, 0.7)] {
        let seen = run(World { chance, ..World::GOOD }, &format!("refused by chance, {} %", chance * 100.0));
        missed.unless(seen.used(0, 120) >= 1.0 - most, format!("{chance}: {}", seen.used(0, 120)));
    }
}

#[test]
fn three_refusals_every_eight_seconds_leave_most_of_the_quota() {
    let mut missed = Missed::default();
    for latency in [(|_, _| 0.001) as Latency, |_, _| 0.3, |_, random| exponential(0.3, random)] {
        let world = World { spell: (3, 64.0), retry_after: Some(1), latency, ..World::GOOD };
        let seen = run(world, "three refused every 8 s until 64 s");
        missed.unless(seen.rate(4, 64) >= 115.0, format!("{}", seen.rate(4, 64)));
        missed.unless(seen.rate(70, 78) >= 190.0, format!("{}", seen.rate(70, 78)));
    }
}

#[test]
fn beside_another_user_nearly_all_of_what_is_left_is_used() {
    let mut missed = Missed::default();
    let others: [(&str, Others); 5] =
        [("10 %", |_| 20.0), ("30 %", |_| 60.0), ("50 %", |_| 100.0), ("70 %", |_| 140.0), ("90 %", |_| 180.0)];
    let latencies: [(&str, Latency); 3] = [
        ("at once", |_, _| 0.001),
        ("300 ms", |_, _| 0.3),
        ("300 ms, exponential", |_, random| exponential(0.3, random)),
    ];
    for retry_after in [None, Some(1)] {
        for (share, others) in others {
            for (latency, by) in latencies {
                let world = World { others, latency: by, retry_after, seconds: 180, ..World::GOOD };
                let seen = run(world, &format!("others {share}, {latency}, Retry-After {retry_after:?}"));
                // Of 20/s each request weighs much, and each pause.
                let (least, refused) = match (retry_after, share) {
                    (None, "90 %") => (0.7, 0.05),
                    (None, _) => (0.75, 0.02),
                    (Some(_), "90 %") => (0.5, 0.06),
                    (Some(_), "50 %") => (0.78, 0.02),
                    (Some(_), _) => (0.6, 0.02),
                };
                let name = format!("others {share}, Retry-After {retry_after:?}");
                missed.unless(seen.used(30, 180) >= least, format!("{name}: {}", seen.used(30, 180)));
                missed.unless(seen.refused_from(30) <= refused, format!("{name}: {}", seen.refused_from(30)));
            }
        }
    }
}

#[test]
fn after_another_user_has_gone_the_pace_is_back_within_half_a_minute() {
    let mut missed = Missed::default();
    let others: [(&str, Others); 3] = [
        ("50 %, gone after 60 s", |at| if at < 60.0 { 100.0 } else { 0.0 }),
        ("90 %, gone after 60 s", |at| if at < 60.0 { 180.0 } else { 0.0 }),
        ("50 % from 20 s to 60 s", |at| if (20.0..60.0).contains(&at) { 100.0 } else { 0.0 }),
    ];
    for (name, others) in others {
        for latency in [(|_, _| 0.001) as Latency, |_, _| 0.3, |_, random| exponential(0.3, random)] {
            for retry_after in [None, Some(1)] {
                let world = World { others, latency, retry_after, seconds: 110, ..World::GOOD };
                let seen = run(world, name);
                missed.unless(seen.rate(90, 110) >= 190.0, format!("{name}: {:?}", &seen.taken[85..110]));
            }
        }
    }
}

#[test]
fn another_user_in_waves_is_followed() {
    let mut missed = Missed::default();
    let others: [(&str, Others); 2] = [
        ("100/s, 10 s on, 10 s off", |at| if at % 20.0 < 10.0 { 100.0 } else { 0.0 }),
        ("160/s, 30 s on, 30 s off", |at| if at % 60.0 < 30.0 { 160.0 } else { 0.0 }),
    ];
    for (name, others) in others {
        for latency in [(|_, _| 0.001) as Latency, |_, _| 0.3] {
            let seen = run(World { others, latency, retry_after: Some(1), seconds: 240, ..World::GOOD }, name);
            missed.unless(seen.used(20, 240) >= 0.45, format!("{}", seen.used(20, 240)));
            missed.unless(seen.refused() <= 0.04, format!("{}", seen.refused()));
        }
    }
}

#[test]
fn a_limit_that_is_lower_than_documented_is_found() {
    let mut missed = Missed::default();
    for counts in [Counts::Sliding, Counts::Fixed, Counts::Bucket(20.0)] {
        for real in [100.0, 20.0] {
            for latency in [(|_, _| 0.001) as Latency, |_, _| 0.3] {
                let seen = run(
                    World { counts, real, latency, seconds: 240, ..World::GOOD },
                    &format!("{counts:?}, really {real}/s"),
                );
                // At 20/s whatever is in flight when the limit is met is many percent of a second's requests.
                let most = if real < 100.0 { 0.035 } else { 0.02 };
                let name = format!("{counts:?}, really {real}/s");
                missed.unless(seen.used(60, 240) >= 0.85, format!("{name}: {}", seen.used(60, 240)));
                missed.unless(seen.refused_from(30) <= most, format!("{name}: {}", seen.refused_from(30)));
            }
        }
    }
}
