//! One reader of a queue at a time, under its read lock, which changes nothing but what it takes out.

use std::time::Duration;

use sluice::broker::{Broker, LONGEST_READ, LockedRead, ReadError, ReadPurpose, Reader};

use crate::cluster::Cluster;
use crate::support::{LONG, bodies, depth, message, own_node, settings, shared, start};
use crate::worker::stage::until;

/// More than the first consumers of a read take.
const MANY: usize = 3_000;

/// A broker with a destination's queues, and `count` letters in the dead ones.
async fn with_letters(broker: &Broker, count: usize) -> String {
    drop(crate::support::open(broker).await);
    let (dead, publisher) = (broker.names().dead("px"), broker.publisher());
    let mut confirms = Vec::new();
    for n in 0..count {
        confirms.push(publisher.submit("", &dead, message(format!("{n:05}"))).await.unwrap());
    }
    futures_util::future::try_join_all(confirms).await.unwrap();
    dead
}

async fn lock(reader: &mut Reader, queue: &str, purpose: ReadPurpose) -> LockedRead {
    reader.lock(queue, purpose, LONG).await.unwrap()
}

/// Reads all that is there and keeps it.
async fn look(broker: &Broker, queue: &str) -> Vec<String> {
    look_for(broker, queue, 0).await
}

/// The same once so many are there: a broker that was killed gives back what was out a moment after it is up.
async fn look_for(broker: &Broker, queue: &str, at_least: usize) -> Vec<String> {
    let mut reader = broker.reader().await.unwrap().expecting(u32::try_from(at_least).unwrap());
    let mut locked = lock(&mut reader, queue, ReadPurpose::Look).await;
    let mut seen = Vec::new();
    while let Some(letter) = locked.next().await.unwrap() {
        seen.push(String::from_utf8_lossy(&letter.message.body).into_owned());
        locked.keep(letter);
    }
    locked.end().await.unwrap();
    seen
}

/// Fails with the first difference only.
#[track_caller]
fn same(seen: &[String], expected: &[String]) {
    let differs = seen.iter().zip(expected).position(|(seen, expected)| seen != expected);
    assert_eq!(differs.map(|at| (at, &seen[at])), None, "out of order");
    assert_eq!(seen.len(), expected.len());
}

fn expected(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("{n:05}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_loss_what_must_be_there_is_waited_for() {
    let broker = shared().await;
    let dead = with_letters(&broker, 3).await;
    let mut reader = broker.reader().await.unwrap().expecting(5);
    let (locked, _) = tokio::join!(lock(&mut reader, &dead, ReadPurpose::Look), async {
        // What a broker finds again comes after the lock has been asked for.
        while !broker.is_read(&dead).await.unwrap() {
            tokio::task::yield_now().await;
        }
        for body in ["x", "y"] {
            broker.publisher().publish("", &dead, message(body)).await.unwrap();
        }
    });
    assert_eq!(locked.count(), 5);
    locked.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_shows_everything_in_order_and_changes_nothing() {
    let broker = shared().await;
    let dead = with_letters(&broker, MANY).await;
    for _ in 0..3 {
        same(&look(&broker, &dead).await, &expected(0..MANY));
    }
    depth(&broker, dead, u32::try_from(MANY).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_look_at_once_both_see_everything_in_order() {
    let broker = shared().await;
    let dead = with_letters(&broker, MANY).await;
    let (one, other) = tokio::join!(look(&broker, &dead), look(&broker, &dead));
    same(&one, &expected(0..MANY));
    same(&other, &one);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_killed_lose_nothing_and_double_nothing() {
    let broker = shared().await;
    let dead = with_letters(&broker, MANY).await;
    for read in [10, MANY, 1, 1] {
        let mut reader = broker.reader().await.unwrap();
        let mut locked = lock(&mut reader, &dead, ReadPurpose::Look).await;
        for _ in 0..read {
            let letter = locked.next().await.unwrap().unwrap();
            locked.keep(letter);
        }
        // As when its process is killed: the connection ends, nothing is given back.
        reader.close().await;
        drop(locked);
        let mut seen = look_for(&broker, &dead, MANY).await;
        // In which order it comes back is no promise.
        seen.sort();
        same(&seen, &expected(0..MANY));
    }
    // The next reader finds the order that the last one saw.
    let seen = look(&broker, &dead).await;
    same(&look(&broker, &dead).await, &seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_looking_half_way_leaves_the_order_as_it_was() {
    let broker = shared().await;
    let dead = with_letters(&broker, MANY).await;
    same(&look(&broker, &dead).await, &expected(0..MANY));
    for purpose in [ReadPurpose::Look, ReadPurpose::Act] {
        let mut reader = broker.reader().await.unwrap();
        let mut locked = lock(&mut reader, &dead, purpose).await;
        let letter = locked.next().await.unwrap().unwrap();
        locked.keep(letter);
        locked.end().await.unwrap();
        same(&look(&broker, &dead).await, &expected(0..MANY));
    }
}

// A consumer that the client crate cancels while its channel ends costs the whole connection, and the lock with it.
#[tokio::test(flavor = "multi_thread")]
async fn looks_that_end_one_after_the_other_leave_the_connection_whole() {
    let broker = shared().await;
    let dead = with_letters(&broker, 300).await;
    let mut reader = broker.reader().await.unwrap();
    for read in [300, 1].repeat(5) {
        let mut locked = lock(&mut reader, &dead, ReadPurpose::Look).await;
        for _ in 0..read {
            let letter = locked.next().await.unwrap().unwrap();
            locked.keep(letter);
        }
        locked.end().await.unwrap();
    }
    same(&look(&broker, &dead).await, &expected(0..300));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_and_the_rest_keeps_its_order() {
    let broker = shared().await;
    let dead = with_letters(&broker, MANY).await;
    let mut reader = broker.reader().await.unwrap();
    let mut locked = lock(&mut reader, &dead, ReadPurpose::Act).await;
    let mut number = 0;
    while let Some(letter) = locked.next().await.unwrap() {
        if number % 3 == 0 {
            assert!(locked.remove(letter));
        } else {
            locked.keep(letter);
        }
        number += 1;
    }
    assert_eq!(number, MANY);
    locked.end().await.unwrap();
    same(&look(&broker, &dead).await, &expected((0..MANY).filter(|n| n % 3 != 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_come_during_a_read_are_not_part_of_it() {
    let broker = shared().await;
    let dead = with_letters(&broker, 5).await;
    let mut reader = broker.reader().await.unwrap();
    let mut locked = lock(&mut reader, &dead, ReadPurpose::Act).await;
    broker.publisher().publish("", &dead, message("later")).await.unwrap();
    let mut taken = Vec::new();
    while let Some(letter) = locked.next().await.unwrap() {
        taken.push(letter);
    }
    assert_eq!(bodies(&taken), expected(0..5));
    taken.into_iter().for_each(|letter| locked.keep(letter));
    locked.end().await.unwrap();
    assert_eq!(look(&broker, &dead).await.last().map(String::as_str), Some("later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_lock_learns_that_somebody_waits_and_who_waits_too_long_is_told() {
    let broker = shared().await;
    let dead = with_letters(&broker, 5).await;
    let mut reader = broker.reader().await.unwrap();
    let held = lock(&mut reader, &dead, ReadPurpose::Act).await;
    assert!(!held.is_waited_for());
    let mut other = broker.reader().await.unwrap();
    let (waited, ()) = tokio::join!(
        other.lock(&dead, ReadPurpose::Look, Duration::from_secs(5)),
        until("somebody waits", async || held.is_waited_for())
    );
    assert!(matches!(waited.unwrap_err(), ReadError::Busy { .. }));
    until("nobody waits any more", async || !held.is_waited_for()).await;
    held.end().await.unwrap();
    lock(&mut other, &dead, ReadPurpose::Look).await.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_at_what_is_closed_to_readers_is_told_at_once_and_who_acts_waits() {
    let broker = shared().await;
    let dead = with_letters(&broker, 5).await;
    let (mut reader, mut other) = (broker.reader().await.unwrap(), broker.reader().await.unwrap());
    let held = lock(&mut reader, &dead, ReadPurpose::Act).await;
    held.set_closed(true);
    let refused = other.lock(&dead, ReadPurpose::Look, LONG).await.unwrap_err();
    assert!(matches!(&refused, ReadError::Closed(queue) if *queue == dead), "{refused}");
    assert!(!held.is_waited_for(), "nobody waits");
    let (patient, ()) = tokio::join!(other.lock(&dead, ReadPurpose::Act, LONGEST_READ), async {
        while !held.is_waited_for() {
            tokio::task::yield_now().await;
        }
        held.end().await.unwrap();
    });
    let held = patient.unwrap();
    held.set_closed(true);
    held.set_closed(false);
    let (looked, ended) = tokio::join!(lock(&mut reader, &dead, ReadPurpose::Look), held.end());
    ended.unwrap();
    assert_eq!(looked.count(), 5);
    looked.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there_is_told_by_its_name_and_leaves_no_lock() {
    let broker = shared().await;
    let mut reader = broker.reader().await.unwrap();
    for _ in 0..2 {
        let error = reader.lock("nowhere.dead", ReadPurpose::Look, LONG).await.unwrap_err();
        assert!(matches!(&error, ReadError::Missing(queue) if queue == "nowhere.dead"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_ends_the_read_and_loses_nothing() {
    let mut node = own_node().await;
    let broker = start(&settings(&node.url()));
    let dead = with_letters(&broker, MANY).await;
    // Killed within a second of a queue's first declaration, RabbitMQ may lose what it confirmed.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mut reader = broker.reader().await.unwrap();
    let mut locked = lock(&mut reader, &dead, ReadPurpose::Look).await;
    let letter = locked.next().await.unwrap().unwrap();
    locked.keep(letter);
    // The same holds for the lock queue, which was declared when the read began.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    node.kill_hard().await.unwrap();
    let ended = async {
        loop {
            match locked.next().await {
                Ok(Some(letter)) => locked.keep(letter),
                Ok(None) => panic!("not everything can have been read"),
                Err(error) => return error,
            }
        }
    };
    let read_on = tokio::time::timeout(LONG, ended).await;
    drop(read_on.expect("the read ends"));
    node.restart().await.unwrap();
    // In which order a killed broker gives back what was out is its own affair: 3.10.8 turns groups of eight round.
    let mut seen = look_for(&broker, &dead, MANY).await;
    seen.sort();
    same(&seen, &expected(0..MANY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_lock_ends_with_the_node_that_its_holder_is_connected_to() {
    let mut cluster = Cluster::of_three().await;
    let mut settings = settings(&cluster.nodes[1].url());
    let broker = start(&settings);
    let dead = with_letters(&broker, 5).await;
    let mut reader = broker.reader().await.unwrap();
    let locked = lock(&mut reader, &dead, ReadPurpose::Act).await;
    // Killed within a second of a queue's first declaration, RabbitMQ may lose what it confirmed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.nodes[1].kill_hard().await.unwrap();
    settings.url = cluster.nodes[2].url().into();
    let other = start(&settings);
    other.wait_ready(LONG).await.unwrap();
    assert_eq!(look_for(&other, &dead, 5).await, expected(0..5));
    drop(locked);
}
