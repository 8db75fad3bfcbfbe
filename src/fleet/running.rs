//! What runs of a destination in this worker, and what it tells its post.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::port::{Delivery, FeedEnds, Witness};
use crate::destination::{Beside, Handover};
use crate::lease::port::{KeeperEnd, Record};

/// A driver at work, or one that stands by.
pub(super) struct Running {
    pub task: JoinHandle<Handover>,
    pub stop: CancellationToken,
    pub keeper: Option<KeeperEnd>,
    /// Who drives it elsewhere, or why nobody does.
    pub beside: watch::Sender<Beside>,
    /// Kept for one that stands by: its inbox has no broker behind it.
    pub _open: Option<OpenEnds>,
}

/// The other ends of an inbox that nothing comes out of.
pub(super) type OpenEnds = ([mpsc::Sender<Box<Delivery>>; 2], [FeedEnds; 2], Witness);

/// What a driver tells whoever keeps its lease.
pub(super) enum Told {
    /// It has ended, and leaves that; nothing where its task failed.
    Ended(Option<Box<Handover>>),
    /// It has something to send and no proof, or a ledger to be kept.
    Asked(Option<Record>),
}

/// What it tells next.
pub(super) async fn told(running: &mut Option<Running>) -> Told {
    let Some(Running { task, keeper, .. }) = running else { return std::future::pending().await };
    let asked = async {
        match keeper {
            Some(keeper) => keeper.asked().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = task => Told::Ended(match ended {
            Ok(handover) => Some(Box::new(handover)),
            Err(error) => {
                tracing::error!(%error, "a destination's task failed; this is a bug in Sluice");
                None
            }
        }),
        record = asked => Told::Asked(record),
    }
}
