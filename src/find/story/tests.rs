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
