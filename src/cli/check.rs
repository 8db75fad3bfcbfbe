//! `sluice check`: is the configuration right, and with `--live`, do the broker and the vendors take the credentials?

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Error, credentials, print, print_json};
use crate::app;
use crate::broker::Broker;
use crate::config::{Config, ConfigFile};
use crate::section::ConfigProblem;
use crate::suppression::Stream;
use crate::words;

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
        let warnings = &config.warnings;
        print_json(&serde_json::json!({ "file": file.path(), "problems": [], "warnings": warnings, "live": tried }))?;
    } else {
        for warning in &config.warnings {
            let (file, ConfigProblem { line, key, message }) = (file.path().display(), warning);
            print(&format!("{file}:{line}: warning: {key}: {message}"))?;
        }
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
    let mut tried = try_broker(config).await;
    for destination in config.destinations.values() {
        let what = format!("destination {}", destination.name);
        let (good, said) = credentials::try_out(destination).await;
        tried.push(Tried { what, good, said });
    }
    tried
}

async fn try_broker(config: &Config) -> Vec<Tried> {
    let end = CancellationToken::new();
    let broker = Broker::start(app::broker_settings(config), end.clone());
    let ready = broker.wait_ready(BROKER_WITHIN).await;
    let people = match (&ready, &config.suppression) {
        (Ok(()), Some(suppression)) => Some(try_people(&Stream::new(&broker, &suppression.key)).await),
        (Ok(()) | Err(_), _) => None,
    };
    broker.close(BROKER_WITHIN).await;
    end.cancel();
    let what = "broker".to_owned();
    let tried = match ready {
        Ok(()) => Tried { what, good: Some(true), said: "connected".into() },
        Err(error) => Tried { what, good: Some(false), said: error.to_string() },
    };
    [tried].into_iter().chain(people).collect()
}

/// Whether those who are suppressed can be told by the key.
async fn try_people(stream: &Stream) -> Tried {
    let what = "suppressed people".to_owned();
    match stream.entries().await {
        Ok(entries) => match entries.trouble {
            Some(trouble) => Tried { what, good: Some(false), said: trouble },
            None => Tried { what, good: Some(true), said: words::count(entries.len()) },
        },
        Err(error) => Tried { what, good: Some(false), said: error.to_string() },
    }
}
