//! An operator's orders carried out: those that are given here, and those that reach this process through the broker.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::broker::{Broker, ControlError, ControlMessage};
use crate::clock;
use crate::control::stamp::Stamp;
use crate::control::{ANSWER_WITHIN, Answer, Order, OrderError, give};
use crate::dead_letters::operation::Registry;
use crate::destination::{Handle, Ordered};
use crate::fleet::{Peers, Roster};
use crate::supervisor::Part;

/// An order that was carried out here and could not be sent is sent again after this …
const PAUSE: Duration = Duration::from_secs(2);
/// … so often.
const SENT_AGAIN: u32 = 30;

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

/// What carries out the orders that come through the broker, until `ending`.
pub fn listener(
    broker: Broker,
    roster: Roster,
    peers: Peers,
    operations: Registry,
    ending: CancellationToken,
) -> impl Part {
    move || listen(broker.clone(), roster.clone(), peers.clone(), operations.clone(), ending.clone()).map(Ok)
}

/// Carries out the orders that come through the broker, until `ending`.
pub async fn listen(broker: Broker, roster: Roster, peers: Peers, operations: Registry, ending: CancellationToken) {
    let (_sender, mut orders) = broker.control();
    // What is being obeyed ends too: an answer may wait long for a broker that takes nothing.
    let obeying = async {
        while let Some(message) = orders.recv().await {
            obey_message(&message, &roster, &peers, &operations).await;
        }
    };
    ending.run_until_cancelled(obeying).await;
}

async fn obey_message(message: &ControlMessage, roster: &Roster, peers: &Peers, operations: &Registry) {
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
        Order::Announce { announcement } => {
            peers.heard(announcement.clone(), clock::now());
            None
        }
        Order::Operations { destination } => {
            let mut states = operations.states();
            states.retain(|state| destination.as_ref().is_none_or(|name| *name == state.destination));
            serde_json::to_vec(&states).ok()
        }
        // Only the process that has it answers.
        Order::Operation { id, signal } => {
            operations.signal(id, *signal).and_then(|_| serde_json::to_vec(&operations.state(id)).ok())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;

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
}
