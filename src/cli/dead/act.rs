//! `sluice dead replay`, `edit --jq`, `discard`, `restore`, `purge`: many letters acted on at once.

use std::sync::Arc;
use std::time::Duration;

use clap::value_parser;
use indicatif::ProgressBar;
use jiff::SpanRelativeTo;
use tokio_util::sync::CancellationToken;

use super::foretell::{Foretold, sentence};
use super::{PATIENCE, Session, bar, confirm, progress, require_selection, unless_stopped, who};
use crate::audit::Marks;
use crate::cli::{Error, find, print, print_json, print_lines, sanitize};
use crate::config::{ConfigFile, Destination};
use crate::control::Signal;
use crate::dead_letters::DeadLetters;
use crate::dead_letters::acts::Act;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::operation::{
    CANARY, Foresight, Operation, OperationPlan, OperationState, Phase, RAMP, Registry, SelectError,
};
use crate::dead_letters::recheck::{Recheck, RecheckBound};
use crate::dead_letters::rewrite::{Rewrite, Rewriting};
use crate::fleet::Roster;
use crate::operator::Listener;

/// What every act asks for.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The destination's name
    pub destination: String,
    #[command(flatten)]
    pub filter: Filter,
    /// All letters
    #[arg(long)]
    pub all: bool,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const REPLAY_HELP: &str = "\
Each letter goes back on the destination's queue with its history; attempts and age start afresh. One that dies again comes
back with one replay more. Live events go first. What becomes of the letters is told as the worker tells it.

Five go first, the canary; the others follow once the vendor took those. --ramp goes up in steps of 1, 5, 20 and 100, then
come the others. If one of a step dies again, the replay stops.

--dry-run moves nothing: it checks each letter against the mapping and the checks of this configuration file, and tells how
many would still be invalid and why. What the vendor refused before, no check can tell.

A replay ends with Ctrl-C, with its terminal or session unless nohup keeps it, or by `sluice dead cancel` from elsewhere; when
its process is killed, run it again for the rest.

Exit codes beside those of every command:
  0  replayed, and none died again; with --dry-run: all would pass
  4  some died again, the canary stopped it, or some could not be replayed; with --dry-run: some would still be invalid

Examples:
  sluice dead replay px-prod --all --dry-run
  sluice dead replay px-prod --group 8c1f0a2b3c4d5e6f
  sluice dead replay px-prod --group 8c1f0a2b3c4d5e6f --ramp
  sluice dead replay px-prod --reason expired --rate 40/s --canary 0 --yes";

/// Put dead letters back on the destination's queue
#[derive(Debug, clap::Args)]
#[command(after_long_help = REPLAY_HELP)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    common: Common,
    /// Letters a second, as 40/s or 600/min; a fifth of the gate's pace unless given
    #[arg(long, value_name = "RATE", value_parser = crate::cli::rate::read)]
    rate: Option<f64>,
    /// Send so many first, and the others only when the vendor has taken those; 0 sends all at once
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(0..=100_000), default_value_t = CANARY)]
    canary: u32,
    /// Go up in steps: 1, 5, 20, 100, and then the others
    #[arg(long, conflicts_with = "canary")]
    ramp: bool,
    /// How long to wait for the outcomes of the canary, or of each step
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = read_duration)]
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
pub(super) struct How {
    pub act: Act,
    rate: Option<f64>,
    /// So many first, then so many.
    pub steps: Vec<u32>,
    canary_wait: Duration,
    rewrite: Option<Arc<Rewrite>>,
}

impl How {
    fn plainly(act: Act) -> Self {
        Self { act, rate: None, steps: Vec::new(), canary_wait: Duration::ZERO, rewrite: None }
    }

    /// What is found out while the letters are counted.
    fn foresight(&self, args: &Common, destination: &Destination, max_bytes: usize) -> Foresight {
        if let Some(rewrite) = &self.rewrite {
            return Foresight::Rewrite(Rewriting::new(Arc::clone(rewrite)));
        }
        if self.act != Act::Replay || (args.yes && !args.dry_run) {
            return Foresight::Count;
        }
        let bound = if args.dry_run { RecheckBound::THOROUGH } else { RecheckBound::QUICK };
        Foresight::Recheck(Box::new(Recheck::new(destination.clone(), max_bytes, bound)))
    }
}

pub(super) async fn replay(args: ReplayArgs, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let steps = match args.canary {
        _ if args.ramp => RAMP.to_vec(),
        0 => Vec::new(),
        canary => vec![canary],
    };
    let how = How { rate: args.rate, steps, canary_wait: args.canary_wait, ..How::plainly(Act::Replay) };
    run(args.common, how, file, stop).await
}

/// Changes many letters by one expression.
pub(super) async fn edit(
    args: Common,
    jq: &str,
    force: bool,
    file: &ConfigFile,
    stop: CancellationToken,
) -> Result<(), Error> {
    let config = crate::cli::load(file)?;
    let destination = find(&config, &args.destination, file)?.clone();
    let rewrite = Rewrite::compile(jq, destination, config.broker.max_event_bytes, force).map_err(Error::Refused)?;
    run(args, How { rewrite: Some(Arc::new(rewrite)), ..How::plainly(Act::Edit) }, file, stop).await
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
    let listener = Listener::new(session.broker.clone(), Roster::default(), registry.clone(), Marks::default(), None);
    let listening = tokio::spawn(listener.listen(session.end.clone()));
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
    let destination = find(&session.config, &args.destination, file)?;
    let rate = letters.rate(how.act, how.rate, &destination.limits).await;
    let mut foresight = how.foresight(args, destination, session.config.broker.max_event_bytes);
    let bar = bar(args.json);
    bar.set_message("counting");
    let shown = progress(&bar);
    let selected = async {
        letters.select(how.act, &args.filter, None, &mut foresight, PATIENCE, &shown).await.map_err(|error| match error
        {
            // There --jq is what changes them.
            SelectError::Filter(error) if how.act == Act::Edit && error.field == "jq" => {
                Error::Refused(format!("where: {}", error.said))
            }
            SelectError::Filter(error) => Error::Refused(error.to_string()),
            SelectError::Look(error) => super::not_seen(&error),
            SelectError::Rewrite(error) => Error::Refused(error.to_string()),
        })
    };
    let mut selection = unless_stopped(stop, selected).await?;
    if let Foresight::Rewrite(rewriting) = &foresight {
        selection.seen.add(rewriting.left());
    }
    let foretold = Foretold { rate, check: foresight.rechecked(), edit: foresight.rewritten() };
    bar.finish_and_clear();
    // To a program an act that means no letter is an operation as any other, which did nothing.
    if args.dry_run || (selection.is_empty() && !args.json) {
        return foretold.tell(args, &how, &selection);
    }
    if !args.yes && !selection.is_empty() {
        if !args.json {
            foretold.samples().iter().try_for_each(|sample| print_lines(&sample.diff))?;
        }
        let sentence = sentence(args, &how, rate, &selection);
        let unasked = format!(
            "{sentence}. This is not a terminal, so you cannot be asked: add --yes to do it, or --dry-run to only count"
        );
        let said = foretold.said().map(|said| format!("\n{}", sanitize::line(said))).unwrap_or_default();
        confirm(&format!("{sentence}.{said}\nGo on?"), &unasked, stop).await?;
    }
    bar.reset();
    // Those that were counted are pinned.
    let plan = OperationPlan {
        act: how.act,
        filter: args.filter.clone(),
        rate,
        steps: how.steps,
        canary_wait: how.canary_wait,
        rewrite: how.rewrite,
        counted: None,
        by: who(),
    };
    let letters = DeadLetters { history: session.recording.recorder(), ..letters };
    let operation = letters.begin(plan, Some(selection));
    let state = follow(operation, registry, &bar, stop).await;
    bar.finish_and_clear();
    conclude(args, &state, foretold.leaves_some())
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

fn conclude(args: &Common, state: &OperationState, leaves_some: bool) -> Result<(), Error> {
    let outcome = state.outcome.clone().unwrap_or_else(|| "it ended without an outcome".to_owned());
    if args.json {
        print_json(state)?;
    }
    match state.phase {
        Phase::Done if state.refused > 0 || state.dead_again > 0 || leaves_some => Err(Error::Refused(outcome)),
        Phase::Done if args.json => Ok(()),
        Phase::Done => Ok(print(&format!("{}: {outcome}", args.destination))?),
        Phase::Stopped => Err(Error::Refused(outcome)),
        Phase::Cancelled | Phase::Failed => Err(Error::Failed(outcome)),
        Phase::Counting | Phase::Canary | Phase::Working | Phase::Paused | Phase::Finishing => Err(Error::Failed(
            "the operation broke off; this is a bug in Sluice. What was not done is still there".to_owned(),
        )),
    }
}

fn read_duration(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text.parse().map_err(|_| "write a time as 30s, 5m or 1h".to_owned())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "write a time as 30s, 5m or 1h".to_owned())
}
