//! Orders that reach every worker through the fanout exchange `sluice.control`: pause, resume, limits.

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::destination::Command;
use crate::fleet::Roster;
use crate::gate::Limit;

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
}

/// What the worker that drives the destination says to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which destination.
    pub destination: String,
    /// The gate's state after the order, where it was carried out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
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
    /// The destination that it is for.
    #[must_use]
    pub fn destination(&self) -> &str {
        match self {
            Self::Pause { destination } | Self::Resume { destination } | Self::Limits { destination, .. } => {
                destination
            }
        }
    }

    fn command(&self) -> Result<Command, OrderError> {
        match self {
            Self::Pause { .. } => Ok(Command::Pause),
            Self::Resume { .. } => Ok(Command::Resume),
            Self::Limits { limits, .. } if limits.is_empty() => {
                Err(OrderError::Invalid("limits is empty; write at least one, such as \"100/s\"".into()))
            }
            Self::Limits { limits, .. } => {
                let limits: Result<Vec<Limit>, _> = limits.iter().map(|limit| limit.parse()).collect();
                limits.map(Command::Limits).map_err(|error| OrderError::Invalid(error.to_string()))
            }
        }
    }
}

/// Carries out an order in this worker; says the gate's state after it.
///
/// # Errors
/// [`OrderError`] when the destination is not here or the order makes no sense.
pub async fn obey(roster: &Roster, order: &Order) -> Result<String, OrderError> {
    let command = order.command()?;
    let unknown = || OrderError::Unknown(order.destination().to_owned());
    let handle = roster.get(order.destination()).ok_or_else(unknown)?;
    handle.ask(command).await.map_err(|_| unknown())?;
    let view = handle.view().await.map_err(|_| unknown())?;
    Ok(view.state.to_owned())
}

/// Carries out the orders that come through the broker, until `ending`.
pub async fn listen(broker: Broker, roster: Roster, ending: CancellationToken) {
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
        let destination = order.destination().to_owned();
        let answer = match obey(&roster, &order).await {
            Ok(state) => Answer { destination, state: Some(state), error: None },
            // Another worker may drive it: only the one that does answers.
            Err(OrderError::Unknown(_)) => continue,
            Err(error @ OrderError::Invalid(_)) => Answer { destination, state: None, error: Some(error.to_string()) },
        };
        if let Ok(body) = serde_json::to_vec(&answer) {
            // Who asked has gone: nobody is left to tell.
            drop(message.reply(body.into()).await);
        }
    }
}
