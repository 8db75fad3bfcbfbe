//! A reload that somebody asked for over the control exchange.

use futures_util::FutureExt as _;

use super::Later;
use crate::broker::ControlMessage;
use crate::clock;
use crate::control::reload::{Outcome, ReloadReply, Reloaded, Reloader};
use crate::fleet::Roster;

/// Says that it was heard. What goes on is the reload, and its answer.
pub(super) async fn answer(
    roster: &Roster,
    reloader: Reloader,
    message: &ControlMessage,
    worker: Option<String>,
    (by, place): (String, String),
) -> Later {
    let me = roster.peers().me().name.clone();
    let reloads = worker.is_none_or(|worker| worker == me);
    let heard = ReloadReply::Heard { worker: me.clone(), reloads, workers: roster.peers().names(clock::now()) };
    reply(message, &heard).await;
    let message = message.clone();
    let reload = async move {
        let stops = || Reloaded::ended(&me, Outcome::Failed, Some("the worker stops".to_owned()));
        let reloaded = reloader.reload(by, place).await.unwrap_or_else(stops);
        reply(&message, &ReloadReply::Done(reloaded)).await;
    };
    reloads.then(|| reload.boxed())
}

async fn reply(message: &ControlMessage, reply: &ReloadReply) {
    if let Ok(body) = serde_json::to_vec(reply) {
        // An error means that the sender has gone.
        drop(message.reply(body.into()).await);
    }
}
