//! How many requests may be in flight: sends and answers come in; a bound goes out. Pure.
//!
//! A number set by hand stays. Without one the bound finds itself: what the pace needs at the latency that is seen (Little's law:
//! in flight = rate × latency) and a reserve, as long as more in flight also brings more answers. Where it only makes the vendor
//! slower the bound goes back, and a little further as long as nothing is lost by it.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Bounds};

/// The bound before anything is known of the vendor's latency, and the least that it is lowered to where it is not reached.
const FIRST: usize = 32;
/// The bound is never lower,
const LEAST: usize = 4;
/// nor higher.
const MOST: usize = 1_000;
/// About the most bytes of bodies in flight.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// The reserve above what the pace needs on average, since latencies differ: a part, and a number.
const RESERVE: (f64, f64) = (1.5, 16.0);
/// The least and the largest factor of one raise.
const STEP: (f64, f64) = (1.25, 8.0);
/// If more requests in flight bring nothing, the bound goes down by this factor at a time.
const DOWN: f64 = 0.8;
/// A raise pays if it brings this share of what it would bring with a vendor that does not get slower.
const PAYS: f64 = 0.3;
/// A raise is judged after this many answers, or more if it brought only few more in flight, up to the second number, since few answers vary
/// by chance;
const TELLING: (f64, f64) = (20.0, 100.0);
/// or after this many seconds.
const TELLING_TIME: f64 = 4.0;
/// A lower bound is judged after this many answers.
const FEWER_TELL: u32 = 50;
/// The usual value moves by this part with each spell.
const USUAL: f64 = 0.2;
/// This part of the pace counts as all of it, and this part of a throughput as the same.
const ENOUGH: f64 = 0.95;
/// If this many times more is sent than answered, requests pile up.
const PILES_UP: f64 = 1.1;
/// A spell of answers takes this long, and has at least this many;
const SPELL: (Duration, u32) = (Duration::from_millis(200), 8);
/// after this time fewer are enough.
const LONG_SPELL: Duration = Duration::from_secs(2);
/// If a vendor answers nothing, it may have become slow: requests go on for this long.
const SILENCE: Duration = Duration::from_secs(3);
/// After a raise that brought nothing, the time until the next; it doubles up to the longest.
const RETRY: Bounds = Bounds::doubling(Duration::from_secs(3), Duration::from_secs(60), 0.0);

/// The bound of requests in flight.
#[derive(Debug)]
pub(super) struct Concurrency {
    fixed: Option<usize>,
    found: usize,
    in_flight: usize,
    spell: Spell,
    /// When the vendor last answered, or requests began to wait for it.
    heard: Instant,
    /// The gate is closed: what is answered now says nothing of how many may be in flight.
    closed: bool,
    trial: Option<Trial>,
    /// No raise is tried before then, since the last brought nothing.
    no_raise_before: Option<Instant>,
    retry: Backoff,
    /// Answers a second while the bound held requests back, about. None since it changed.
    usual: Option<f64>,
    /// Mean bytes of a request's body,
    mean_bytes: f64,
    /// and the step that they are in.
    large_bytes: usize,
}

/// Answers that are looked at together.
#[derive(Clone, Copy, Debug)]
struct Spell {
    from: Instant,
    /// Up to when `exposure` counts.
    until: Instant,
    answers: u32,
    sent: u32,
    /// Seconds that requests were in flight, all together.
    exposure: f64,
    most_in_flight: usize,
    /// Whether the bound held something back.
    bound: bool,
}

impl Spell {
    fn new(now: Instant) -> Self {
        Self { from: now, until: now, answers: 0, sent: 0, exposure: 0.0, most_in_flight: 0, bound: false }
    }
}

/// Another bound that is being tried, and what there was before it.
#[derive(Clone, Copy, Debug)]
struct Trial {
    before: usize,
    /// Answers a second with that. None where the latency changed meanwhile, so that nothing can be compared.
    throughput: Option<f64>,
    /// What is answered before then says nothing of it.
    from: Instant,
    /// Answers since,
    answers: u32,
    /// in so many seconds,
    seconds: f64,
    /// and the seconds that requests were in flight, all together.
    exposure: f64,
}

impl Trial {
    fn new(before: usize, throughput: Option<f64>, from: Instant) -> Self {
        Self { before, throughput, from, answers: 0, seconds: 0.0, exposure: 0.0 }
    }

    fn and(self, answers: u32, seconds: f64, in_flight: f64) -> Self {
        Self {
            answers: self.answers + answers,
            seconds: self.seconds + seconds,
            exposure: self.exposure + in_flight * seconds,
            ..self
        }
    }

    /// Answers a second since.
    fn throughput_since(&self) -> f64 {
        f64::from(self.answers) / self.seconds
    }

    /// How many more are in flight than before, as a part of those, up to 1.
    fn growth(&self) -> f64 {
        (self.exposure / self.seconds / float(self.before) - 1.0).clamp(0.0, 1.0)
    }

    /// Whether there were enough answers to tell.
    fn tells(&self) -> bool {
        let answers = (TELLING.0 / self.growth().powi(2)).min(TELLING.1);
        f64::from(self.answers) >= answers || self.seconds >= TELLING_TIME
    }
}

impl Concurrency {
    /// `fixed` where a person set it.
    pub fn new(fixed: Option<usize>, now: Instant) -> Self {
        Self {
            fixed: fixed.map(|fixed| fixed.max(1)),
            found: FIRST,
            in_flight: 0,
            spell: Spell::new(now),
            heard: now,
            closed: false,
            trial: None,
            no_raise_before: None,
            retry: Backoff::new(RETRY),
            usual: None,
            mean_bytes: 0.0,
            large_bytes: MOST_BYTES / MOST,
        }
    }

    /// Changes what a person set; what was found is kept.
    pub fn set(&mut self, fixed: Option<usize>) {
        self.fixed = fixed.map(|fixed| fixed.max(1));
    }

    /// Whether a person set it.
    pub fn is_fixed(&self) -> bool {
        self.fixed.is_some()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The bound now, for a gate that lets `pace` requests a second through.
    pub fn bound(&self, pace: Option<f64>, now: Instant) -> usize {
        self.fixed.unwrap_or_else(|| self.found.max(self.while_silent(pace, now)).min(self.most()))
    }

    /// What else may be needed where nothing can be known yet: a destination that just began, or became slow.
    pub fn soon(&self, pace: Option<f64>) -> usize {
        let slow = pace.map_or(0, |pace| whole(pace * 1.5 * RESERVE.0 + RESERVE.1));
        self.fixed.unwrap_or_else(|| self.found.next_power_of_two().max(slow).min(self.most()))
    }

    /// No request may be sent since the bound is reached. When to ask again, where that may change without an answer.
    pub fn reached(&mut self, pace: Option<f64>, now: Instant) -> Option<Instant> {
        self.spell.bound = true;
        let silent = now.saturating_duration_since(self.heard);
        let may_grow = self.fixed.is_none() && self.bound(pace, now) < self.most() && silent < SILENCE;
        pace.filter(|_| may_grow).map(|pace| now + Duration::from_secs_f64((1.0 / pace).clamp(0.005, 0.1)))
    }

    /// A request goes out.
    pub fn sent(&mut self, now: Instant) {
        if self.in_flight == 0 {
            self.heard = now;
        }
        self.expose(now);
        self.in_flight += 1;
        self.spell.sent += 1;
        self.spell.most_in_flight = self.spell.most_in_flight.max(self.in_flight);
    }

    /// Its body has so many bytes.
    pub fn note(&mut self, bytes: usize) {
        self.mean_bytes += (float(bytes) - self.mean_bytes) / 32.0;
        // In large steps: what is held follows the bound, and each change costs a new consumer.
        if self.mean_bytes > float(self.large_bytes) {
            self.large_bytes *= 2;
        } else if self.mean_bytes < float(self.large_bytes / 4) && self.large_bytes > MOST_BYTES / MOST {
            self.large_bytes /= 2;
        }
    }

    /// A request came to its end; `by_vendor` where that was an answer.
    pub fn finished(&mut self, by_vendor: bool, pace: Option<f64>, now: Instant) {
        self.expose(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.closed {
            return;
        }
        if by_vendor {
            self.after_silence(pace, now);
            self.heard = now;
            self.spell.answers += 1;
        }
        let long = now.saturating_duration_since(self.spell.from);
        let enough = long >= SPELL.0 && self.spell.answers >= SPELL.1;
        if enough || (long >= LONG_SPELL && self.spell.answers > 0) {
            self.judge(pace, long.as_secs_f64(), now);
        }
    }

    /// Whether the gate is closed now. When it opens it goes on with the bound of before, and compares nothing with then.
    pub fn gate_is_closed(&mut self, closed: bool, now: Instant) {
        if std::mem::replace(&mut self.closed, closed) && !closed {
            self.begin_spells(now);
        }
    }

    fn begin_spells(&mut self, now: Instant) {
        self.trial = None;
        (self.spell, self.heard) = (Spell::new(now), now);
    }

    /// The vendor is back after trouble: it begins anew.
    pub fn restart(&mut self, now: Instant) {
        self.found = FIRST;
        self.no_raise_before = None;
        self.retry.reset();
        self.begin_spells(now);
    }

    fn expose(&mut self, now: Instant) {
        self.spell.exposure += float(self.in_flight) * now.saturating_duration_since(self.spell.until).as_secs_f64();
        self.spell.until = now;
    }

    /// What the pace needs if the latency is as long as the vendor has said nothing.
    fn while_silent(&self, pace: Option<f64>, now: Instant) -> usize {
        let silent = now.saturating_duration_since(self.heard).min(SILENCE).as_secs_f64();
        pace.filter(|_| self.in_flight > 0).map_or(0, |pace| whole(pace * silent * STEP.0))
    }

    /// The first answer after a silence: what went out meanwhile was needed.
    fn after_silence(&mut self, pace: Option<f64>, now: Instant) {
        if self.fixed.is_none() && self.found < self.while_silent(pace, now) {
            let silent = now.saturating_duration_since(self.heard);
            self.trial = Some(Trial::new(self.found, None, now + silent));
            self.found = self.in_flight.saturating_add(self.in_flight / 2).clamp(self.found, self.most());
            self.spell = Spell::new(now);
        }
    }

    fn most(&self) -> usize {
        (MOST_BYTES / self.large_bytes).clamp(LEAST, MOST)
    }

    /// What a spell of answers says of the bound.
    fn judge(&mut self, pace: Option<f64>, seconds: f64, now: Instant) {
        let answers = self.spell.answers;
        let throughput = f64::from(answers) / seconds;
        let (in_flight, bound) = (self.spell.exposure / seconds, self.spell.bound);
        let peak = self.spell.most_in_flight;
        // More goes out than is answered: the vendor may be getting slower by it.
        let piles_up = f64::from(self.spell.sent) > f64::from(self.spell.answers) * PILES_UP;
        let latency = in_flight / throughput;
        self.spell = Spell::new(now);
        if self.fixed.is_some() {
            return;
        }
        if bound && self.trial.is_none() {
            self.usual = Some(self.usual.map_or(throughput, |usual| usual + (throughput - usual) * USUAL));
        }
        let is_tried = piles_up && self.trial.is_some();
        if !bound && !is_tried {
            self.trial = None;
            let needed = lowered(self.found).max(peak.saturating_mul(2)).max(FIRST);
            self.found = self.found.min(needed);
            return;
        }
        if pace.is_some_and(|pace| throughput >= pace * ENOUGH) {
            self.trial = None;
            self.found = whole(in_flight * RESERVE.0 + RESERVE.1).clamp(self.found, self.most().max(self.found));
            return;
        }
        let settled = now + Duration::from_secs_f64(latency.min(LONG_SPELL.as_secs_f64()));
        match self.trial {
            Some(trial) if trial.from > now => {}
            Some(trial) if trial.before < self.found => {
                let trial = trial.and(answers, seconds, in_flight);
                self.trial = Some(trial);
                if bound || trial.tells() {
                    self.judge_raise(trial, settled, now);
                }
            }
            Some(trial) => {
                let trial = trial.and(answers, seconds, in_flight);
                self.trial = Some(trial);
                if trial.answers >= FEWER_TELL || trial.seconds >= TELLING_TIME {
                    self.judge_lowering(trial, settled, now);
                }
            }
            None => {}
        }
        let rested = self.no_raise_before.is_none_or(|before| before <= now);
        if self.trial.is_none() && rested && bound {
            self.raise(pace, throughput, in_flight, settled);
        }
    }

    fn raise(&mut self, pace: Option<f64>, throughput: f64, in_flight: f64, settled: Instant) {
        let found = float(self.found);
        let needed = pace.map_or(found * 2.0, |pace| in_flight * (pace / throughput) * RESERVE.0 + RESERVE.1);
        let wanted = whole(needed.clamp(found * STEP.0 + 1.0, found * STEP.1)).min(self.most());
        let trial = Trial::new(self.found, self.usual.take().or(Some(throughput)), settled);
        if wanted > self.found {
            self.found = wanted;
        } else {
            // There is no more to be had: it may be too many.
            self.found = lowered(self.found);
        }
        self.trial = Some(trial);
    }

    fn judge_raise(&mut self, trial: Trial, settled: Instant, now: Instant) {
        let throughput = trial.throughput_since();
        let Some(before) = trial.throughput else {
            // Nothing can be compared: perhaps fewer do as well.
            self.trial = Some(Trial::new(self.found, Some(throughput), settled));
            self.found = lowered(self.found);
            return;
        };
        if throughput >= before * (1.0 + PAYS * trial.growth()) {
            self.trial = None;
            self.retry.reset();
            return;
        }
        self.no_raise_before = Some(now + self.retry.pause());
        self.found = lowered(trial.before);
        self.trial = Some(Trial::new(trial.before, trial.throughput, settled));
    }

    fn judge_lowering(&mut self, trial: Trial, settled: Instant, now: Instant) {
        let throughput = trial.throughput_since();
        if trial.throughput.is_none_or(|before| throughput >= before * ENOUGH) && self.found > LEAST {
            self.trial = Some(Trial::new(self.found, trial.throughput, settled));
            self.found = lowered(self.found);
        } else {
            self.found = trial.before;
            self.trial = None;
            self.no_raise_before = self.no_raise_before.max(Some(now + RETRY.first));
        }
    }
}

fn lowered(bound: usize) -> usize {
    whole(float(bound) * DOWN).max(LEAST)
}

fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A number as a whole one, rounded down and bounded.
pub(super) fn whole(number: f64) -> usize {
    let mut whole = 0_u32;
    for bit in (0..26).rev().map(|bit| 1_u32 << bit) {
        if f64::from(whole | bit) <= number {
            whole |= bit;
        }
    }
    usize::try_from(whole).unwrap_or(usize::MAX)
}
