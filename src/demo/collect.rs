//! Finds where the events ended: reads ids from the real queues and from the sandbox, and enters them into the accounts. Nothing is taken
//! out of the queues.

use std::time::Duration;

use serde_json::Value;

use super::accounts::{Accounts, Ending};
use super::events::purchases::{self, WRONG_FIELD};
use super::events::{BACKLOGGED, BYSTANDER, DESTINATIONS, ORDERED, TROUBLED, webinars};
use super::worker::HOOK;
use super::{Error, doing};
use crate::broker::{Broker, ReadError, ReadPurpose};
use crate::message::{Field, Message, header};
use crate::sandbox::SandboxHandle;

/// The sandbox's names for the destinations' accounts.
pub const ENDPOINTS: [(&str, &str); 4] =
    [(TROUBLED, "gainsight-px"), (BACKLOGGED, "act-on"), (ORDERED, "apsis-one"), (BYSTANDER, HOOK)];
/// Where the sandbox counts the sign-ins of the backlogged destination.
pub const SIGN_INS: &str = "act-on/auth";
/// How many events the sandbox keeps: all of the demo's.
pub const KEPT: usize = 20_000;
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What was seen beside where the events ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anomalies {
    /// Events of the backlogged destination that arrived otherwise than they were published.
    pub changed: u64,
    /// Events of the ordered destination that arrived for another profile.
    pub misaddressed: u64,
    /// Events of the ordered destination that arrived after a later one of their profile.
    pub out_of_order: u64,
    /// Dead letters of the ordered destination whose sentence names the wrong field.
    pub field_named: u64,
}

/// Writes down what the vendors took.
pub fn deliveries(sandbox: &SandboxHandle, accounts: &mut Accounts) -> Anomalies {
    let mut seen = Anomalies::default();
    for (destination, endpoint) in ENDPOINTS {
        let bodies = sandbox.events(Some(endpoint), KEPT);
        let bodies: Vec<Value> = bodies.iter().map(|body| serde_json::from_slice(body).unwrap_or_default()).collect();
        let ids: Vec<&str> = bodies.iter().map(id_in).collect();
        for id in &ids {
            accounts.see(*id, Ending::Delivered(destination.to_owned()));
        }
        let otherwise = |is_unchanged: fn(&Value) -> bool| count(bodies.iter().filter(|body| !is_unchanged(body)));
        if destination == BACKLOGGED {
            seen.changed = otherwise(webinars::is_unchanged);
        } else if destination == ORDERED {
            seen.misaddressed = otherwise(purchases::is_unchanged);
            seen.out_of_order = purchases::out_of_order(ids.into_iter());
        }
    }
    seen
}

/// The id that each vendor is sent in a field of its own.
fn id_in(body: &Value) -> &str {
    let fields = ["/eventId", "/note", "/data/order", "/id"];
    fields.iter().find_map(|field| body.pointer(field).and_then(Value::as_str)).unwrap_or("an event without id")
}

/// Writes down what lies in the dead-letter queues, by the reason in its header, and what nobody subscribes to.
///
/// # Errors
/// A queue could not be read in time.
pub async fn leftovers(broker: &Broker, accounts: &mut Accounts, seen: &mut Anomalies) -> Result<(), Error> {
    for destination in DESTINATIONS {
        for message in read(broker, &format!("{destination}.dead")).await? {
            let reason = text(&message, header::REASON).unwrap_or("no reason given").to_owned();
            let sentence = text(&message, header::SENTENCE).unwrap_or_default();
            seen.field_named += u64::from(destination == ORDERED && sentence.contains(&format!("{WRONG_FIELD:?}")));
            accounts.see(id(&message), Ending::Dead(reason));
        }
    }
    for message in read(broker, "unrouted").await? {
        accounts.see(id(&message), Ending::Unrouted);
    }
    Ok(())
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}

/// All that lies in the queue with this name after the prefix, read as `sluice dead` does: its order stays.
async fn read(broker: &Broker, name: &str) -> Result<Vec<Message>, Error> {
    let queue = broker.names().queue(name);
    let failed = |error: ReadError| doing(&format!("read the queue {queue}"))(std::io::Error::other(error));
    let mut reader = broker.reader().await?;
    let read = async {
        let mut messages = Vec::new();
        let mut locked = reader.lock(&queue, ReadPurpose::Look, READ_WITHIN).await?;
        while let Some(delivery) = locked.next().await? {
            messages.push(delivery.message.clone());
            locked.keep(delivery);
        }
        locked.end().await?;
        Ok(messages)
    };
    let read = read.await;
    reader.close().await;
    read.map_err(failed)
}

fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.properties.headers.get(name).and_then(Field::as_str)
}

fn id(message: &Message) -> &str {
    let given = text(message, header::EVENT_ID).or(message.properties.message_id.as_deref());
    given.unwrap_or("an event without id")
}
