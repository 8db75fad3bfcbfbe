//! `sluice publish`: events from a file or standard input, linted line by line, confirmed by the broker.

mod input;
mod progress;
mod publishing;
mod reading;
mod refused;
mod rows;
mod window;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, ValueEnum, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::progress::Course;
use self::publishing::{Files, Publishing};
use self::reading::{Reading, To};
use self::refused::{Form, Refused};
use self::rows::{Reader, Wanted};
use super::{Cli, Error, load, print, print_json};
use crate::broker::{self, Broker, Declare, Names};
use crate::cli::recording::Recording;
use crate::config::{self, Config, ConfigFile};
use crate::dead_letters::DeadLetters;
use crate::mapping::Expression;
use crate::words::of;
use crate::{app, audit, clock, routing};

const BROKER_WITHIN: Duration = Duration::from_secs(10);
/// Refused lines shown one by one; the others are counted.
const SHOWN: usize = 20;

const EXAMPLES: &str = "\
Each line is one event: a CloudEvents envelope, or with --type its data alone. Of a CSV file each row is the data of one event, by the names in
its heading row. A line that is not an event is refused and told by its number; the others are published. Refused lines of a file are written
to FILE.refused with their reasons, to be mended and published. Empty lines, and lines that begin with # in NDJSON, are skipped.

How far a file came is kept in FILE.progress: after a Ctrl-C, a crash, or trouble with the broker, --resume goes on there. At most 256 lines are
then published twice, as the same events: with the same ids.

Examples:
  sluice publish events.ndjson
  sluice publish --type shop.signup --id-column user --time-column at signups.csv
  sluice publish --type shop.paid --delimiter ';' --map '{order: .no, total: (.total | tonumber)}' orders.csv
  sluice publish --bulk --type import.contact contacts.csv  behind all other events
  sluice publish --resume --rate 500/s --type shop.paid orders.csv
  sluice publish --type shop.paid orders.csv.refused        the refused rows, mended
  sluice publish --lint events.ndjson                       publish nothing, only tell what is wrong
  jq -c '.[]' export.json | sluice publish --type product.report.exported -
  sluice publish letters.ndjson                             what sluice dead export wrote goes back among the dead letters
  sluice publish --as-events letters.ndjson                 … or goes to every destination again, as the events they were";

/// Publish events (NDJSON or CSV), linted and confirmed
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A file with one event a line or a row, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The type of every event: each line or row holds its data alone
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The source of every event, with --type. Default for CSV: the file's name
    #[arg(long, value_name = "SOURCE", requires = "kind")]
    source: Option<String>,
    /// What the file is. Default: CSV where its name ends in .csv, else NDJSON
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// CSV: what separates fields, one character or "tab". Default: a comma
    #[arg(long, value_name = "CHARACTER", value_parser = read_delimiter)]
    delimiter: Option<u8>,
    /// CSV: the column with each event's id. Default: ids made of the file's name, the line and what it holds
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// CSV: the column with each event's time, in RFC 3339. Default: none, so an event counts from when it was published
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// CSV: makes the data of a row: a jq expression over {column: text}
    #[arg(long, value_name = "JQ")]
    map: Option<String>,
    /// Publish no faster than this, as 500/s, 600/min or 1000/h
    #[arg(long, value_name = "RATE", value_parser = super::rate::read)]
    rate: Option<f64>,
    /// Go on where an earlier run of this file was cut off
    #[arg(long, conflicts_with = "lint")]
    resume: bool,
    /// Exported dead letters become events anew, instead of going back among the dead letters
    #[arg(long)]
    as_events: bool,
    /// Publish them as bulk: events that may wait behind all others
    #[arg(long)]
    bulk: bool,
    /// Only report problems; publish nothing
    #[arg(long)]
    lint: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
struct Summary {
    published: u64,
    /// Published, but no destination subscribes to their type: they are in the unrouted queue.
    unrouted: u64,
    /// Of the published, exported letters that are among the dead ones again: how many of each destination.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    put_back: BTreeMap<String, u64>,
    refused: u64,
    problems: Vec<Problem>,
    /// The line that it went on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed_at_line: Option<u64>,
    /// Where the refused lines are.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Why it ended before the input did.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_early: Option<String>,
}

#[derive(Debug, Serialize)]
struct Problem {
    line: u64,
    problem: String,
}

impl Summary {
    /// Counts where a line goes.
    fn goes(&mut self, to: &To, config: &Config) {
        match to {
            To::DeadLetters(destination) => *self.put_back.entry(destination.clone()).or_default() += 1,
            To::Destinations(kind, _) => {
                let wanted = |one: &config::Destination| routing::subscribes(&one.patterns(), kind);
                self.unrouted += u64::from(!config.destinations.values().any(wanted));
            }
        }
    }

    fn refuse(&mut self, line: u64, problem: impl Into<String>) {
        self.refused += 1;
        if self.problems.len() < SHOWN {
            self.problems.push(Problem { line, problem: problem.into() });
        }
    }
}

/// What a file's lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line
    Ndjson,
    /// A heading row, and rows
    Csv,
}

impl Args {
    fn format(&self) -> Format {
        let csv = || Path::new(&self.name()).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        self.format.unwrap_or_else(|| if csv() { Format::Csv } else { Format::Ndjson })
    }

    /// The file's own name: for its mended lines the name of the file that they were refused from.
    fn name(&self) -> String {
        let name = self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy().into_owned();
        name.trim_end_matches(".refused").to_owned()
    }

    fn is_standard_input(&self) -> bool {
        self.file == Path::new("-")
    }

    /// Whether it can be gone on with: standard input and other pipes are read once.
    fn is_file(&self) -> bool {
        !self.is_standard_input() && self.file.is_file()
    }

    /// What clap cannot see: which options go together. A wrong command line ends here, with 2.
    fn check(&self) -> Option<Expression> {
        let only_csv = [
            (self.delimiter.is_some(), "--delimiter"),
            (self.id_column.is_some(), "--id-column"),
            (self.time_column.is_some(), "--time-column"),
            (self.map.is_some(), "--map"),
        ];
        match self.format() {
            Format::Csv if self.kind.is_none() => {
                usage(ErrorKind::MissingRequiredArgument, "CSV needs --type TYPE: the type of every event")
            }
            Format::Csv if self.as_events => {
                usage(ErrorKind::ArgumentConflict, "--as-events is for exported letters, not for CSV")
            }
            Format::Csv => {}
            Format::Ndjson => {
                if let Some((_, option)) = only_csv.into_iter().find(|(given, _)| *given) {
                    usage(
                        ErrorKind::ArgumentConflict,
                        &format!("{option} is for CSV: add --format csv, or name the file .csv"),
                    );
                }
            }
        }
        // One that is not there is told when it is opened.
        if self.resume && (self.is_standard_input() || self.file.exists() && !self.file.is_file()) {
            usage(ErrorKind::ArgumentConflict, "--resume needs a file: nobody can go back in standard input or a pipe");
        }
        let compiled = self.map.as_deref().map(Expression::compile).transpose();
        compiled
            .unwrap_or_else(|said| usage(ErrorKind::ValueValidation, &format!("--map is not a jq expression: {said}")))
    }

    /// The options that make events of lines, as they are written.
    fn options(&self) -> String {
        let mut options = vec![format!("--format {}", if self.format() == Format::Csv { "csv" } else { "ndjson" })];
        let delimiter = self.delimiter.map(|byte| char::from(byte).to_string());
        let given = [
            ("--type", &self.kind),
            ("--source", &self.source),
            ("--delimiter", &delimiter),
            ("--id-column", &self.id_column),
            ("--time-column", &self.time_column),
            ("--map", &self.map),
        ];
        options.extend(given.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))));
        options.extend(self.as_events.then(|| "--as-events".to_owned()));
        options.extend(self.bulk.then(|| "--bulk".to_owned()));
        options.join(" ")
    }
}

fn usage(kind: ErrorKind, said: &str) -> ! {
    Cli::command().error(kind, said).exit()
}

fn read_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
            _ => Err("write one character of ASCII, as ';', or tab".to_owned()),
        },
    }
}

/// A path beside a file's: its own with something added.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let map = args.check();
    let config = load(file)?;
    let opened = Opened::of(&args, &config, map)?;
    let end = CancellationToken::new();
    let broker = if args.lint { None } else { Some(connect(&config, end.clone()).await?) };
    let bar = progress_bar(&args);
    let recording = broker.as_ref().map(|broker| Recording::of(&config, broker));
    let told = (broker.as_ref().map(Broker::publisher), recording.as_ref().and_then(Recording::recorder));
    let publishing = Publishing::new(opened.reading, told, opened.files);
    let outcome = publishing.run(opened.records, args.rate, &bar, &stop).await;
    bar.finish_and_clear();
    if let Some(broker) = broker {
        record(&broker, &args, &outcome).await;
        if let Some(recording) = recording {
            recording.end().await;
        }
        broker.close(BROKER_WITHIN).await;
    }
    end.cancel();
    tell(&args, &Summary { resumed_at_line: opened.resumed_at_line, ..outcome })
}

/// An input, ready to be read.
struct Opened<'a> {
    records: input::Records,
    reading: Reading<'a>,
    files: Option<Files>,
    resumed_at_line: Option<u64>,
}

impl<'a> Opened<'a> {
    fn of(args: &'a Args, config: &'a Config, map: Option<Expression>) -> Result<Self, Error> {
        let course = (args.is_file() && !args.lint).then(|| Course::of(&args.file, args.options())).transpose();
        let course = course.map_err(|error| Error::Failed(format!("{}: {error}", args.file.display())))?;
        let earlier = match &course {
            Some(course) if args.resume => course.resume().map_err(Error::Failed)?,
            Some(course) => {
                // One that cannot be read says nothing of this file.
                if let Ok(Some(earlier)) = course.earlier()
                    && !earlier.done
                {
                    return Err(Error::Failed(format!(
                        "{path} says that an earlier run came to line {line}: go on with --resume, or delete {path} to publish \
                         everything anew",
                        path = course.path().display(),
                        line = earlier.line
                    )));
                }
                None
            }
            None => None,
        };
        let from = earlier.as_ref().map(|it| input::Place { byte: it.byte, line: it.line });
        let delimiter = args.delimiter.unwrap_or(b',');
        let (rows, form, records) = match args.format() {
            Format::Ndjson => (None, Form::Lines, input::lines(&args.file, from.unwrap_or(input::Place::START))?),
            Format::Csv => {
                let (heading, records) = input::rows(&args.file, from, delimiter)?;
                let wanted = Wanted {
                    kind: args.kind.as_deref().unwrap_or_default(),
                    source: args.source.clone().unwrap_or_else(|| args.name()),
                    id_column: args.id_column.as_deref(),
                    time_column: args.time_column.as_deref(),
                    map,
                };
                let refused = |said| Error::Refused(format!("{}: {said}", args.file.display()));
                let reader = Reader::new(&heading, wanted).map_err(refused)?;
                (Some(reader), Form::Rows { names: heading.names.clone(), delimiter }, records)
            }
        };
        let refused_bytes = earlier.as_ref().map_or(0, |it| it.refused_bytes);
        let files = course.map(|course| Files::new(course, Refused::of(&args.file, form, refused_bytes), from));
        let reading = Reading { args, config, names: Names::new(&config.broker.prefix), name: args.name(), rows };
        Ok(Self { records, reading, files, resumed_at_line: from.map(|it| it.line) })
    }
}

/// Tells the audit of letters that were put back.
async fn record(broker: &Broker, args: &Args, outcome: &Summary) {
    for (destination, count) in &outcome.put_back {
        let letters = DeadLetters { broker: broker.clone(), destination: destination.clone(), history: None };
        let entry = audit::Entry {
            at: clock::wall(),
            operation: audit::operation_id(),
            by: super::dead::who(),
            place: None,
            destination: destination.clone(),
            act: "publish".to_owned(),
            filter: args.file.display().to_string(),
            count: *count,
            outcome: Some(format!(
                "{} put back, {} refused",
                of(*count, "exported letter", "exported letters"),
                of(outcome.refused, "line", "lines")
            )),
            mark: None,
        };
        if let Err(error) = letters.record(&entry).await {
            tracing::warn!(%error, "what was put back is not in the audit");
        }
    }
}

async fn connect(config: &Config, end: CancellationToken) -> Result<Broker, Error> {
    // As a producer does: the right to write to the exchange is enough.
    let broker = Broker::start(broker::BrokerSettings { declare: Declare::Never, ..app::broker_settings(config) }, end);
    broker.wait_ready(BROKER_WITHIN).await.map_err(|error| Error::Failed(error.to_string()))?;
    Ok(broker)
}

/// By bytes of the file; hidden where standard error is no terminal.
fn progress_bar(args: &Args) -> ProgressBar {
    let size = std::fs::metadata(&args.file).map(|metadata| metadata.len()).ok();
    if !std::io::stderr().is_terminal() || args.json {
        return ProgressBar::hidden();
    }
    match size {
        Some(size) => ProgressBar::new(size).with_style(
            ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        ),
        None => ProgressBar::new_spinner(),
    }
}

fn tell(args: &Args, outcome: &Summary) -> Result<(), Error> {
    if args.json {
        print_json(outcome)?;
    } else {
        tell_lines(args, outcome)?;
    }
    if let Some(why) = &outcome.ended_early {
        let go_on = if args.is_file() && !args.lint { "; go on with --resume" } else { "" };
        return Err(Error::Failed(format!("{why}{go_on}")));
    }
    match &outcome.refused_file {
        _ if outcome.refused == 0 => Ok(()),
        Some(file) => Err(Error::Refused(format!(
            "{} not published, and in {} with the reason: mend that there, and publish that file",
            of(outcome.refused, "line was", "lines were"),
            file.display()
        ))),
        None => Err(Error::Refused(format!("{} not published", of(outcome.refused, "line was", "lines were")))),
    }
}

fn tell_lines(args: &Args, outcome: &Summary) -> Result<(), Error> {
    if let Some(line) = outcome.resumed_at_line {
        print(&format!("resumed at line {line}: what is before was published, or refused, by an earlier run"))?;
    }
    for Problem { line, problem } in &outcome.problems {
        print(&format!("{}:{line}: {problem}", args.file.display()))?;
    }
    let more = outcome.refused.saturating_sub(u64::try_from(SHOWN).unwrap_or(u64::MAX));
    if more > 0 {
        print(&format!("… and {} refused", of(more, "more line", "more lines")))?;
    }
    let done = if args.lint { "good" } else { "published and confirmed" };
    print(&format!("{} {done}, {} refused", outcome.published, outcome.refused))?;
    for (destination, count) in &outcome.put_back {
        let are = if *count == 1 { "is" } else { "are" };
        print(&format!("{count} of them {are} among the dead letters of {destination} again"))?;
    }
    if outcome.unrouted > 0 {
        let are = if outcome.unrouted == 1 { "is" } else { "are" };
        print(&format!("{} of them {are} of a type that no destination subscribes to", outcome.unrouted))?;
    }
    for warning in &outcome.warnings {
        print(&format!("warning: {warning}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(
            (read_delimiter(";"), read_delimiter("tab"), read_delimiter("\\t")),
            (Ok(b';'), Ok(b'\t'), Ok(b'\t'))
        );
        for wrong in ["", ";;", "\"", "§", "\n"] {
            assert!(read_delimiter(wrong).is_err(), "{wrong:?}");
        }
    }
}
