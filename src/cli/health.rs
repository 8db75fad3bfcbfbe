//! `sluice health`: can a worker do its work? For probes where there is no other program to ask with, as in an image.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::source::{self, cause_of};
use super::{Error, load_admin, print};
use crate::config::ConfigFile;

/// Shorter than a probe's own time limit should be, so that the reason is told.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "\
Exit codes:
  0  yes
  1  no; the message says what is lacking, or why there is no answer

Examples:
  sluice health                       the broker is there and every destination is at work
  sluice health --alive               the process answers: restart it when this fails
  sluice health --alive --url http://127.0.0.1:8481    a sandbox; the configuration is not read";

/// Ask a worker whether it can do its work; the exit code tells
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The worker's admin address, instead of `[admin] listen`
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Ask only whether the process answers (/healthz), not what it lacks (/readyz)
    #[arg(long)]
    alive: bool,
}

/// What `/readyz` says of a worker that is not ready.
#[derive(Default, Deserialize)]
struct Readiness {
    lacking: Vec<String>,
}

pub(super) async fn run(args: &Args, file: &ConfigFile) -> Result<(), Error> {
    let base = match &args.url {
        Some(url) => source::base(url),
        None => source::at(load_admin(file)?.listen),
    };
    let (path, good) = if args.alive { ("/healthz", "alive") } else { ("/readyz", "ready") };
    let failed = |cause: reqwest::Error| Error::Failed(format!("nothing answers at {base} ({})", cause_of(&cause)));
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().map_err(failed)?;
    let reply = client.get(format!("{base}{path}")).send().await.map_err(failed)?;
    let status = reply.status();
    if status.is_success() {
        return Ok(print(good)?);
    }
    let lacking = reply.json::<Readiness>().await.unwrap_or_default().lacking;
    let lacking = if lacking.is_empty() { format!("it answered {status}") } else { lacking.join("; ") };
    Err(Error::Failed(format!("{base} is not {good}: {lacking}")))
}
