//! Whether a channel lives: asked by a round trip on it, while somebody wants to know and nothing else comes over it. Costs nothing
//! while deliveries flow.

use lapin::Channel;
use lapin::options::ChannelFlowOptions;

use super::connection::{AmqpTrouble, within};
use super::port::Witness;
use crate::clock;

/// Asks as often as it is wanted; returns when the broker does not answer.
pub(super) async fn run(channel: &Channel, mut witness: Witness) -> AmqpTrouble {
    loop {
        witness.due().await;
        let asked = clock::now();
        // A channel's flow is on anyway; to say so changes nothing, and the broker answers.
        match within(channel.channel_flow(ChannelFlowOptions { active: true })).await {
            Ok(_) => witness.answered(asked, clock::now()),
            Err(trouble) => return trouble,
        }
    }
}
