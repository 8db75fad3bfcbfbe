//! `sluice dead …`: a destination's dead letters, looked at and acted on.

mod act;
pub(super) mod audit;
mod edit;
mod export;
mod foretell;
mod groups;
mod list;
mod operations;
mod show;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::confirm::{confirm, unless_stopped};
use super::{Error, find, load, load_whole};
use crate::broker::Broker;
use crate::cli::recording::Recording;
use crate::config::{Config, ConfigFile};
use crate::dead_letters::filter::{Filter, Matcher};
use crate::dead_letters::look::LookError;
use crate::dead_letters::{DeadLetters, Pile};
use crate::{app, broker, clock};

/// How long a look waits for others who read the same letters.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
const BROKER_WITHIN: Duration = Duration::from_secs(10);

const AFTER_HELP: &str = "\
Looking changes nothing: order, count and headers stay, whoever else looks and whoever is killed. Acts mean the letters
that are there when they begin, and count them before they ask. What they do is in the audit.

Examples:
  sluice dead groups                                     what went wrong, and how often, everywhere?
  sluice dead groups px-prod                             and at one destination?
  sluice dead list px-prod --reason rejected --newer-than 2h
  sluice dead show px-prod 0123456789abcdef              one letter with every attempt
  sluice dead replay px-prod --group 8c1f… --dry-run     would they pass now?
  sluice dead replay px-prod --group 8c1f…               five first; the others once those came through
  sluice dead edit px-prod --group 8c1f… --jq '.data.email |= ascii_downcase'
  sluice dead discard px-prod --type 'test.#'            to the trash, for a week
  sluice dead restore px-prod --all                      and back
  sluice dead export px-prod --all > letters.ndjson      everything; sluice publish puts it back";

/// Look at dead letters, replay, edit, discard, restore and export them
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Groups(groups::Args),
    Show(show::Args),
    Replay(act::ReplayArgs),
    Edit(edit::Args),
    Discard(act::DiscardArgs),
    Restore(act::RestoreArgs),
    Purge(act::PurgeArgs),
    Export(export::Args),
    Audit(audit::Args),
    Operations(operations::ListArgs),
    /// Pause an operation: nothing more is acted on until it is resumed
    #[command(after_long_help = "Example:\n  sluice dead pause 5f0c9b6e21aa")]
    Pause(operations::WishArgs),
    /// Resume an operation after a pause
    #[command(after_long_help = "Example:\n  sluice dead resume 5f0c9b6e21aa")]
    Resume(operations::WishArgs),
    /// End an operation; what has been acted on stays so
    #[command(after_long_help = "Example:\n  sluice dead cancel 5f0c9b6e21aa")]
    Cancel(operations::WishArgs),
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    use crate::control::Signal;
    match args.command {
        Command::List(args) => list::run(args, file, stop).await,
        Command::Groups(args) => groups::run(args, file, stop).await,
        Command::Show(args) => show::run(args, file, stop).await,
        Command::Replay(args) => act::replay(args, file, stop).await,
        Command::Edit(args) => edit::run(args, file, stop).await,
        Command::Discard(args) => act::discard(args, file, stop).await,
        Command::Restore(args) => act::restore(args, file, stop).await,
        Command::Purge(args) => act::purge(args, file, stop).await,
        Command::Export(args) => export::run(args, file, stop).await,
        Command::Audit(args) => audit::run(args, file).await,
        Command::Operations(args) => operations::list(args, file).await,
        Command::Pause(args) => operations::signal(args, Signal::Pause, file).await,
        Command::Resume(args) => operations::signal(args, Signal::Run, file).await,
        Command::Cancel(args) => operations::signal(args, Signal::Cancel, file).await,
    }
}

/// A connection for one command.
pub(super) struct Session {
    pub config: Config,
    pub broker: Broker,
    /// Where what the command does is told.
    pub recording: Recording,
    end: CancellationToken,
}

impl Session {
    pub async fn open(file: &ConfigFile) -> Result<Self, Error> {
        Self::with(load(file)?).await
    }

    /// With every secret: for what shows and judges requests.
    pub async fn open_whole(file: &ConfigFile) -> Result<Self, Error> {
        Self::with(load_whole(file)?).await
    }

    async fn with(config: Config) -> Result<Self, Error> {
        let end = CancellationToken::new();
        let settings = broker::BrokerSettings { name: "sluice command".to_owned(), ..app::broker_settings(&config) };
        let broker = Broker::start(settings, end.clone());
        broker.wait_ready(BROKER_WITHIN).await.map_err(|error| Error::Failed(error.to_string()))?;
        let recording = Recording::of(&config, &broker);
        Ok(Self { config, broker, recording, end })
    }

    /// The letters of a destination that the configuration has.
    fn letters(&self, destination: &str, file: &ConfigFile) -> Result<DeadLetters, Error> {
        find(&self.config, destination, file)?;
        Ok(DeadLetters { broker: self.broker.clone(), destination: destination.to_owned(), history: None })
    }

    pub async fn close(self) {
        self.recording.end().await;
        self.broker.close(BROKER_WITHIN).await;
        self.end.cancel();
    }
}

/// Runs what a command does, ends it when the user wants it, and closes the connection.
async fn within_session<T>(
    session: Session,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&Session) -> Result<T, Error>,
) -> Result<T, Error> {
    let done = unless_stopped(stop, work(&session)).await;
    session.close().await;
    done
}

/// Refuses an act without a filter or --all: all letters are never meant by omission.
fn require_selection(filter: &Filter, all: bool) -> Result<(), Error> {
    match (filter.is_empty(), all) {
        (true, false) => Err(Error::Refused("say which letters: give a filter, or --all for all of them".to_owned())),
        (false, true) => Err(Error::Refused("--all and a filter exclude each other: leave one out".to_owned())),
        (true, true) | (false, false) => Ok(()),
    }
}

/// What a filter means now.
fn compiled(filter: &Filter) -> Result<Matcher, Error> {
    filter.compile(clock::wall()).map_err(|error| Error::Refused(error.to_string()))
}

/// Where a command looks.
fn pile(trash: bool) -> Pile {
    if trash { Pile::Trash } else { Pile::Dead }
}

/// Why a look gave nothing.
fn not_seen(error: &LookError) -> Error {
    match error {
        LookError::Read(error) => Error::Failed(error.to_string()),
        LookError::Machine(lack) => Error::Failed(lack.to_string()),
        // As a filter that cannot be read.
        LookError::TooSlow(error) => Error::Refused(error.to_string()),
    }
}

/// A bar over letters; hidden where standard error is no terminal, or where a program reads the output.
fn bar(hidden: bool) -> ProgressBar {
    if hidden || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows a pass's progress on a bar.
fn progress(bar: &ProgressBar) -> impl Fn(u32, u32) + Send + Sync {
    let bar = bar.clone();
    move |read, there| {
        if read % 256 == 0 || read == there {
            bar.set_length(u64::from(there));
            bar.set_position(u64::from(read));
        }
    }
}

/// Who runs this command: user@host, for the audit.
#[expect(clippy::disallowed_methods, reason = "the command line belongs to whoever runs it")]
pub(super) fn who() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok().filter(|user| !user.is_empty());
    let user = user.or_else(user_of_process).unwrap_or_else(|| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    format!("{user}@{}", host.as_deref().map_or("unknown", str::trim))
}

/// Where no environment says it, as in a container: the account's name, else its number.
fn user_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    Some(name.unwrap_or(uid))
}
