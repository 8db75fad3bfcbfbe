//! Queue names in, how many messages lie ready in each out. Never creates a queue.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::connection::{NOT_FOUND, Trouble, close_channel, code, within};
use super::fields::short;
use super::link::Link;

/// Ready messages by queue, in the order asked; `None` where there is no such queue.
pub(super) async fn depths(link: &mut Link, queues: &[String]) -> Result<Vec<Option<u32>>, Trouble> {
    let (mut _live, mut channel) = link.channel().await?;
    let mut depths = Vec::with_capacity(queues.len());
    for queue in queues {
        let Ok(name) = short("a queue", queue) else {
            depths.push(None);
            continue;
        };
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match within(channel.queue_declare(name, options, FieldTable::default())).await {
            Ok(queue) => depths.push(Some(queue.message_count())),
            Err(Trouble::Amqp(error)) if code(&error) == Some(NOT_FOUND) => {
                depths.push(None);
                // A refusal closes the channel.
                (_live, channel) = link.channel().await?;
            }
            Err(trouble) => return Err(trouble),
        }
    }
    close_channel(&channel).await;
    Ok(depths)
}
