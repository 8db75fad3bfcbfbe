//! `sluice explain`: which destinations an event goes to, and the exact request each would send. Sends nothing.

use std::path::PathBuf;

use bytes::Bytes;
use clap::ValueHint;
use serde_json::{Value, json};

use super::{Error, load_whole, print, print_json, print_lines};
use crate::clock;
use crate::config::ConfigFile;
use crate::event::{self, Context};
use crate::explain::{explain, shown};
use crate::lint;
use crate::routing;

const EXAMPLES: &str = "\
The file holds one event: a CloudEvents envelope, or with --type just its data.

Examples:
  sluice explain event.json
  sluice explain --type product.report.exported data.json
  cat event.json | sluice explain - --json";

/// Show which destinations an event goes to and the exact request, secrets masked; sends nothing
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A file with one event, or - for standard input
    #[arg(value_name = "EVENT.json", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The event's type: the file holds its data alone
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, file: &ConfigFile) -> Result<(), Error> {
    let config = load_whole(file)?;
    let text = lint::read(&args.file)?;
    let message = lint::message(Bytes::from(text), args.kind.as_deref(), None);
    let kind = args.kind.clone().unwrap_or_default();
    let context = Context { routing_key: &kind, received: clock::wall(), max_bytes: config.broker.max_event_bytes };
    let event = event::decode(&message, context).map_err(|error| Error::Refused(format!("not an event: {error}")))?;
    if let Some(sentence) = event::too_far(&event, context.received) {
        return Err(Error::Refused(format!("not an event: {sentence}")));
    }
    let explained: Vec<Value> = config
        .destinations
        .values()
        .filter(|destination| routing::subscribes(&destination.patterns(), &event.kind))
        .map(|destination| explain(destination, &event))
        .collect();
    if args.json {
        print_json(
            &json!({ "event": { "id": event.id, "source": event.source, "type": event.kind, "time": event.time }, "destinations": explained }),
        )?;
    } else {
        print(&format!("event {} of type {}", event.id, event.kind))?;
        explained.iter().try_for_each(|destination| print_lines(&shown(destination)))?;
    }
    if explained.is_empty() {
        return Err(Error::Refused(format!(
            "no destination subscribes to {:?}: it would go to the unrouted queue",
            event.kind
        )));
    }
    if explained.iter().any(|destination| destination.get("problem").is_some()) {
        return Err(Error::Refused("it would be a dead letter where a problem is shown".into()));
    }
    Ok(())
}
