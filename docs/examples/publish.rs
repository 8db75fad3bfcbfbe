//! Publishes one event to Sluice with lapin, as a CloudEvents envelope. Prints its id once the broker has it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program of its own, which Sluice's habits do not bind"
)]

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

type Error = Box<dyn std::error::Error + Send + Sync>;

const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];
/// A broker that is out of memory or disk confirms nothing: an error is better than a wait without end.
const WITHIN: Duration = Duration::from_secs(30);

/// Keeps one connection, and opens a new one when it was lost.
struct Publisher {
    url: String,
    exchange: String,
    open: Option<(Connection, Channel)>,
}

impl Publisher {
    /// Returns once the broker has the event.
    async fn publish(&mut self, event: &Value) -> Result<(), Error> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let outcome = timeout(WITHIN, self.try_once(event)).await;
            let blocked = self.open.as_ref().is_some_and(|(connection, _)| connection.status().blocked());
            if !matches!(outcome, Ok(Ok(_))) {
                self.open = None; // the next try opens another
            }
            let error: Error = match outcome {
                Ok(Ok(Confirmation::Ack(None))) => return Ok(()),
                Ok(Ok(Confirmation::Ack(Some(_)))) => return Err("no queue takes it from the exchange".into()),
                Ok(Ok(_)) => "the broker refused it".into(),
                // No such exchange, no permission: a mistake that no repetition fixes.
                Ok(Err(error)) if error.is_amqp_soft_error() => return Err(error.into()),
                Ok(Err(error)) => error.into(),
                // The broker may still take what it was sent once it has room: a repetition would come twice.
                Err(_) if blocked => return Err("the broker is out of memory or disk and takes nothing".into()),
                Err(_) => "no confirm in time".into(),
            };
            // It may have arrived all the same, so it goes again as the same event: with the same id.
            let Some(pause) = pauses.next() else { return Err(error) };
            eprintln!("event {}: {error}, trying again in {pause:?}", event["id"]);
            sleep(pause).await;
        }
    }

    async fn try_once(&mut self, event: &Value) -> lapin::Result<Confirmation> {
        let (_, channel) = match &mut self.open {
            Some(open) => open,
            none => none.insert(connect(&self.url).await?),
        };
        let (exchange, kind) = (self.exchange.as_str(), event["type"].as_str().unwrap_or_default());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let properties = persistent.with_content_type("application/cloudevents+json".into());
        let body = event.to_string();
        let sent = channel.basic_publish(exchange.into(), kind.into(), options, body.as_bytes(), properties).await?;
        // One at a time: with several under way, lapin may hand a returned message to another's confirm.
        sent.await
    }

    async fn close(self) -> lapin::Result<()> {
        match self.open {
            Some((connection, _)) => connection.close(200, "done".into()).await,
            None => Ok(()),
        }
    }
}

async fn connect(url: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let exchange = std::env::var("SLUICE_EXCHANGE").unwrap_or_else(|_| "sluice.events".to_owned());
    let mut publisher = Publisher { url: std::env::var("AMQP_URL")?, exchange, open: None };
    let event = json!({
        "specversion": "1.0",
        "id": uuid::Uuid::new_v4().to_string(), // made once, where the thing happens, and kept with it
        "source": "/shop",
        "type": "order.paid",
        "time": jiff::Timestamp::now().to_string(),
        "data": { "order": { "number": "A-17", "customer": "u-1", "total": 59.9 } },
    });
    publisher.publish(&event).await?;
    publisher.close().await?;
    println!("{}", event["id"].as_str().unwrap_or_default());
    Ok(())
}
