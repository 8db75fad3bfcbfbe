//! The history: each step of an event's way is recorded, in its order, and a stream that takes none holds nothing up.

use sluice::broker::port::{Publication, Publisher};
use sluice::history::{self, RecorderTask, Step, StepKind};
use sluice::message::Message;
use sluice::supervisor::Part as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::vendor::Answer;
use super::{Handover, Stage, message, seconds};

/// A stage whose events' steps are recorded, what writes them, and where that arrives.
fn recording(lines: &str) -> (Stage, RecorderTask, mpsc::Receiver<Publication>) {
    let mut stage = Stage::idle(lines);
    let (queue, arriving) = mpsc::channel(1);
    let counted = stage.metrics.history_steps_total.clone();
    let (publisher, worker) = (Publisher::new(queue), ("host/1".to_owned(), false));
    let (recorder, task) =
        history::open(publisher, "sluice.history".to_owned(), worker, &counted, CancellationToken::new());
    stage.history = Some(recorder);
    stage.start(&Handover::default());
    (stage, task, arriving)
}

/// So many steps, as they are written.
async fn steps(arriving: &mut mpsc::Receiver<Publication>, count: usize) -> Vec<Step<'static>> {
    let mut steps = Vec::new();
    while steps.len() < count {
        let received = tokio::time::timeout(seconds(600), arriving.recv()).await;
        let Publication { message, outcome, .. } = received.expect("a message comes").unwrap();
        outcome.send(Ok(())).unwrap();
        let lines = message.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        steps.extend(lines.map(|line| Step::read(line).unwrap().into_owned()));
    }
    steps
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_step_with_its_number_and_the_vendors_words() {
    let (stage, mut task, mut arriving) = recording("limits = [\"100/s\"]\nretry = { delays = [\"5s\"] }");
    tokio::spawn(async move { task.run().await });
    stage.publish([0]);
    let first = &steps(&mut arriving, 1).await[0];
    assert_eq!((first.kind, first.attempt, first.status), (StepKind::Delivered, 1, Some(201)));
    assert_eq!((&*first.id, &*first.destination, &*first.event_type), ("0", "hook", "shop.order"));
    assert!(first.received.is_some() && first.said.is_empty());
    stage.vendor.behave(|call| Answer::Status(if call.event == 1 { 422 } else { 201 }));
    stage.publish([1]);
    let died = &steps(&mut arriving, 1).await[0];
    assert_eq!((died.kind, died.attempt, died.reason.as_deref()), (StepKind::Died, 1, Some("rejected")));
    assert!(died.said.contains("422"), "{died:?}");
    stage.broker.put("shop.order", Message { body: "{".into(), ..message(2, true) });
    let died = &steps(&mut arriving, 1).await[0];
    assert_eq!((died.kind, died.attempt, &*died.id), (StepKind::Died, 0, "2"));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_no_history_holds_no_event_up() {
    let (stage, _task, _arriving) = recording("limits = [\"1000/s\"]");
    stage.publish(0..5_000);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..5_000));
}
