//! A queue that confirms nothing, as one that has lost its majority, beside others that do; and a broker that is not heard any more.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use sluice::broker::port::{Inbox, PublishError};
use sluice::clock;
use sluice::demo::node::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::*;
use crate::worker::stage::until;

/// Stops the process behind a quorum queue, or lets it go on: nothing is committed meanwhile, as without a majority.
async fn silence(node: &Node, queue: &str, silent: bool) {
    let what = if silent { "suspend" } else { "resume" };
    let said = node.ctl(&["eval", &format!("sys:{what}('%2F_{queue}').")]).await.unwrap();
    assert_eq!(said.trim(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_confirms_nothing_holds_up_only_what_goes_to_it() {
    let node = own_node().await;
    let broker = start(&settings(&node.url()));
    let _inbox = open(&broker).await;
    let (publisher, dead, own) = (broker.publisher(), broker.names().dead("px"), broker.names().queue("px"));
    silence(&node, &dead, true).await;
    let many = (0..300).map(|_| publisher.publish("", &dead, message("letter")));
    let letters = async { join_all(many).await };
    let others = async {
        for round in 0..5 {
            let many = join_all((0..100).map(|_| publisher.publish("", &own, message("event")))).await;
            // The first that was behind one for the silent queue, on the same channel.
            let in_doubt = many.iter().filter(|outcome| outcome.is_err()).count();
            assert!(in_doubt <= usize::from(round == 0), "{in_doubt} in round {round}");
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    };
    let (outcomes, ()) = tokio::join!(letters, others);
    let is_told =
        |outcome: &Result<(), PublishError>| matches!(outcome, Err(PublishError::TimedOut(_) | PublishError::Refused));
    assert!(outcomes.iter().all(is_told), "{outcomes:?}");
    assert_eq!(broker.status().borrow().publishing.epochs, 1, "over the connection that there was");
    silence(&node, &dead, false).await;
    until("it is published to again", async || publisher.publish("", &dead, message("letter")).await.is_ok()).await;
    assert_eq!(publisher.publish("", &own, message("event")).await, Ok(()));
    assert!(broker.close(LONG).await);
}

/// A way to the broker that can be cut without either end knowing.
async fn way(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (cut, is_cut) = watch::channel(false);
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (near, far) = (near.into_split(), TcpStream::connect(to).await.unwrap().into_split());
            tokio::spawn(carry(near.0, far.1, is_cut.clone()));
            tokio::spawn(carry(far.0, near.1, is_cut.clone()));
        }
    });
    (address, cut)
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if is_cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// A way to a broker, and the URL that leads over it, with more behind.
async fn over_a_way(url: &str, more: &str) -> (String, watch::Sender<bool>) {
    let (before, after) = url.rsplit_once('@').unwrap();
    let (to, after) = after.split_once('/').unwrap();
    let (address, cut) = way(to.parse().unwrap()).await;
    (format!("{before}@{address}/{after}{more}"), cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_heard_while_it_is_there_and_not_over_a_way_that_was_cut() {
    let (url, cut) = over_a_way(&shared_url().await, "").await;
    let broker = start(&settings(&url));
    let mut inbox = open(&broker).await;
    publish(&broker, 1).await;
    consume(&inbox, 10).await;
    let taken = take(&mut inbox, 1).await.remove(0);
    let age = Duration::from_millis(400);
    inbox.proof.want(Some(age));
    for _ in 0..20 {
        until("it is heard", async || inbox.proof.is_fresh(age, clock::now())).await;
        tokio::time::sleep(age / 4).await;
    }
    cut.send(true).unwrap();
    until("it is not heard any more", async || !inbox.proof.is_fresh(age, clock::now())).await;
    assert!(taken.ticket.is_live(), "nobody has been told");
    tokio::time::timeout(LONG, taken.ticket.epoch().cancelled()).await.expect("the channel is given up");
    cut.send(false).unwrap();
    let again = take(&mut inbox, 1).await;
    until("it is heard again", async || inbox.proof.is_fresh(age, clock::now())).await;
    assert!(again[0].redelivered);
    taken.ticket.leave();
    again.into_iter().for_each(|delivery| assert!(ack(delivery)));
    assert!(broker.close(LONG).await);
}

// A consumer that the client crate cancels while its channel is closed costs the whole connection, and all destinations on it. Whether it
// does depends on which is sent first: with many it is met.
#[tokio::test(flavor = "multi_thread")]
async fn channels_that_are_given_up_leave_the_connection_whole() {
    let (url, cut) = over_a_way(&shared_url().await, "?heartbeat=600").await;
    let broker = start(&settings(&url));
    let inboxes: Vec<_> = (0..16).map(|number| broker.open(queues(&format!("px-{number}")))).collect();
    join_all(inboxes.iter().map(|inbox| consume(inbox, 10))).await;
    cut.send(true).unwrap();
    for inbox in &inboxes {
        inbox.proof.want(Some(Duration::from_millis(400)));
    }
    let given_up = async |inbox: &Inbox| drop(inbox.live.consuming.clone().wait_for(|is| !*is).await.unwrap());
    tokio::time::timeout(LONG, join_all(inboxes.iter().map(given_up))).await.expect("the channels are given up");
    cut.send(false).unwrap();
    join_all(inboxes.iter().map(|inbox| consume(inbox, 10))).await;
    assert_eq!(broker.status().borrow().consuming.epochs, 1, "over the connection that there was");
    assert!(broker.close(LONG).await);
}
