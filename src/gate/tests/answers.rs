//! What each answer does to the gate.

use super::super::CATCH_UP;
use super::*;

/// A gate whose quota never matters, with permits in flight when wanted.
fn bench() -> Bench {
    Bench::new(&["1000/s"])
}

#[test]
fn a_429_waits_for_retry_after_and_reopens_with_one_probe() {
    let mut bench = bench();
    let closed_at = bench.now;
    bench.send(Answer::Throttled, &retry_after(7));
    assert_eq!(bench.state(), GateState::Throttled);
    assert!(bench.why().contains("asked to wait 7 s"), "{}", bench.why());
    let probe = bench.permit();
    assert!(probe.probe && bench.now - closed_at >= secs(7));
    bench.advance(secs(1));
    assert!(matches!(bench.pass(), Pass::Full), "one probe at a time");
    bench.give_back(probe, Answer::Success);
    assert_eq!(bench.state(), GateState::Open);
    assert!(!bench.permit().probe);
}

#[test]
fn a_429_waits_as_the_vendor_says_best() {
    let bare_reset = QuotaHint { remaining: None, reset: secs(40), limit: None };
    for (hints, least, most) in [
        (retry_after(7), secs(7), secs(7)),
        (Hints { quota: quota(0, 90).quota, ..retry_after(7) }, secs(7), secs(7)),
        (quota(0, 90), secs(90), secs(90)),
        (Hints { retry_after: None, quota: Some(bare_reset) }, secs(40), secs(40)),
        (quota(900_000, 40_000), millis(150), millis(250)),
        (Hints::default(), millis(150), millis(250)),
        (retry_after(0), millis(150), millis(250)),
        (retry_after(999_999), secs(86_400), secs(86_400)),
    ] {
        let mut bench = bench();
        bench.send(Answer::Throttled, &hints);
        let closed_for = bench.closed_for();
        assert!((least..=most).contains(&closed_for), "{hints:?}: {closed_for:?}");
    }
}

#[test]
fn a_very_short_wait_of_the_vendors_makes_no_flood() {
    let short = millis(1);
    let reset = QuotaHint { remaining: Some(0), reset: short, limit: None };
    for (answer, hints) in [
        (Answer::Throttled, Hints { retry_after: Some(short), quota: None }),
        (Answer::Trouble, Hints { retry_after: Some(short), quota: None }),
        (Answer::Throttled, Hints { retry_after: None, quota: Some(reset) }),
    ] {
        let mut bench = bench();
        let start = bench.now;
        let mut sent = 0;
        while bench.now - start < secs(40) {
            bench.send(answer, &hints);
            sent += 1;
        }
        assert!(sent <= 12, "{answer:?} {hints:?}: {sent} in 40 s");
    }
}

#[test]
fn each_refused_probe_waits_longer_up_to_a_minute() {
    let mut bench = bench();
    bench.send(Answer::Throttled, &Hints::default());
    let mut before = bench.closed_for();
    for _ in 0..7 {
        assert!(bench.send(Answer::Throttled, &Hints::default()));
        assert!(bench.closed_for() > before, "{:?} after {before:?}", bench.closed_for());
        before = bench.closed_for();
    }
    bench.answered(10, Answer::Throttled);
    assert!((secs(45)..=secs(60)).contains(&bench.closed_for()), "{:?}", bench.closed_for());
}

#[test]
fn the_pause_is_short_again_after_a_calm_minute_and_not_before() {
    for (calm, longest) in [(secs(61), millis(250)), (secs(59), millis(2_000))] {
        let mut bench = bench();
        bench.answered(3, Answer::Throttled);
        bench.answered(1, Answer::Success);
        bench.advance(calm);
        bench.answered(1, Answer::Throttled);
        assert_eq!(
            bench.closed_for() <= millis(250),
            longest == millis(250),
            "after {calm:?}: {:?}",
            bench.closed_for()
        );
        assert!(bench.closed_for() <= longest);
    }
}

#[test]
fn refusals_of_what_was_in_flight_only_extend_the_wait() {
    let mut bench = bench();
    let mut flying: Vec<_> = (0..8).map(|_| bench.permit()).collect();
    bench.give_back(flying.pop().unwrap(), Answer::Throttled);
    let closed_for = bench.closed_for();
    bench.give_back(flying.pop().unwrap(), Answer::Throttled);
    assert_eq!(bench.closed_for(), closed_for);
    bench.give_back_with(flying.pop().unwrap(), Answer::Throttled, &retry_after(3));
    bench.give_back_with(flying.pop().unwrap(), Answer::Throttled, &retry_after(1));
    assert_eq!(bench.closed_for(), secs(3));
    bench.give_back(flying.pop().unwrap(), Answer::Success);
    assert_eq!(bench.state(), GateState::Throttled, "only the probe reopens");
    bench.send(Answer::Success, &Hints::default());
    bench.give_back(flying.pop().unwrap(), Answer::Throttled);
    assert_eq!(bench.state(), GateState::Open, "it says nothing new");
    bench.give_back_with(flying.pop().unwrap(), Answer::Throttled, &retry_after(4));
    assert_eq!((bench.state(), bench.closed_for()), (GateState::Throttled, secs(4)));
    bench.send(Answer::Success, &Hints::default());
    assert_eq!(bench.gate.status(bench.now, bench.wall).learned, 1.0, "one closing, however many refusals");
}

/// What was learned of the account's limit, as a share of the quota.
fn learned(bench: &Bench) -> f64 {
    bench.gate.status(bench.now, bench.wall).learned
}

#[test]
fn a_refusal_costs_a_little_and_calm_brings_it_back() {
    let mut bench = Bench::new(&["100/s"]);
    bench.answered(400, Answer::Success);
    bench.answered(3, Answer::Throttled);
    assert_eq!(learned(&bench), 1.0, "a refused probe is the same closing, which is not over");
    bench.answered(1, Answer::Success);
    assert!((learned(&bench) - 0.97).abs() < 1e-9);
    assert_eq!(bench.gate.status(bench.now, bench.wall).rate, Some(97.0));
    let start = bench.now;
    bench.answered(97, Answer::Success);
    assert!(bench.now - start + CATCH_UP >= secs(1), "{:?}", bench.now - start);
    bench.answered(1_000, Answer::Success);
    assert_eq!((learned(&bench), bench.state()), (1.0, GateState::Open));
}

#[test]
fn what_was_refused_while_the_vendor_was_in_trouble_says_nothing_of_a_later_opening() {
    let mut bench = Bench::new(&["200/s"]);
    bench.answered(5, Answer::Trouble);
    assert_eq!(bench.state(), GateState::Broken);
    bench.send(Answer::Throttled, &retry_after(1));
    bench.answered(1, Answer::Success);
    assert_eq!((learned(&bench), bench.state()), (1.0, GateState::Open));
    bench.answered(12_000, Answer::Success);
    // The vendor refuses 40 of the 200 that are in flight.
    let permits: Vec<Permit> = (0..200).map(|_| bench.permit()).collect();
    for (position, permit) in permits.into_iter().enumerate() {
        let answer = if position >= 160 { Answer::Throttled } else { Answer::Success };
        bench.give_back_with(permit, answer, &retry_after(1));
    }
    bench.answered(1, Answer::Success);
    assert!((0.7..0.9).contains(&learned(&bench)), "{}", learned(&bench));
}

#[test]
fn a_limit_that_is_met_after_as_many_requests_again_and_again_is_learned() {
    let mut bench = Bench::new(&["100/s"]);
    bench.answered(400, Answer::Success);
    for openings in 1..=5 {
        bench.send(Answer::Throttled, &retry_after(1));
        bench.answered(40, Answer::Success);
        assert_eq!(learned(&bench) < 0.5, openings == 5, "{} after {openings}", learned(&bench));
    }
    assert!((0.37..=0.40).contains(&learned(&bench)), "{}", learned(&bench));
}

#[test]
fn much_of_a_window_refused_is_a_lower_limit_at_once() {
    let mut bench = Bench::new(&["100/s"]);
    bench.answered(400, Answer::Success);
    let flying: Vec<_> = (0..100).map(|_| bench.permit()).collect();
    for (index, permit) in flying.into_iter().enumerate() {
        bench.give_back(permit, if index < 50 { Answer::Success } else { Answer::Throttled });
    }
    bench.answered(1, Answer::Success);
    assert!((0.4..=0.5).contains(&learned(&bench)), "{}", learned(&bench));
}

#[test]
fn the_learned_rate_has_a_floor_and_is_in_the_ledger() {
    let mut bench = bench();
    for _ in 0..40 {
        bench.send(Answer::Throttled, &retry_after(1));
        bench.answered(1, Answer::Success);
    }
    assert_eq!(bench.gate.ledger(bench.now, bench.wall).learned, 0.05);
}

#[test]
fn five_failures_in_a_row_break_the_circuit_and_four_do_not() {
    let mut bench = bench();
    for _ in 0..2 {
        bench.answered(4, Answer::Trouble);
        assert_eq!(bench.state(), GateState::Open);
        bench.answered(20, Answer::Success);
    }
    bench.answered(5, Answer::Trouble);
    assert_eq!(bench.state(), GateState::Broken);
    assert!(bench.why().contains("5 requests in a row"), "{}", bench.why());
    assert!((millis(750)..=millis(1_250)).contains(&bench.closed_for()), "{:?}", bench.closed_for());
}

#[test]
fn half_of_the_last_twenty_in_trouble_break_the_circuit() {
    let mut bench = bench();
    for _ in 0..4 {
        bench.answered(1, Answer::Trouble);
        bench.answered(1, Answer::Success);
    }
    assert_eq!(bench.state(), GateState::Open, "eight answers are too few to tell");
    bench.answered(1, Answer::Success);
    bench.answered(1, Answer::Trouble);
    assert_eq!(bench.state(), GateState::Broken);
    assert!(bench.why().contains("5 of the last 10"), "{}", bench.why());
}

#[test]
fn a_broken_gate_probes_at_growing_intervals_and_any_real_answer_reopens_it() {
    for answer in [Answer::Success, Answer::Rejected] {
        let mut bench = bench();
        bench.answered(5, Answer::Trouble);
        let mut before = bench.closed_for();
        for _ in 0..4 {
            assert!(bench.send(Answer::Trouble, &Hints::default()));
            assert!(bench.closed_for() > before);
            before = bench.closed_for();
        }
        assert!(bench.send(answer, &Hints::default()));
        assert_eq!(bench.state(), GateState::Open);
        bench.answered(4, Answer::Trouble);
        assert_eq!(bench.state(), GateState::Open, "the counters began anew");
        bench.answered(1, Answer::Trouble);
        assert!(bench.closed_for() <= millis(1_250));
    }
}

#[test]
fn trouble_with_retry_after_closes_at_once() {
    let mut bench = bench();
    bench.send(Answer::Trouble, &retry_after(33));
    assert_eq!((bench.state(), bench.closed_for()), (GateState::Broken, secs(33)));
    assert!(bench.gate.closed_for_long(bench.now));
    bench.advance(secs(4));
    assert!(!bench.gate.closed_for_long(bench.now));
}

#[test]
fn failures_of_what_was_in_flight_do_not_count_twice() {
    let mut bench = bench();
    let flying: Vec<_> = (0..12).map(|_| bench.permit()).collect();
    for (index, permit) in flying.into_iter().enumerate() {
        bench.give_back(permit, Answer::Trouble);
        assert_eq!(bench.state() == GateState::Broken, index >= 4);
    }
    bench.send(Answer::Success, &Hints::default());
    assert_eq!(bench.state(), GateState::Open);
}

#[test]
fn a_probes_answer_says_why_the_gate_stays_closed() {
    for (first, answer, state) in [
        (Answer::Throttled, Answer::Trouble, GateState::Broken),
        (Answer::Throttled, Answer::Unauthorized, GateState::Open),
        (Answer::Throttled, Answer::Rejected, GateState::Open),
        (Answer::Trouble, Answer::Throttled, GateState::Throttled),
        (Answer::Trouble, Answer::Unauthorized, GateState::Open),
        (Answer::Unauthorized, Answer::Trouble, GateState::Parked),
        (Answer::Unauthorized, Answer::Throttled, GateState::Parked),
        (Answer::Unauthorized, Answer::Rejected, GateState::Parked),
        (Answer::Unauthorized, Answer::Unauthorized, GateState::Parked),
        (Answer::Unauthorized, Answer::Success, GateState::Open),
    ] {
        let mut bench = bench();
        let times = if first == Answer::Unauthorized { 4 } else { 1 };
        for _ in 0..times {
            bench.send(first, &retry_after(5));
        }
        assert!(bench.send(answer, &Hints::default()));
        assert_eq!(bench.state(), state, "{first:?}, then {answer:?}");
    }
}

#[test]
fn a_probe_that_was_never_sent_leaves_the_next_one_to_decide() {
    let mut bench = bench();
    bench.send(Answer::Throttled, &retry_after(5));
    assert!(bench.send(Answer::Neutral, &Hints::default()));
    assert_eq!(bench.state(), GateState::Throttled);
    assert!(bench.send(Answer::Success, &Hints::default()));
    assert_eq!(bench.state(), GateState::Open);
}

#[test]
fn credentials_refused_for_four_events_park_with_a_probe_every_15_s() {
    let mut bench = bench();
    bench.answered(4, Answer::Unauthorized);
    assert_eq!((bench.state(), bench.closed_for()), (GateState::Parked, secs(15)));
    assert!(bench.why().contains("check the key"), "{}", bench.why());
    let start = bench.now;
    bench.answered(4, Answer::Unauthorized);
    assert!(bench.now - start >= secs(60));
    assert!(bench.gate.closed_for_long(bench.now));
    bench.gate.resume(bench.now);
    assert_eq!(bench.closed_for(), Duration::ZERO);
    assert!(bench.send(Answer::Success, &Hints::default()), "resume probes at once");
    assert_eq!(bench.state(), GateState::Open);
}

/// One request about that event, answered at once.
fn send_about(bench: &mut Bench, event: u64, answer: Answer) {
    let mut permit = bench.permit();
    permit.is_about(event);
    bench.give_back(permit, answer);
}

#[test]
fn one_event_in_trouble_however_often_does_not_break_the_circuit() {
    let mut bench = bench();
    for _ in 0..30 {
        send_about(&mut bench, 1, Answer::Trouble);
    }
    assert_eq!(bench.state(), GateState::Open);
    (2..6).for_each(|event| send_about(&mut bench, event, Answer::Trouble));
    assert_eq!(bench.state(), GateState::Broken);
    assert!(bench.why().contains("5 requests in a row"), "{}", bench.why());
}

#[test]
fn one_refused_event_is_told_from_a_refused_account_by_what_was_sent_after_it() {
    let mut bench = bench();
    let early = bench.permit();
    let mut odd = bench.permit();
    odd.is_about(7);
    let late = bench.permit();
    bench.give_back(odd, Answer::Unauthorized);
    assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Open, Doubt::Few));
    bench.give_back(early, Answer::Success);
    assert!(bench.gate.doubts(7), "it was sent before");
    bench.give_back(late, Answer::Success);
    assert!(!bench.gate.doubts(7));
    assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Open, Doubt::None));
}

#[test]
fn the_same_event_refused_time_and_again_is_no_refused_account_but_parks_where_there_is_nothing_else() {
    let mut bench = bench();
    for _ in 0..9 {
        send_about(&mut bench, 7, Answer::Unauthorized);
        bench.gate.nothing_else_to_ask(bench.now);
        assert_eq!((bench.state(), bench.closed_for()), (GateState::Parked, secs(15)));
        assert_eq!(bench.gate.doubt(), Doubt::Alone);
    }
    bench.gate.ask_another(bench.now);
    assert_eq!(bench.closed_for(), Duration::ZERO);
    send_about(&mut bench, 8, Answer::Success);
    assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Open, Doubt::None));
}

#[test]
fn what_is_refused_for_what_is_in_it_does_not_tell_of_credentials() {
    let mut bench = bench();
    send_about(&mut bench, 7, Answer::Unauthorized);
    bench.gate.nothing_else_to_ask(bench.now);
    bench.gate.ask_another(bench.now);
    send_about(&mut bench, 8, Answer::Rejected);
    assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Open, Doubt::Few));
    (9..12).for_each(|event| send_about(&mut bench, event, Answer::Unauthorized));
    assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Parked, Doubt::Account));
}

#[test]
fn a_doubt_outlives_a_429_and_an_outage() {
    for (answer, hints) in [(Answer::Throttled, retry_after(3_600)), (Answer::Trouble, retry_after(3_600))] {
        let mut bench = bench();
        send_about(&mut bench, 7, Answer::Unauthorized);
        bench.send(answer, &hints);
        assert_eq!(bench.gate.doubt(), Doubt::Few);
        bench.gate.nothing_else_to_ask(bench.now);
        assert_eq!(
            (bench.state(), bench.closed_for()),
            (GateState::Parked, secs(3_600)),
            "what the vendor asked for holds"
        );
        send_about(&mut bench, 7, Answer::Success);
        assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Open, Doubt::None));
    }
}

#[test]
fn credentials_that_are_refused_when_tried_on_their_own_park_at_once() {
    let mut bench = bench();
    send_about(&mut bench, 7, Answer::Unauthorized);
    bench.gate.said("the vendor answered 401: no such key");
    bench.gate.refuses_credentials(bench.now);
    assert_eq!((bench.state(), bench.gate.doubt()), (GateState::Parked, Doubt::Account));
    assert!(bench.why().contains("no such key"), "{}", bench.why());
}

#[test]
fn rejections_in_a_row_park_and_a_resume_lets_one_event_tell() {
    let mut bench = bench();
    bench.answered(19, Answer::Rejected);
    bench.answered(1, Answer::Success);
    bench.answered(19, Answer::Rejected);
    bench.answered(3, Answer::Trouble);
    assert_eq!(bench.state(), GateState::Open);
    bench.answered(1, Answer::Rejected);
    assert_eq!(bench.state(), GateState::Parked);
    assert!(bench.why().contains("rejected 20 events in a row"), "{}", bench.why());
    assert!(bench.send(Answer::Rejected, &Hints::default()));
    assert_eq!((bench.state(), bench.closed_for()), (GateState::Parked, secs(15)));
    for answer in [Answer::Rejected, Answer::Success] {
        bench.gate.resume(bench.now);
        let probe = bench.permit();
        bench.advance(secs(1));
        assert!(probe.probe && matches!(bench.pass(), Pass::Full), "one event");
        bench.give_back(probe, answer);
        assert_eq!(bench.state() == GateState::Open, answer == Answer::Success, "{answer:?}");
    }
    bench.answered(19, Answer::Rejected);
    assert_eq!(bench.state(), GateState::Open, "the count began anew");
}

#[test]
fn a_good_probe_ends_parking_after_rejections() {
    let mut bench = bench();
    bench.answered(20, Answer::Rejected);
    assert!(bench.send(Answer::Success, &Hints::default()));
    assert_eq!(bench.state(), GateState::Open);
    bench.answered(19, Answer::Rejected);
    assert_eq!(bench.state(), GateState::Open);
}

#[test]
fn zero_never_parks_on_rejections() {
    let policy = Policy { park_after_rejections: 0, ..Policy::default() };
    let mut bench = Bench::with(&["1000/s"], policy, &Ledger::default());
    bench.answered(500, Answer::Rejected);
    assert_eq!(bench.state(), GateState::Open);
}

#[test]
fn a_refusal_now_and_then_never_ends_in_long_pauses() {
    let mut bench = bench();
    for _ in 0..30 {
        bench.answered(100, Answer::Success);
        bench.answered(1, Answer::Throttled);
        assert!(bench.closed_for() <= millis(250), "{:?}", bench.closed_for());
    }
}

#[test]
fn a_closed_gate_tells_what_the_vendor_said() {
    let mut bench = bench();
    bench.gate.said("Example answered 401: API key revoked");
    bench.answered(4, Answer::Unauthorized);
    assert!(bench.why().contains("Example answered 401: API key revoked"), "{}", bench.why());
    assert!(bench.why().contains("check the key"), "{}", bench.why());
    bench.gate.said("Example answered 403: account disabled");
    bench.send(Answer::Unauthorized, &Hints::default());
    assert!(bench.why().contains("403: account disabled"), "the probe says more: {}", bench.why());
    bench.send(Answer::Success, &Hints::default());
    bench.gate.said("cannot connect to example.com: connection refused");
    bench.answered(5, Answer::Trouble);
    assert!(bench.why().ends_with("at last: cannot connect to example.com: connection refused"), "{}", bench.why());
    bench.gate.said("Example answered 503: upstream down");
    bench.send(Answer::Trouble, &Hints::default());
    assert_eq!(bench.why(), "the probe failed too: Example answered 503: upstream down");
    bench.gate.said("");
    bench.send(Answer::Trouble, &Hints::default());
    assert_eq!(bench.why(), "the probe failed too");
}

#[test]
fn an_open_gate_tells_how_the_last_request_failed_until_one_is_answered() {
    let mut bench = Bench::new(&["200/s"]);
    let fails = |bench: &Bench| bench.gate.status(bench.now, bench.wall).fails;
    bench.gate.said("no connection: connection refused");
    bench.send(Answer::Trouble, &Hints::default());
    assert_eq!(bench.why(), "open; the last request failed: no connection: connection refused");
    assert!(fails(&bench));
    bench.send(Answer::Neutral, &Hints::default());
    assert!(fails(&bench), "that says nothing");
    bench.send(Answer::Trouble, &Hints::default());
    assert_eq!(bench.why(), "open; the last request failed");
    bench.send(Answer::Rejected, &Hints::default());
    assert_eq!((bench.why().as_str(), fails(&bench)), ("open", false));
    for _ in 0..20 {
        bench.send(Answer::Trouble, &Hints::default());
    }
    assert_eq!((bench.state(), fails(&bench)), (GateState::Broken, false));
}
