//! What is declared, and what is said when the broker has it otherwise.

use std::io::Write;
use std::sync::{Arc, Mutex};

use sluice::broker::port::Prefetch;
use sluice::broker::{Broker, Declare};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::*;

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    async fn wait_for(&self, words: &str) {
        for _ in 0..1_600 {
            if self.text().contains(words) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{words:?} was not logged, but: {}", self.text());
    }
}

/// Two workers that want different delivery limits; the second declares as told.
async fn second_worker(declare: Declare) -> (Broker, Broker, Log, tracing::subscriber::DefaultGuard) {
    let mut settings = settings(&shared_url().await);
    let first = start(&settings);
    let _inbox = open(&first).await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    settings.delivery_limit = 7;
    settings.declare = declare;
    (first, start(&settings), log, guard)
}

#[tokio::test]
async fn create_names_the_argument_that_differs_and_does_not_consume() {
    let (first, second, log, _guard) = second_worker(Declare::Create).await;
    let inbox = second.open(queues("px"));
    inbox.live.prefetch.send(Prefetch::Of(1)).unwrap();
    log.wait_for("x-delivery-limit").await;
    assert!(log.text().contains("declare = \"check\""), "{}", log.text());
    assert!(!*inbox.live.consuming.borrow());
    assert!(first.close(LONG).await && second.close(LONG).await);
}

#[tokio::test]
async fn check_shows_the_difference_and_works_on() {
    let (first, second, log, _guard) = second_worker(Declare::Check).await;
    let mut inbox = second.open(queues("px"));
    consume(&inbox, 5).await;
    assert!(log.text().contains("x-delivery-limit"), "{}", log.text());
    let lacks = log.text().lines().filter(|line| line.contains("lacks this retry queue")).count();
    assert_eq!(lacks, 4, "no event has needed them yet: {}", log.text());
    let laters = log.text().lines().filter(|line| line.contains("lacks the queues for events that may not")).count();
    assert_eq!(laters, 2, "of either class: {}", log.text());
    publish(&second, 1).await;
    assert!(take(&mut inbox, 1).await.into_iter().all(ack));
    assert!(first.close(LONG).await && second.close(LONG).await);
}

#[tokio::test]
async fn check_says_what_is_missing() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let url = shared_url().await;
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut settings = settings(&url);
    settings.declare = Declare::Check;
    let broker = start(&settings);
    let inbox = broker.open(queues("px"));
    log.wait_for("no exchange").await;
    assert!(!*inbox.live.consuming.borrow());
    broker.close(LONG).await;
}

#[tokio::test]
async fn unbound_patterns_get_no_more_events() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    broker.unbind("px", &["shop.#".to_owned()]).await.unwrap();
    publish(&broker, 3).await;
    depth(&broker, broker.names().unrouted(), 3).await;
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn depths_are_ready_counts_and_a_missing_queue_has_none() {
    let broker = shared().await;
    let _inbox = open(&broker).await;
    publish(&broker, 4).await;
    depth(&broker, broker.names().queue("px"), 4).await;
    let asked = ["nowhere".to_owned(), broker.names().queue("px"), broker.names().dead("px")];
    assert_eq!(broker.depths(&asked).await.unwrap(), [None, Some(4), Some(0)]);
    // More than are asked for together, with missing ones beside each other, far apart and at the end.
    let many: Vec<String> = (0..200).map(|n| asked[usize::from(![3, 4, 70, 199].contains(&n))].clone()).collect();
    let depths = broker.depths(&many).await.unwrap();
    let missing: Vec<usize> = (0..200).filter(|n| depths[*n].is_none()).collect();
    assert_eq!((depths.len(), missing), (200, vec![3, 4, 70, 199]));
    assert!(depths.iter().flatten().all(|count| *count == 4));
    assert!(broker.close(LONG).await);
}

#[tokio::test]
async fn a_refusal_for_want_of_rights_says_which_and_advises_nobody_to_delete_anything() {
    let node = own_node().await;
    let first = start(&settings(&node.url()));
    let _inbox = open(&first).await;
    node.ctl(&["add_user", "ann", "secret"]).await.unwrap();
    node.ctl(&["set_permissions", "ann", "^$", ".*", ".*"]).await.unwrap();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let second = start(&settings(&node.url().replace("guest:guest", "ann:secret")));
    let inbox = second.open(queues("px"));
    log.wait_for("not consuming").await;
    let text = log.text();
    assert!(text.contains("ACCESS_REFUSED") && text.contains("rabbitmqctl set_permissions"), "{text}");
    assert!(!text.contains("delete") && !text.contains("drain"), "{text}");
    assert!(!*inbox.live.consuming.borrow());
    assert!(first.close(LONG).await);
}

#[tokio::test]
async fn who_may_only_use_what_is_there_works_with_it_and_is_told_that_it_was_not_compared() {
    let node = own_node().await;
    let mut settings = settings(&node.url());
    let first = start(&settings);
    drop(open(&first).await);
    node.ctl(&["add_user", "ann", "secret"]).await.unwrap();
    node.ctl(&["set_permissions", "ann", "^amq.gen-.*$", ".*", ".*"]).await.unwrap();
    settings.url = node.url().replace("guest:guest", "ann:secret").into();
    settings.declare = Declare::Check;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let second = start(&settings);
    let mut inbox = second.open(queues("px"));
    consume(&inbox, 5).await;
    assert!(log.text().contains("cannot be compared"), "{}", log.text());
    publish(&first, 1).await;
    assert!(take(&mut inbox, 1).await.into_iter().all(ack));
    assert!(first.close(LONG).await && second.close(LONG).await);
}
