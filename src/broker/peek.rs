//! A look at the first messages of a queue that others consume: they are taken and given back at once, in order. Each is counted as one
//! return, since AMQP has no look that changes nothing.

use bytes::Bytes;
use lapin::options::{BasicGetOptions, BasicNackOptions};

use super::connection::{close_channel, open_channel, within};
use super::fields::{from_amqp, short};
use super::locked_read::in_queue;
use super::read_error::broken;
use super::{Broker, ReadError};
use crate::message::header::PUBLISH;
use crate::message::{Field, Message};

/// A message as it lies in a queue.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// The message.
    pub message: Message,
    /// The routing key it came with (a retry's is its queue's name).
    pub routing_key: String,
    /// How often the broker took it back before this look.
    pub returns: u32,
}

impl Broker {
    /// The first `limit` messages of a queue, which are back in it, at its head, when this returns. The look ends before a message that came
    /// back `most_returns` times already: each look counts as a return.
    ///
    /// # Errors
    /// [`ReadError`] where there is no such queue, or the broker is away. What was taken goes back all the same.
    pub async fn peek(&self, queue: &str, limit: usize, most_returns: u32) -> Result<Vec<Peeked>, ReadError> {
        let reader = self.reader().await?;
        let name = short("a queue", queue).map_err(|too_long| broken(queue, &too_long))?;
        let look = async {
            let channel = open_channel(&reader.connection).await?;
            let (mut peeked, mut last) = (Vec::new(), None);
            while peeked.len() < limit
                && let Some(got) = within(channel.basic_get(name.clone(), BasicGetOptions::default())).await?
            {
                last = Some(got.delivery.delivery_tag);
                let mut properties = from_amqp(&got.delivery.properties);
                properties.headers.remove(PUBLISH);
                let returns = properties.headers.get("x-delivery-count").and_then(Field::as_i64);
                let returns = returns.and_then(|returns| u32::try_from(returns).ok()).unwrap_or(0);
                if returns >= most_returns {
                    break;
                }
                let message = Message { body: Bytes::from(got.delivery.data), properties };
                peeked.push(Peeked { message, routing_key: got.delivery.routing_key.into(), returns });
            }
            if let Some(tag) = last {
                let all = BasicNackOptions { multiple: true, requeue: true };
                within(channel.basic_nack(tag, all)).await?;
            }
            close_channel(&channel).await;
            Ok(peeked)
        };
        let looked = look.await;
        // With the connection whatever is still out goes back.
        reader.close().await;
        looked.map_err(|trouble| in_queue(queue, &trouble))
    }
}
