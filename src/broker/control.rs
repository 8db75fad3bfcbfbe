//! Commands to every worker over a fanout exchange, and the answers: plain bytes both ways.
//! Never keeps a command for later: a worker that is away does not get it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer, ExchangeKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{AmqpTrouble, ConnectError, NOT_FOUND, TRIES, code, connect, open_channel, within};
use super::fields::{from_amqp, short};
use super::link::{Link, Live};
use super::names::Names;
use super::nodes::NodeUrls;
use super::port::{PublishError, Publisher};
use crate::backoff::Backoff;
use crate::clock;
use crate::message::{Message, Properties};
use crate::supervisor::Part;

/// After the first answer, how long other workers' answers are waited for.
const OTHERS: Duration = Duration::from_millis(200);

/// Sends to every worker, this one included. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlSender {
    pub(super) publisher: Publisher,
    pub(super) exchange: String,
}

impl ControlSender {
    /// Sends one command.
    ///
    /// # Errors
    /// Any [`PublishError`]: the workers may not have it.
    pub async fn send(&self, body: Bytes) -> Result<(), PublishError> {
        self.publisher.publish(&self.exchange, "", Message { body, properties: Properties::default() }).await
    }
}

/// One command, as every worker gets it.
#[derive(Clone, Debug)]
pub struct ControlMessage {
    /// The command.
    pub body: Bytes,
    reply: Option<(Publisher, String, Option<String>)>,
}

impl ControlMessage {
    /// Whether the sender waits for an answer.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Answers the sender, where it asked for an answer.
    ///
    /// # Errors
    /// Any [`PublishError`]; `Unroutable` when the sender has gone.
    pub async fn reply(&self, body: Bytes) -> Result<(), PublishError> {
        let Some((publisher, to, correlation_id)) = &self.reply else { return Ok(()) };
        let properties = Properties { correlation_id: correlation_id.clone(), ..Properties::default() };
        publisher.publish("", to, Message { body, properties }).await
    }
}

/// Why a command could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection failed on the way.
    #[error("the command may not have reached the workers: {0}")]
    Broken(String),
}

impl From<AmqpTrouble> for ControlError {
    fn from(trouble: AmqpTrouble) -> Self {
        Self::Broken(trouble.to_string())
    }
}

/// Sends one command and returns the workers' answers: none when no worker runs or answers within `timeout`.
///
/// # Errors
/// A sentence that says why the command could not be sent.
pub async fn control_call(
    url: &NodeUrls,
    names: &Names,
    body: Bytes,
    timeout: Duration,
) -> Result<Vec<Bytes>, ControlError> {
    control_gather(url, names, body, timeout, &|_| OTHERS).await
}

/// The same for a command that is answered more than once: after each answer `patience` says of those so far how long the next is waited for.
///
/// # Errors
/// As [`control_call`].
pub async fn control_gather(
    url: &NodeUrls,
    names: &Names,
    body: Bytes,
    timeout: Duration,
    patience: &(dyn Fn(&[Bytes]) -> Duration + Sync),
) -> Result<Vec<Bytes>, ControlError> {
    let mut talk = Conversation::open(url, names).await?;
    let gathered = talk.gather(&body, timeout, patience).await;
    talk.close().await;
    gathered
}

/// Commands that go to every worker, and their answers, for as long as it is open.
pub struct Conversation {
    connection: Connection,
    channel: Channel,
    exchange: String,
    reply_to: String,
    id: String,
    replies: Consumer,
}

impl Conversation {
    /// Opens one, on a connection of its own.
    ///
    /// # Errors
    /// A sentence that says why it could not be opened.
    pub async fn open(url: &NodeUrls, names: &Names) -> Result<Self, ControlError> {
        let connection = connect(url, "sluice command", None).await?.connection;
        let channel = open_channel(&connection).await?;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let (reply_to, replies) = listen(&channel, "".into()).await?;
        let (exchange, id) = (names.control(), Uuid::new_v4().to_string());
        Ok(Self { connection, channel, exchange, reply_to, id, replies })
    }

    /// Sends a command. False where no worker listens.
    ///
    /// # Errors
    /// A sentence that says why it may not have been sent.
    pub async fn say(&self, body: &[u8]) -> Result<bool, ControlError> {
        let properties = BasicProperties::default()
            .with_reply_to(self.reply_to.as_str().into())
            .with_correlation_id(self.id.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = async {
            self.channel.basic_publish(self.exchange.as_str().into(), "".into(), options, body, properties).await?.await
        };
        match within(published).await {
            Ok(confirmed) => Ok(confirmed.take_message().is_none()),
            // No worker has ever run here.
            Err(AmqpTrouble::Amqp(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// The next answer; none once the connection is lost.
    ///
    /// # Errors
    /// A sentence that says how the connection was lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ControlError> {
        while let Some(delivery) = self.replies.next().await {
            let delivery = delivery.map_err(|error| ControlError::Broken(error.to_string()))?;
            if from_amqp(&delivery.properties).correlation_id.as_deref() == Some(&self.id) {
                return Ok(Some(Bytes::from(delivery.data)));
            }
        }
        Ok(None)
    }

    /// Ends it.
    pub async fn close(self) {
        if let Err(trouble) = within(self.connection.close(200, "OK".into())).await {
            tracing::debug!(%trouble, "the connection did not close cleanly");
        }
    }

    async fn gather(
        &mut self,
        body: &[u8],
        timeout: Duration,
        patience: &(dyn Fn(&[Bytes]) -> Duration + Sync),
    ) -> Result<Vec<Bytes>, ControlError> {
        let mut answers = Vec::new();
        if !self.say(body).await? {
            return Ok(answers);
        }
        let mut wait = timeout;
        while let Ok(answer) = tokio::time::timeout(wait, self.next()).await {
            let Some(answer) = answer? else { break };
            answers.push(answer);
            wait = patience(&answers);
        }
        Ok(answers)
    }
}

/// An exclusive queue, consumed without acks. Without a name the broker chooses one.
pub(super) async fn listen(channel: &Channel, name: ShortString) -> Result<(String, Consumer), AmqpTrouble> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = within(channel.queue_declare(name, options, FieldTable::default())).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let tag = Uuid::new_v4().to_string();
    let name = queue.name().clone();
    let consumer =
        within(channel.basic_consume(name.clone(), tag.as_str().into(), options, FieldTable::default())).await?;
    Ok((name.to_string(), consumer))
}

/// The task that listens for commands.
pub(super) struct ControlTask {
    pub(super) link: Link,
    pub(super) names: Names,
    pub(super) publisher: Publisher,
    pub(super) messages: mpsc::Sender<ControlMessage>,
    pub(super) closing: CancellationToken,
}

impl Part for ControlTask {
    /// Listens until nobody takes the commands any more or the broker closes.
    async fn run(&mut self) -> Result<(), String> {
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = self.messages.closed() => {}
            () = self.listen_for_ever() => {}
        }
        Ok(())
    }
}

impl ControlTask {
    async fn listen_for_ever(&self) {
        let mut backoff = Backoff::new(TRIES);
        let mut link = self.link.clone();
        while let Some(live) = link.up().await {
            if let Err(trouble) = self.listen_once(&live, &mut backoff).await
                && !live.gone.is_cancelled()
            {
                tracing::warn!(%trouble, "not listening for commands, trying again until it works");
            }
            clock::sleep(backoff.pause()).await;
        }
    }

    async fn listen_once(&self, live: &Live, backoff: &mut Backoff) -> Result<(), AmqpTrouble> {
        let channel = live.channel().await?;
        let exchange = short("the control exchange", &self.names.control())?;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        within(channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, options, FieldTable::default()))
            .await?;
        let (queue, mut commands) = listen(&channel, "".into()).await?;
        let options = QueueBindOptions::default();
        within(channel.queue_bind(queue.as_str().into(), exchange, "".into(), options, FieldTable::default())).await?;
        backoff.reset();
        while let Some(delivery) = commands.next().await {
            let delivery = delivery?;
            let properties = from_amqp(&delivery.properties);
            let reply = properties.reply_to.map(|to| (self.publisher.clone(), to, properties.correlation_id));
            let message = ControlMessage { body: Bytes::from(delivery.data), reply };
            if self.messages.send(message).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
