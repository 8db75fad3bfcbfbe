//! Everything at once on one machine, for trying Sluice out: a private broker, the vendors' sandbox, a worker with a
//! destination for each vendor, and producers come up, thousands of events go through, and a report comes out. Leaves nothing
//! behind, however it ends.
//! Never used by a worker in production.

pub mod accounts;
mod collect;
pub mod events;
pub mod figures;
mod home;
pub mod node;
pub mod ports;
mod produce;
mod release;
mod report;
mod scenario;
mod stage;
mod stalls;
mod watch;
mod worker;

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use report::Report;
pub use stage::Addresses;
pub use watch::{DestinationProgress, Moment};

use crate::broker::port::PublishError;
use crate::broker::{BrokerError, ConnectError};
use crate::sandbox::{RuleError, SandboxError};
use home::Home;
use node::NodeError;
use stage::Stage;

/// Whoever watches a demo.
pub trait Audience: Send {
    /// Something happened.
    fn tell(&mut self, sentence: &str);
    /// How far it is. Called several times a second while events flow.
    fn show(&mut self, moment: &Moment);
    /// What came of it all; the last thing but for [`Audience::stay`].
    fn report(&mut self, report: &Report);
    /// It stays up, at these addresses.
    fn stay(&mut self, addresses: &Addresses);
}

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Ctrl-C or SIGTERM before the end.
    #[error("stopped before the end; everything that was started has ended")]
    Stopped,
    /// RabbitMQ did not start or stop.
    #[error("{0}{1}")]
    Node(NodeError, String),
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A fault of the story makes no sense.
    #[error(transparent)]
    Fault(#[from] RuleError),
    /// No connection to the private broker.
    #[error("cannot use the private RabbitMQ: {0}")]
    Connect(#[from] ConnectError),
    /// A queue cannot be looked at.
    #[error("cannot read the queue {0}: {1}")]
    Queue(String, BrokerError),
    /// An event could not be published.
    #[error("the event {0} could not be published: {1}")]
    Publish(String, PublishError),
    /// The worker ended by itself.
    #[error("the worker ended by itself ({0}); its last lines:{1}")]
    WorkerEnded(ExitStatus, String),
    /// The worker is never ready.
    #[error("the worker was not ready within {0:?}; its last lines:{1}")]
    WorkerSlow(Duration, String),
    /// The worker does not stop.
    #[error("the worker did not stop within {0:?} and was killed; its last lines:{1}")]
    WorkerHung(Duration, String),
    /// The worker's admin API does not answer.
    #[error("the worker's admin API does not answer: {0}")]
    Admin(reqwest::Error),
    /// The report lists broken promises.
    #[error("promises were not kept, see the list above; this is a bug in Sluice")]
    NotKept,
    /// A file or process could not be made.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

fn doing(doing: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let doing = doing.to_owned();
    move |source| Error::Io { doing, source }
}

/// Runs the demo; with `keep`, everything stays up after the report until `stop`.
///
/// # Errors
/// Any [`Error`]; nothing is left running, and no file.
pub async fn run(keep: bool, audience: &mut dyn Audience, stop: CancellationToken) -> Result<(), Error> {
    let mut home = Home::new().map_err(doing("make a temporary folder"))?;
    let mut stage = Stage::default();
    let played = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Stopped),
        played = play(&mut home, &mut stage, audience) => played,
    };
    let played = match played {
        Ok(()) | Err(Error::NotKept) if keep => {
            audience.stay(&stage.addresses());
            tokio::select! {
                () = stop.cancelled() => played,
                ended = stage.worker_gone() => Err(ended),
            }
        }
        played => played,
    };
    let struck = stage.strike().await;
    let cleared = home.clear().await.map_err(doing("remove the temporary folder"));
    played.and(struck).and(cleared)
}

async fn play(home: &mut Home, stage: &mut Stage, audience: &mut dyn Audience) -> Result<(), Error> {
    let cast = stage.set(home, audience).await?;
    let report = watch::play(cast, audience).await?;
    audience.report(&report);
    if report.kept { Ok(()) } else { Err(Error::NotKept) }
}
