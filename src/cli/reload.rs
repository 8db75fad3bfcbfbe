//! `sluice reload`: workers read their configuration files again.

use serde_json::json;

use super::dead::who;
use super::table::{Cell, Table, Tint, text, word};
use super::{Error, load, print_drawn, print_json};
use crate::broker::{Names, control_gather};
use crate::config::ConfigFile;
use crate::control::reload::{self, Outcome, ReloadError, Reloaded};
use crate::words::of;

const HELP: &str = "\
Each worker reads its own file, on its own machine, and its own environment. A file with a problem changes nothing there, and the
problems are printed. Where the broker cannot be reached, SIGHUP does the same for the worker that gets it.

Exits with 4 where a worker refused its file, could not set up a destination or did not answer.

Examples:
  sluice check && sluice reload
  sluice reload --worker sluice-1/4711
  sluice reload --json | jq '.workers[] | select(.outcome != \"applied\")'";

/// Have the workers read their configuration files again, without losing or repeating an event
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// Only this worker: its host and process, as `sluice lease show` names it
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile) -> Result<(), Error> {
    let config = load(file)?;
    let names = Names::new(&config.broker.prefix);
    let url = &config.broker.url;
    let gather = |body, within| control_gather(url, &names, body, within, &reload::patience);
    let reloaded = reload::everywhere(gather, args.worker.as_deref(), (&who(), "command line")).await;
    let reloaded = reloaded.map_err(|error| match error {
        ReloadError::Control(error) => Error::Failed(format!("{error}; SIGHUP reloads a worker without the broker")),
        ReloadError::Nobody | ReloadError::Unknown { .. } => Error::Refused(error.to_string()),
    })?;
    if args.json {
        print_json(&json!({ "workers": reloaded }))?;
    } else {
        let columns = [word("worker"), word("outcome"), text("what")];
        print_drawn(&Table::new(&columns, reloaded.iter().flat_map(rows)))?;
    }
    let bad = reloaded.iter().filter(|one| one.outcome != Outcome::Applied).count();
    if bad == 0 {
        return Ok(());
    }
    if let [one] = &reloaded[..] {
        return Err(Error::Refused(format!("{} did not reload: see above", one.worker)));
    }
    let all = of(u64::try_from(reloaded.len()).unwrap_or(u64::MAX), "worker", "workers");
    Err(Error::Refused(format!("{bad} of {all} did not reload: see above")))
}

/// A row for each sentence; the first of a worker names it.
fn rows(reloaded: &Reloaded) -> Vec<[Cell; 3]> {
    let (outcome, tint) = match reloaded.outcome {
        Outcome::Applied => ("reloaded", Tint::Good),
        Outcome::Failed => ("failed", Tint::Bad),
        Outcome::Refused => ("refused", Tint::Bad),
        Outcome::NoAnswer => ("no answer", Tint::Warn),
    };
    let named = |place: usize| if place == 0 { (reloaded.worker.as_str(), outcome) } else { ("", "") };
    let sentences = reloaded.sentences();
    let rows = sentences.iter().enumerate().map(|(place, sentence)| {
        let (worker, outcome) = named(place);
        [worker.to_owned().into(), Cell::tinted(outcome.to_owned(), Some(tint)), sentence.clone().into()]
    });
    rows.collect()
}
