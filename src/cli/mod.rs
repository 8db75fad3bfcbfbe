//! The commands, one file each: arguments come in, output and an error go out. No logic of their own.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Admin, Config, ConfigFile, Destination};

pub mod check;
mod confirm;
mod credentials;
mod dead;
pub mod demo;
mod erase;
mod error;
pub mod explain;
mod find;
pub mod health;
mod issues;
pub mod lease;
mod pause;
pub mod publish;
mod rate;
mod recording;
pub mod reload;
pub mod run;
pub mod sandbox;
mod sanitize;
mod screen;
mod source;
pub mod status;
mod suppress;
mod table;
pub mod tap;
pub mod top;
mod unrouted;
mod waiting;

pub use error::Error;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  it failed: the message says what and what to do
  2  the command line is wrong
  3  the configuration has problems
  4  some of the input was refused, something asked for is not there, a worker did not do it, or replayed letters died again
  130  ended by a second Ctrl-C

Examples:
  sluice check                        is sluice.toml right?
  sluice run                          deliver, until Ctrl-C or SIGTERM
  sluice explain event.json           which request would this event make?
  sluice publish events.ndjson        publish events from NDJSON or CSV, confirmed by the broker
  sluice find 7f3a9c                  what became of this event?
  sluice issues                       what needs a person?
  sluice status                       how is each destination?
  sluice top                          the same, live in the terminal
  sluice tap px-prod                  what becomes of its events, as it happens
  sluice reload                       have the workers read their files again
  sluice dead groups px-prod          what could not be delivered, and why?
  sluice lease show px-prod           which worker drives px-prod?
  sluice pause px-prod --for 2h       send nothing to px-prod for a while
  sluice audit px-prod                who did what there?
  sluice suppress add PERSON          write to somebody no more, at any destination
  sluice erase PERSON                 delete what is left of somebody
  sluice demo                         see it all at work on this machine";

/// Lets queued events through to vendors exactly as fast as each vendor allows
#[derive(Debug, Parser)]
#[command(name = "sluice", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// The configuration file
    #[arg(long, short, global = true, value_name = "FILE", env = "SLUICE_CONFIG", default_value = "sluice.toml")]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Explain(explain::Args),
    Find(find::Args),
    Publish(publish::Args),
    Status(status::Args),
    Top(top::Args),
    Tap(tap::Args),
    Reload(reload::Args),
    Health(health::Args),
    Dead(Box<dead::Args>),
    Lease(lease::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Limits(pause::LimitsArgs),
    Audit(dead::audit::Args),
    Issues(issues::Args),
    Unrouted(unrouted::Args),
    Suppress(suppress::Args),
    Erase(erase::Args),
    Waiting(waiting::Args),
    Sandbox(Box<sandbox::Args>),
    Demo(demo::Args),
    /// Print a completion script for a shell
    #[command(after_long_help = "Example:\n  sluice completions bash > /etc/bash_completion.d/sluice")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Runs the command to its end, or until Ctrl-C or SIGTERM, or with the session it was begun in.
    ///
    /// # Errors
    /// What went wrong, with an exit code.
    pub async fn run(self) -> Result<(), Error> {
        let file = ConfigFile::new(self.config);
        match self.command {
            Command::Run(args) => run::run(&args, file, stop_on_signal()?).await,
            Command::Check(args) => check::run(&args, &file).await,
            Command::Explain(args) => explain::run(&args, &file),
            Command::Find(args) => find::run(args, &file, stop_with_session()?).await,
            Command::Publish(args) => publish::run(args, &file, stop_with_session()?).await,
            Command::Status(args) => status::run(&args, &file).await,
            Command::Top(args) => top::run(args, &file, stop_with_session()?).await,
            Command::Tap(args) => tap::run(args, &file, stop_with_session()?).await,
            Command::Reload(args) => reload::run(args, &file).await,
            Command::Health(args) => health::run(&args, &file).await,
            Command::Dead(args) => dead::run(*args, &file, stop_with_session()?).await,
            Command::Lease(args) => lease::run(args, &file, stop_with_session()?).await,
            Command::Pause(args) => pause::pause(args, &file).await,
            Command::Resume(args) => pause::resume(args, &file).await,
            Command::Limits(args) => pause::limits(args, &file).await,
            Command::Audit(args) => dead::audit::run(args, &file).await,
            Command::Issues(args) => issues::run(args, &file).await,
            Command::Waiting(args) => waiting::run(args, &file).await,
            Command::Unrouted(args) => unrouted::run(args, &file, stop_with_session()?).await,
            Command::Suppress(args) => suppress::run(args, &file, stop_with_session()?).await,
            Command::Erase(args) => erase::run(args, &file, stop_with_session()?).await,
            Command::Sandbox(args) => Ok(sandbox::run(*args, stop_with_session()?).await?),
            Command::Demo(args) => demo::run(args, stop_with_session()?).await,
            Command::Completions { shell } => {
                // Whoever reads may close the pipe early, at which clap_complete would panic.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "sluice", &mut script);
                Ok(io::stdout().write_all(&script)?)
            }
        }
    }
}

/// A token that Ctrl-C or SIGTERM cancels; a second one ends the process at once.
fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
        }
        token.cancel();
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(stop)
}

/// The same for what a person runs: SIGHUP, which a lost session sends, cancels it too. It comes from the shell and from the terminal, so a
/// second one says nothing new. Under `nohup` it stays ignored.
fn stop_with_session() -> io::Result<CancellationToken> {
    let stop = stop_on_signal()?;
    if !ignores_hangups() {
        let (mut hangups, token) = (signal(SignalKind::hangup())?, stop.clone());
        tokio::spawn(async move {
            hangups.recv().await;
            token.cancel();
        });
    }
    Ok(stop)
}

/// Whether this process was started with SIGHUP ignored; not so where the system does not tell.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    // The lowest bit is signal 1.
    ignored.is_some_and(|ignored| ignored & 1 == 1)
}

/// Prints what went wrong; the exit code tells the shell.
#[must_use]
pub fn report(message: &str, code: u8) -> ExitCode {
    say(message);
    ExitCode::from(code)
}

/// Tells a person something beside the output.
fn say(message: &str) {
    // With standard error closed there is no one to tell.
    drop(writeln!(io::stderr(), "sluice: {}", sanitize::lines(message)));
}

/// Prints a line for a person.
fn print(line: &str) -> io::Result<()> {
    print_exactly(&sanitize::line(line))
}

/// Prints several lines for a person. What others wrote may only stand in them where it cannot pass for a line of Sluice's.
fn print_lines(text: &str) -> io::Result<()> {
    print_exactly(&sanitize::lines(text))
}

/// Prints a table: whole, or as wide as the terminal.
fn print_drawn(table: &table::Table<'_>) -> io::Result<()> {
    let screen = screen::Screen::now();
    let (lines, hidden) = table.drawn(screen);
    lines.iter().try_for_each(|line| print_exactly(line))?;
    if hidden.is_empty() {
        return Ok(());
    }
    let note = format!("(no room for {}; --json has all)", hidden.join(", "));
    print_exactly(&screen.width.map_or_else(|| note.clone(), |width| table::cut(&note, width)))
}

/// Prints a text as it is, for programs.
fn print_exactly(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Failed(error.to_string()))?;
    Ok(print_exactly(&text)?)
}

/// The section of a destination that the command line names.
fn find<'a>(config: &'a Config, destination: &str, file: &ConfigFile) -> Result<&'a Destination, Error> {
    config.destinations.get(destination).ok_or_else(|| {
        let known: Vec<&str> = config.destinations.keys().map(String::as_str).collect();
        let known = known.join(", ");
        Error::Refused(format!("no destination {destination:?} in {}; there are: {known}", file.path().display()))
    })
}

/// The configuration for a command that sends nothing to vendors.
fn load(file: &ConfigFile) -> Result<Config, Error> {
    file.load_for_command().map_err(Error::Config)
}

/// All of it, with every secret.
fn load_whole(file: &ConfigFile) -> Result<Config, Error> {
    file.load().map_err(Error::Config)
}

/// `[admin]` of the configuration: all that it takes to ask a worker.
fn load_admin(file: &ConfigFile) -> Result<Admin, Error> {
    file.load_admin().map_err(Error::Config)
}

/// The configuration, which has that destination.
fn load_with(destination: &str, file: &ConfigFile) -> Result<Config, Error> {
    let config = load(file)?;
    find(&config, destination, file)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
