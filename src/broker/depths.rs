//! Queue names in, how many messages lie ready in each out. Never creates a queue.

use futures_util::future::join_all;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Queue};

use super::connection::{AmqpTrouble, NOT_FOUND, close_channel, code, within};
use super::fields::short;
use super::link::Link;

/// Queues that are asked for together: a wait for each answer costs more than the question.
const TOGETHER: usize = 64;

/// Ready messages by queue, in the order asked; `None` where there is no such queue.
pub(super) async fn depths(link: &mut Link, queues: &[String]) -> Result<Vec<Option<u32>>, AmqpTrouble> {
    let (mut _live, mut channel) = link.channel().await?;
    let names: Vec<_> = queues.iter().map(|queue| short("a queue", queue).ok()).collect();
    let mut depths = Vec::with_capacity(names.len());
    while let Some(rest) = names.get(depths.len()..).filter(|rest| !rest.is_empty()) {
        let asked = rest.iter().take(TOGETHER).map(|name| ready_if_named(&channel, name.as_ref()));
        for answered in join_all(asked).await {
            match answered {
                Ok(count) => depths.push(count),
                // The broker answers in turn. This refusal closed the channel, and so no later question was answered.
                Err(AmqpTrouble::Amqp(error)) if code(&error) == Some(NOT_FOUND) => {
                    depths.push(None);
                    (_live, channel) = link.channel().await?;
                    break;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }
    close_channel(&channel).await;
    Ok(depths)
}

async fn ready_if_named(channel: &Channel, queue: Option<&ShortString>) -> Result<Option<u32>, AmqpTrouble> {
    match queue {
        Some(queue) => ready(channel, queue).await.map(Some),
        // One whose name AMQP cannot carry.
        None => Ok(None),
    }
}

/// Ready messages of a queue.
pub(super) async fn ready(channel: &Channel, queue: &ShortString) -> Result<u32, AmqpTrouble> {
    Ok(found(channel, queue).await?.message_count())
}

/// Whether anybody consumes a queue. Where there is none, the channel has then ended.
pub(super) async fn is_consumed(channel: &Channel, queue: &ShortString) -> Result<bool, AmqpTrouble> {
    match found(channel, queue).await {
        Ok(queue) => Ok(queue.consumer_count() > 0),
        Err(AmqpTrouble::Amqp(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// Whether a queue has neither messages nor consumers: so it looks, too, while the broker is still starting it.
pub(super) async fn is_untouched(channel: &Channel, queue: &ShortString) -> Result<bool, AmqpTrouble> {
    found(channel, queue).await.map(|queue| queue.message_count() == 0 && queue.consumer_count() == 0)
}

async fn found(channel: &Channel, queue: &ShortString) -> Result<Queue, AmqpTrouble> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    within(channel.queue_declare(queue.clone(), options, FieldTable::default())).await
}
