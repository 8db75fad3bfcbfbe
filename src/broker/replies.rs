//! An exclusive queue of a known name that others answer to: plain bytes out. Declared again after every loss of the connection.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{AmqpTrouble, TRIES, close_channel};
use super::control::listen;
use super::fields::short;
use super::link::{Link, Live};
use crate::backoff::Backoff;
use crate::clock;
use crate::supervisor::Part;

/// Answers on their way to whoever waits for them.
pub(super) const ROOM: usize = 4096;
/// The longest pause between tries: a lost connection of ours may still have the queue.
const MOST_PAUSE: Duration = Duration::from_secs(1);

/// The task that listens for answers.
pub(super) struct RepliesTask {
    pub(super) link: Link,
    pub(super) queue: String,
    pub(super) replies: mpsc::Sender<Bytes>,
    pub(super) listening: watch::Sender<bool>,
    pub(super) closing: CancellationToken,
}

impl Part for RepliesTask {
    /// Listens until nobody takes the answers any more or the broker closes.
    async fn run(&mut self) -> Result<(), String> {
        let (replies, closing) = (self.replies.clone(), self.closing.clone());
        self.listening.send_replace(false);
        tokio::select! {
            () = closing.cancelled() => {}
            () = replies.closed() => {}
            () = self.listen_for_ever() => {}
        }
        Ok(())
    }
}

impl RepliesTask {
    async fn listen_for_ever(&mut self) {
        let mut backoff = Backoff::new(TRIES);
        while let Some(live) = self.link.up().await {
            if let Err(trouble) = self.listen_once(&live).await {
                tracing::debug!(%trouble, queue = self.queue, "not listening for answers, trying again");
            }
            self.listening.send_replace(false);
            clock::sleep(backoff.pause().min(MOST_PAUSE)).await;
        }
    }

    async fn listen_once(&self, live: &Live) -> Result<(), AmqpTrouble> {
        let channel = live.channel().await?;
        let (_, mut consumer) = listen(&channel, short("the queue for answers", &self.queue)?).await?;
        self.listening.send_replace(true);
        while let Some(delivery) = consumer.next().await {
            if self.replies.send(Bytes::from(delivery?.data)).await.is_err() {
                break;
            }
        }
        close_channel(&channel).await;
        Ok(())
    }
}
