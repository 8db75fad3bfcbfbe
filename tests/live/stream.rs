//! Streams: written with confirms, read to their end and beyond, whatever becomes of the connection.

use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use sluice::broker::port::Publisher;
use sluice::broker::{Broker, StreamEvent, StreamSettings, StreamStart, StreamTrouble};
use tokio::sync::mpsc::Receiver;

use crate::support::*;

fn stream(broker: &Broker) -> StreamSettings {
    StreamSettings {
        name: broker.names().history(),
        max_age: Some(Duration::from_hours(24)),
        max_bytes: Some(100_000_000),
        segment_bytes: Some(1_000_000),
    }
}

async fn write(publisher: &Publisher, stream: &StreamSettings, bodies: std::ops::Range<usize>) {
    let all = bodies.map(|n| publisher.publish("", &stream.name, message(n.to_string())));
    try_join_all(all).await.unwrap();
}

async fn next(events: &mut Receiver<StreamEvent>) -> StreamEvent {
    tokio::time::timeout(LONG, events.recv()).await.expect("an event").expect("a reader")
}

/// The bodies up to where the reader says that it has all. They were written at once, so in any order.
async fn caught_up(events: &mut Receiver<StreamEvent>) -> Vec<usize> {
    let (mut read, mut last) = (Vec::new(), None);
    loop {
        match next(events).await {
            StreamEvent::Message(it) => {
                assert!(last.replace(it.offset).is_none_or(|last| last < it.offset), "each comes once, in order");
                read.push(String::from_utf8_lossy(&it.message.body).parse().unwrap());
            }
            StreamEvent::CaughtUp { is_certain: true } => break,
            StreamEvent::CaughtUp { is_certain: false } | StreamEvent::Interrupted(_) => {}
            StreamEvent::Renewed => (read, last) = (Vec::new(), None),
        }
    }
    read.sort_unstable();
    read
}

/// The next bodies, whatever else is told.
async fn read(events: &mut Receiver<StreamEvent>, count: usize) -> Vec<usize> {
    let mut read = Vec::new();
    while read.len() < count {
        if let StreamEvent::Message(it) = next(events).await {
            read.push(String::from_utf8_lossy(&it.message.body).parse().unwrap());
        }
    }
    read.sort_unstable();
    read
}

fn all(numbers: std::ops::Range<usize>) -> Vec<usize> {
    numbers.collect()
}

#[tokio::test]
async fn a_stream_is_read_to_its_end_and_followed_by_any_number_of_readers() {
    let broker = shared().await;
    let (stream, publisher) = (stream(&broker), broker.stream_publisher(&stream(&broker)));
    write(&publisher, &stream, 0..3_000).await;
    let mut first = broker.read_stream(&stream.name, StreamStart::First, publisher.clone());
    assert_eq!(caught_up(&mut first).await, all(0..3_000));
    write(&publisher, &stream, 3_000..3_010).await;
    assert_eq!(read(&mut first, 10).await, all(3_000..3_010));
    let mut second = broker.read_stream(&stream.name, StreamStart::First, publisher.clone());
    assert_eq!(caught_up(&mut second).await, all(0..3_010), "marks of readers are nobody's messages");
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn an_empty_stream_ends_at_once() {
    let broker = shared().await;
    let (stream, publisher) = (stream(&broker), broker.stream_publisher(&stream(&broker)));
    let mut events = broker.read_stream(&stream.name, StreamStart::First, publisher);
    assert_eq!(caught_up(&mut events).await, all(0..0));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_reader_begins_where_it_is_told() {
    let broker = shared().await;
    let (stream, publisher) = (stream(&broker), broker.stream_publisher(&stream(&broker)));
    for n in 0..100 {
        write(&publisher, &stream, n..n + 1).await;
    }
    let mut from_offset = broker.read_stream(&stream.name, StreamStart::Offset(90), publisher.clone());
    assert_eq!(caught_up(&mut from_offset).await, all(90..100));
    let mut from_beyond = broker.read_stream(&stream.name, StreamStart::Offset(9_000), publisher.clone());
    let mut from_next = broker.read_stream(&stream.name, StreamStart::Next, publisher.clone());
    assert_eq!(caught_up(&mut from_next).await, all(0..0));
    let hour_ago = StreamStart::At(Timestamp::now() - Duration::from_hours(1));
    let mut from_time = broker.read_stream(&stream.name, hour_ago, publisher.clone());
    assert_eq!(caught_up(&mut from_time).await, all(0..100));
    // Where there is no such place yet, the mark that does not come tells that the stream is another.
    assert_eq!(next(&mut from_beyond).await, StreamEvent::Renewed);
    assert_eq!(caught_up(&mut from_beyond).await, all(0..100));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn without_a_stream_the_reader_says_so_and_reads_it_once_it_is_there() {
    let broker = shared().await;
    let stream = stream(&broker);
    let mut events = broker.read_stream(&stream.name, StreamStart::First, broker.publisher());
    let missing = StreamEvent::Interrupted(StreamTrouble::Missing(stream.name.clone()));
    assert_eq!(next(&mut events).await, missing);
    write(&broker.stream_publisher(&stream), &stream, 0..5).await;
    // It may have been there, and read to its end, before the first of them.
    assert_eq!(read(&mut events, 5).await, all(0..5));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_stream_with_other_settings_is_used_as_it_is() {
    let broker = shared().await;
    let wanted = stream(&broker);
    write(&broker.stream_publisher(&wanted), &wanted, 0..5).await;
    let other = StreamSettings { max_age: Some(Duration::from_hours(48)), ..wanted.clone() };
    write(&broker.stream_publisher(&other), &other, 5..10).await;
    let mut events = broker.read_stream(&wanted.name, StreamStart::First, broker.publisher());
    assert_eq!(caught_up(&mut events).await, all(0..10));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn lost_connections_an_alarm_and_a_deleted_stream_cost_a_reader_nothing() {
    let node = own_node().await;
    let broker = start(&settings(&node.url()));
    let (stream, publisher) = (stream(&broker), broker.stream_publisher(&stream(&broker)));
    write(&publisher, &stream, 0..1_000).await;
    let mut events = broker.read_stream(&stream.name, StreamStart::First, publisher.clone());
    assert_eq!(caught_up(&mut events).await, all(0..1_000));

    node.ctl(&["close_all_connections", "test"]).await.unwrap();
    assert!(matches!(next(&mut events).await, StreamEvent::Interrupted(StreamTrouble::Broken { .. })));
    assert_eq!(caught_up(&mut events).await, all(0..0), "nothing comes again");
    write(&publisher, &stream, 1_000..1_010).await;
    assert_eq!(read(&mut events, 10).await, all(1_000..1_010));

    node.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await.unwrap();
    // The alarm is told when something is published.
    let blocked = tokio::spawn({
        let (publisher, stream) = (publisher.clone(), stream.clone());
        async move { publisher.publish("", &stream.name, message("1010")).await }
    });
    let mut status = broker.status();
    tokio::time::timeout(LONG, status.wait_for(|status| !status.takes_publications())).await.unwrap().unwrap();
    let mut in_alarm = broker.read_stream(&stream.name, StreamStart::Offset(990), broker.publisher());
    let mut before = 0;
    loop {
        match next(&mut in_alarm).await {
            StreamEvent::Message(_) => before += 1,
            StreamEvent::CaughtUp { is_certain } => break assert!(!is_certain),
            other @ (StreamEvent::Interrupted(_) | StreamEvent::Renewed) => panic!("{other:?}"),
        }
    }
    assert!(before >= 19, "{before}");
    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.unwrap();
    caught_up(&mut in_alarm).await;
    drop(blocked.await.unwrap());

    node.ctl(&["delete_queue", &stream.name]).await.unwrap();
    loop {
        match next(&mut events).await {
            StreamEvent::Renewed => break,
            StreamEvent::Message(_) | StreamEvent::Interrupted(_) | StreamEvent::CaughtUp { .. } => {}
        }
        // Whatever of them finds that it is gone, the stream is declared anew by the next that is published.
        drop(publisher.publish("", &stream.name, message("7")).await);
    }
    assert!(caught_up(&mut events).await.iter().all(|it| *it == 7));
    assert!(broker.close(LONG).await);
}
