//! Orders that reach every process through the fanout exchange `sluice.control`: to destinations, to operations on dead letters, and
//! what every worker should log.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::port::PublishError;
use crate::broker::{Broker, ControlError, ControlMessage};
use crate::clock;
use crate::dead_letters::audit::{self, Entry};
use crate::dead_letters::operation::{Registry, Wish};
use crate::destination::orders::{Change, Stamp};
use crate::destination::{Handle, Ordered};
use crate::fleet::Roster;
use crate::gate::Limit;
use crate::message::{Message, Properties};

/// How long the workers have to answer an order.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often an order is given again where clocks of others are ahead of this one.
const TRIES: u32 = 3;
/// An order that was carried out here and could not be sent is sent again after this …
const PAUSE: Duration = Duration::from_secs(2);
/// … so often.
const SENT_AGAIN: u32 = 30;

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
    /// Hold to these limits until the next reload or restart, and to those of other windows as before.
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
    /// An order to a destination, with its place among all others.
    Stamped {
        /// Its place.
        stamp: Stamp,
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
    /// The time of the later order that holds instead, or for a part of it, in Unix microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub later: Option<i64>,
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
    /// To which destination it is, and what it changes there; none where it is to no destination.
    fn parts(&self) -> Result<Option<(&str, Option<Change>)>, OrderError> {
        Ok(Some(match self {
            Self::Pause { destination } => (destination, Some(Change::Pause)),
            Self::Resume { destination } => (destination, Some(Change::Resume)),
            Self::Tell { destination } => (destination, None),
            Self::Limits { limits, .. } if limits.is_empty() => {
                return Err(OrderError::Invalid("limits is empty; write at least one, such as \"100/s\"".into()));
            }
            Self::Limits { destination, limits } => {
                let limits: Result<Vec<Limit>, _> = limits.iter().map(|limit| limit.parse()).collect();
                let limits = limits.map_err(|error| OrderError::Invalid(error.to_string()))?;
                (destination, Some(Change::Limits(limits)))
            }
            Self::Operations { .. } | Self::Operation { .. } | Self::Stamped { .. } | Self::Audit { .. } => {
                return Ok(None);
            }
        }))
    }

    fn stamped(&self, stamp: Stamp) -> Self {
        Self::Stamped { stamp, order: Box::new(self.clone()) }
    }
}

/// Carries out an order to a destination in this worker; says how its gate is after it.
///
/// # Errors
/// [`OrderError`] when the destination is not here or the order makes no sense.
pub async fn obey(roster: &Roster, order: &Order) -> Result<Answer, OrderError> {
    Ok(carry_out(roster, order).await?.0)
}

/// As [`obey`]; and whose order it is and with which stamp it holds, where it changed something.
async fn carry_out(roster: &Roster, order: &Order) -> Result<(Answer, Option<(Handle, Stamp)>), OrderError> {
    let (order, stamp) =
        if let Order::Stamped { stamp, order } = order { (&**order, Some(*stamp)) } else { (order, None) };
    let Some((destination, change)) = order.parts()? else {
        return Err(OrderError::Invalid("this is no order to a destination".into()));
    };
    let unknown = || OrderError::Unknown(destination.to_owned());
    let handle = roster.get(destination).ok_or_else(unknown)?;
    let ordered = match change {
        Some(change) => Some(handle.order(change, stamp).await.map_err(|_| unknown())?),
        None => None,
    };
    let view = handle.view().await.map_err(|_| unknown())?;
    let (state, rate) = (Some(view.state.to_owned()), view.rate.filter(|rate| rate.is_finite()));
    let (holds, later) = match ordered {
        Some(Ordered::Holds { stamp, later }) => (Some((handle, stamp)), later),
        Some(Ordered::Late(at)) => (None, Some(at)),
        None => (None, None),
    };
    Ok((Answer { destination: destination.to_owned(), state, rate, later, error: None }, holds))
}

/// Carries out an order to a destination in this worker, and tells the other workers to do the same.
///
/// # Errors
/// As [`obey`]; then no other worker hears of it.
pub async fn obey_everywhere(broker: &Broker, roster: &Roster, order: &Order) -> Result<Answer, OrderError> {
    let (answer, held) = carry_out(roster, order).await?;
    if let Some((handle, stamp)) = held {
        let (broker, order) = (broker.clone(), order.clone());
        let call = move |body| {
            let broker = broker.clone();
            async move { broker.call(body, ANSWER_WITHIN).await }
        };
        // A broker that is away must not keep whoever gave the order waiting.
        tokio::spawn(spread(handle, call, order, stamp));
    }
    Ok(answer)
}

/// Tells every worker by `call` of an order that was carried out here. It may be told late: where there is a later one it changes nothing.
async fn spread<Answers: Future<Output = Result<Vec<Bytes>, ControlError>>>(
    handle: Handle,
    call: impl Fn(Bytes) -> Answers,
    order: Order,
    stamp: Stamp,
) {
    // One after another, since one that is given again as a later one would hold over what was ordered meanwhile.
    let _turn = handle.turn_to_tell().await;
    // As it goes over the wire.
    let shown = serde_json::to_string(&order).unwrap_or_default();
    for tried in 0..=SENT_AGAIN {
        let why = match give(&call, &order, stamp).await {
            Ok(answers) if !answers.is_empty() => return,
            Ok(_) => "no worker answered".to_owned(),
            Err(error) => error.to_string(),
        };
        match tried {
            0 => tracing::warn!(
                order = shown,
                why,
                "carried out here; other workers are told as soon as they can be reached"
            ),
            SENT_AGAIN => tracing::warn!(order = shown, why, "carried out here; other workers have not heard of it"),
            _ => {}
        }
        clock::sleep(PAUSE).await;
    }
}

/// Gives an order with that stamp to every worker by `call`, and returns their answers. Where all later orders that they know of are from what
/// is still the future here, a clock is ahead and this order is the later one all the same: then it is given again, as later than those.
/// Where one is from the past, it was given after this one and holds; whoever gave it sees to it.
///
/// # Errors
/// Why it could not be sent.
pub async fn give<Answers: Future<Output = Result<Vec<Bytes>, ControlError>>>(
    call: impl Fn(Bytes) -> Answers,
    order: &Order,
    mut stamp: Stamp,
) -> Result<Vec<Answer>, ControlError> {
    let mut answers = Vec::new();
    for _ in 0..TRIES {
        answers = read::<Answer>(&call(written(&order.stamped(stamp))?).await?);
        let wall = clock::wall();
        let later: Vec<i64> = answers.iter().filter_map(|answer| answer.later).collect();
        let Some(latest) = later.iter().max().filter(|_| later.iter().all(|at| *at > wall.as_microsecond())) else {
            break;
        };
        stamp = Stamp::after(Some(*latest), wall, Uuid::new_v4());
    }
    Ok(answers)
}

/// Carries out the orders that come through the broker, until `ending`.
pub async fn listen(broker: Broker, roster: Roster, operations: Registry, ending: CancellationToken) {
    let (_sender, mut orders) = broker.control();
    // What is being obeyed ends too: an answer may wait long for a broker that takes nothing.
    let obeying = async {
        while let Some(message) = orders.recv().await {
            obey_message(&message, &roster, &operations).await;
        }
    };
    ending.run_until_cancelled(obeying).await;
}

async fn obey_message(message: &ControlMessage, roster: &Roster, operations: &Registry) {
    let order: Order = match serde_json::from_slice(&message.body) {
        Ok(order) => order,
        Err(error) => {
            tracing::warn!(%error, "an order on the control exchange cannot be read; ignored");
            return;
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
        Order::Pause { .. }
        | Order::Resume { .. }
        | Order::Limits { .. }
        | Order::Tell { .. }
        | Order::Stamped { .. } => answer(roster, &order).await,
    };
    if let Some(body) = answer {
        // Who asked has gone: nobody is left to tell.
        drop(message.reply(body.into()).await);
    }
}

async fn answer(roster: &Roster, order: &Order) -> Option<Vec<u8>> {
    let answer = match obey(roster, order).await {
        Ok(answer) => answer,
        // Another worker may drive it: only the one that does answers.
        Err(OrderError::Unknown(_)) => return None,
        Err(error @ OrderError::Invalid(_)) => {
            Answer { destination: String::new(), state: None, rate: None, later: None, error: Some(error.to_string()) }
        }
    };
    serde_json::to_vec(&answer).ok()
}

/// Sends an order to every process and returns what they answer within `timeout`, as far as it can be read.
///
/// # Errors
/// Why it could not be sent.
pub async fn ask<T: DeserializeOwned>(
    broker: &Broker,
    order: &Order,
    timeout: Duration,
) -> Result<Vec<T>, ControlError> {
    Ok(read(&broker.call(written(order)?, timeout).await?))
}

fn written(order: &Order) -> Result<Bytes, ControlError> {
    serde_json::to_vec(order).map(Bytes::from).map_err(|error| ControlError::Broken(error.to_string()))
}

/// The answers that can be read.
fn read<T: DeserializeOwned>(answers: &[Bytes]) -> Vec<T> {
    answers.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Gives a pause to workers that each time answer with these; returns the stamps it was given with.
    async fn given(laters: &[&[Option<i64>]]) -> (Vec<Stamp>, Vec<Answer>) {
        let stamps = Mutex::new(Vec::new());
        let order = Order::Pause { destination: "px".into() };
        let call = |body: Bytes| {
            let Ok(Order::Stamped { stamp, .. }) = serde_json::from_slice(&body) else {
                panic!("no place in {body:?}")
            };
            let Ok(mut stamps) = stamps.lock() else { panic!() };
            let laters = laters.get(stamps.len()).copied().unwrap_or_default();
            stamps.push(stamp);
            let answer = |later| Answer { destination: "px".into(), state: None, rate: None, later, error: None };
            let answers = laters.iter().map(|later| serde_json::to_vec(&answer(*later)).unwrap_or_default().into());
            std::future::ready(Ok(answers.collect()))
        };
        let stamp = Stamp::after(None, clock::wall(), Uuid::new_v4());
        let answers = give(call, &order, stamp).await.unwrap_or_else(|error| panic!("{error}"));
        (stamps.into_inner().unwrap_or_default(), answers)
    }

    #[tokio::test]
    async fn an_order_is_given_again_as_the_later_one_where_a_workers_clock_is_ahead() {
        let ahead = clock::wall().as_microsecond() + 3_600_000_000;
        let (stamps, answers) = given(&[&[None, Some(ahead)], &[None, None]]).await;
        assert_eq!(stamps.iter().map(|stamp| stamp.at > ahead).collect::<Vec<_>>(), [false, true]);
        assert_eq!(answers.first().and_then(|answer| answer.later), None);
    }

    #[tokio::test]
    async fn an_order_is_told_when_the_one_before_has_been_told() {
        let (handle, _commands) = Handle::new();
        let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
        let slow = Arc::new(tokio::sync::Semaphore::new(0));
        let tell = |order: Order| {
            let (told, slow) = (told.clone(), Arc::clone(&slow));
            let call = move |body: Bytes| {
                drop(told.send(body));
                let slow = Arc::clone(&slow);
                async move {
                    slow.acquire().await.map_err(|error| ControlError::Broken(error.to_string()))?.forget();
                    Ok(vec![Bytes::from_static(br#"{"destination":"px"}"#)])
                }
            };
            spread(handle.clone(), call, order, Stamp::after(None, clock::wall(), Uuid::new_v4()))
        };
        let pause = tokio::spawn(tell(Order::Pause { destination: "px".into() }));
        let first = telling.recv().await.unwrap_or_default();
        let resume = tokio::spawn(tell(Order::Resume { destination: "px".into() }));
        tokio::task::yield_now().await;
        assert!(telling.try_recv().is_err(), "the first has not been told yet");
        slow.add_permits(2);
        let second = telling.recv().await.unwrap_or_default();
        assert!(first.windows(5).any(|part| part == b"pause") && second.windows(6).any(|part| part == b"resume"));
        assert!(tokio::join!(pause, resume).0.is_ok());
    }

    #[tokio::test]
    async fn an_order_that_came_second_stays_so() {
        let before = clock::wall().as_microsecond();
        let (stamps, answers) = given(&[&[Some(before)]]).await;
        assert_eq!((stamps.len(), answers.first().and_then(|answer| answer.later)), (1, Some(before)));
        let ahead = before + 3_600_000_000;
        let (stamps, _) = given(&[&[Some(before), Some(ahead)]]).await;
        assert_eq!(stamps.len(), 1, "whoever gave the second one has to do with the clock that is ahead");
    }
}
