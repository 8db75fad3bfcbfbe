//! `sluice find`: what became of an event, and where it is now.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::confirm::unless_stopped;
use super::dead::{PATIENCE, Session};
use super::table::{Column, Table, figure, text, word};
use super::{Error, print, print_drawn, print_json};
use crate::clock;
use crate::config::ConfigFile;
use crate::find::{self, Bounds, EventStory, Finder, Found, Search, answer, said};
use crate::words;

const EXAMPLES: &str = "\
Looks through the history ([history] in the configuration), the dead letters and the trash of every destination, and
unrouted events. Looking changes nothing. Without [history] only what needs a person is found.

Exit codes: 0 every event was found; 4 one was not; 1 nothing was found, and not everything could be looked at.

Examples:
  sluice find 7f3a9c                          what became of this event?
  sluice find 7f3a9c 81b002 --source shop     of several, of one source
  sluice find 7f3a9c --since 2h               only what happened in the last two hours: faster
  sluice find --subject customer-17           of all events about this subject ([history] subject = true)
  sluice find 7f3a9c --json | jq '.events[].now'";

/// How long a search may take.
const WITHIN: Duration = Duration::from_mins(10);

/// What became of an event, step by step, and where is it now?
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The event's id; several may be given
    #[arg(value_name = "ID", required_unless_present = "subject")]
    ids: Vec<String>,
    /// Only events of this source
    #[arg(long)]
    source: Option<String>,
    /// Events with this subject
    #[arg(long)]
    subject: Option<String>,
    /// Only what happened since: a time, or how long ago, such as 2h
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let Args { ids, source, subject, since: from, json } = args;
    let since = from.map(|text| find::since(&text, clock::wall())).transpose().map_err(Error::Refused)?;
    let search = Search { ids, source, subject, since };
    if let Some((_, said)) = search.problem() {
        return Err(Error::Refused(said));
    }
    let session = Session::open(file).await?;
    let finder = Finder {
        broker: session.broker.clone(),
        destinations: session.config.destinations.iter().map(|(name, one)| (name.clone(), one.patterns())).collect(),
        history: session.config.history.as_ref().map(|history| (history.keep, history.subject)),
        max_event_bytes: session.config.broker.max_event_bytes,
    };
    let bar = spinner(json);
    let shown = bar.clone();
    let progress = move |searched: u64, at: Option<Timestamp>| {
        let until = at.map(|at| format!(", up to {at:.0}")).unwrap_or_default();
        shown.set_message(format!("{} steps searched{until}", words::count(searched)));
    };
    let bounds = Bounds { patience: PATIENCE, within: WITHIN };
    let found = unless_stopped(&stop, async { Ok(finder.find(&search, bounds, &progress).await) }).await;
    bar.finish_and_clear();
    session.close().await;
    let found = found?;
    if json {
        print_json(&found)?;
    } else {
        show(&found)?;
    }
    ended(&found)
}

/// Tells where a search has come to; hidden where standard error is no terminal, or where a program reads the output.
fn spinner(hidden: bool) -> ProgressBar {
    if hidden || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn ended(found: &Found) -> Result<(), Error> {
    let nothing = found.events.is_empty();
    if nothing && !found.is_complete {
        return Err(Error::Failed("nothing was found, and not everything could be looked at".to_owned()));
    }
    match found.not_found.as_slice() {
        [] if nothing => Err(Error::Refused("nothing was found".to_owned())),
        [] => Ok(()),
        ids => Err(Error::Refused(format!("nothing was found of {}", ids.join(", ")))),
    }
}

const COLUMNS: [Column; 6] = [
    word("time"),
    word("destination"),
    word("step"),
    figure("attempt").leaves(1),
    word("answer").leaves(2),
    text("what was said"),
];

fn show(found: &Found) -> Result<(), Error> {
    for story in &found.events {
        show_one(story)?;
    }
    for note in &found.notes {
        print(&format!("note: {note}"))?;
    }
    if !found.not_found.is_empty() {
        print(
            "note: an event that waits in a queue for the first time has left no trace yet, nor has what a worker did in the moment before \
             it was killed",
        )?;
    }
    Ok(())
}

fn show_one(story: &EventStory) -> Result<(), Error> {
    let EventStory { id, source, r#type, steps, now, gaps } = story;
    print(&format!("{id} ({source}, {type})"))?;
    let rows = steps.iter().map(|step| {
        [
            step.at.strftime("%F %T.%3f").to_string(),
            step.destination.clone().unwrap_or_else(|| "-".to_owned()),
            step.step.replace('_', " "),
            step.attempt.map_or_else(|| "-".to_owned(), |attempt| attempt.to_string()),
            answer(step),
            said(step),
        ]
    });
    print_drawn(&Table::new(&COLUMNS, rows))?;
    for gap in gaps {
        print(&format!("missing: {gap}"))?;
    }
    for standing in now {
        print(&format!("now: {}", standing.sentence))?;
    }
    print("")?;
    Ok(())
}
