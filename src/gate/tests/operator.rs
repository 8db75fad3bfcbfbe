//! Pause, resume, concurrency, and what a new worker takes over.

use super::*;

#[test]
fn a_pause_shuts_the_gate_and_resume_goes_on_drained() {
    let mut bench = Bench::new(&["5/s"]);
    bench.answered(2, Answer::Success);
    bench.gate.pause(super::super::Paused::default());
    assert!(matches!(bench.pass(), Pass::Shut));
    assert_eq!(bench.state(), GateState::Paused);
    assert!(bench.gate.closed_for_long(bench.now));
    assert_eq!(bench.gate.opens_at(bench.now), None);
    bench.advance(secs(100));
    bench.gate.resume(bench.now);
    assert_eq!(bench.state(), GateState::Open);
    let Pass::Wait(until) = bench.pass() else { panic!("drained") };
    assert!(until - bench.now >= millis(200));
}

#[test]
fn resume_returns_to_what_was_beneath_the_pause() {
    let mut bench = Bench::new(&["5/s"]);
    bench.answered(4, Answer::Unauthorized);
    bench.gate.pause(super::super::Paused::default());
    bench.gate.resume(bench.now);
    assert_eq!(bench.state(), GateState::Parked);
    assert_eq!(bench.closed_for(), secs(15));
}

#[test]
fn a_resume_ends_whatever_the_vendor_asked_for_and_one_probe_goes_out() {
    for (answer, hints) in [
        (Answer::Throttled, retry_after(3_600)),
        (Answer::Trouble, retry_after(3_600)),
        (Answer::Success, quota(0, 3_600)),
        (Answer::Throttled, quota(0, 3_600)),
    ] {
        let mut bench = Bench::new(&["100/s"]);
        bench.send(answer, &hints);
        assert!(bench.closed_for() >= secs(3_599), "{hints:?}");
        bench.gate.resume(bench.now);
        assert_eq!(bench.closed_for(), Duration::ZERO, "{hints:?}");
        let probe = bench.permit();
        assert!(probe.probe, "{hints:?}");
        bench.advance(secs(1));
        assert!(matches!(bench.pass(), Pass::Full), "one probe: {hints:?}");
        bench.give_back(probe, Answer::Success);
        assert_eq!(bench.state(), GateState::Open);
    }
}

#[test]
fn a_resume_ends_the_slow_pace_that_headers_asked_for_and_not_the_days_budget() {
    let mut bench = Bench::new(&["100/s", "3/day"]);
    bench.send(Answer::Success, &quota(1, 3_600));
    bench.gate.resume(bench.now);
    bench.answered(2, Answer::Success);
    assert_eq!(bench.state(), GateState::Throttled);
    bench.gate.resume(bench.now);
    assert!(bench.closed_for() > secs(3_600), "the budget is Sluice's own");
}

#[test]
fn never_more_permits_are_out_than_allowed_and_those_of_before_a_closing_count() {
    let mut bench = Bench::with(&["1000/s"], Policy { concurrency: Some(4), ..Policy::default() }, &Ledger::default());
    let mut permits: Vec<_> = (0..4).map(|_| bench.permit()).collect();
    bench.advance(secs(1));
    assert!(matches!(bench.pass(), Pass::Full));
    bench.give_back_with(permits.pop().unwrap(), Answer::Throttled, &retry_after(2));
    bench.gate.set_concurrency(Some(3));
    bench.advance(secs(2));
    assert!(matches!(bench.pass(), Pass::Full), "three hang, so the probe has to wait");
    bench.give_back(permits.pop().unwrap(), Answer::Neutral);
    assert!(bench.permit().probe);
    assert_eq!(bench.gate.status(bench.now, bench.wall).in_flight, 3);
}

#[test]
fn a_new_worker_keeps_to_what_the_vendor_asked_and_reopens_with_a_probe() {
    let mut bench = Bench::new(&["200/s"]);
    bench.send(Answer::Throttled, &retry_after(120));
    bench.gate.pause(super::super::Paused::default());
    let ledger = bench.gate.ledger(bench.now, bench.wall);
    assert!(ledger.paused);
    let mut next = Bench::with(&["200/s"], Policy::default(), &ledger);
    assert!(matches!(next.pass(), Pass::Shut));
    next.gate.resume(next.now);
    assert_eq!(next.state(), GateState::Throttled);
    let left = ledger.closed_until.unwrap().duration_since(next.wall);
    assert_eq!(next.closed_for(), Duration::try_from(left).unwrap());
    assert!(next.permit().probe);
}

#[test]
fn a_spoilt_ledger_does_no_harm() {
    for learned in [f64::NAN, -1.0, 0.0, 99.0, f64::INFINITY] {
        let ledger = Ledger { learned, closed_until: Some(Timestamp::MAX), ..Ledger::default() };
        let mut bench = Bench::with(&["200/s"], Policy::default(), &ledger);
        assert!((0.05..=1.0).contains(&bench.gate.status(bench.now, bench.wall).learned));
        assert_eq!(bench.closed_for(), secs(86_400));
        bench.permit().probe.then_some(()).unwrap();
    }
}

#[test]
fn setting_the_same_limits_changes_nothing() {
    let mut bench = Bench::new(&["1/h"]);
    bench.advance(secs(3_601));
    bench.gate.set_limits(&parsed(&["1/h"]), bench.now, bench.wall);
    assert!(matches!(bench.pass(), Pass::Go(_)));
}

#[test]
fn what_holds_a_slow_pace_is_told_until_its_next_place() {
    let mut bench = Bench::new(&["5/min"]);
    let permit = bench.permit();
    bench.give_back(permit, Answer::Success);
    let Pass::Wait(until) = bench.pass() else { panic!() };
    assert!(until > bench.now + secs(9));
    bench.advance(secs(9));
    assert_eq!(bench.gate.status(bench.now, bench.wall).held, crate::gate::HeldBy::Quota);
}
