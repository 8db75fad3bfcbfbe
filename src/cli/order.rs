//! `sluice pause`, `resume`, `limits`: an order to whichever worker drives the destination, through the broker.

use std::time::Duration;

use super::{Error, find, load, print, print_json};
use crate::broker::{self, Names};
use crate::config::ConfigFile;
use crate::control::{Answer, Order};

/// How long the worker has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Send nothing to a destination until it is resumed; its events wait
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A pause lasts until `sluice resume` or a restart of the worker.\n\nExample:\n  sluice pause px-prod"
)]
pub struct PauseArgs {
    /// The destination's name
    destination: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Go on after a pause; a parked destination tries again at once
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluice resume px-prod")]
pub struct ResumeArgs {
    /// The destination's name
    destination: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Hold a destination to other limits, until a reload that changes the destination or a restart
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluice limits px-prod 100/s 500000/day")]
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
    give(&args.destination.clone(), Order::Pause { destination: args.destination }, args.json, file).await
}

pub(super) async fn resume(args: ResumeArgs, file: &ConfigFile) -> Result<(), Error> {
    give(&args.destination.clone(), Order::Resume { destination: args.destination }, args.json, file).await
}

pub(super) async fn limits(args: LimitsArgs, file: &ConfigFile) -> Result<(), Error> {
    give(
        &args.destination.clone(),
        Order::Limits { destination: args.destination, limits: args.limits },
        args.json,
        file,
    )
    .await
}

async fn give(destination: &str, order: Order, json: bool, file: &ConfigFile) -> Result<(), Error> {
    let config = load(file)?;
    find(&config, destination, file)?;
    let body = serde_json::to_vec(&order).map_err(|error| Error::Failed(error.to_string()))?;
    let answers =
        broker::control_call(&config.broker.url, &Names::new(&config.broker.prefix), body.into(), ANSWER_WITHIN).await;
    let answers = answers.map_err(|error| Error::Failed(error.to_string()))?;
    let answer: Option<Answer> = answers.iter().find_map(|body| serde_json::from_slice(body).ok());
    let Some(answer) = answer else {
        return Err(Error::Refused(format!(
            "no worker drives {destination:?}: none answered within {ANSWER_WITHIN:?}"
        )));
    };
    if let Some(error) = &answer.error {
        return Err(Error::Refused(error.clone()));
    }
    if json {
        return print_json(&answer);
    }
    Ok(print(&format!("{destination}: {}", answer.state.as_deref().unwrap_or("done")))?)
}
