//! `sluice pause`, `resume`, `limits`: commands through the broker to the worker that drives the destination.

use uuid::Uuid;

use super::{Error, find, load, print, print_json};
use crate::broker::{self, Names};
use crate::clock;
use crate::config::ConfigFile;
use crate::control::stamp::Stamp;
use crate::control::{self, ANSWER_WITHIN, Command};

/// Send nothing to a destination until it is resumed; its events wait
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A pause lasts until `sluice resume`, whichever worker drives the destination.\n\nExample:\n  sluice pause px-prod"
)]
pub struct PauseArgs {
    /// The destination's name
    destination: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Go on after a pause. Without a pause the vendor is tried again at once, even if it asked to wait
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluice resume px-prod")]
pub struct ResumeArgs {
    /// The destination's name
    destination: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Change a destination's limits, until the limits in its configuration change
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A limit replaces that of its window; those of other windows stay in force.\n\nExamples:\n  sluice limits px-prod 100/s\n  sluice limits px-prod 100/s 500000/day"
)]
pub struct LimitsArgs {
    /// The destination's name
    destination: String,
    /// Such as 100/s, 5000/min, 18000/h, 1000000/day; all hold at once
    #[arg(required = true, value_name = "LIMIT")]
    limits: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn pause(args: PauseArgs, file: &ConfigFile) -> Result<(), Error> {
    send(&args.destination.clone(), Command::Pause { destination: args.destination }, args.json, file).await
}

pub(super) async fn resume(args: ResumeArgs, file: &ConfigFile) -> Result<(), Error> {
    send(&args.destination.clone(), Command::Resume { destination: args.destination }, args.json, file).await
}

pub(super) async fn limits(args: LimitsArgs, file: &ConfigFile) -> Result<(), Error> {
    send(
        &args.destination.clone(),
        Command::Limits { destination: args.destination, limits: args.limits },
        args.json,
        file,
    )
    .await
}

async fn send(destination: &str, command: Command, json: bool, file: &ConfigFile) -> Result<(), Error> {
    let config = load(file)?;
    find(&config, destination, file)?;
    let (url, names) = (&config.broker.url, Names::new(&config.broker.prefix));
    let call = |body| broker::control_call(url, &names, body, ANSWER_WITHIN);
    let answers = control::send(call, &command, Stamp::after(None, clock::wall(), Uuid::new_v4())).await;
    let answers = answers.map_err(|error| Error::Failed(error.to_string()))?;
    let Some(answer) = answers.first() else {
        return Err(Error::Refused(format!(
            "no worker drives {destination:?}: none answered within {ANSWER_WITHIN:?}"
        )));
    };
    if let Some(error) = &answer.error {
        return Err(Error::Refused(error.clone()));
    }
    let state = answer.state.as_deref().unwrap_or("done");
    if answers.iter().any(|answer| answer.later.is_some()) {
        return Err(Error::Refused(format!(
            "a later command replaces this one, or a part of it; {destination} is {state}, and \
             `sluice status --json` shows its limits"
        )));
    }
    if json {
        return print_json(answer);
    }
    Ok(print(&format!("{destination}: {state}"))?)
}
