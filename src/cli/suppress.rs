//! `sluice suppress …`: people who must not be written to.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::confirm::confirm;
use super::dead::{Session, who};
use super::table::{Column, Table, text, word};
use super::{Error, print, print_drawn, print_json};
use crate::config::ConfigFile;
use crate::people::list::{self, BadRow, ListForm};
use crate::people::{NOT_SET, People, PeopleChanged, PersonKnown};
use crate::person::Digest;
use crate::suppression::{Act, ReadError, Stream, WriteError};
use crate::words;

/// Bad rows that are told one by one.
const MOST_TOLD: usize = 20;
/// Those who are suppressed that a list shows.
const LISTED: usize = 100;

const EXAMPLES: &str = "\
A person is named by the key that the destinations' events have (`person`): an e-mail address, a user id. Somebody whom two
vendors know by different keys is suppressed by both. The events of such a person end as `suppressed`: acked, counted, without
a request and without a dead letter. At the broker and in the audit stands a digest, never the key.

Examples:
  sluice suppress add ann@example.com --note 'ticket 4711'
  sluice suppress check ann@example.com             is she?
  sluice suppress remove ann@example.com
  sluice suppress import bounced.csv --column email
  sluice suppress list                              the last hundred, by digest";

/// Write to certain people no more: add, remove, import and look
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write to these people no more
    #[command(after_long_help = "Example:\n  sluice suppress add ann@example.com u-4711 --note 'ticket 4711'")]
    Add {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        why: Why,
    },
    /// Write to these people again
    #[command(
        after_long_help = "Examples:\n  sluice suppress remove ann@example.com\n  sluice suppress remove --file came-back.txt"
    )]
    Remove {
        /// Their keys; - reads one a line from standard input
        #[arg(value_name = "PERSON", required_unless_present = "file")]
        people: Vec<String>,
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        why: Why,
    },
    /// Is one of them suppressed? Ends with 4 where one is not
    #[command(after_long_help = "Example:\n  sluice suppress check ann@example.com")]
    Check(Named),
    /// Show who is suppressed, by digest, the last first
    #[command(after_long_help = "Examples:\n  sluice suppress list --limit 20\n  sluice suppress list ann@example.com")]
    List {
        /// Only these
        #[arg(value_name = "PERSON")]
        people: Vec<String>,
        /// People at most
        #[arg(long, value_name = "N", default_value_t = LISTED)]
        limit: usize,
    },
    /// Write to the people in a file no more: one a line, or a column of a CSV
    #[command(
        after_long_help = "Rows that name nobody are told by their line and the rest is done; then the exit code is 4. What was imported before is \
                           not written again.\n\nExamples:\n  sluice suppress import unsubscribed.txt\n  sluice suppress import bounced.csv \
                           --column email --note bounced"
    )]
    Import {
        /// The file; - is standard input
        file: PathBuf,
        /// The column of a CSV with a heading
        #[arg(long, value_name = "NAME")]
        column: Option<String>,
        /// What separates its columns; else what the heading has most of
        #[arg(long, value_name = "CHAR", value_parser = separator, requires = "column")]
        delimiter: Option<u8>,
        #[command(flatten)]
        why: Why,
    },
    /// Forget everybody who is suppressed, for good: after a key was lost
    #[command(after_long_help = "Example:\n  sluice suppress clear")]
    Clear {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Their keys; - reads one a line from standard input
    #[arg(value_name = "PERSON", required = true)]
    people: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct From {
    /// A file of them; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "people")]
    file: Option<PathBuf>,
    /// The column of a CSV with a heading
    #[arg(long, value_name = "NAME", requires = "file")]
    column: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Why {
    /// Why, for whoever looks later; addresses in it are masked
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let session = Session::open(file).await?;
    // What has begun goes on to its end.
    let done = work(&session, args, &stop).await;
    session.close().await;
    done
}

/// Those who are suppressed at the broker of a session.
pub(super) fn people(session: &Session) -> Result<People, Error> {
    let suppression = session.config.suppression.as_ref().ok_or_else(|| Error::Refused(NOT_SET.to_owned()))?;
    Ok(People { broker: session.broker.clone(), stream: Stream::new(&session.broker, &suppression.key) })
}

async fn work(session: &Session, Args { command, json }: Args, stop: &CancellationToken) -> Result<(), Error> {
    let people = people(session)?;
    match command {
        Command::Add { named, why } => {
            let (digests, bad) = named_people(&people, &named.people)?;
            change(&people, Act::Add, (&digests, &bad), &why.note, json).await
        }
        Command::Remove { people: named, from: From { file: None, .. }, why } => {
            let (digests, bad) = named_people(&people, &named)?;
            change(&people, Act::Remove, (&digests, &bad), &why.note, json).await
        }
        Command::Remove { from: From { file: Some(file), column }, why, .. } => {
            let (digests, bad) = from_file(&people, &file, ListForm { column: column.as_deref(), separator: None })?;
            change(&people, Act::Remove, (&digests, &bad), &why.note, json).await
        }
        Command::Import { file, column, delimiter, why } => {
            let form = ListForm { column: column.as_deref(), separator: delimiter };
            let (digests, bad) = from_file(&people, &file, form)?;
            change(&people, Act::Add, (&digests, &bad), &why.note, json).await
        }
        Command::Check(Named { people: named }) => check(&people, &named, json).await,
        Command::List { people: named, .. } if !named.is_empty() => check(&people, &named, json).await,
        Command::List { limit, .. } => list(&people, limit, json).await,
        Command::Clear { yes } => clear(&people, yes, json, stop).await,
    }
}

/// The digests of those on the command line.
fn named_people(people: &People, named: &[String]) -> Result<(Vec<Digest>, Vec<BadRow>), Error> {
    if let [only] = named
        && only == "-"
    {
        return from_file(people, Path::new("-"), ListForm { column: None, separator: None });
    }
    let digests = named.iter().map(|person| people.digest(person)).collect::<Result<_, _>>();
    Ok((digests.map_err(Error::Refused)?, Vec::new()))
}

/// The digests of those in a file. Nothing is begun where the file is not what it should be.
fn from_file(people: &People, file: &Path, form: ListForm<'_>) -> Result<(Vec<Digest>, Vec<BadRow>), Error> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.map_err(|error| Error::Failed(format!("{}: {error}", file.display())))?;
    let mut digests = Vec::new();
    let bad = list::read(&bytes, form, |person| digests.extend(people.digest(person).ok()))
        .map_err(|said| Error::Refused(format!("{}: {said}; nothing was changed", file.display())))?;
    Ok((digests, bad))
}

async fn change(
    people: &People,
    act: Act,
    (digests, bad): (&[Digest], &[BadRow]),
    note: &str,
    json: bool,
) -> Result<(), Error> {
    tell_bad(bad)?;
    if digests.is_empty() {
        return Err(Error::Refused("nobody is named; nothing was changed".to_owned()));
    }
    let bar = bar(digests.len(), json);
    let told = |done: usize| bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    let changed = people.change(act, digests, (&who(), "command line"), note, told).await;
    bar.finish_and_clear();
    let PeopleChanged { named, changed, unchanged, heeded_within_seconds } = changed.map_err(|error| failed(&error))?;
    if json {
        let refused: Vec<_> = bad.iter().map(|row| json!({ "line": row.line, "why": row.why })).collect();
        let digest = if let [one] = digests { Some(one) } else { None };
        print_json(&json!({
            "named": named, "changed": changed, "unchanged": unchanged, "digest": digest, "refused": refused,
            "heeded_within_seconds": heeded_within_seconds,
        }))?;
    } else {
        let (is, so) = match act {
            Act::Add => ("suppressed", "was suppressed before"),
            Act::Remove | Act::Clear => ("written to again", "was not suppressed"),
        };
        let so = if unchanged == 1 { so.to_owned() } else { so.replacen("was", "were", 1) };
        let before = if unchanged > 0 { format!("; {} {so}", words::count(unchanged)) } else { String::new() };
        let whom = match (digests, changed) {
            ([one], 1) => one.to_string(),
            (_, 1) => "1 person".to_owned(),
            (_, _) => format!("{} people", words::count(changed)),
        };
        let verb = if changed == 1 { "is" } else { "are" };
        // The broker has it: the workers may not, yet.
        let heeded = if changed > 0 {
            format!(
                "; every worker heeds it within {}",
                words::of(u64::from(heeded_within_seconds), "second", "seconds")
            )
        } else {
            String::new()
        };
        print(&format!("{whom} {verb} {is}{before}{heeded}"))?;
    }
    match bad.len() {
        0 => Ok(()),
        1 => Err(Error::Refused("one row names nobody; the rest is done".to_owned())),
        rows => Err(Error::Refused(format!("{} rows name nobody; the rest is done", words::count(rows)))),
    }
}

/// Which rows are left out. What is in them is not shown: it may be a person.
fn tell_bad(bad: &[BadRow]) -> Result<(), Error> {
    let mut to = std::io::stderr();
    for BadRow { line, why } in bad.iter().take(MOST_TOLD) {
        writeln!(to, "line {line} {why}")?;
    }
    if let Some(more) = bad.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        writeln!(to, "and {} more", words::count(more))?;
    }
    Ok(())
}

async fn check(people: &People, named: &[String], json: bool) -> Result<(), Error> {
    let (digests, bad) = named_people(people, named)?;
    tell_bad(&bad)?;
    let known = people.known(&digests).await.map_err(|error| not_read(&error))?;
    let others = known.iter().filter(|one| !one.suppressed).count();
    if json {
        print_json(&json!({ "people": known }))?;
    } else {
        for one in &known {
            print(&sentence(one))?;
        }
    }
    match (others, known.len()) {
        (0, _) => Ok(()),
        (1, 1) => Err(Error::Refused("not suppressed".to_owned())),
        (others, of) => Err(Error::Refused(format!("{others} of {of} are not suppressed"))),
    }
}

fn sentence(one: &PersonKnown) -> String {
    let PersonKnown { digest, since, by, note, .. } = one;
    let Some(since) = since else { return format!("{digest} is not suppressed") };
    let by = by.as_deref().unwrap_or("somebody");
    let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    format!("{digest} is suppressed since {} by {by}{note}", since.strftime("%F %T UTC"))
}

const PEOPLE: [Column; 4] = [word("person, by digest"), word("since"), word("by").leaves(1), text("note")];

async fn list(people: &People, limit: usize, json: bool) -> Result<(), Error> {
    let entries = people.stream.entries().await.map_err(|error| not_read(&error))?;
    let listed = entries.sorted();
    let shown: Vec<PersonKnown> =
        listed.iter().take(limit).map(|(digest, _)| PersonKnown::of(*digest, &entries)).collect();
    if json {
        print_json(&json!({ "count": entries.len(), "people": shown, "trouble": entries.trouble }))?;
    } else if entries.is_empty() && entries.trouble.is_none() {
        print("nobody is suppressed")?;
    } else {
        let rows = shown.iter().map(|one| {
            let since = one.since.map(|since| since.strftime("%F %T UTC").to_string());
            let texts = [since, one.by.clone(), one.note.clone()].map(Option::unwrap_or_default);
            let [since, by, note] = texts;
            [one.digest.to_string(), since, by, note]
        });
        print_drawn(&Table::new(&PEOPLE, rows))?;
        if entries.len() > shown.len() {
            print(&format!("{} in all; --limit shows more", words::count(entries.len())))?;
        }
    }
    entries.trouble.map_or(Ok(()), |trouble| Err(Error::Failed(trouble)))
}

async fn clear(people: &People, yes: bool, json: bool, stop: &CancellationToken) -> Result<(), Error> {
    let entries = people.stream.entries().await.map_err(|error| not_read(&error))?;
    if !yes {
        let question = match &entries.trouble {
            Some(_) => "forget everybody who is suppressed, by whichever key? They are written to again.".to_owned(),
            None => {
                format!(
                    "forget all {} people who are suppressed? They are written to again.",
                    words::count(entries.len())
                )
            }
        };
        confirm(&question, "this is not a terminal, so you cannot be asked: add --yes to do it", stop).await?;
    }
    let cleared = people.change(Act::Clear, &[], (&who(), "command line"), "", |_| {}).await;
    let cleared = cleared.map_err(|error| failed(&error))?;
    if json { print_json(&cleared) } else { Ok(print("nobody is suppressed any more")?) }
}

fn failed(error: &WriteError) -> Error {
    match error {
        WriteError::OtherKey(_) => Error::Refused(error.to_string()),
        WriteError::Read(_) | WriteError::Publish(_) => Error::Failed(error.to_string()),
    }
}

fn not_read(error: &ReadError) -> Error {
    Error::Failed(error.to_string())
}

/// A bar over people; hidden where standard error is no terminal, for a few, and where a program reads the output.
fn bar(people: usize, hidden: bool) -> ProgressBar {
    if hidden || people < 10_000 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("people {bar:30} {human_pos}/{human_len} {per_sec} {eta} left");
    let bar = ProgressBar::new(u64::try_from(people).unwrap_or(u64::MAX));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err("write one character, or tab".to_owned()),
    }
}
