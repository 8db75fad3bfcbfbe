//! What a gate says of the vendor's answers: its words, when they came, and at which probe.

use super::*;

/// The sentence, and the part of it that was said, when, and at which probe.
fn told(bench: &Bench) -> (String, Option<(String, Timestamp, u32)>) {
    let status = bench.gate.status(bench.now, bench.wall);
    let said = status.answered.map(|answered| (status.why[..answered.place].to_owned(), answered.at, answered.probe));
    (status.why, said)
}

fn send(bench: &mut Bench, answer: Answer, said: &str) -> Timestamp {
    bench.gate.said(said);
    bench.send(answer, &Hints::default());
    bench.wall
}

#[test]
fn refused_credentials_are_told_in_the_vendors_words_with_when_and_at_which_probe() {
    let mut bench = Bench::new(&["1000/s"]);
    let words = "Gainsight PX answered 401: API key revoked";
    let last = (0..4).map(|_| send(&mut bench, Answer::Unauthorized, words)).last().unwrap();
    let (why, said) = told(&bench);
    assert_eq!(why, format!("{words}; check the key and that the account is on"));
    assert_eq!(said, Some((words.to_owned(), last, 0)));
    for probe in 1..=4 {
        let at = send(&mut bench, Answer::Unauthorized, words);
        assert_eq!(told(&bench).1, Some((words.to_owned(), at, probe)));
    }
    send(&mut bench, Answer::Success, "");
    for _ in 0..4 {
        send(&mut bench, Answer::Unauthorized, words);
    }
    let at = send(&mut bench, Answer::Unauthorized, "Gainsight PX answered 403: off");
    assert_eq!(told(&bench).1, Some(("Gainsight PX answered 403: off".to_owned(), at, 1)), "counted from its closing");
}

#[test]
fn an_outage_is_told_with_the_last_answer_and_its_probe() {
    let mut bench = Bench::new(&["1000/s"]);
    let words = "no answer from px.example within 10s";
    let last = (0..5).map(|_| send(&mut bench, Answer::Trouble, words)).last().unwrap();
    let (why, said) = told(&bench);
    assert_eq!(why, format!("5 requests in a row failed, at last: {words}"));
    assert_eq!(said, Some((why, last, 0)));
    let at = (0..3).map(|_| send(&mut bench, Answer::Trouble, "PX answered 503: down")).last().unwrap();
    let (why, said) = told(&bench);
    assert_eq!(said, Some(("the probe failed too: PX answered 503: down".to_owned(), at, 3)));
    assert_eq!(why, "the probe failed too: PX answered 503: down");
}

#[test]
fn rejections_in_a_row_are_told_with_what_the_vendor_rejected_last() {
    let policy = Policy { park_after_rejections: 3, ..Policy::default() };
    let mut bench = Bench::with(&["1000/s"], policy, &Ledger::default());
    for _ in 0..3 {
        send(&mut bench, Answer::Rejected, "PX answered 422: eventName is unknown");
    }
    let why = "the vendor rejected 3 events in a row, at last: PX answered 422: eventName is unknown";
    assert_eq!(told(&bench).0, format!("{why}; check the mapping and the dead letters, then resume"));
    let at = send(&mut bench, Answer::Rejected, "PX answered 422: no userId");
    let (why, said) = told(&bench);
    assert!(why.contains("no userId"), "{why}");
    assert_eq!(said.map(|(_, at, probe)| (at, probe)), Some((at, 1)));
}

#[test]
fn a_probe_that_was_never_sent_is_not_counted() {
    let mut bench = Bench::new(&["1000/s"]);
    for _ in 0..5 {
        send(&mut bench, Answer::Trouble, "PX answered 503");
    }
    send(&mut bench, Answer::Neutral, "");
    send(&mut bench, Answer::Trouble, "PX answered 503");
    assert_eq!(told(&bench).1.map(|(_, _, probe)| probe), Some(1));
}

#[test]
fn a_limit_a_wait_and_an_open_gate_are_told_with_their_time() {
    let mut bench = Bench::new(&["1000/s"]);
    let at = send(&mut bench, Answer::Trouble, "PX answered 500: oops");
    let why = "open; the last request failed: PX answered 500: oops";
    assert_eq!(told(&bench), (why.to_owned(), Some((why.to_owned(), at, 0))));
    bench.gate.said("PX answered 429: slow down");
    bench.send(Answer::Throttled, &retry_after(7));
    let (why, said) = told(&bench);
    assert_eq!(why, "the vendor refused for a limit and asked to wait 7 s (Retry-After): PX answered 429: slow down");
    assert_eq!(said.map(|(_, at, probe)| (at, probe)), Some((bench.wall, 0)));
}

#[test]
fn the_next_gate_tells_why_the_vendor_closed_the_one_before_it() {
    let mut bench = Bench::new(&["1000/s"]);
    bench.gate.said("PX answered 429: slow down");
    bench.send(Answer::Throttled, &retry_after(600));
    let ledger = serde_json::to_value(bench.gate.ledger(bench.now, bench.wall)).unwrap();
    let ledger: Ledger = serde_json::from_value(ledger).unwrap();
    bench.advance(secs(60));
    let next = Gate::new(&parsed(&["1000/s"]), Policy::default(), &ledger, bench.now, bench.wall);
    let after = Bench { gate: next, now: bench.now, wall: bench.wall };
    assert_eq!((after.state(), told(&after)), (GateState::Throttled, told(&bench)));
    let older = Ledger { closed_why: None, ..ledger };
    let after = Bench::with(&["1000/s"], Policy::default(), &older);
    assert!(after.why().contains("before this worker took over"), "{}", after.why());
}
