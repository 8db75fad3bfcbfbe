//! Any order of answers, waits and operators: permits balance, closed means closed, and it always goes on.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Ask,
    Advance(Duration),
    /// Gives one of the permits that are out back.
    Finish(usize, Answer, Hints),
    Pause,
    Resume,
    Limits(Vec<Limit>),
    Concurrency(usize),
    /// Another worker takes over, with nothing but the ledger.
    Failover,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Success),
        2 => Just(Answer::Throttled),
        3 => Just(Answer::Trouble),
        1 => Just(Answer::Unauthorized),
        3 => Just(Answer::Rejected),
        1 => Just(Answer::Neutral),
    ]
}

fn hinted() -> impl Strategy<Value = Hints> {
    let quota = (proptest::option::of(0_u64..5), 0_u64..100).prop_map(|(remaining, reset)| QuotaHint {
        remaining,
        reset: secs(reset),
        limit: None,
    });
    let retry_after = proptest::option::weighted(0.3, (0_u64..100).prop_map(secs));
    (retry_after, proptest::option::weighted(0.2, quota)).prop_map(|(retry_after, quota)| Hints { retry_after, quota })
}

fn act() -> impl Strategy<Value = Act> {
    let limits = prop_oneof![
        Just(parsed(&["200/s"])),
        Just(parsed(&["5/s", "100/min", "50/day"])),
        Just(parsed(&["20/day"])),
        Just(parsed(&[])),
    ];
    prop_oneof![
        20 => Just(Act::Ask),
        10 => (0_u64..20_000).prop_map(|ms| Act::Advance(millis(ms))),
        20 => (any::<usize>(), answer(), hinted()).prop_map(|(index, answer, hints)| Act::Finish(index, answer, hints)),
        1 => Just(Act::Pause),
        2 => Just(Act::Resume),
        1 => limits.prop_map(Act::Limits),
        1 => (0_usize..6).prop_map(Act::Concurrency),
        1 => Just(Act::Failover),
    ]
}

/// The gate, and what an onlooker knows of it.
struct Onlooker {
    bench: Bench,
    out: Vec<Permit>,
    concurrency: usize,
    day: (jiff::civil::Date, u64),
    day_limit: Option<u64>,
}

impl Onlooker {
    fn ask(&mut self) {
        let before = self.bench.gate.status(self.bench.now, self.bench.wall);
        match self.bench.pass() {
            Pass::Go(permit) => {
                assert!(before.until.is_none(), "a place while closed: {before:?}");
                assert_ne!(before.state, GateState::Paused);
                assert_eq!(permit.probe, before.state != GateState::Open, "{before:?}");
                assert!(!(permit.probe && self.out.iter().any(|other| other.probe)), "two probes at once");
                self.out.push(permit);
                assert!(self.out.len() <= self.concurrency, "more permits than allowed");
                let today = self.bench.wall.to_zoned(jiff::tz::TimeZone::UTC).date();
                self.day = if self.day.0 == today { (today, self.day.1 + 1) } else { (today, 1) };
                assert!(self.day_limit.is_none_or(|limit| self.day.1 <= limit), "over the day budget");
            }
            Pass::Wait(until) => assert!(until > self.bench.now),
            Pass::Full => assert!(!self.out.is_empty(), "full with nothing out would never end"),
            Pass::Shut => assert_eq!(before.state, GateState::Paused),
        }
    }

    fn act(&mut self, act: Act) {
        let bench = &mut self.bench;
        match act {
            Act::Ask => self.ask(),
            Act::Advance(by) => bench.advance(by),
            Act::Finish(index, answer, hints) => {
                if !self.out.is_empty() {
                    let permit = self.out.swap_remove(index % self.out.len());
                    bench.give_back_with(permit, answer, &hints);
                }
            }
            Act::Pause => bench.gate.pause(super::super::Paused::default()),
            Act::Resume => bench.gate.resume(bench.now),
            Act::Limits(limits) => {
                bench.gate.set_limits(&limits, bench.now, bench.wall);
                self.day_limit = super::super::quota::day_limit(&limits);
            }
            Act::Concurrency(concurrency) => {
                bench.gate.set_concurrency(Some(concurrency));
                self.concurrency = concurrency.max(1);
            }
            Act::Failover => {
                let ledger = bench.gate.ledger(bench.now, bench.wall);
                let limits = bench.gate.limits.clone();
                let policy = Policy { concurrency: Some(self.concurrency), ..Policy::default() };
                bench.gate = Gate::new(&limits, policy, &ledger, bench.now, bench.wall);
                self.out.clear();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_permits_balance_and_it_goes_on(acts in proptest::collection::vec(act(), 1..400)) {
        let concurrency = 32;
        let day = (jiff::civil::Date::default(), 0);
        let mut bench = Bench::new(&["200/s"]);
        bench.gate.set_concurrency(Some(concurrency));
        let mut onlooker = Onlooker { bench, out: Vec::new(), concurrency, day, day_limit: None };
        for act in acts {
            onlooker.act(act);
            let status = onlooker.bench.gate.status(onlooker.bench.now, onlooker.bench.wall);
            prop_assert_eq!(status.in_flight, onlooker.out.len());
            prop_assert!((0.05..=1.0).contains(&status.learned));
        }
        let mut bench = onlooker.bench;
        bench.gate.pause(super::super::Paused::default());
        bench.gate.resume(bench.now);
        for permit in onlooker.out {
            bench.give_back(permit, Answer::Neutral);
        }
        let probe = bench.permit();
        bench.give_back(probe, Answer::Success);
        prop_assert_eq!(bench.state() == GateState::Open, bench.closed_for().is_zero());
        bench.answered(3, Answer::Success);
    }
}
