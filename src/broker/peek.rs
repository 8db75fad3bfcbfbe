//! A look at the first messages of a queue that others consume: they are taken and given back at once. Each is counted as one return, since
//! AMQP has no look that changes nothing.

use bytes::Bytes;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};

use super::connection::{AmqpTrouble, close_channel, open_channel, within};
use super::fields::{from_amqp, short};
use super::locked_read::in_queue;
use super::read_error::broken;
use super::{Broker, ReadError};
use crate::message::header::PUBLISH;
use crate::message::{Field, Message};

/// The broker's count of returns.
const RETURNS: &str = "x-delivery-count";

/// A message as it lies in a queue.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// The message.
    pub message: Message,
    /// The routing key it came with (a retry's is its queue's name).
    pub routing_key: String,
    /// How often the broker took it back before this look.
    pub returns: u32,
    tag: u64,
}

impl Broker {
    /// The first `limit` messages of a queue, which are back in it when this returns: at its head, behind others that came back. Since a look
    /// counts as a return, one that came back `most_returns` times already starts again as a copy behind all others, which `copy` makes.
    ///
    /// # Errors
    /// [`ReadError`] where there is no such queue, or the broker is away. What was taken goes back all the same.
    pub async fn peek(
        &self,
        queue: &str,
        limit: usize,
        most_returns: u32,
        copy: impl Fn(&Peeked) -> Message + Send + Sync,
    ) -> Result<Vec<Peeked>, ReadError> {
        let reader = self.reader().await?;
        let name = short("a queue", queue).map_err(|too_long| broken(queue, &too_long))?;
        let look = async {
            let channel = open_channel(&reader.connection).await?;
            let mut peeked = Vec::new();
            while peeked.len() < limit
                && let Some(got) = within(channel.basic_get(name.clone(), BasicGetOptions::default())).await?
            {
                let mut properties = from_amqp(&got.delivery.properties);
                properties.headers.remove(PUBLISH);
                let returns = properties.headers.remove(RETURNS).as_ref().and_then(Field::as_i64);
                let returns = returns.and_then(|returns| u32::try_from(returns).ok()).unwrap_or(0);
                let message = Message { body: Bytes::from(got.delivery.data), properties };
                let (routing_key, tag) = (got.delivery.routing_key.into(), got.delivery.delivery_tag);
                peeked.push(Peeked { message, routing_key, returns, tag });
            }
            let mut last = None;
            for one in &peeked {
                let is_worn = one.returns >= most_returns;
                if !(is_worn && self.start_again(&channel, queue, one, &copy).await?) {
                    last = Some(one.tag);
                }
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

    /// Its copy is in the queue before it is acked. Where the broker does not take that, it goes back as it is: false.
    async fn start_again(
        &self,
        channel: &Channel,
        queue: &str,
        worn: &Peeked,
        copy: &(impl Fn(&Peeked) -> Message + Sync),
    ) -> Result<bool, AmqpTrouble> {
        let is_there = self.publisher().publish("", queue, copy(worn)).await.is_ok();
        if is_there {
            within(channel.basic_ack(worn.tag, BasicAckOptions::default())).await?;
        }
        Ok(is_there)
    }
}
