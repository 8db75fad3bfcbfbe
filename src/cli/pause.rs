//! `sluice pause`, `resume`, `limits`: commands through the broker to the worker that drives the destination.

use std::io::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::dead::who;
use super::lease::{BROKER_WITHIN, connect};
use super::{Error, find, load, load_with, print, print_json};
use crate::audit::Entry;
use crate::broker::{self, Broker, Names};
use crate::clock;
use crate::config::{Config, ConfigFile};
use crate::control::stamp::{BulkChange, Stamp};
use crate::control::{self, ANSWER_WITHIN, Command, CommandReply};
use crate::gate::{self, Limit, Paused, later};
use crate::operator;
use crate::section::parse_lasting;

/// Time for the audit to take what was done.
const AUDIT_WITHIN: Duration = Duration::from_secs(5);

/// Send nothing to a destination until it is resumed, or for a while; its events wait
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A pause lasts until `sluice resume`, or for as long as --for says, whichever worker drives the destination.\n\nExamples:\n  sluice pause px-prod\n  sluice pause px-prod --for 2h --reason \"vendor maintenance\"\n  sluice pause px-prod --bulk               only the events that may wait"
)]
pub struct PauseArgs {
    /// The destination's name
    destination: String,
    /// Why, in a line: for whoever looks at it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// After this time it ends by itself, such as 90m, 2h or 1d
    #[arg(long = "for", value_name = "TIME", value_parser = parse_lasting)]
    lasts: Option<Duration>,
    /// Only its bulk events; live ones go on
    #[arg(long)]
    bulk: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Go on after a pause. Without a pause the vendor is tried again at once, even if it asked to wait
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  sluice resume px-prod\n  sluice resume px-prod --bulk               after sluice pause px-prod --bulk"
)]
pub struct ResumeArgs {
    /// The destination's name
    destination: String,
    /// Only its bulk events
    #[arg(long)]
    bulk: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show a destination's limits, or change them until the limits in its configuration change
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A limit replaces that of its window; those of other windows stay in force.\n\nExamples:\n  sluice limits px-prod                     show them\n  sluice limits px-prod 100/s\n  sluice limits px-prod 100/s 500000/day\n  sluice limits px-prod --reset             as in the configuration again\n  sluice limits px-prod --bulk 50/s         no more of these than are bulk events\n  sluice limits px-prod --bulk --reset      as many as live events leave"
)]
pub struct LimitsArgs {
    /// The destination's name
    destination: String,
    /// Such as 100/s, 5000/min, 18000/h, 1000000/day; all hold at once
    #[arg(value_name = "LIMIT")]
    limits: Vec<String>,
    /// Go back to the limits of the configuration
    #[arg(long, conflicts_with = "limits")]
    reset: bool,
    /// The pace of its bulk events, within the limits of all
    #[arg(long)]
    bulk: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn pause(args: PauseArgs, file: &ConfigFile) -> Result<(), Error> {
    let PauseArgs { destination, reason, lasts, bulk, json } = args;
    let config = load_with(&destination, file)?;
    let wall = clock::wall();
    let until = lasts.map(|lasts| later(wall, lasts));
    let how = Paused { by: Some(who()), at: None, until, reason }.given_at(wall);
    let name = destination.clone();
    let command = if bulk {
        Command::Bulk { destination, change: BulkChange::Pause { how } }
    } else {
        Command::Pause { destination, how }
    };
    let answer = send(&name, command, &config).await?;
    done(&answer, bulk, until.map(|until| format!("until {}", second(until))), json)
}

pub(super) async fn resume(args: ResumeArgs, file: &ConfigFile) -> Result<(), Error> {
    let ResumeArgs { destination, bulk, json } = args;
    let config = load_with(&destination, file)?;
    let name = destination.clone();
    let command =
        if bulk { Command::Bulk { destination, change: BulkChange::Resume } } else { Command::Resume { destination } };
    done(&send(&name, command, &config).await?, bulk, None, json)
}

pub(super) async fn limits(args: LimitsArgs, file: &ConfigFile) -> Result<(), Error> {
    let LimitsArgs { destination, limits, reset, bulk, json } = args;
    let config = load(file)?;
    if bulk {
        return bulk_limits(destination, limits, reset, json, (&config, file)).await;
    }
    let settings = find(&config, &destination, file)?;
    let name = destination.clone();
    let command = match (limits.is_empty(), reset) {
        (_, true) => Command::ResetLimits { destination },
        (false, false) => Command::Limits { destination, limits },
        (true, false) => Command::Tell { destination },
    };
    let is_look = matches!(command, Command::Tell { .. });
    let answer = send(&name, command, &config).await?;
    let in_force = answer.limits.join(", ");
    let more = if is_look {
        let documented = Some(&settings.documented).filter(|documented| !documented.is_empty());
        let documented = documented.map(|limits| format!("; the vendor documents {}", gate::listed(limits)));
        format!("limits {in_force}; configured {}{}", gate::listed(&settings.limits), documented.unwrap_or_default())
    } else {
        format!("limits {} → {in_force}", answer.limits_before.join(", "))
    };
    done(&answer, false, Some(more).filter(|_| !answer.limits.is_empty()), json)?;
    let parsed: Vec<Limit> = answer.limits.iter().filter_map(|limit| limit.parse().ok()).collect();
    let beyond = gate::beyond(&parsed, &settings.documented);
    if !is_look && !parsed.is_empty() && !beyond.is_empty() {
        writeln!(
            std::io::stderr(),
            "that is more than the vendor documents ({}): expect refusals",
            gate::listed(&beyond)
        )?;
    }
    Ok(())
}

/// The pace of bulk events: shows it, or changes it.
async fn bulk_limits(
    destination: String,
    limits: Vec<String>,
    reset: bool,
    json: bool,
    (config, file): (&Config, &ConfigFile),
) -> Result<(), Error> {
    let settings = find(config, &destination, file)?;
    if limits.is_empty() && !reset {
        let answer = send(&destination.clone(), Command::TellBulk { destination }, config).await?;
        let more = format!("limits {}; bulk_share {}", bounds(&answer.limits), settings.bulk_share);
        return done(&answer, true, Some(more), json);
    }
    let name = destination.clone();
    let command = Command::Bulk { destination, change: BulkChange::Limits { limits } };
    let answer = send(&name, command, config).await?;
    done(&answer, true, Some(format!("limits {} → {}", bounds(&answer.limits_before), bounds(&answer.limits))), json)
}

/// Bounds as people read them.
fn bounds(limits: &[String]) -> String {
    if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
}

/// To the second, as people write it.
fn second(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

fn done(answer: &CommandReply, is_bulk: bool, more: Option<String>, json: bool) -> Result<(), Error> {
    if json {
        return print_json(answer);
    }
    let state = answer.state.as_deref().unwrap_or("done");
    let more = more.map(|more| format!(", {more}")).unwrap_or_default();
    let of = if is_bulk { " bulk" } else { "" };
    Ok(print(&format!("{}{of}: {state}{more}", answer.destination))?)
}

/// Gives a command; returns what the worker answers that drives the destination. It is then in the audit, or it is said that it is not.
async fn send(destination: &str, command: Command, config: &Config) -> Result<CommandReply, Error> {
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
    let later = answers.iter().find_map(|answer| answer.later);
    let answer = CommandReply { later, ..answer.clone() };
    if let Some(entry) = operator::audited(&command, &answer, (&who(), "command line")) {
        match connect(config).await {
            Ok(broker) => {
                tell_audit(&broker, &entry).await;
                broker.close(BROKER_WITHIN).await;
            }
            Err(error) => not_in_audit(&error.to_string()),
        }
    }
    if later.is_some() {
        return Err(Error::Refused(format!(
            "a later command replaces this one, or a part of it; {destination} is {}, and \
             `sluice status --json` shows its limits",
            answer.state.as_deref().unwrap_or("done")
        )));
    }
    Ok(answer)
}

/// Writes to the audit what is done already: where that fails, only a word of it is said.
pub(super) async fn tell_audit(broker: &Broker, entry: &Entry) {
    match tokio::time::timeout(AUDIT_WITHIN, control::record(broker, entry)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => not_in_audit(&error.to_string()),
        Err(_) => not_in_audit("the broker takes no messages now"),
    }
}

fn not_in_audit(why: &str) {
    // Whoever closed standard error does not want to know.
    drop(writeln!(std::io::stderr(), "it is done, but it is not in the audit: {why}"));
}
