//! `sluice dead replay`, `discard`, `restore`, `purge`: many letters acted on at once.

use std::time::Duration;

use clap::value_parser;
use indicatif::ProgressBar;
use jiff::SpanRelativeTo;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Session, bar, confirm, progress, require_selection, unless_stopped, who};
use crate::audit::Marks;
use crate::cli::{Error, find, print, print_json, sanitize};
use crate::config::ConfigFile;
use crate::control::Signal;
use crate::dead_letters::acts::Act;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::operation::{
    Operation, OperationPlan, OperationState, Phase, Registry, SelectError, Selection, seconds,
};
use crate::fleet::Roster;
use crate::operator;

/// What every act asks for.
#[derive(Debug, clap::Args)]
struct Common {
    /// The destination's name
    destination: String,
    #[command(flatten)]
    filter: Filter,
    /// All letters
    #[arg(long)]
    all: bool,
    /// Only count the letters
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const REPLAY_HELP: &str = "\
Each letter goes back on the destination's queue with its history; attempts and age start afresh. One that dies again comes
back with one replay more. Live events go first. What becomes of the letters is told as the worker tells it.

A replay ends with Ctrl-C, with its terminal or session unless nohup keeps it, or by `sluice dead cancel` from elsewhere; when
its process is killed, run it again for the rest.

Examples:
  sluice dead replay px-prod --all --dry-run
  sluice dead replay px-prod --group 8c1f0a2b3c4d5e6f --canary 5
  sluice dead replay px-prod --reason expired --rate 40/s --yes";

/// Put dead letters back on the destination's queue
#[derive(Debug, clap::Args)]
#[command(after_long_help = REPLAY_HELP)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    common: Common,
    /// Letters a second, as 40/s or 600/min; a fifth of the gate's pace unless given
    #[arg(long, value_name = "RATE", value_parser = crate::cli::rate::read)]
    rate: Option<f64>,
    /// Send so many first (1 to 100000), and the others only when the vendor has taken those
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    canary: Option<u32>,
    /// How long to wait for the outcomes of the canary
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = read_duration, requires = "canary")]
    canary_wait: Duration,
}

/// Move dead letters to the trash, from where they can be restored for a week
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluice dead discard px-prod --type 'test.#' --yes")]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    common: Common,
}

/// Move letters from the trash back to the dead letters, as they were
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluice dead restore px-prod --newer-than 1h")]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    common: Common,
}

/// Delete letters from the trash for good
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluice dead purge px-prod --older-than 3d")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    common: Common,
}

/// How an act differs from the others.
struct How {
    act: Act,
    rate: Option<f64>,
    canary: Option<u32>,
    canary_wait: Duration,
}

impl How {
    fn plainly(act: Act) -> Self {
        Self { act, rate: None, canary: None, canary_wait: Duration::ZERO }
    }
}

pub(super) async fn replay(args: ReplayArgs, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let how = How { act: Act::Replay, rate: args.rate, canary: args.canary, canary_wait: args.canary_wait };
    run(args.common, how, file, stop).await
}

pub(super) async fn discard(args: DiscardArgs, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    run(args.common, How::plainly(Act::Discard), file, stop).await
}

pub(super) async fn restore(args: RestoreArgs, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    run(args.common, How::plainly(Act::Restore), file, stop).await
}

pub(super) async fn purge(args: PurgeArgs, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    run(args.common, How::plainly(Act::Purge), file, stop).await
}

async fn run(args: Common, how: How, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    require_selection(&args.filter, args.all)?;
    let session = Session::open(file).await?;
    let registry = Registry::default();
    // From elsewhere it can be seen, paused and ended too.
    let listening = tokio::spawn(operator::listen(
        session.broker.clone(),
        Roster::default(),
        registry.clone(),
        Marks::default(),
        session.end.clone(),
    ));
    let done = act(&session, &args, how, &registry, file, &stop).await;
    session.close().await;
    listening.abort();
    done
}

async fn act(
    session: &Session,
    args: &Common,
    how: How,
    registry: &Registry,
    file: &ConfigFile,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let letters = session.letters(&args.destination, file)?;
    let limits = &find(&session.config, &args.destination, file)?.limits;
    let rate = letters.rate(how.act, how.rate, limits).await;
    let bar = bar(args.json);
    bar.set_message("counting");
    let shown = progress(&bar);
    let selected = async {
        letters.select(how.act, &args.filter, None, PATIENCE, &shown).await.map_err(|error| match error {
            SelectError::Filter(error) => Error::Refused(error.to_string()),
            SelectError::Look(error) => super::not_seen(&error),
        })
    };
    let selection = unless_stopped(stop, selected).await?;
    bar.finish_and_clear();
    // To a program an act that means no letter is an operation as any other, which did nothing.
    if args.dry_run || (selection.is_empty() && !args.json) {
        return estimate(args, &how, rate, &selection);
    }
    if !args.yes && !selection.is_empty() {
        let sentence = sentence(args, &how, rate, &selection);
        let unasked = format!(
            "{sentence}. This is not a terminal, so you cannot be asked: add --yes to do it, or --dry-run to only count"
        );
        confirm(&format!("{sentence}. Go on?"), &unasked, stop).await?;
    }
    bar.reset();
    let (canary, canary_wait) = (how.canary, how.canary_wait);
    // Those that were counted are pinned.
    let plan = OperationPlan {
        act: how.act,
        filter: args.filter.clone(),
        rate,
        canary,
        canary_wait,
        counted: None,
        by: who(),
    };
    let operation = letters.begin(plan, Some(selection));
    let state = follow(operation, registry, &bar, stop).await;
    bar.finish_and_clear();
    conclude(args, &state)
}

/// What would be done.
fn estimate(args: &Common, how: &How, rate: Option<f64>, selection: &Selection) -> Result<(), Error> {
    let seconds = rate.map(|rate| seconds(selection.len(), rate));
    if args.json {
        return print_json(&json!({
            "act": how.act, "destination": args.destination, "filter": args.filter.to_string(), "dry_run": true,
            "there": selection.seen.there, "selected": selection.len(), "rate": rate, "seconds": seconds,
            "trouble": selection.seen.trouble,
        }));
    }
    print(&sentence(args, how, rate, selection))?;
    selection.seen.trouble.as_ref().map_or(Ok(()), |trouble| Ok(print(trouble)?))
}

fn sentence(args: &Common, how: &How, rate: Option<f64>, selection: &Selection) -> String {
    let (count, there) = (selection.len(), selection.seen.there);
    let pace = rate.map(|rate| format!(", at {} a second: {}", shown_rate(rate), shown_seconds(seconds(count, rate))));
    let pile = if matches!(how.act, Act::Replay | Act::Discard) { "" } else { " in the trash" };
    format!(
        "{}: {} {count} of the {there} letters{pile} that are there now{}",
        args.destination,
        how.act.name(),
        pace.unwrap_or_default()
    )
}

/// Shows how an operation goes on, until it is over.
async fn follow(
    operation: Operation,
    registry: &Registry,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> OperationState {
    let mut watch = operation.watch();
    let id = registry.add(operation).id;
    let mut note = None;
    loop {
        let state = watch.borrow_and_update().clone();
        bar.set_length(state.selected);
        bar.set_position(state.moved);
        bar.set_message(format!("{} {id} ({})", state.act.name(), state.phase.name()));
        if state.note != note {
            note.clone_from(&state.note);
            note.iter().for_each(|note| bar.println(sanitize::line(note)));
        }
        if state.phase.is_over() {
            return state;
        }
        tokio::select! {
            // Its sender lives as long as it is not over.
            changed = watch.changed() => if changed.is_err() { return watch.borrow().clone() },
            () = stop.cancelled() => {
                // Over already: then the state says so.
                let _is_over = registry.signal(&id, Signal::Cancel);
                let over = watch.wait_for(|state| state.phase.is_over()).await;
                return over.map_or(state, |state| state.clone());
            }
        }
    }
}

fn conclude(args: &Common, state: &OperationState) -> Result<(), Error> {
    let outcome = state.outcome.clone().unwrap_or_else(|| "it ended without an outcome".to_owned());
    if args.json {
        print_json(state)?;
    }
    match state.phase {
        Phase::Done if state.refused > 0 => Err(Error::Refused(outcome)),
        Phase::Done if args.json => Ok(()),
        Phase::Done => Ok(print(&format!("{}: {outcome}", args.destination))?),
        Phase::Stopped => Err(Error::Refused(outcome)),
        Phase::Cancelled | Phase::Failed => Err(Error::Failed(outcome)),
        Phase::Counting | Phase::Canary | Phase::Working | Phase::Paused | Phase::Finishing => Err(Error::Failed(
            "the operation broke off; this is a bug in Sluice. What was not done is still there".to_owned(),
        )),
    }
}

fn shown_seconds(seconds: f64) -> String {
    let rounded = Duration::try_from_secs_f64(seconds.max(1.0).round()).ok();
    let span = rounded.and_then(|rounded| jiff::SignedDuration::try_from(rounded).ok());
    span.map_or_else(|| "for ever".to_owned(), |span| format!("about {span:#}"))
}

fn shown_rate(rate: f64) -> String {
    if rate.fract() == 0.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}

fn read_duration(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text.parse().map_err(|_| "write a time as 30s, 5m or 1h".to_owned())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "write a time as 30s, 5m or 1h".to_owned())
}
