//! Configuration: text and environment in; a [`Config`] or every problem out. Pure.

mod accounts;
mod admin;
mod broker;
mod changes;
mod concurrency;
mod destination;
mod file;
mod history;
mod ingest;
mod log;
mod map;
mod notify;
mod problems;
mod retry;
mod share;
mod suppression;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use toml_span::value::{Table, ValueInner};

pub use admin::{Admin, AdminToken, Role};
pub use broker::{Broker, Declare};
pub use changes::Changes;
pub use destination::Destination;
pub use file::ConfigFile;
pub use history::History;
pub use ingest::{Ingest, IngestToken};
pub use log::{Format, Log};
pub use notify::{Notify, What};
pub use problems::Problems;
pub use retry::Retry;
pub use share::Share;
pub use suppression::Suppression;

use crate::section::{ConfigProblem, Section, Source};
use crate::vendors::{self, Kind};

/// Everything that is set in the file.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[broker]`.
    pub broker: Broker,
    /// `[admin]`.
    pub admin: Admin,
    /// `[ingest]`; none: no events come over HTTP.
    pub ingest: Option<Ingest>,
    /// `[suppression]`; none: nobody is suppressed.
    pub suppression: Option<Suppression>,
    /// `[history]`; none: nothing is recorded.
    pub history: Option<History>,
    /// `[retry]`: what destinations without their own use.
    pub retry: Retry,
    /// `[log]`.
    pub log: Log,
    /// `[[notify]]`.
    pub notify: Vec<Notify>,
    /// `[destinations.<name>]` by name.
    pub destinations: BTreeMap<String, Destination>,
    /// What works and is probably not meant.
    pub warnings: Vec<ConfigProblem>,
}

/// Reads the file's text. `env` gives environment variables, `read_file` the files that secrets are in.
///
/// # Errors
/// Every problem, with `file_name`, line and how to fix it.
pub fn parse(
    file_name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, Problems> {
    parse_with(vendors::REGISTRY, file_name, text, env, read_file)
}

/// Like [`parse`], with another registry of vendors.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(
    registry: &[Kind],
    file_name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, Problems> {
    let (table, line_breaks) = open(file_name, text)?;
    let mut root = Section::new(Source { line_breaks: &line_breaks, env, read_file }, String::new(), 1, table);
    let mut config = read(&mut root, registry, None);
    if let Some(config) = &mut config {
        config.warnings.extend(notify::check(&root, config));
    }
    let problems = root.finish();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(file_name, problems)),
    }
}

/// Reads `[admin]` alone, for whoever only asks a worker. Nothing else of the file is looked at, and no other secret is needed. Of several
/// tokens those are left out that cannot be read here: one is enough.
///
/// # Errors
/// As [`parse`], of what was read.
pub fn parse_admin(
    file_name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Admin, Problems> {
    let (table, line_breaks) = open(file_name, text)?;
    let mut root = Section::new(Source { line_breaks: &line_breaks, env, read_file }, String::new(), 1, table);
    let admin = root.within("admin", Admin::read);
    root.ignore_the_rest();
    let has_one = admin.as_ref().is_some_and(|admin| !admin.tokens.is_empty());
    let mut problems = root.finish();
    problems.retain(|problem| !(has_one && problem.key.starts_with("admin.token")));
    match admin {
        Some(admin) if problems.is_empty() => Ok(admin),
        _ => Err(Problems::new(file_name, problems)),
    }
}

/// Reads all that a command needs which speaks with the broker and with no vendor. What a destination refers to and is not there has
/// something else in its place, so nothing may be sent to a vendor with it; the keys and tokens of workers alone are left out.
///
/// # Errors
/// As [`parse`].
pub fn parse_for_commands(
    file_name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, Problems> {
    let (table, line_breaks) = open(file_name, text)?;
    // A variable that is set and empty is as good as none: container files write such.
    let any_env = |name: &str| env(name).filter(|value| !value.is_empty()).or_else(|| Some(stand_in(name)));
    let any_file = |path: &Path| Ok(read_file(path).unwrap_or_else(|_| stand_in(&path.display().to_string())));
    let any = Source { line_breaks: &line_breaks, env: &any_env, read_file: &any_file };
    let mut root = Section::new(Source { line_breaks: &line_breaks, env, read_file }, String::new(), 1, table);
    root.leave_out("ingest");
    root.leave_out("notify");
    let config = read(&mut root, vendors::REGISTRY, Some(any));
    let mut problems = root.finish();
    problems.retain(|problem| !problem.key.starts_with("admin.token"));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        // What has to be there is told as by a worker.
        _ => parse(file_name, text, env, read_file),
    }
}

/// What passes for a key, a name or an address. It is no pattern of routing keys, which decide where events go.
fn stand_in(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("https://not-set.invalid/*{name}")
}

/// `for_command`: what destinations are read with for a command.
fn read<'a>(root: &mut Section<'a>, registry: &[Kind], for_command: Option<Source<'a>>) -> Option<Config> {
    let broker = root.within("broker", |section| {
        if for_command.is_some() {
            section.leave_out("ledger_key");
        }
        Broker::read(section)
    });
    let admin = root.within("admin", Admin::read);
    let ingest = root.optional("ingest", Ingest::read);
    let suppression = root.optional("suppression", Suppression::read);
    let history = root.optional("history", History::read);
    let retry = root.within("retry", |section| Retry::read(section, &Retry::default()));
    let log = root.within("log", Log::read);
    let notify = if root.has("notify") { root.tables("notify", Notify::read) } else { Some(Vec::new()) };
    root.expect(&["notify"]);
    let defaults = retry.clone().unwrap_or_default();
    let has_ledger_key = broker.as_ref().is_some_and(|broker| broker.ledger_key.is_some());
    let read = root.within("destinations", |all| {
        if let Some(source) = for_command {
            all.read_with(source);
        }
        let mut destinations = BTreeMap::new();
        for name in all.keys() {
            if let Some(mend) = destination::name_mend(&name) {
                all.problem(&name, mend);
            }
            if let Some(read) = all.within(&name, |section| Destination::read(section, registry, &defaults)) {
                destinations.insert(name, read);
            }
        }
        let mut warnings = accounts::check(all, &destinations, registry, has_ledger_key);
        warnings.extend(suppression::settle(all, &mut destinations, suppression.as_ref()));
        warnings.extend(concurrency::check(all, &destinations));
        Some((destinations, warnings))
    });
    let (destinations, warnings) = read?;
    let (broker, admin, retry, log, notify) = (broker?, admin?, retry?, log?, notify?);
    Some(Config { broker, admin, ingest, suppression, history, retry, log, notify, destinations, warnings })
}

/// The tables of a file, and where its lines end.
fn open<'a>(file_name: &str, text: &'a str) -> Result<(Table<'a>, Vec<usize>), Problems> {
    let table = read_toml(text).map_err(|problem| Problems::new(file_name, vec![problem]))?;
    Ok((table, text.match_indices('\n').map(|(at, _)| at).collect()))
}

fn read_toml(text: &str) -> Result<Table<'_>, ConfigProblem> {
    let error = match toml_span::parse(text).map(|mut value| value.take()) {
        Ok(ValueInner::Table(table)) => return Ok(table),
        // A TOML document is always a table.
        Ok(_) => return Ok(Table::new()),
        Err(error) => error,
    };
    let before = text.get(..error.span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Err(ConfigProblem { line, key: String::new(), message: format!("column {column}: {error}") })
}
