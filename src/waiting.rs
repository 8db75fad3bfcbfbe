//! Events that wait in a destination's queue, for their next attempt or until they are due, looked at: the first of each queue.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::broker::{Broker, DelayQueue, Peeked, ReadError};
use crate::clock;
use crate::event::Glance;
use crate::message::beginning;
use crate::record::history::{Attempt, History};
use crate::section::show_duration;

/// Events that one look shows at most.
pub const MOST_SHOWN: usize = 50;

/// Why no look is taken into a queue whose order counts.
pub const ORDERED: &str =
    "its events keep an order, and a look could let one overtake another; sluice tap shows what is sent";

/// Where events wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the destination's queue.
    #[default]
    Queue,
    /// In its retry queues, until their next attempt.
    Retry,
    /// Put aside until they may be sent.
    Scheduled,
}

/// A destination's queues. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Where they are.
    pub broker: Broker,
    /// Whose they are.
    pub destination: String,
    /// Its retry queues' delays.
    pub delays: Vec<Duration>,
    /// An event that came back so often becomes a dead letter (`[broker] delivery_limit`). A look counts as one return.
    pub delivery_limit: u32,
    /// The largest event.
    pub max_event_bytes: usize,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WaitingEvent {
    /// The event's id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its type.
    pub r#type: String,
    /// When it happened; left out where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// In a retry queue: the delay of that queue, such as `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Of one that is scheduled: when it may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
    /// What was tried so far; the last ones of many.
    pub attempts: Vec<Attempt>,
    /// How often the broker took it back, this look not counted.
    pub returns: u32,
    /// Why it will become a dead letter, where that can be seen already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its body, as text; only the beginning of one over 16 KiB.
    pub body: String,
}

/// What a look saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct WaitingList {
    /// Those of the queue's head; of retry queues and of what is scheduled those of the shortest delay first.
    pub events: Vec<WaitingEvent>,
}

impl Waiting {
    /// The first `limit` events that wait there. They are back in their queue when this returns, and each has one return more. One that had
    /// half of those that are allowed starts again behind the others, so that no look makes it a dead letter. So this is not for a
    /// queue whose order counts.
    ///
    /// # Errors
    /// [`ReadError`] where a queue cannot be read.
    pub async fn look(&self, place: Place, limit: usize) -> Result<WaitingList, ReadError> {
        let (names, most_returns) = (self.broker.names(), (self.delivery_limit / 2).max(1));
        let queues: Vec<(String, Option<Duration>)> = match place {
            Place::Queue => vec![(names.queue(&self.destination), None)],
            Place::Scheduled => {
                let queues = DelayQueue::laters(&names.queue(&self.destination));
                queues.into_iter().map(|queue| (queue.name, None)).collect()
            }
            Place::Retry => {
                let queues = DelayQueue::retries(&names.queue(&self.destination), &self.delays);
                queues.into_iter().map(|queue| (queue.name, Some(queue.delay))).collect()
            }
        };
        // As the worker's own copies: with the routing key and the time that they came with.
        let copy = |peeked: &Peeked| {
            let history = History::read(&peeked.message, &peeked.routing_key, clock::wall());
            // What is scheduled comes back to its queue at once, and is put aside anew for the time that is left.
            let expiration = match place {
                Place::Queue => None,
                Place::Retry => peeked.message.properties.expiration.clone(),
                Place::Scheduled => Some("1".to_owned()),
            };
            let mut copy = history.write(&peeked.message);
            copy.properties.expiration = expiration;
            copy
        };
        let mut list = WaitingList::default();
        for (queue, delay) in queues {
            let left = limit - list.events.len();
            if left == 0 {
                break;
            }
            let peeked = match self.broker.peek(&queue, left, most_returns, copy).await {
                // One that no event has needed yet.
                Err(ReadError::Missing(_)) if place != Place::Queue => continue,
                peeked => peeked?,
            };
            list.events.extend(peeked.iter().map(|peeked| self.shown(peeked, delay)));
        }
        Ok(list)
    }

    fn shown(&self, Peeked { message, routing_key, returns, .. }: &Peeked, delay: Option<Duration>) -> WaitingEvent {
        let history = History::read(message, routing_key, clock::wall());
        let Glance { id, source, kind, time, problem } =
            Glance::at(message, &history.routing_key, self.max_event_bytes);
        WaitingEvent {
            id,
            source,
            r#type: kind,
            time,
            delay: delay.map(show_duration),
            due: history.due.filter(|due| *due > clock::wall()),
            attempts: history.attempts,
            returns: *returns,
            problem,
            body: beginning(&message.body),
        }
    }
}
