//! What the examples do with their connections: one for all events at once, and none left behind.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cutter::Cutter;
use super::publishing::{TYPE, at_work, example};
use crate::support::shared_url;
use crate::worker::stage::{PX, Stage};

/// A program that goes on when an event was not published, and ends when nothing keeps it alive.
const AT_ONCE: &str = "tests/node/at_once.mjs";

/// Three events of one publisher, by way of the cutter.
async fn at_once(stage: &Stage, cutter: &Cutter) -> super::Ended {
    let exchange = format!("{}.events", stage.prefix);
    example(AT_ONCE, &cutter.url, &exchange).end().await
}

async fn all_three_arrived(stage: &Stage) {
    stage.arrived(PX, 3).await;
    let ids = stage.sandbox.handle().events(Some(PX), 10).into_iter().map(|body| {
        let event: Value = serde_json::from_slice(&body).unwrap();
        event["eventId"].as_str().unwrap().to_owned()
    });
    assert_eq!(ids.collect::<BTreeSet<_>>(), ["one", "two", "three"].map(str::to_owned).into());
}

#[tokio::test]
async fn events_that_node_publishes_at_once_share_a_connection_and_the_process_ends_when_it_is_closed() {
    let stage = at_work().await;
    let cutter = Cutter::start(&shared_url().await, "a word that nobody sends").await;
    let ended = at_once(&stage, &cutter).await;
    assert!(ended.good && ended.err.is_empty() && ended.out == "one two three\n", "{}{}", ended.out, ended.err);
    assert_eq!(cutter.connections(), (1, 1));
    all_three_arrived(&stage).await;
}

#[tokio::test]
async fn events_that_node_publishes_at_once_share_the_next_connection_too_when_one_is_lost() {
    let stage = at_work().await;
    let cutter = Cutter::start(&shared_url().await, TYPE).await;
    let ended = at_once(&stage, &cutter).await;
    assert!(cutter.has_cut() && ended.good, "{}", ended.err);
    assert_eq!(ended.err.matches("trying again").count(), 3, "{}", ended.err);
    assert_eq!(cutter.connections().0, 2);
    all_three_arrived(&stage).await;
}

#[tokio::test]
async fn a_python_publisher_that_was_refused_leaves_no_connection_behind() {
    let stage = at_work().await;
    let cutter = Cutter::start(&shared_url().await, "a word that nobody sends").await;
    let exchange = format!("{}.events", stage.prefix);
    let ended = example("tests/sdks/refused.py", &cutter.url, &exchange).end().await;
    assert!(ended.good && ended.out == "one\n", "{}", ended.err);
    assert_eq!(cutter.connections(), (2, 1));
    stage.arrived(PX, 1).await;
}
