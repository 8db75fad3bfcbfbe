//! What must happen, one case each.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::super::*;

const LEASE: Duration = Duration::from_secs(2);

fn owner(id: u128) -> Owner {
    Owner { id: Uuid::from_u128(id), name: format!("pod-{id}") }
}

fn machine(id: u128, now: Instant) -> Machine {
    let mut machine = Machine::new(owner(id), LEASE, now);
    machine.opened(now);
    machine
}

fn note(id: u128, says: Says, term: u64) -> Note {
    Note { term, version: 1, says, ..Note::found(owner(id), LEASE, json!({"used": 7})) }
}

fn published(acts: &[Act]) -> Note {
    acts.iter().find_map(|act| if let Act::Publish(note) = act { Some(note.clone()) } else { None }).unwrap()
}

/// A machine that drives, and when its proof began.
fn driving(now: Instant) -> (Machine, Instant) {
    let mut machine = machine(1, now);
    machine.received(1, note(2, Says::Released, 4), false, now);
    let claim = published(&machine.acts());
    machine.received(2, claim, false, now + Duration::from_millis(5));
    machine.acts();
    (machine, now)
}

#[test]
fn who_gets_a_lease_that_was_let_go_may_send_once_its_own_note_came_back() {
    let now = crate::clock::now();
    let mut machine = machine(1, now);
    machine.received(1, note(2, Says::Released, 4), false, now);
    let acts = machine.acts();
    assert!(acts.contains(&Act::Drive(json!({"used": 7}))), "{acts:?}");
    let claim = published(&acts);
    assert_eq!((claim.term, claim.says), (5, Says::Held));
    assert_eq!(machine.may_send_until(), None);
    machine.received(2, claim, false, now + Duration::from_millis(5));
    assert_eq!(machine.may_send_until(), Some(now + LEASE), "from the start of the round trip");
    assert_eq!(machine.acts(), [Act::Ack(1)]);
}

#[test]
fn who_gets_the_lease_of_one_that_was_killed_waits_for_longer_than_that_one_may_send() {
    let now = crate::clock::now();
    let mut machine = machine(1, now);
    machine.received(1, note(2, Says::Held, 4), true, now);
    machine.acts();
    machine.tick(now + LEASE);
    assert_eq!(machine.acts(), []);
    let until = machine.next_at().unwrap();
    assert!(until > now + LEASE && until < now + LEASE * 2);
    machine.tick(until);
    assert_eq!(published(&machine.acts()).term, 5);
}

#[test]
fn a_proof_is_renewed_by_giving_the_note_back_while_there_is_something_to_send_and_else_lapses() {
    let (mut machine, proof) = driving(crate::clock::now());
    let later = proof + LEASE / 4;
    machine.want(false, later);
    assert_eq!(machine.acts(), [], "an idle destination costs nothing");
    machine.want(true, later);
    assert_eq!(machine.acts(), [Act::Return(2)]);
    let own = Note { term: 5, version: 1, ..note(1, Says::Held, 5) };
    machine.received(3, own.clone(), false, later + Duration::from_millis(1));
    assert_eq!(machine.may_send_until(), Some(proof + LEASE), "a copy that was not out before proves nothing");
    machine.received(4, own, true, later + Duration::from_millis(5));
    assert_eq!(machine.may_send_until(), Some(later + LEASE));
}

#[test]
fn who_takes_over_while_the_broker_takes_no_messages_proves_by_the_note_that_it_got() {
    let now = crate::clock::now();
    let mut machine = machine(1, now);
    let found = note(2, Says::Released, 4);
    machine.received(1, found.clone(), false, now);
    let claim = published(&machine.acts());
    let later = now + LEASE / 4;
    machine.want(true, later);
    assert_eq!(machine.acts(), [Act::Return(1)], "its own note takes long");
    machine.received(2, found.clone(), true, later + Duration::from_millis(5));
    assert_eq!((machine.may_send_until(), machine.acts()), (Some(later + LEASE), vec![]));
    machine.received(3, claim, false, later + Duration::from_millis(9));
    assert_eq!(machine.acts(), [Act::Ack(2)], "its own note is there");
}

#[test]
fn a_ledger_that_cannot_wait_is_published_at_once_and_recorded_when_it_came_back() {
    let (mut machine, now) = driving(crate::clock::now());
    let version = machine.record(json!({"used": 9}), true, now);
    let note = published(&machine.acts());
    assert_eq!((note.version, &note.ledger), (version, &json!({"used": 9})));
    assert!(machine.recorded() < version);
    machine.received(3, note, false, now);
    assert_eq!(machine.recorded(), version);
}

#[test]
fn who_lets_go_sends_nothing_more_and_leaves_a_note_that_the_next_need_not_wait_for() {
    let (mut machine, now) = driving(crate::clock::now());
    machine.let_go(Some(json!({"used": 8})), now);
    assert_eq!(machine.may_send_until(), None);
    let last = published(&machine.acts());
    assert_eq!((last.says, &last.ledger), (Says::Released, &json!({"used": 8})));
    machine.received(3, last, false, now);
    assert_eq!(machine.acts(), [Act::Ack(2), Act::Leave]);
}

#[test]
fn who_hears_of_a_later_term_stops_and_waits() {
    let (mut machine, now) = driving(crate::clock::now());
    let follows = Some(Driven { term: 5, owner: owner(1).id });
    machine.received(3, Note { follows, proven: true, ..note(2, Says::Held, 6) }, true, now);
    let acts = machine.acts();
    assert!(acts.iter().any(|act| matches!(act, Act::Drive(_))), "with the other's ledger: {acts:?}");
    assert_eq!(machine.may_send_until(), None);
    assert!(machine.next_at().unwrap() > now + LEASE);
}

#[test]
fn who_hears_of_a_claim_waits_and_goes_on_with_what_it_knows_in_a_later_term() {
    let (mut machine, now) = driving(crate::clock::now());
    let follows = Some(Driven { term: 5, owner: owner(1).id });
    machine.received(3, Note { follows, ..note(2, Says::Held, 6) }, true, now);
    assert_eq!((machine.acts(), machine.may_send_until()), (vec![Act::Ack(3)], None));
    let until = machine.next_at().unwrap();
    assert!(until > now + LEASE);
    machine.tick(until);
    let claim = published(&machine.acts());
    assert_eq!((claim.term, claim.follows), (7, Some(Driven { term: 6, owner: owner(2).id })));
}

#[test]
fn who_hears_of_a_claim_waits_for_as_long_as_its_owner_may_send() {
    let (mut machine, now) = driving(crate::clock::now());
    let (follows, long) = (Some(Driven { term: 5, owner: owner(1).id }), LEASE * 3);
    machine.received(
        3,
        Note { term: 6, follows, says: Says::Held, ..Note::found(owner(2), long, json!(null)) },
        true,
        now,
    );
    assert!(machine.next_at().unwrap() > now + long);
}

#[test]
fn a_claim_that_was_long_on_its_way_counts_for_nothing() {
    let (mut machine, now) = driving(crate::clock::now());
    let follows = Some(Driven { term: 4, owner: owner(2).id });
    machine.received(3, Note { follows, ..note(3, Says::Held, 7) }, false, now);
    assert_eq!(machine.acts(), [Act::Ack(3)], "its owner did not know of this driver");
    assert!(machine.may_send_until().is_some());
}

#[test]
fn an_empty_queue_gets_a_first_note_and_one_that_hears_of_a_driver_writes_none() {
    let now = crate::clock::now();
    let (mut alone, mut beside) = (machine(1, now), machine(2, now));
    beside.heard_driver(now);
    alone.tick(now + LEASE);
    beside.tick(now + LEASE);
    assert_eq!(published(&alone.acts()).says, Says::Found);
    assert_eq!(beside.acts(), []);
}

#[test]
fn what_lay_in_the_queue_before_a_reset_and_comes_after_it_does_not_undo_it() {
    let now = crate::clock::now();
    let mut machine = machine(1, now);
    machine.opened(now);
    machine.received(1, Note::reset(owner(9), json!(null)), false, now);
    assert_eq!(machine.acts(), [Act::Drive(json!(null))]);
    // The consumer before had them.
    let old = Note { term: 5, ..Note::found(owner(2), LEASE, json!({ "spent": 7 })) };
    machine.received(2, old, true, now);
    assert_eq!(machine.acts(), [Act::Ack(2)]);
    machine.tick(now + LEASE * 2);
    let first = published(&machine.acts());
    assert_eq!((first.term, first.ledger), (6, json!(null)), "what comes of the old term later is outdated");
}

#[test]
fn what_cannot_be_read_stops_the_destination_is_passed_on_and_ends_with_a_reset() {
    let (mut machine, now) = driving(crate::clock::now());
    machine.unreadable(3, NoteError::Newer(2), now);
    assert_eq!((machine.may_send_until(), machine.acts()), (None, vec![Act::Stop]));
    machine.received(4, Note::reset(owner(9), json!(null)), false, now);
    let acts = machine.acts();
    assert!(acts.contains(&Act::Ack(3)) && acts.contains(&Act::Drive(json!(null))), "{acts:?}");
    machine.unreadable(5, NoteError::Newer(2), now);
    machine.acts();
    machine.tick(now + Duration::from_secs(2));
    assert_eq!(machine.acts(), [Act::Leave]);
}
