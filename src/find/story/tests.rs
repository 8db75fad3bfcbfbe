//! An account of an event, whatever is known of it.

use super::*;
use crate::dead_letters::letter::Letter;
use crate::message::Message;
use crate::record::history::{Attempt, History};
use crate::verdict::Reason;

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() + seconds).unwrap()
}

fn step(kind: StepKind, seconds: i64, attempt: u64) -> Recorded {
    let step = Step {
        destination: "px".into(),
        id: "e-1".into(),
        source: "shop".into(),
        event_type: "order.paid".into(),
        received: Some(at(0)),
        attempt,
        ms: Some(100),
        ..Step::new(kind, at(seconds))
    };
    Recorded { step, worker: "host/1".into() }
}

fn letter(died: i64, attempts: &[i64]) -> FoundLetter {
    let mut history = History::new("order.paid", at(0));
    for seconds in attempts {
        let attempt = Attempt {
            at: at(*seconds),
            status: Some(500),
            ms: 100,
            verdict: "unavailable".into(),
            excerpt: "no".into(),
        };
        history.add(attempt);
    }
    let letter = Letter {
        event_id: Some("e-1".into()),
        event_type: "order.paid".into(),
        reason: Reason::Rejected,
        dead_lettered_at: Some(at(died)),
        last_attempt: attempts.last().map(|seconds| at(*seconds)),
        ..Letter::read(&Message::default(), "px")
    };
    let (id, source) = ("e-1".to_owned(), "shop".to_owned());
    FoundLetter { letter, is_trash: false, id, source, history, received: Some(at(0)) }
}

fn told(steps: Vec<Recorded>, letters: Vec<FoundLetter>) -> EventStory {
    let mut stories = tell(steps, letters, Vec::new(), true, at(1_000));
    assert_eq!(stories.len(), 1, "{stories:?}");
    stories.remove(0)
}

fn kinds(story: &EventStory) -> Vec<&'static str> {
    story.steps.iter().map(|step| step.step).collect()
}

#[test]
fn steps_come_in_the_order_of_time_whatever_worker_recorded_them_first() {
    let steps = vec![step(StepKind::Delivered, 8, 2), step(StepKind::Retried, 2, 1)];
    let story = told(steps, Vec::new());
    assert_eq!(kinds(&story), ["received", "retried", "delivered"]);
    assert_eq!((story.now.len(), story.now[0].state), (1, State::Delivered));
    assert_eq!((story.r#type.as_str(), story.gaps.len()), ("order.paid", 0));
}

#[test]
fn an_event_that_was_delivered_twice_shows_both() {
    let story = told(vec![step(StepKind::Delivered, 1, 1), step(StepKind::Delivered, 9, 1)], Vec::new());
    assert_eq!(kinds(&story), ["received", "delivered", "delivered"]);
}

#[test]
fn an_attempt_whose_record_was_lost_is_a_gap_that_is_told() {
    let story = told(vec![step(StepKind::Delivered, 60, 4), step(StepKind::Retried, 1, 1)], Vec::new());
    assert_eq!(story.gaps.len(), 1);
    assert!(story.gaps[0].starts_with("2 attempts at px before attempt 4 left no record"), "{:?}", story.gaps);
    let since = tell(vec![step(StepKind::Delivered, 60, 4)], Vec::new(), Vec::new(), false, at(99));
    assert_eq!(since[0].gaps.len(), 0, "what was before is not asked for");
}

#[test]
fn a_letter_and_its_recorded_death_are_one_step_and_the_letter_says_where_it_is() {
    let steps = vec![step(StepKind::Retried, 1, 1), step(StepKind::Died, 6, 2)];
    let story = told(steps, vec![letter(7, &[1, 6])]);
    assert_eq!(kinds(&story), ["received", "retried", "died"]);
    assert!(story.steps[2].letter.is_some());
    assert_eq!((story.now.len(), story.now[0].state), (1, State::Dead));
}

#[test]
fn without_a_history_the_letter_tells_what_was_tried() {
    let story = told(Vec::new(), vec![letter(7, &[1, 6])]);
    assert_eq!(kinds(&story), ["received", "waited", "waited", "died"]);
    assert_eq!(story.now[0].state, State::Dead);
}

#[test]
fn a_letter_that_was_replayed_and_delivered_is_delivered() {
    let steps = vec![step(StepKind::Died, 1, 1), step(StepKind::Replayed, 50, 0), step(StepKind::Delivered, 51, 2)];
    let story = told(steps, Vec::new());
    assert_eq!((story.now.len(), story.now[0].state), (1, State::Delivered));
}

fn by(person: &str, said: &str, of: Recorded) -> Recorded {
    let step = Step { by: Some(person.to_owned().into()), said: said.to_owned().into(), ..of.step };
    Recorded { step, ..of }
}

#[test]
fn a_replay_is_one_step_with_the_name_of_whoever_began_it_whatever_their_clock_says() {
    let taken = step(StepKind::Replayed, 50, 0);
    let taken = Recorded { step: Step { said: "operation 0b".into(), ..taken.step }, ..taken };
    let begun = || by("ann", "operation 0b", step(StepKind::Replayed, 58, 0));
    let steps = vec![step(StepKind::Died, 1, 1), begun(), taken, step(StepKind::Delivered, 51, 2)];
    let story = told(steps, Vec::new());
    assert_eq!(kinds(&story), ["received", "died", "replayed", "delivered"]);
    assert_eq!((story.steps[2].by.as_deref(), story.now[0].state), (Some("ann"), State::Delivered));
    assert_eq!(crate::find::said(&story.steps[2]), "operation 0b; by ann");
    let waits = told(vec![step(StepKind::Died, 1, 1), begun()], Vec::new());
    assert_eq!((waits.now[0].state, waits.now[0].sentence.contains("was replayed")), (State::Waiting, true));
}

#[test]
fn what_people_did_with_a_letter_is_told_once_and_where_it_is_follows_from_it() {
    let discarded = by("ann", "operation 0c", step(StepKind::Discarded, 20, 0));
    let mut in_trash = letter(1, &[]);
    in_trash.is_trash = true;
    (in_trash.letter.discarded_at, in_trash.letter.discarded_by) = (Some(at(20)), Some("ann".into()));
    let story = told(vec![step(StepKind::Died, 1, 0), discarded.clone()], vec![in_trash]);
    assert_eq!(kinds(&story), ["received", "died", "discarded"]);
    assert_eq!((story.now.len(), story.now[0].state), (1, State::Trash));
    let died = || vec![step(StepKind::Died, 1, 0), discarded.clone()];
    let restored = by("bob", "operation 0d", step(StepKind::Restored, 30, 0));
    let story = told([died(), vec![restored]].concat(), vec![letter(1, &[])]);
    assert_eq!(kinds(&story), ["received", "died", "discarded", "restored"]);
    assert_eq!((story.now.len(), story.now[0].state), (1, State::Dead));
    let purged = by("bob", "operation 0e", step(StepKind::Purged, 30, 0));
    let story = told([died(), vec![purged]].concat(), Vec::new());
    assert_eq!((story.now.len(), story.now[0].state), (1, State::Gone));
    assert!(story.now[0].sentence.ends_with("deleted for good"), "{}", story.now[0].sentence);
    let aged = told(died(), Vec::new());
    assert_eq!(aged.now[0].sentence, "its dead letter at px was discarded, and is not in the trash any more");
}

#[test]
fn where_it_waits_follows_from_its_last_step() {
    let retried = Recorded {
        step: Step { pause: Some(600), ..step(StepKind::Retried, 900, 1).step },
        ..step(StepKind::Retried, 0, 1)
    };
    let story = told(vec![retried.clone()], Vec::new());
    assert_eq!(story.now[0].state, State::Retrying);
    assert!(story.now[0].sentence.contains("due by 2023-11-14T22:38:20"), "{}", story.now[0].sentence);
    let late = Recorded { step: Step { at: at(0), ..retried.step.clone() }, ..retried };
    assert_eq!(told(vec![late], Vec::new()).now[0].state, State::Waiting);
    assert_eq!(told(vec![step(StepKind::Died, 1, 1)], Vec::new()).now[0].state, State::Gone);
    let published = Step { id: "e-1".into(), ..Step::new(StepKind::Published, at(0)) };
    let story = told(vec![Recorded { step: published, worker: "host/1".into() }], Vec::new());
    assert_eq!((story.now[0].state, story.now[0].destination.as_deref()), (State::Waiting, None));
}
