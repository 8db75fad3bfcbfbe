//! The gate as its users see it. Time is made up: a `Bench` holds both clocks and moves them by hand.

mod answers;
mod headers;
mod operator;
mod pacing;
mod paused;
mod quotas;
mod schedules;
mod simulation;
mod words;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Answer, Doubt, Gate, GateState, Hints, Ledger, Limit, Pass, Permit, Policy, QuotaHint};

/// A gate and its two clocks.
struct Bench {
    gate: Gate,
    now: Instant,
    wall: Timestamp,
}

impl Bench {
    fn new(limits: &[&str]) -> Self {
        Self::with(limits, Policy::default(), &Ledger::default())
    }

    fn with(limits: &[&str], policy: Policy, ledger: &Ledger) -> Self {
        let now = crate::clock::now();
        let wall = at("2026-03-01T12:00:00Z");
        Self { gate: Gate::new(&parsed(limits), policy, ledger, now, wall), now, wall }
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.wall += by;
    }

    fn pass(&mut self) -> Pass {
        let pass = self.gate.pass(self.now, self.wall);
        if let Pass::Go(permit) = &pass {
            permit.written.mark(self.now);
        }
        pass
    }

    /// The next permit, waiting as told; panics if that takes over a week or only a person can help.
    fn permit(&mut self) -> Permit {
        let end = self.now + secs(7 * 86_400);
        loop {
            match self.pass() {
                Pass::Go(permit) => return permit,
                Pass::Wait(until) => {
                    assert!(until > self.now && until < end, "a wait must lie ahead, and end");
                    self.advance(until - self.now);
                }
                other @ (Pass::Full | Pass::Shut) => panic!("no permit: {other:?}"),
            }
        }
    }

    fn give_back(&mut self, permit: Permit, answer: Answer) {
        self.give_back_with(permit, answer, &Hints::default());
    }

    fn give_back_with(&mut self, permit: Permit, answer: Answer, hints: &Hints) {
        self.gate.finished(permit, answer, hints, self.now, self.wall);
    }

    /// Sends one request when it may and has it answered at once. Says whether it was a probe.
    fn send(&mut self, answer: Answer, hints: &Hints) -> bool {
        let permit = self.permit();
        let probe = permit.probe;
        self.give_back_with(permit, answer, hints);
        probe
    }

    fn answered(&mut self, times: usize, answer: Answer) {
        for _ in 0..times {
            self.send(answer, &Hints::default());
        }
    }

    fn state(&self) -> GateState {
        self.gate.status(self.now, self.wall).state
    }

    fn why(&self) -> String {
        self.gate.status(self.now, self.wall).why
    }

    /// How long until the gate may let something through.
    fn closed_for(&self) -> Duration {
        self.gate.opens_at(self.now).expect("not paused") - self.now
    }
}

fn parsed(limits: &[&str]) -> Vec<Limit> {
    limits.iter().map(|limit| limit.parse().unwrap()).collect()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn retry_after(seconds: u64) -> Hints {
    Hints { retry_after: Some(secs(seconds)), quota: None }
}

fn quota(remaining: u64, reset: u64) -> Hints {
    Hints { retry_after: None, quota: Some(QuotaHint { remaining: Some(remaining), reset: secs(reset), limit: None }) }
}
