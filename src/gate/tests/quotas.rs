//! Day budgets, and quotas that the vendor tells of.

use super::*;

#[test]
fn a_spent_day_budget_closes_the_gate_until_midnight_utc() {
    let mut bench = Bench::new(&["3/day"]);
    bench.answered(3, Answer::Success);
    assert_eq!(bench.state(), GateState::Throttled);
    assert!(bench.why().contains("day budget of 3"), "{}", bench.why());
    assert!(bench.gate.closed_for_long(bench.now));
    let Pass::Wait(until) = bench.pass() else { panic!("the budget is spent") };
    assert_eq!(until - bench.now, secs(12 * 3_600));
    bench.advance(secs(12 * 3_600));
    assert!(!bench.gate.closed_for_long(bench.now));
    assert_eq!(bench.state(), GateState::Open);
    bench.answered(3, Answer::Success);
    assert_eq!(bench.gate.ledger(bench.now, bench.wall).used, 3);
}

#[test]
fn the_day_count_survives_a_restart_and_a_change_of_limits() {
    let mut bench = Bench::new(&["10/day"]);
    bench.answered(6, Answer::Success);
    let ledger = bench.gate.ledger(bench.now, bench.wall);
    let text = serde_json::to_string(&ledger).unwrap();
    let ledger: Ledger = serde_json::from_str(&text).unwrap();
    let mut bench = Bench::with(&["10/day"], Policy::default(), &ledger);
    bench.answered(3, Answer::Success);
    bench.gate.set_limits(&parsed(&["5/day", "10/s"]), bench.now, bench.wall);
    assert_eq!(bench.state(), GateState::Throttled);
    let status = bench.gate.status(bench.now, bench.wall);
    assert_eq!((status.day_used, status.day_limit), (9, Some(5)));
    bench.gate.set_limits(&parsed(&["100/day"]), bench.now, bench.wall);
    assert_eq!(bench.state(), GateState::Open);
}

#[test]
fn a_ledger_of_a_day_that_is_over_counts_for_nothing_but_one_of_a_day_to_come_is_kept() {
    for (day, used) in [("2026-02-28", 0), ("2026-03-01", 7), ("2026-03-02", 7), ("2030-01-01", 7)] {
        let ledger = Ledger { day: day.parse().unwrap(), used: 7, ..Ledger::default() };
        let bench = Bench::with(&["10/day"], Policy::default(), &ledger);
        assert_eq!(bench.gate.ledger(bench.now, bench.wall).used, used, "{day}");
    }
}

#[test]
fn a_clock_that_was_ahead_holds_the_budget_up_no_longer_than_until_midnight() {
    for ahead in [secs(2 * 3_600), secs(86_400), secs(40 * 86_400)] {
        let mut bench = Bench::new(&["3/day"]);
        let right = bench.wall;
        bench.wall += ahead;
        let ledger = Ledger { day: "2026-03-01".parse().unwrap(), ..Ledger::default() };
        bench.gate = Gate::new(&parsed(&["3/day"]), Policy::default(), &ledger, bench.now, bench.wall);
        bench.answered(3, Answer::Success);
        bench.wall = right;
        assert_eq!(bench.state(), GateState::Throttled, "{ahead:?}: what was spent stays spent");
        let Pass::Wait(until) = bench.pass() else { panic!("{ahead:?}: the budget is spent") };
        assert_eq!(until - bench.now, secs(12 * 3_600), "{ahead:?}");
        bench.advance(secs(12 * 3_600));
        bench.answered(3, Answer::Success);
        assert_eq!(bench.state(), GateState::Throttled);
    }
}

#[test]
fn a_clock_that_is_set_back_a_little_at_midnight_gives_the_budget_once() {
    for back in [millis(1), secs(2), secs(3_000)] {
        let mut bench = Bench::new(&["3/day"]);
        bench.advance(secs(12 * 3_600 + 1));
        bench.answered(3, Answer::Success);
        bench.wall -= back;
        assert!(matches!(bench.pass(), Pass::Wait(_)), "{back:?}");
        bench.advance(back + secs(60));
        assert!(matches!(bench.pass(), Pass::Wait(_)), "{back:?}: midnight came twice");
        assert_eq!(bench.gate.ledger(bench.now, bench.wall).used, 3);
    }
}

#[test]
fn a_clock_that_goes_ahead_for_a_while_and_comes_back_gives_the_budget_of_its_day_once() {
    let mut bench = Bench::new(&["5/day"]);
    bench.answered(3, Answer::Success);
    let right = bench.wall;
    bench.wall += secs(3 * 86_400);
    bench.answered(1, Answer::Success);
    bench.wall = right + secs(60);
    bench.now += secs(60);
    bench.answered(1, Answer::Success);
    assert!(matches!(bench.pass(), Pass::Wait(_)), "3, 1 and 1 were sent on one day");
    assert_eq!(bench.gate.ledger(bench.now, bench.wall).used, 5);
}

#[test]
fn a_ledger_may_lack_fields_or_have_new_ones() {
    let ledger: Ledger = serde_json::from_str(r#"{"used": 3, "version": 9}"#).unwrap();
    assert_eq!(ledger, Ledger { used: 3, ..Ledger::default() });
}

#[test]
fn a_quota_that_is_used_up_stops_everything_until_it_resets() {
    let mut bench = Bench::new(&["200/s"]);
    bench.send(Answer::Success, &quota(0, 30));
    assert_eq!(bench.state(), GateState::Throttled);
    let Pass::Wait(until) = bench.pass() else { panic!("nothing is left") };
    assert_eq!(until - bench.now, secs(30));
    bench.advance(secs(30));
    let permit = bench.permit();
    assert!(!permit.probe, "nothing was refused, so no probe is needed");
    bench.give_back(permit, Answer::Success);
    assert_eq!(bench.state(), GateState::Open);
}

#[test]
fn what_remains_is_spread_until_a_reset_far_away() {
    let mut bench = Bench::new(&["200/s"]);
    bench.send(Answer::Success, &quota(9, 101));
    let status = bench.gate.status(bench.now, bench.wall);
    assert_eq!(status.state, GateState::Open);
    assert!(status.why.contains("remaining quota"), "{}", status.why);
    assert!((status.rate.unwrap() - 0.1).abs() < 1e-9);
    let start = bench.now;
    bench.answered(1, Answer::Success);
    assert_eq!(bench.now - start, secs(10));
    bench.send(Answer::Success, &quota(1_000_000, 80));
    assert_eq!(bench.gate.status(bench.now, bench.wall).rate, Some(200.0));
}

#[test]
fn where_no_limit_is_told_the_most_that_was_left_of_the_window_tells_what_is_little() {
    let slowed = |bench: &Bench| bench.why().contains("remaining quota");
    let mut bench = Bench::new(&["200/s"]);
    for left in (20..=99).rev() {
        bench.send(Answer::Success, &quota(left, 3_600));
        assert!(!slowed(&bench), "{left} is not little");
    }
    bench.send(Answer::Success, &quota(19, 3_600));
    assert!(slowed(&bench), "19 are few of any quota");

    let mut bench = Bench::new(&["200/s"]);
    bench.send(Answer::Success, &quota(4_999, 60));
    bench.send(Answer::Success, &quota(500, 60));
    assert!(!slowed(&bench), "a tenth is left");
    bench.send(Answer::Success, &quota(400, 60));
    assert!(slowed(&bench), "less than a tenth of what was seen is left");
    bench.advance(secs(61));
    bench.send(Answer::Success, &quota(400, 60));
    assert!(!slowed(&bench), "that was another window");
}

#[test]
fn a_refusal_that_asks_to_come_back_at_once_closes_for_a_moment_whatever_is_left() {
    let mut headers = http::HeaderMap::new();
    for (name, value) in [("retry-after", "0"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3600")] {
        headers.insert(name, value.parse().unwrap());
    }
    let mut bench = Bench::new(&["200/s"]);
    let hints = super::super::hints(&headers, bench.wall);
    bench.send(Answer::Throttled, &hints);
    assert!(bench.closed_for() < secs(1), "{:?}", bench.closed_for());
}

#[test]
fn a_small_remainder_that_resets_at_once_slows_nothing() {
    let mut bench = Bench::new(&["200/s"]);
    bench.send(Answer::Success, &quota(3, 1));
    let start = bench.now;
    for _ in 0..200 {
        bench.send(Answer::Success, &quota(3, 1));
    }
    assert!(bench.now - start < millis(1_020), "{:?}", bench.now - start);
}

/// A vendor with a sliding window that says what remains, and when, rounded up to whole seconds.
#[test]
fn honest_quota_headers_cost_a_legal_stream_nothing() {
    for (limit, count, window, least) in
        [("5/s", 5, secs(1), 291), ("200/s", 200, secs(1), 11_760), ("100/min", 100, secs(60), 98)]
    {
        let mut bench = Bench::new(&[limit]);
        let start = bench.now;
        let mut sent: Vec<Duration> = Vec::new();
        loop {
            let permit = bench.permit();
            bench.advance(millis(1));
            let now = bench.now - start;
            if now > secs(60) {
                break;
            }
            sent.push(now);
            let inside: Vec<_> = sent.iter().rev().take_while(|at| **at + window > now).collect();
            assert!(inside.len() <= count, "{limit}: refused");
            let oldest_leaves = **inside.last().unwrap() + window - now;
            let remaining = u64::try_from(count - inside.len()).unwrap();
            bench.give_back_with(permit, Answer::Success, &quota(remaining, oldest_leaves.as_secs() + 1));
        }
        assert!(sent.len() >= least, "{limit}: {} sent in a minute", sent.len());
    }
}

#[test]
fn without_a_pace_a_used_up_quota_always_holds() {
    let mut bench = Bench::new(&["1000/day"]);
    bench.send(Answer::Success, &quota(0, 1));
    assert_eq!((bench.state(), bench.closed_for()), (GateState::Throttled, secs(1)));
    bench.advance(secs(1));
    bench.send(Answer::Success, &quota(3, 1));
    assert_eq!(bench.why(), "open");
}
