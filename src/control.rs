//! Orders that reach every process through the fanout exchange `sluice.control`: to destinations, to operations on dead letters, and
//! what every worker should log.

use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::port::PublishError;
use crate::broker::{Broker, ControlError};
use crate::dead_letters::audit::{self, Entry};
use crate::dead_letters::operation::{Registry, Wish};
use crate::destination::Command;
use crate::fleet::Roster;
use crate::gate::Limit;
use crate::message::{Message, Properties};

/// Tells this process from others: what it carried out it does not carry out again when it hears of it.
static THIS_PROCESS: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Order {
    /// Send nothing until resumed.
    Pause {
        /// Which destination.
        destination: String,
    },
    /// Go on.
    Resume {
        /// Which destination.
        destination: String,
    },
    /// Hold to these limits until the next reload or restart.
    Limits {
        /// Which destination.
        destination: String,
        /// Such as `100/s`.
        limits: Vec<String>,
    },
    /// Tell how the gate is.
    Tell {
        /// Which destination.
        destination: String,
    },
    /// Tell how the operations on dead letters are: of this destination, or of all.
    Operations {
        /// Which destination.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        destination: Option<String>,
    },
    /// What an operation should do.
    Operation {
        /// Its id.
        id: String,
        /// What.
        wish: Wish,
    },
    /// Carry out what was carried out already where the order was given.
    Elsewhere {
        /// The process where that was.
        from: Uuid,
        /// What.
        order: Box<Order>,
    },
    /// Log what was done with dead letters.
    Audit {
        /// What was done.
        entry: Entry,
    },
}

/// What the worker that drives the destination says to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Which destination.
    pub destination: String,
    /// The gate's state after the order, where it was carried out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// Requests a second that the gate lets through.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f64>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such destination in this worker.
    #[error("no destination {0:?} is at work here")]
    Unknown(String),
    /// The order itself is wrong.
    #[error("{0}")]
    Invalid(String),
}

impl Order {
    /// The command to a destination that it is, and to which; none where it is something else.
    fn command(&self) -> Result<Option<(&str, Option<Command>)>, OrderError> {
        Ok(Some(match self {
            Self::Pause { destination } => (destination, Some(Command::Pause)),
            Self::Resume { destination } => (destination, Some(Command::Resume)),
            Self::Tell { destination } => (destination, None),
            Self::Limits { limits, .. } if limits.is_empty() => {
                return Err(OrderError::Invalid("limits is empty; write at least one, such as \"100/s\"".into()));
            }
            Self::Limits { destination, limits } => {
                let limits: Result<Vec<Limit>, _> = limits.iter().map(|limit| limit.parse()).collect();
                let limits = limits.map_err(|error| OrderError::Invalid(error.to_string()))?;
                (destination, Some(Command::Limits(limits)))
            }
            Self::Operations { .. } | Self::Operation { .. } | Self::Elsewhere { .. } | Self::Audit { .. } => {
                return Ok(None);
            }
        }))
    }
}

/// Carries out an order to a destination in this worker; says how its gate is after it.
///
/// # Errors
/// [`OrderError`] when the destination is not here or the order makes no sense.
pub async fn obey(roster: &Roster, order: &Order) -> Result<Answer, OrderError> {
    let Some((destination, command)) = order.command()? else {
        return Err(OrderError::Invalid("this is no order to a destination".into()));
    };
    let unknown = || OrderError::Unknown(destination.to_owned());
    let handle = roster.get(destination).ok_or_else(unknown)?;
    if let Some(command) = command {
        handle.ask(command).await.map_err(|_| unknown())?;
    }
    let view = handle.view().await.map_err(|_| unknown())?;
    let (state, rate) = (Some(view.state.to_owned()), view.rate.filter(|rate| rate.is_finite()));
    Ok(Answer { destination: destination.to_owned(), state, rate, error: None })
}

/// Carries out an order to a destination in this worker, and tells the other workers to do the same.
///
/// # Errors
/// As [`obey`]; then no other worker hears of it.
pub async fn obey_everywhere(broker: &Broker, roster: &Roster, order: &Order) -> Result<Answer, OrderError> {
    let answer = obey(roster, order).await?;
    let (broker, order) = (broker.clone(), Order::Elsewhere { from: *THIS_PROCESS, order: Box::new(order.clone()) });
    // A broker that is away must not keep whoever gave the order waiting.
    tokio::spawn(async move {
        if !announce(&broker, &order).await {
            tracing::warn!(?order, "carried out here; whether other workers heard of it is not known");
        }
    });
    Ok(answer)
}

/// Carries out the orders that come through the broker, until `ending`.
pub async fn listen(broker: Broker, roster: Roster, operations: Registry, ending: CancellationToken) {
    let (_sender, mut orders) = broker.control();
    loop {
        let message = tokio::select! {
            () = ending.cancelled() => return,
            message = orders.recv() => match message { Some(message) => message, None => return },
        };
        let order: Order = match serde_json::from_slice(&message.body) {
            Ok(order) => order,
            Err(error) => {
                tracing::warn!(%error, "an order on the control exchange cannot be read; ignored");
                continue;
            }
        };
        let answer = match &order {
            Order::Audit { entry } => {
                audit::log(entry);
                None
            }
            Order::Operations { destination } => {
                let mut states = operations.states();
                states.retain(|state| destination.as_ref().is_none_or(|name| *name == state.destination));
                serde_json::to_vec(&states).ok()
            }
            // Only the process that has it answers.
            Order::Operation { id, wish } => {
                operations.wish(id, *wish).and_then(|_| serde_json::to_vec(&operations.state(id)).ok())
            }
            Order::Elsewhere { from, order } => {
                if *from != *THIS_PROCESS && obey(&roster, order).await.is_ok() {
                    tracing::warn!(?order, "carried out as another worker did");
                }
                None
            }
            Order::Pause { .. } | Order::Resume { .. } | Order::Limits { .. } | Order::Tell { .. } => {
                answer(&roster, &order).await
            }
        };
        if let Some(body) = answer {
            // Who asked has gone: nobody is left to tell.
            drop(message.reply(body.into()).await);
        }
    }
}

async fn answer(roster: &Roster, order: &Order) -> Option<Vec<u8>> {
    let answer = match obey(roster, order).await {
        Ok(answer) => answer,
        // Another worker may drive it: only the one that does answers.
        Err(OrderError::Unknown(_)) => return None,
        Err(error @ OrderError::Invalid(_)) => {
            Answer { destination: String::new(), state: None, rate: None, error: Some(error.to_string()) }
        }
    };
    serde_json::to_vec(&answer).ok()
}

/// Sends an order to every process and returns what they answer within `timeout`, as far as it can be read.
///
/// # Errors
/// Why it could not be sent.
pub async fn ask<T: serde::de::DeserializeOwned>(
    broker: &Broker,
    order: &Order,
    timeout: Duration,
) -> Result<Vec<T>, ControlError> {
    let body = serde_json::to_vec(order).map_err(|error| ControlError::Broken(error.to_string()))?;
    let answers = broker.call(body.into(), timeout).await?;
    Ok(answers.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect())
}

/// Lets every process know. Nobody listening is no failure. False where it may not have gone out.
pub async fn announce(broker: &Broker, order: &Order) -> bool {
    let Ok(body) = serde_json::to_vec(order) else { return false };
    let message = Message { body: body.into(), properties: Properties::default() };
    match broker.publisher().publish(&broker.names().control(), "", message).await {
        Ok(()) | Err(PublishError::Unroutable { .. }) => true,
        Err(error) => {
            tracing::debug!(%error, "an announcement may not have gone out");
            false
        }
    }
}
