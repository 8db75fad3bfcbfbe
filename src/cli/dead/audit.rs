//! `sluice dead audit`, `sluice audit`: who did what.

use std::collections::BTreeMap;

use serde_json::json;

use super::list::second;
use super::{PATIENCE, Session};
use crate::audit::{self, Entry};
use crate::cli::table::{Table, figure, text, word};
use crate::cli::{Error, find, load, print_drawn, print_json};
use crate::config::ConfigFile;

/// Show who did what, with dead letters and with destinations, when, and how it ended
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sluice audit\n  sluice audit px-prod --limit 20 --json")]
pub struct Args {
    /// Only this destination, which may have been removed from the configuration
    destination: Option<String>,
    /// The most entries to show: the last ones
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(args: Args, file: &ConfigFile) -> Result<(), Error> {
    let session = Session::open(file).await?;
    let entries = audit::read(&session.broker, args.destination.as_deref(), args.limit, PATIENCE).await;
    session.close().await;
    let entries = entries.map_err(|error| Error::Failed(error.to_string()))?;
    if let Some(destination) = args.destination.as_deref().filter(|_| entries.is_empty()) {
        find(&load(file)?, destination, file)?;
    }
    if args.json {
        return print_json(&json!({ "entries": entries }));
    }
    let columns = [
        word("when"),
        text("who"),
        word("what"),
        word("destination"),
        text("which"),
        figure("letters").leaves(2),
        word("operation").leaves(3),
        text("outcome"),
    ];
    Ok(print_drawn(&Table::new(&columns, rows(&entries)))?)
}

/// One row an operation: when it began, and how it ended.
fn rows(entries: &[Entry]) -> Vec<[String; 8]> {
    let ended: BTreeMap<&str, &Entry> =
        entries.iter().filter(|entry| entry.outcome.is_some()).map(|entry| (entry.operation.as_str(), entry)).collect();
    let began: BTreeMap<&str, &Entry> =
        entries.iter().filter(|entry| entry.outcome.is_none()).map(|entry| (entry.operation.as_str(), entry)).collect();
    let mut rows = Vec::new();
    for entry in entries {
        let operation = entry.operation.as_str();
        // Its beginning stands for it; its end alone, where that came together with it or is too long ago.
        if entry.outcome.is_some() && began.contains_key(operation) {
            continue;
        }
        let outcome = ended.get(operation).and_then(|entry| entry.outcome.clone());
        rows.push([
            second(entry.at).to_string(),
            entry.place.as_ref().map_or_else(|| entry.by.clone(), |place| format!("{} ({place})", entry.by)),
            entry.act.clone(),
            entry.destination.clone(),
            entry.filter.clone(),
            if entry.is_of_operator() { "-".to_owned() } else { entry.count.to_string() },
            operation.to_owned(),
            outcome.unwrap_or_else(|| "at work, or killed".to_owned()),
        ]);
    }
    rows
}
