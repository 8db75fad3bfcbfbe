//! An exclusive queue of a known name that others answer to: plain bytes out. Made anew after every loss of the connection.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{Trouble, close_channel, within};
use super::fields::short;
use super::link::{Link, Live};
use super::pause::Pause;
use crate::clock;
use crate::supervisor::Part;

/// Answers on their way to whoever waits for them.
pub(super) const ROOM: usize = 4096;
/// While another connection of ours, which is lost, still has the queue.
const MOST_PAUSE: Duration = Duration::from_secs(1);

/// The task's belongings.
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
        let mut pause = Pause::new();
        while let Some(live) = self.link.up().await {
            if let Err(trouble) = self.listen_once(&live).await {
                tracing::debug!(%trouble, queue = self.queue, "not listening for answers, trying again");
            }
            self.listening.send_replace(false);
            clock::sleep(pause.next().min(MOST_PAUSE)).await;
        }
    }

    async fn listen_once(&self, live: &Live) -> Result<(), Trouble> {
        let channel = live.channel().await?;
        let queue = short("the queue for answers", &self.queue)
            .map_err(|too_long| lapin::Error::from(std::io::Error::other(too_long)))?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        within(channel.queue_declare(queue.clone(), options, FieldTable::default())).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let tag = Uuid::new_v4().to_string();
        let mut consumer =
            within(channel.basic_consume(queue, tag.as_str().into(), options, FieldTable::default())).await?;
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
