//! No window ever holds more than its limit, and a backlog uses nearly all of it.

use std::collections::VecDeque;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::super::{JITTER, Window};
use super::*;

/// Asks as fast as it is allowed for `span`, waking `late` after each wait, then to the next whole `tick`; answers take `rtt`.
fn greedy(limits: &[&str], span: Duration, late: Duration, tick: Option<Duration>, rtt: Duration) -> Vec<Sent> {
    let mut bench =
        Bench::with(limits, Policy { concurrency: Some(usize::MAX), ..Policy::default() }, &Ledger::default());
    let start = bench.now;
    let (mut sent, mut answers) = (Vec::new(), VecDeque::new());
    loop {
        while answers.front().is_some_and(|(due, _)| *due <= bench.now) {
            let (due, permit) = answers.pop_front().unwrap();
            bench.gate.finished(permit, Answer::Success, &Hints::default(), due, bench.wall);
        }
        let wake = match bench.pass() {
            Pass::Go(permit) => {
                answers.push_back((bench.now + rtt, permit));
                let at = bench.now - start;
                sent.push(Sent { at, counted: at + rtt.min(JITTER) });
                continue;
            }
            // An answer is a reason to ask again, since it tells when a place is free.
            Pass::Wait(until) => answers.front().map_or(until + late, |(due, _)| (until + late).min(*due)),
            other @ (Pass::Full | Pass::Shut) => panic!("{other:?}"),
        };
        let wake = tick.map_or(wake, |tick| {
            let ticks = (wake - start).as_nanos().div_ceil(tick.as_nanos());
            start + tick * u32::try_from(ticks).unwrap()
        });
        if wake >= start + span {
            return sent;
        }
        let by = wake - bench.now;
        bench.advance(by);
    }
}

/// A send, and the latest that the vendor may have counted it: before its answer, and at most [`JITTER`] late.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Duration,
    counted: Duration,
}

#[test]
fn a_backlog_uses_nearly_all_of_the_quota_though_timers_wake_late() {
    for (limits, lateness, tick, quota, least) in [
        (&["200/s"][..], millis(1), None, 12_000.0, 0.985),
        (&["200/s"], Duration::ZERO, Some(millis(1)), 12_000.0, 0.985),
        (&["200/s"], millis(2), Some(millis(1)), 12_000.0, 0.985),
        (&["5/s"], millis(1), None, 300.0, 0.985),
        (&["5/s"], millis(1), Some(millis(1)), 300.0, 0.985),
        (&["4000/s"], Duration::ZERO, Some(millis(1)), 240_000.0, 0.98),
        (&["4000/s"], Duration::from_micros(300), Some(millis(1)), 240_000.0, 0.98),
        (&["20000/s"], Duration::ZERO, Some(millis(1)), 1_200_000.0, 0.98),
        (&["1/s"], millis(1), None, 60.0, 0.98),
        (&["100/min"], millis(1), None, 100.0, 0.99),
        (&["200/s", "6000/min"], millis(1), None, 6_000.0, 0.985),
        (&["6000/min", "200/s", "1000000/day"], millis(1), None, 6_000.0, 0.985),
    ] {
        let sent = greedy(limits, secs(60), lateness, tick, millis(1));
        keeps_to(&parsed(limits), &sent);
        let used = f64::from(u32::try_from(sent.len()).unwrap()) / quota;
        assert!(used >= least && used <= 1.0, "{limits:?}, {lateness:?} late: {used:.4} of the quota");
    }
}

#[test]
fn a_slow_vendor_costs_the_jitter_and_stalls_cost_nothing() {
    for (rtt, stall, least) in [
        (millis(300), millis(1), 0.983),
        (millis(300), millis(14), 0.97),
        (millis(2), millis(14), 0.98),
        (millis(2), millis(4), 0.99),
        (millis(2), millis(1), 0.996),
    ] {
        let sent = greedy(&["200/s"], secs(60), stall, None, rtt);
        keeps_to(&parsed(&["200/s"]), &sent);
        let used = f64::from(u32::try_from(sent.len()).unwrap()) / 12_000.0;
        assert!(used >= least, "answers after {rtt:?}, {stall:?} late: {used:.4} of the quota");
    }
}

#[test]
fn a_fresh_gate_starts_drained() {
    for limit in ["200/s", "5/s", "100/min", "7/h"] {
        let mut bench = Bench::new(&[limit]);
        let start = bench.now;
        let permit = bench.permit();
        let limit: Limit = limit.parse().unwrap();
        assert!((bench.now - start) * limit.count >= limit.window.length(), "{limit}");
        bench.give_back(permit, Answer::Success);
    }
}

#[test]
fn a_caller_that_does_as_told_is_never_told_to_wait_twice_in_a_row() {
    let mut bench = Bench::new(&["200/s", "5000/min"]);
    for _ in 0..1_000 {
        let Pass::Wait(until) = bench.pass() else { panic!("paced, so a wait comes after each place") };
        bench.advance(until - bench.now);
        let Pass::Go(permit) = bench.pass() else { panic!("the gate named this moment") };
        bench.give_back(permit, Answer::Success);
    }
}

#[test]
fn without_limits_only_concurrency_holds_back() {
    let mut bench = Bench::with(&[], Policy { concurrency: Some(3), ..Policy::default() }, &Ledger::default());
    let permits: Vec<_> = (0..3).map(|_| bench.permit()).collect();
    assert!(matches!(bench.pass(), Pass::Full));
    for permit in permits {
        bench.give_back(permit, Answer::Success);
    }
    assert!(matches!(bench.pass(), Pass::Go(_)));
}

/// What may happen between two calls.
#[derive(Clone, Debug)]
enum Step {
    Ask { lateness: Duration, rtt: Duration },
    Idle(Duration),
    Swap,
    Pause,
    Refusal,
}

fn step() -> impl Strategy<Value = Step> {
    let lateness = prop_oneof![
        4 => Just(Duration::ZERO),
        4 => (0_u64..5_000).prop_map(Duration::from_micros),
        1 => (0_u64..3_000).prop_map(Duration::from_millis),
    ];
    let rtt =
        prop_oneof![(0_u64..30_000).prop_map(Duration::from_micros), (0_u64..2_000).prop_map(Duration::from_millis)];
    prop_oneof![
        60 => (lateness, rtt).prop_map(|(lateness, rtt)| Step::Ask { lateness, rtt }),
        2 => (0_u64..5_000).prop_map(|ms| Step::Idle(Duration::from_millis(ms))),
        1 => Just(Step::Swap),
        1 => Just(Step::Pause),
        1 => Just(Step::Refusal),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let window = prop_oneof![3 => Just(Window::Second), 1 => Just(Window::Minute), 1 => Just(Window::Hour)];
    let count = prop_oneof![1_u32..10, 1_u32..400, Just(4_000_u32)];
    (count, window).prop_map(|(count, window)| Limit { count, window })
}

/// Sends until the steps are used up: all sends since the gate began. One that takes `large_from` or longer is a large one, and is
/// counted just before its answer.
fn sends(limits: &[Limit], steps: &[Step], large_from: Duration) -> Vec<Sent> {
    let mut bench = Bench::new(&[]);
    bench.gate.set_concurrency(Some(usize::MAX));
    bench.gate.set_limits(limits, bench.now, bench.wall);
    let start = bench.now;
    let mut sent: Vec<Sent> = Vec::new();
    let mut answers: Vec<(Duration, Permit, usize, Answer)> = Vec::new();
    for step in steps {
        let now = bench.now - start;
        while let Some(index) = answers.iter().position(|(due, ..)| *due <= now) {
            let (_, permit, send, answer) = answers.swap_remove(index);
            sent[send].counted = now.min(sent[send].counted);
            bench.give_back(permit, answer);
        }
        let (lateness, rtt, answer) = match step {
            Step::Ask { lateness, rtt } => (*lateness, *rtt, Answer::Success),
            Step::Refusal => (Duration::ZERO, Duration::ZERO, Answer::Throttled),
            Step::Idle(by) => {
                bench.advance(*by);
                continue;
            }
            Step::Swap => {
                bench.gate.set_limits(&[], bench.now, bench.wall);
                bench.gate.set_limits(limits, bench.now, bench.wall);
                continue;
            }
            Step::Pause => {
                bench.gate.pause(super::super::Paused::default());
                bench.gate.resume(bench.now);
                continue;
            }
        };
        match bench.pass() {
            Pass::Go(permit) => {
                let large = rtt >= large_from;
                if large {
                    bench.gate.carries(&permit, 1_000_000);
                }
                answers.push((now + rtt, permit, sent.len(), answer));
                sent.push(Sent { at: now, counted: now + if large { rtt } else { JITTER } });
            }
            Pass::Wait(until) => {
                let by = until + lateness - bench.now;
                bench.advance(by);
            }
            // The probe is out.
            Pass::Full => bench.advance(millis(1)),
            Pass::Shut => panic!("nobody paused it"),
        }
    }
    sent
}

/// Counted anywhere between when it was sent and its answer, at most [`JITTER`] later, no window holds more than its limit.
/// The worst case: all that may be counted in the window which ends with a send are counted in it.
fn keeps_to(limits: &[Limit], sent: &[Sent]) {
    for limit in limits.iter().filter(|limit| limit.window != Window::Day) {
        let count = usize::try_from(limit.count).unwrap();
        let mut counted = BinaryHeap::new();
        for send in sent {
            while counted.peek().is_some_and(|Reverse(first)| *first + limit.window.length() <= send.at) {
                counted.pop();
            }
            counted.push(Reverse(send.counted));
            assert!(counted.len() <= count, "{limit}: one too many at {:?}", send.at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// For any limits, any lateness, and pauses, swaps and refusals in between: count each send anywhere between
    /// when it was sent and `JITTER` later, and no half-open window holds more than its limit.
    #[test]
    fn no_window_ever_holds_more_than_its_limit(
        limits in proptest::collection::vec(limit(), 1..4),
        steps in proptest::collection::vec(step(), 100..1_500),
    ) {
        let sent = sends(&limits, &steps, Duration::MAX);
        keeps_to(&limits, &sent);
    }

    /// The same where large requests are counted as late as when they are answered.
    #[test]
    fn no_second_holds_more_than_its_limit_though_large_requests_are_counted_late(
        count in 1_u32..50,
        steps in proptest::collection::vec(step(), 100..1_500),
    ) {
        let limits = [Limit { count, window: Window::Second }];
        let sent = sends(&limits, &steps, millis(20));
        keeps_to(&limits, &sent);
    }

    #[test]
    fn a_limit_reads_as_it_is_written(limit in limit()) {
        prop_assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
    }

    #[test]
    fn no_text_makes_reading_a_limit_panic(text in ".*") {
        if let Ok(limit) = text.parse::<Limit>() {
            prop_assert!(limit.count > 0);
        }
    }
}

#[test]
fn a_call_that_hangs_takes_one_place_and_not_all() {
    let policy = Policy { carry_much: true, ..Policy::default() };
    let mut bench = Bench::with(&["5/s"], policy, &Ledger::default());
    bench.advance(secs(2));
    let _hanging = bench.permit();
    let mut sent = 0;
    for _ in 0..2_000 {
        if let Pass::Go(permit) = bench.pass() {
            sent += 1;
            bench.give_back(permit, Answer::Success);
        }
        bench.advance(millis(5));
    }
    assert!((38..=41).contains(&sent), "{sent} in 10 s with one of five places taken");
}

#[test]
fn limits_are_read_and_a_wrong_one_says_what_to_write() {
    for (text, count, window) in [
        ("200/s", 200, Window::Second),
        ("100/min", 100, Window::Minute),
        ("18000/h", 18_000, Window::Hour),
        (" 1000000 / day ", 1_000_000, Window::Day),
    ] {
        assert_eq!(text.parse(), Ok(Limit { count, window }));
    }
    for text in ["", "200", "200/", "/s", "200/sec", "200/S", "200 s", "200/s/s"] {
        let error = text.parse::<Limit>().unwrap_err().to_string();
        assert!(error.contains("200/s") || error.contains("count"), "{text}: {error}");
    }
    for text in ["0/s", "-1/s", "1.5/s", "4294967296/day", "many/h"] {
        let error = text.parse::<Limit>().unwrap_err().to_string();
        assert!(error.contains("must be a whole number from 1") && error.contains(text), "{error}");
    }
}

#[test]
fn a_large_request_that_takes_long_keeps_its_own_place_and_no_other() {
    let mut bench = Bench::new(&["10/s"]);
    bench.advance(secs(2));
    let large = bench.permit();
    bench.gate.carries(&large, 20_000);
    let start = bench.now;
    let mut sent = 0;
    while bench.now < start + secs(8) {
        match bench.pass() {
            Pass::Go(permit) => {
                sent += 1;
                bench.give_back(permit, Answer::Success);
            }
            Pass::Wait(until) => bench.advance(until - bench.now),
            other @ (Pass::Full | Pass::Shut) => panic!("held up: {other:?}"),
        }
    }
    assert!((70..=73).contains(&sent), "{sent} in 8 s with one of ten places taken");
}

/// A busy machine writes some requests long after their places came.
#[test]
fn a_request_counts_from_when_it_was_written() {
    let (mut bench, mut random) = (Bench::new(&["200/s"]), fastrand::Rng::with_seed(3));
    let start = bench.now;
    let mut sent = Vec::new();
    while sent.len() < 4_000 {
        match bench.gate.pass(bench.now, bench.wall) {
            Pass::Go(permit) => {
                let late = if random.u8(..) < 20 { millis(random.u64(..200)) } else { Duration::ZERO };
                permit.written.mark(bench.now + late);
                let at = bench.now - start;
                sent.push(Sent { at: at + late, counted: at + late + JITTER });
                // Its answer takes longer than all of this.
            }
            Pass::Wait(until) => bench.advance(until - bench.now),
            Pass::Full => bench.gate.set_concurrency(Some(usize::MAX)),
            Pass::Shut => panic!("nobody paused it"),
        }
    }
    sent.sort_by_key(|sent| sent.at);
    keeps_to(&parsed(&["200/s"]), &sent);
    assert!(bench.now - start < secs(24), "{:?}", bench.now - start);
}
