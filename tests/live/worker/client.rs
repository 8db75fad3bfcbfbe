//! An ordinary AMQP client, which knows nothing of Sluice but the contract.

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::stage::until;

pub struct Client {
    connection: Connection,
    channel: Channel,
    prefix: String,
}

/// A message as it lies in a queue.
#[derive(Debug)]
pub struct Found {
    pub body: Vec<u8>,
    pub properties: BasicProperties,
}

impl Client {
    pub async fn connect(url: &str, prefix: &str) -> Self {
        Self::try_connect(url, prefix).await.unwrap()
    }

    pub async fn try_connect(url: &str, prefix: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel, prefix: prefix.to_owned() })
    }

    /// Publishes to the events exchange; returns once confirmed.
    pub async fn publish(&self, key: &str, body: impl AsRef<[u8]>, properties: BasicProperties) {
        let exchange = self.name("events");
        let sent = self
            .channel
            .basic_publish(
                exchange,
                key.into(),
                BasicPublishOptions::default(),
                body.as_ref(),
                properties.with_delivery_mode(2),
            )
            .await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }

    /// Publishes to a queue; returns once confirmed.
    pub async fn publish_to(&self, queue: &str, body: &[u8]) {
        let (options, properties) = (BasicPublishOptions::default(), plain().with_delivery_mode(2));
        let sent = self.channel.basic_publish("".into(), self.name(queue), options, body, properties).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }

    /// Publishes plain events for Gainsight PX with these numbers as ids, all confirmed at the end.
    pub async fn publish_all(&self, key: &str, numbers: impl IntoIterator<Item = u64>) {
        assert!(self.try_publish_all(key, numbers).await.unwrap());
    }

    /// The same where the broker may go away; whether it took all of them.
    pub async fn try_publish_all(&self, key: &str, numbers: impl IntoIterator<Item = u64>) -> lapin::Result<bool> {
        self.try_publish_all_to("events", key, numbers).await
    }

    /// The same to the exchange of events that may wait.
    pub async fn publish_bulk(&self, key: &str, numbers: impl IntoIterator<Item = u64>) {
        assert!(self.try_publish_all_to("bulk", key, numbers).await.unwrap());
    }

    async fn try_publish_all_to(
        &self,
        exchange: &str,
        key: &str,
        numbers: impl IntoIterator<Item = u64>,
    ) -> lapin::Result<bool> {
        let mut confirms = Vec::new();
        for number in numbers {
            let properties = plain().with_message_id(format!("e-{number}").into()).with_delivery_mode(2);
            let body = event(number).to_string();
            let sent = self.channel.basic_publish(
                self.name(exchange),
                key.into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            );
            confirms.push(sent.await?);
        }
        let mut taken = true;
        for confirm in confirms {
            taken &= confirm.await?.is_ack();
        }
        Ok(taken)
    }

    /// Binds a new queue of this client's own to an exchange. False where there is no such exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, pattern: &str) -> bool {
        let channel = self.connection.create_channel().await.unwrap();
        let (queue, exchange) = (self.name(queue), self.name(exchange));
        let declared =
            channel.queue_declare(queue.clone(), QueueDeclareOptions::default(), FieldTable::default()).await;
        declared.unwrap();
        channel
            .queue_bind(queue, exchange, pattern.into(), QueueBindOptions::default(), FieldTable::default())
            .await
            .is_ok()
    }

    /// Deletes an exchange, as somebody may by mistake.
    pub async fn delete_exchange(&self, exchange: &str) {
        self.channel.exchange_delete(self.name(exchange), ExchangeDeleteOptions::default()).await.unwrap();
    }

    /// Deletes a queue, as somebody may by mistake.
    pub async fn delete_queue(&self, queue: &str) {
        self.channel.queue_delete(self.name(queue), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Messages ready in a queue; None where there is no such queue.
    pub async fn depth(&self, queue: &str) -> Option<u32> {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(self.name(queue), options, FieldTable::default()).await;
        declared.ok().map(|queue| queue.message_count())
    }

    /// Consumers at a queue; None where there is no such queue.
    pub async fn consumers(&self, queue: &str) -> Option<u32> {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(self.name(queue), options, FieldTable::default()).await;
        declared.ok().map(|queue| queue.consumer_count())
    }

    /// Consumes a queue without acking anything: what is taken comes again once this client is gone.
    pub async fn consume(&self, queue: &str) -> lapin::Consumer {
        let options = BasicConsumeOptions::default();
        self.channel.basic_consume(self.name(queue), "".into(), options, FieldTable::default()).await.unwrap()
    }

    /// Waits until a queue holds so many messages.
    pub async fn holds(&self, queue: &str, messages: u32) {
        until(&format!("{queue} holds {messages}"), async || self.depth(queue).await == Some(messages)).await;
    }

    /// Takes the first message of a queue without acking it, which gives it back once this client is gone.
    pub async fn take(&self, queue: &str, no_ack: bool) -> Option<Found> {
        let got = self.channel.basic_get(self.name(queue), BasicGetOptions { no_ack }).await.unwrap()?;
        Some(Found { body: got.delivery.data, properties: got.delivery.properties })
    }

    /// Takes all messages of a queue away.
    pub async fn drain(&self, queue: &str) -> Vec<Found> {
        let mut found = Vec::new();
        while let Some(message) = self.take(queue, true).await {
            found.push(message);
        }
        found
    }

    /// Cuts the connection with what was taken unsettled.
    pub async fn leave(self) {
        self.connection.close(200, "done".into()).await.unwrap();
    }

    fn name(&self, object: &str) -> ShortString {
        format!("{}.{object}", self.prefix).into()
    }
}

impl Found {
    /// A header that holds text.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.properties.headers().as_ref()?;
        let value = headers.inner().get(&ShortString::from(name))?;
        value.as_long_string().map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned())
    }

    pub fn id(&self) -> String {
        self.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Properties of the plain form.
pub fn plain() -> BasicProperties {
    BasicProperties::default().with_content_type("application/json".into())
}

/// An event's data in Gainsight PX's own shape.
pub fn event(number: u64) -> serde_json::Value {
    serde_json::json!({ "eventId": format!("e-{number}"), "identifyId": "u-1", "eventName": "Report exported" })
}
