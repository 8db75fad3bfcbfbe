//! `sluice check`: is the configuration right, and with `--live`, do the broker and the vendors take the credentials?

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Error, print, print_json};
use crate::app;
use crate::broker::Broker;
use crate::config::{Config, ConfigFile, Destination};
use crate::delivery::Transport as _;
use crate::delivery::http::HttpTransport;
use crate::redact;
use crate::vendors::{Reply, secrets_of};
use crate::verdict::Verdict;

const BROKER_WITHIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  sluice check
  sluice check --live                 one harmless request a destination, and a connection to the broker
  sluice check --json | jq '.problems[].line'";

/// Check the configuration; every problem at once
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Also connect to the broker and try each destination's credentials
    #[arg(long)]
    live: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Tried {
    what: String,
    /// None where it could not be tried.
    good: Option<bool>,
    said: String,
}

pub(super) async fn run(args: &Args, file: &ConfigFile) -> Result<(), Error> {
    let config = match file.load() {
        Ok(config) => config,
        Err(problems) if args.json => {
            print_json(&problems)?;
            return Err(Error::Config(problems));
        }
        Err(problems) => return Err(Error::Config(problems)),
    };
    let tried = if args.live { try_all(&config).await } else { Vec::new() };
    if args.json {
        print_json(&serde_json::json!({ "file": file.path(), "problems": [], "live": tried }))?;
    } else {
        print(&format!("{}: good; destinations: {}", file.path().display(), names(&config)))?;
        for one in &tried {
            let mark = one.good.map_or("?", |good| if good { "ok" } else { "BAD" });
            print(&format!("{mark:>4}  {}: {}", one.what, one.said))?;
        }
    }
    if tried.iter().any(|one| one.good == Some(false)) {
        return Err(Error::Refused("some credentials or addresses are not good".into()));
    }
    Ok(())
}

fn names(config: &Config) -> String {
    let names: Vec<&str> = config.destinations.keys().map(String::as_str).collect();
    if names.is_empty() { "none, so nothing will be delivered".to_owned() } else { names.join(", ") }
}

async fn try_all(config: &Config) -> Vec<Tried> {
    let mut tried = vec![try_broker(config).await];
    for destination in config.destinations.values() {
        let what = format!("destination {}", destination.name);
        let (good, said) = try_destination(destination).await;
        tried.push(Tried { what, good, said });
    }
    tried
}

async fn try_broker(config: &Config) -> Tried {
    let end = CancellationToken::new();
    let broker = Broker::start(app::broker_settings(config), end.clone());
    let ready = broker.wait_ready(BROKER_WITHIN).await;
    broker.close(BROKER_WITHIN).await;
    end.cancel();
    let what = "broker".to_owned();
    match ready {
        Ok(()) => Tried { what, good: Some(true), said: "connected".into() },
        Err(error) => Tried { what, good: Some(false), said: error.to_string() },
    }
}

async fn try_destination(destination: &Destination) -> (Option<bool>, String) {
    let Some(request) = destination.vendor.credentials_check() else {
        return (
            None,
            format!(
                "vendor {} has no request that tries credentials without effect; nothing was sent",
                destination.vendor_name
            ),
        );
    };
    let transport = match HttpTransport::new(destination.timeout, destination.proxy.as_ref(), destination.http1_only) {
        Ok(transport) => transport,
        Err(error) => return (Some(false), error.to_string()),
    };
    let reply = match transport.send(&request).await {
        Ok(reply) => reply,
        Err(trouble) => return (Some(false), trouble.to_string()),
    };
    let body = redact::masked(&String::from_utf8_lossy(&reply.body), &secrets_of(&request)).into();
    match destination.vendor.judge(&Reply { body, ..reply }) {
        Verdict::Unauthorized(said) | Verdict::Unavailable(said) => (Some(false), said),
        Verdict::Throttled => (None, "the vendor answered 429 (too many requests); try again later".into()),
        Verdict::Delivered | Verdict::Accepted | Verdict::TooLarge(_) | Verdict::Rejected(_) => {
            (Some(true), format!("{} takes the credentials", request.uri().host().unwrap_or("the vendor")))
        }
    }
}
