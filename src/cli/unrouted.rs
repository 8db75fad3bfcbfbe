//! `sluice unrouted`: events that no destination subscribed to, looked at, published again or deleted.

use std::collections::BTreeSet;
use std::io::Write as _;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::confirm::confirm;
use super::dead::{PATIENCE, Session, who};
use super::table::{Column, Table, figure, text, word};
use super::{Error, print, print_drawn, print_exactly, print_json};
use crate::broker::ReadError;
use crate::config::ConfigFile;
use crate::routing;
use crate::unrouted::{Unrouted, UnroutedAct};

const EXAMPLES: &str = "\
Events end there whose routing key no destination subscribed to. Add it to `subscribe` of a destination and reload; then
publish them again. They go to whoever subscribes now, as they were published; those without a subscriber stay.

Examples:
  sluice unrouted                                 how many of which routing key?
  sluice unrouted list --routing-key shop.refund  one by one
  sluice unrouted publish --routing-key shop.refund
  sluice unrouted publish --all --yes
  sluice unrouted discard --routing-key test.ping delete them for good";

/// Look at events that no destination subscribed to, publish them again, or delete them
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show them one by one, the oldest first
    #[command(after_long_help = "Example:\n  sluice unrouted list --routing-key shop.refund --limit 20")]
    List {
        /// Only those that were published with this routing key
        #[arg(long, value_name = "KEY")]
        routing_key: Option<String>,
        /// Events at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Publish them again, to whoever subscribes now
    #[command(after_long_help = "Example:\n  sluice unrouted publish --routing-key shop.refund")]
    Publish(Which),
    /// Delete them for good
    #[command(after_long_help = "Example:\n  sluice unrouted discard --routing-key test.ping")]
    Discard(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Those that were published with this routing key; may be given several times
    #[arg(long, value_name = "KEY", required_unless_present = "all")]
    routing_key: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "routing_key")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let session = Session::open(file).await?;
    let Args { command, json } = args;
    let work = async |session: &Session| {
        let unrouted = Unrouted {
            broker: session.broker.clone(),
            max_event_bytes: session.config.broker.max_event_bytes,
            history: None,
        };
        match command {
            None => groups(session, &unrouted, json).await,
            Some(Command::List { routing_key, limit }) => list(&unrouted, routing_key, limit, json).await,
            Some(Command::Publish(which)) => {
                act(session, &unrouted, (UnroutedAct::Publish, "publish"), which, json, &stop).await
            }
            Some(Command::Discard(which)) => {
                act(session, &unrouted, (UnroutedAct::Discard, "delete"), which, json, &stop).await
            }
        }
    };
    // What has begun goes on to its end: a pass that is dropped half way leaves the events in another order.
    let done = work(&session).await;
    session.close().await;
    done
}

fn failed(error: &ReadError) -> Error {
    Error::Failed(error.to_string())
}

/// What destinations of the configuration subscribe to.
fn patterns(session: &Session) -> Vec<String> {
    session.config.destinations.values().flat_map(|destination| destination.patterns()).collect()
}

const GROUPS: [Column; 6] = [
    word("routing key"),
    figure("events"),
    word("first").leaves(2),
    word("last").leaves(1),
    text("source").leaves(3),
    word("subscribed now"),
];

const EVENTS: [Column; 5] = [
    word("event"),
    word("routing key"),
    word("time").leaves(1),
    text("source").leaves(2),
    text("data, or what is wrong"),
];

async fn groups(session: &Session, unrouted: &Unrouted, json: bool) -> Result<(), Error> {
    let groups = unrouted.groups(PATIENCE).await.map_err(|error| failed(&error))?;
    if json {
        return print_json(&json!({ "groups": groups.sorted(), "others": groups.others() }));
    }
    let (sorted, patterns) = (groups.sorted(), patterns(session));
    if sorted.is_empty() {
        return Ok(print("no unrouted events")?);
    }
    let rows = sorted.iter().map(|group| {
        let is_subscribed = routing::subscribes(&patterns, &group.routing_key);
        [
            group.routing_key.clone(),
            group.count.to_string(),
            group.first_seen.map_or_else(|| "-".to_owned(), second),
            group.last_seen.map_or_else(|| "-".to_owned(), second),
            group.source.clone(),
            if is_subscribed { "yes: publish them again" } else { "no" }.to_owned(),
        ]
    });
    print_drawn(&Table::new(&GROUPS, rows))?;
    match groups.others() {
        0 => Ok(()),
        others => Ok(print(&format!("{others} more have routing keys that are too many to be told apart"))?),
    }
}

async fn list(unrouted: &Unrouted, routing_key: Option<String>, limit: usize, json: bool) -> Result<(), Error> {
    let keys: BTreeSet<String> = routing_key.into_iter().collect();
    let (there, events) = unrouted.list(&keys, limit.max(1), PATIENCE).await.map_err(|error| failed(&error))?;
    if json {
        return print_json(&json!({ "there": there, "events": events }));
    }
    let rows = events.iter().map(|event| {
        [
            event.id.clone(),
            event.routing_key.clone(),
            event.time.map_or_else(|| "-".to_owned(), second),
            event.source.clone(),
            event.problem.clone().unwrap_or_else(|| event.body.clone()),
        ]
    });
    Ok(print_drawn(&Table::new(&EVENTS, rows))?)
}

async fn act(
    session: &Session,
    unrouted: &Unrouted,
    (act, verb): (UnroutedAct, &str),
    which: Which,
    json: bool,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let Which { routing_key, all: _, yes } = which;
    let (keys, patterns) = (routing_key.into_iter().collect::<BTreeSet<String>>(), patterns(session));
    if !yes {
        let groups = unrouted.groups(PATIENCE).await.map_err(|error| failed(&error))?;
        let meant = groups.sorted().into_iter().filter(|group| keys.is_empty() || keys.contains(&group.routing_key));
        let counts = meant.map(|group| (group.count, routing::subscribes(&patterns, &group.routing_key)));
        let counts: Vec<(u64, bool)> = counts.collect();
        let others = if keys.is_empty() { groups.others() } else { 0 };
        let count = counts.iter().map(|(count, _)| count).sum::<u64>() + others;
        let still: u64 = counts.iter().filter(|(_, is_subscribed)| !is_subscribed).map(|(count, _)| count).sum();
        if count == 0 {
            return Err(Error::Refused("no events match".to_owned()));
        }
        let more = match act {
            UnroutedAct::Publish if still > 0 => format!(" {still} of them have no subscriber and stay."),
            UnroutedAct::Publish => String::new(),
            UnroutedAct::Discard => " Nothing brings them back.".to_owned(),
        };
        let question = format!("{verb} {count} unrouted {}?{more}", if count == 1 { "event" } else { "events" });
        confirm(&question, "this is not a terminal, so you cannot be asked: add --yes to do it", stop).await?;
    }
    let by = who();
    let subscribes = |key: &str| routing::subscribes(&patterns, key);
    let unrouted = Unrouted { history: session.recording.recorder(), ..unrouted.clone() };
    let done = unrouted.act(act, &keys, (&by, "command line"), PATIENCE, subscribes).await;
    let done = done.map_err(|error| failed(&error))?;
    if json {
        print_json(&done)?;
    } else {
        let what = if act == UnroutedAct::Publish { "published again" } else { "deleted" };
        print_exactly(&format!("{} of {} {what}", done.done, done.meant))?;
        if done.not_subscribed > 0 {
            writeln!(
                std::io::stderr(),
                "{} stay: no destination subscribes to their routing keys",
                done.not_subscribed
            )?;
        }
    }
    match done.trouble {
        Some(trouble) => Err(Error::Failed(trouble)),
        None if done.meant == 0 => Err(Error::Refused("no events match".to_owned())),
        None if done.not_subscribed > 0 => Err(Error::Refused("not all of them have a subscriber".to_owned())),
        None => Ok(()),
    }
}

/// To the second, as people write it.
fn second(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}
