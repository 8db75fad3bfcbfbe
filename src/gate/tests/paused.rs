//! An operator's pause: what is told of it, and that it ends by itself.

use super::*;
use crate::gate::Paused;

fn pause(until: Option<&str>) -> Paused {
    let (by, reason) = (Some("night-shift".to_owned()), Some("vendor maintenance".to_owned()));
    Paused { by, until: until.map(at), reason, at: None }.given_at(at("2026-03-01T12:00:00Z"))
}

#[test]
fn a_pause_tells_who_set_it_when_until_when_and_why() {
    let mut bench = Bench::new(&["100/s"]);
    bench.gate.pause(pause(Some("2026-03-01T14:00:00Z")));
    assert_eq!(bench.why(), "paused by night-shift, 12:00, until 14:00 UTC: vendor maintenance");
    let status = bench.gate.status(bench.now, bench.wall);
    assert_eq!(status.until.map(|until| until.wall), Some(at("2026-03-01T14:00:00Z")));
    bench.gate.pause(pause(None));
    assert_eq!(bench.why(), "paused by night-shift, 12:00 UTC: vendor maintenance");
    bench.advance(secs(86_400));
    assert_eq!(bench.why(), "paused by night-shift, 2026-03-01 12:00 UTC: vendor maintenance");
    bench.gate.pause(Paused { until: Some(bench.wall + secs(60)), ..Paused::default() });
    assert_eq!(bench.why(), "an operator paused it, until 12:01 UTC");
    bench.gate.pause(Paused::default());
    assert_eq!(bench.why(), "an operator paused it");
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_not_before() {
    let mut bench = Bench::new(&["100/s"]);
    bench.gate.pause(pause(Some("2026-03-01T14:00:00Z")));
    bench.advance(secs(7_199));
    assert!(!bench.gate.end_pause(bench.now, bench.wall) && bench.state() == GateState::Paused);
    bench.advance(secs(1));
    assert!(bench.gate.end_pause(bench.now, bench.wall) && bench.state() == GateState::Open);
    assert!(!bench.gate.end_pause(bench.now, bench.wall), "it ends once");
    bench.gate.pause(pause(None));
    bench.advance(secs(365 * 86_400));
    assert!(!bench.gate.end_pause(bench.now, bench.wall), "without an end somebody has to resume");
}

#[test]
fn the_next_gate_knows_the_pause_and_its_end() {
    let mut bench = Bench::new(&["100/s"]);
    bench.gate.pause(pause(Some("2026-03-01T14:00:00Z")));
    let ledger = bench.gate.ledger(bench.now, bench.wall);
    let ledger: Ledger = serde_json::from_value(serde_json::to_value(ledger).unwrap()).unwrap();
    let after = Bench::with(&["100/s"], Policy::default(), &ledger);
    assert_eq!(after.why(), bench.why());
    let later = at("2026-03-01T14:00:00Z");
    let gate = Gate::new(&parsed(&["100/s"]), Policy::default(), &ledger, bench.now, later);
    assert_eq!(gate.state(bench.now), GateState::Open, "it ended while nobody drove");
    let older = Ledger { pause: None, ..ledger };
    let after = Bench::with(&["100/s"], Policy::default(), &older);
    assert_eq!((after.state(), after.why().as_str()), (GateState::Paused, "an operator paused it"));
}

#[test]
fn a_reason_is_one_line_of_bounded_length_without_addresses_of_people() {
    let reason = |text: &str| {
        Paused { reason: Some(text.to_owned()), ..Paused::default() }.given_at(at("2026-03-01T12:00:00Z")).reason
    };
    assert_eq!(reason("ask\nann@example.com\x1b[31m"), Some("ask ***@*** [31m".to_owned()));
    assert_eq!(reason(&"å".repeat(5_000)).unwrap().chars().count(), 200);
    assert_eq!(reason(" \n "), None);
}

#[test]
fn what_travels_of_a_pause_is_short_and_shows_no_address_from_the_start() {
    let long =
        Paused { by: Some("x\n".repeat(500)), reason: Some("ask anna@example.com ".repeat(500)), ..Paused::default() };
    let given = long.given_at(Timestamp::UNIX_EPOCH);
    let (by, reason) = (given.by.unwrap(), given.reason.unwrap());
    assert!(by.chars().count() <= 100 && !by.contains('\n'));
    assert!(reason.chars().count() <= 200 && !reason.contains("anna@"), "{reason}");
}
