//! `sluice dead operations`, `pause`, `resume`, `cancel`: operations in whichever process they run.

use std::time::Duration;

use serde_json::json;

use super::Session;
use super::list::second;
use crate::cli::table::{Table, figure, text, word};
use crate::cli::{Error, find, load, print, print_drawn, print_json};
use crate::config::ConfigFile;
use crate::control::{self, Command, Signal};
use crate::dead_letters::operation::OperationState;

/// How long processes have to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Show the operations at work, and those that ended a while ago in a worker
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sluice dead operations\n  sluice dead operations px-prod --json")]
pub(super) struct ListArgs {
    /// Only this destination
    destination: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct WishArgs {
    /// The operation's id
    operation: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(args: ListArgs, file: &ConfigFile) -> Result<(), Error> {
    let command = Command::Operations { destination: args.destination.clone() };
    let mut states: Vec<OperationState> =
        ask::<Vec<OperationState>>(&command, file).await?.into_iter().flatten().collect();
    // A worker may remember some of one that was removed.
    if let Some(destination) = args.destination.as_deref().filter(|_| states.is_empty()) {
        find(&load(file)?, destination, file)?;
    }
    states.sort_by_key(|state| std::cmp::Reverse(state.started));
    if args.json {
        return print_json(&json!({ "operations": states }));
    }
    if states.is_empty() {
        return Ok(print("no operation is running, and no worker remembers one")?);
    }
    let columns = [
        word("operation"),
        word("began").leaves(2),
        text("who").leaves(3),
        word("what"),
        word("destination").leaves(1),
        text("which"),
        word("phase"),
        figure("done"),
        figure("left"),
        text("note"),
    ];
    Ok(print_drawn(&Table::new(&columns, states.iter().map(row)))?)
}

fn row(state: &OperationState) -> [String; 10] {
    [
        state.id.clone(),
        second(state.started).to_string(),
        state.by.clone(),
        state.act.name().to_owned(),
        state.destination.clone(),
        state.filter.clone(),
        state.phase.name().to_owned(),
        state.moved.to_string(),
        state.left().to_string(),
        state.outcome.clone().or_else(|| state.note.clone()).unwrap_or_default(),
    ]
}

pub(super) async fn signal(args: WishArgs, signal: Signal, file: &ConfigFile) -> Result<(), Error> {
    let command = Command::Operation { id: args.operation.clone(), signal };
    let state = ask::<OperationState>(&command, file).await?.into_iter().next();
    let Some(state) = state else {
        return Err(Error::Refused(format!(
            "no process has an operation {:?}: see sluice dead operations",
            args.operation
        )));
    };
    if state.phase.is_over() {
        let outcome = state.outcome.unwrap_or_default();
        return Err(Error::Refused(format!("the operation {} is over: {outcome}", state.id)));
    }
    if args.json {
        return print_json(&state);
    }
    let will = match signal {
        Signal::Run => "goes on",
        Signal::Pause => "pauses",
        Signal::Cancel => "ends",
    };
    Ok(print(&format!(
        "{} of {} {will}: {} done, {} left",
        state.act.name(),
        state.destination,
        state.moved,
        state.left()
    ))?)
}

async fn ask<T: serde::de::DeserializeOwned>(command: &Command, file: &ConfigFile) -> Result<Vec<T>, Error> {
    let session = Session::open(file).await?;
    let answers = control::ask(&session.broker, command, ANSWER_WITHIN).await;
    session.close().await;
    answers.map_err(|error| Error::Failed(error.to_string()))
}
