//! `sluice lease show|reset`: who drives a destination, and a way out where nobody can.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::confirm::confirm;
use super::dead::who;
use super::pause::tell_audit;
use super::{Error, load_with, print, print_json};
use crate::app;
use crate::audit::{Entry, OperatorAct};
use crate::broker::{Broker, BrokerSettings};
use crate::config::{Config, ConfigFile};
use crate::control::{self, ANSWER_WITHIN, Command, CommandReply};
use crate::lease::{Note, Owner};
use crate::message::{Message, Properties};

/// Time for the broker to be there.
pub(super) const BROKER_WITHIN: Duration = Duration::from_secs(15);

/// Show who drives a destination; reset its lease
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, clap::Subcommand)]
enum Sub {
    /// Show which worker drives a destination
    #[command(after_long_help = "Example:\n  sluice lease show px-prod")]
    Show {
        /// The destination's name
        destination: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Reset a lease, if no worker can read the message in its queue
    #[command(
        after_long_help = "The destination loses its ledger: the day's budget then counts as used in proportion to the time of day, a pause and an \
                           operator's limits are forgotten, and the worker signs in again. No event is lost.\n\nExample:\n  sluice lease reset px-prod"
    )]
    Reset {
        /// The destination's name
        destination: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    match args.command {
        Sub::Show { destination, json } => show(&destination, json, file).await,
        Sub::Reset { destination, yes } => reset(&destination, yes, file, &stop).await,
    }
}

async fn show(destination: &str, json: bool, file: &ConfigFile) -> Result<(), Error> {
    let broker = open(destination, file).await?;
    let command = Command::Tell { destination: destination.to_owned() };
    let answers = control::ask::<CommandReply>(&broker, &command, ANSWER_WITHIN).await;
    broker.close(BROKER_WITHIN).await;
    let answers = answers.map_err(|error| Error::Failed(error.to_string()))?;
    let Some(answer) = answers.iter().find(|answer| answer.drives).or(answers.first()) else {
        return Err(Error::Refused(format!("no worker has {destination:?}: none answered within {ANSWER_WITHIN:?}")));
    };
    if json {
        return print_json(answer);
    }
    let (worker, state) =
        (answer.worker.as_deref().unwrap_or("a worker"), answer.state.as_deref().unwrap_or("not known"));
    let sentence = if answer.drives { "drives it" } else { "waits for its lease, and nobody drives it" };
    let why = answer.hindered.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Ok(print(&format!("{destination}: {worker} {sentence}; {state}{why}"))?)
}

async fn reset(destination: &str, yes: bool, file: &ConfigFile, stop: &CancellationToken) -> Result<(), Error> {
    if !yes {
        let question =
            format!("Reset the lease of {destination}? It loses its ledger (day's budget, pause, limits, tokens).");
        confirm(&question, "this is not a terminal, so you cannot be asked: add --yes to do it", stop).await?;
    }
    let broker = open(destination, file).await?;
    let owner = Owner { id: Uuid::new_v4(), name: "sluice lease reset".to_owned() };
    let body = Note::reset(owner, Value::Null).write();
    let queue = broker.names().lease(destination);
    let message = Message { body: body.into(), properties: Properties::default() };
    let published = broker.publisher().publish("", &queue, message).await;
    if published.is_ok() {
        let entry =
            Entry::done((&who(), "command line"), destination, OperatorAct::LeaseReset, String::new(), "starts again");
        tell_audit(&broker, &entry).await;
    }
    broker.close(BROKER_WITHIN).await;
    published.map_err(|error| Error::Refused(format!("the lease of {destination} was not reset: {error}")))?;
    Ok(print(&format!("{destination}: its lease is reset; a worker drives it as soon as it has the lease"))?)
}

async fn open(destination: &str, file: &ConfigFile) -> Result<Broker, Error> {
    connect(&load_with(destination, file)?).await
}

/// A connection for one command.
pub(super) async fn connect(config: &Config) -> Result<Broker, Error> {
    let settings = BrokerSettings { name: "sluice command".to_owned(), ..app::broker_settings(config) };
    let broker = Broker::start(settings, CancellationToken::new());
    broker.wait_ready(BROKER_WITHIN).await.map_err(|error| Error::Failed(error.to_string()))?;
    Ok(broker)
}
