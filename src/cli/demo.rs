//! `sluice demo` (placeholder until the demo lands).
use super::Error;
use tokio_util::sync::CancellationToken;
/// See it all at work on this machine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stay up
    #[arg(long)]
    keep: bool,
}
pub(super) async fn run(args: Args, _stop: CancellationToken) -> Result<(), Error> {
    Err(Error::Failed(format!("{args:?}")))
}
