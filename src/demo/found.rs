//! Where the events ended: ids read from the real queues and from what the sandbox took go into the accounts.
//! Whatever is read stays where it lies.

use std::time::Duration;

use serde_json::Value;

use super::accounts::{Accounts, Ending};
use super::events::{BYSTANDER, TROUBLED};
use super::worker::HOOK;
use super::{Error, doing};
use crate::broker::port::{Appetite, Delivery, Disposition};
use crate::broker::{Broker, DestinationQueues};
use crate::message::{Field, Message};
use crate::sandbox::Handle;

/// The sandbox's name for the troubled destination's account.
pub const PX: &str = "gainsight-px";
/// The most bodies that the sandbox is asked for: all that it keeps.
const BODIES: usize = 10_000;
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Writes down what both vendors took.
pub fn deliveries(sandbox: &Handle, accounts: &mut Accounts) {
    for (endpoint, destination) in [(PX, TROUBLED), (HOOK, BYSTANDER)] {
        for body in sandbox.events(Some(endpoint), BODIES) {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let id = ["eventId", "id"].iter().find_map(|field| body.get(field).and_then(Value::as_str));
            accounts.see(id.unwrap_or("an event without id"), Ending::Delivered(destination.to_owned()));
        }
    }
}

/// Writes down what lies in the dead-letter queues, by the reason in its header, and what nobody subscribes to.
///
/// # Errors
/// A queue could not be read in time.
pub async fn leftovers(broker: &Broker, accounts: &mut Accounts) -> Result<(), Error> {
    for destination in [TROUBLED, BYSTANDER] {
        for message in read(broker, &format!("{destination}.dead")).await? {
            let reason = header(&message, "x-sluice-reason").unwrap_or("no reason given").to_owned();
            accounts.see(id(&message), Ending::Dead(reason));
        }
    }
    for message in read(broker, "unrouted").await? {
        accounts.see(id(&message), Ending::Unrouted);
    }
    Ok(())
}

/// All that lies in the queue with this name after the prefix. The broker handle declares nothing, so that any queue
/// can be read like a destination's own.
async fn read(broker: &Broker, name: &str) -> Result<Vec<Message>, Error> {
    let queue = broker.names().queue(name);
    let depths =
        broker.depths(std::slice::from_ref(&queue)).await.map_err(|error| Error::Queue(queue.clone(), error))?;
    let depth = depths.first().copied().flatten().unwrap_or(0);
    if depth == 0 {
        return Ok(Vec::new());
    }
    let queues = DestinationQueues { name: name.to_owned(), subscribe: Vec::new(), retry_delays: Vec::new() };
    let mut inbox = broker.open(queues);
    inbox.appetite.send_replace(Appetite::Prefetch(u16::try_from(depth).unwrap_or(u16::MAX)));
    let (mut messages, mut tickets) = (Vec::new(), Vec::new());
    let reading = async {
        for _ in 0..depth {
            let Some(Delivery { message, ticket, .. }) = inbox.deliveries.recv().await else { break };
            messages.push(message);
            tickets.push(ticket);
        }
    };
    let read = tokio::time::timeout(READ_WITHIN, reading).await;
    // Returned last first, they lie in their old order again.
    for ticket in tickets.into_iter().rev() {
        ticket.settle(Disposition::Requeue);
    }
    inbox.close();
    read.map_err(|_| doing(&format!("read the queue {queue}"))(std::io::ErrorKind::TimedOut.into()))?;
    Ok(messages)
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.properties.headers.get(name).and_then(Field::as_str)
}

fn id(message: &Message) -> &str {
    let given = header(message, "x-sluice-event-id").or(message.properties.message_id.as_deref());
    given.unwrap_or("an event without id")
}
