//! `sluice publish`: events from a file or standard input, linted line by line, confirmed by the broker.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueHint;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Error, load, print, print_json};
use crate::audit;
use crate::broker::port::{PublishError, Publisher};
use crate::broker::{self, Broker, Declare, Names};
use crate::config::{self, Config, ConfigFile};
use crate::dead_letters::export::{self, Exported};
use crate::dead_letters::{DeadLetters, acts};
use crate::event::{self, Context};
use crate::message::Message;
use crate::words::of;
use crate::{app, clock, lint, routing};

/// Publications on their way at once.
const WINDOW: usize = 256;
const BROKER_WITHIN: Duration = Duration::from_secs(10);
/// Refused lines shown one by one; the others are counted.
const SHOWN: usize = 20;

const EXAMPLES: &str = "\
Each line is one event: a CloudEvents envelope, or with --type its data alone. A line that is not an event is refused
and told by its number; the others are published. Empty lines are skipped.

Examples:
  sluice publish events.ndjson
  sluice publish --lint events.ndjson                       publish nothing, only tell what is wrong
  jq -c '.[]' export.json | sluice publish --type product.report.exported -
  sluice publish letters.ndjson                             what sluice dead export wrote goes back among the dead letters
  sluice publish --as-events letters.ndjson                 … or goes to every destination again, as the events they were";

/// Publish events (NDJSON), linted and confirmed
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A file with one event a line, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The type of every event: each line holds its data alone
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The source of every event, with --type
    #[arg(long, value_name = "SOURCE", requires = "kind")]
    source: Option<String>,
    /// Exported dead letters become events anew, instead of going back among the dead letters
    #[arg(long)]
    as_events: bool,
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
            To::Destinations(kind) => {
                let wanted = |one: &config::Destination| routing::subscribes(&one.subscribe, kind);
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

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let config = load(file)?;
    let names = Names::new(&config.broker.prefix);
    let end = CancellationToken::new();
    let broker = if args.lint { None } else { Some(connect(&config, end.clone()).await?) };
    let publisher = broker.as_ref().map(Broker::publisher);
    let bar = progress(&args);
    let outcome = publish_all(&args, &config, &names, publisher, &bar, &stop).await;
    bar.finish_and_clear();
    if let Some(broker) = broker {
        if let Ok(outcome) = &outcome {
            record(&broker, &args, outcome).await;
        }
        broker.close(BROKER_WITHIN).await;
    }
    end.cancel();
    tell(&args, &outcome?, stop.is_cancelled())
}

/// Tells the audit of letters that were put back.
async fn record(broker: &Broker, args: &Args, outcome: &Summary) {
    for (destination, count) in &outcome.put_back {
        let letters = DeadLetters { broker: broker.clone(), destination: destination.clone() };
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
                counted(outcome.refused)
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

async fn publish_all(
    args: &Args,
    config: &Config,
    names: &Names,
    publisher: Option<Publisher>,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> Result<Summary, Error> {
    let (mut outcome, mut window) = (Summary::default(), FuturesUnordered::new());
    let exchange = names.events();
    let mut lines = lines(open(&args.file)?);
    let mut index = 0;
    loop {
        // A line may be long in coming: what was read before is published meanwhile.
        let line = tokio::select! {
            () = stop.cancelled() => break,
            done = window.next(), if !window.is_empty() => {
                note(&mut outcome, done);
                continue;
            }
            line = lines.recv(), if window.len() < WINDOW => match line {
                Some(line) => line?,
                None => break,
            },
        };
        index += 1;
        bar.inc(u64::try_from(line.len()).unwrap_or(0) + 1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        match read_line(args, config, line) {
            Ok(Read { message, to }) => {
                let (exchange, key) = match &to {
                    To::Destinations(kind) => (exchange.as_str(), kind.clone()),
                    To::DeadLetters(destination) => ("", names.dead(destination)),
                };
                outcome.goes(&to, config);
                match &publisher {
                    Some(publisher) => {
                        // One after the other, so that they arrive in the file's order; only the confirms are waited for together.
                        let submitted = publisher.submit(exchange, &key, message).await;
                        window.push(async move {
                            match submitted {
                                Ok(confirmed) => (index, confirmed.await),
                                Err(error) => (index, Err(error)),
                            }
                        });
                    }
                    None => outcome.published += 1,
                }
            }
            Err(problem) => outcome.refuse(index, problem),
        }
    }
    while !window.is_empty() {
        note(&mut outcome, window.next().await);
    }
    Ok(outcome)
}

fn note(outcome: &mut Summary, done: Option<(u64, Result<(), PublishError>)>) {
    match done {
        Some((_, Ok(()))) => outcome.published += 1,
        Some((line, Err(error))) => outcome.refuse(line, format!("not published: {error}")),
        None => {}
    }
}

/// What a line holds, and where it goes.
struct Read {
    message: Message,
    to: To,
}

enum To {
    /// Every destination that wants an event of this type.
    Destinations(String),
    /// This destination's dead letters.
    DeadLetters(String),
}

/// A letter that `sluice dead export` wrote.
fn read_letter(args: &Args, config: &Config, exported: Exported) -> Result<Read, String> {
    let Exported { destination, letter, original, routing_key } = exported;
    if args.as_events {
        let kind = routing_key.ok_or("the letter does not tell the routing key of its event")?;
        return Ok(Read { message: original, to: To::Destinations(kind) });
    }
    if !config.destinations.contains_key(&destination) {
        return Err(format!("it is a dead letter of {destination:?}, and there is no such destination here"));
    }
    Ok(Read { message: acts::restored(&letter), to: To::DeadLetters(destination) })
}

/// The event on a line, or the exported letter.
fn read_line(args: &Args, config: &Config, line: Vec<u8>) -> Result<Read, String> {
    if let Some(exported) = export::read_line(&line).filter(|_| args.kind.is_none()) {
        return read_letter(args, config, exported?);
    }
    let message = lint::message(Bytes::from(line), args.kind.as_deref(), args.source.as_deref());
    let routing_key = args.kind.as_deref().unwrap_or_default();
    let context = Context { routing_key, received: clock::wall(), max_bytes: config.broker.max_event_bytes };
    let event = event::decode(&message, context).map_err(|error| error.to_string())?;
    if event.kind.len() > 255 {
        return Err("the type is over 255 bytes, AMQP's limit for a routing key".to_owned());
    }
    Ok(Read { message, to: To::Destinations(event.kind) })
}

/// The lines, read on a thread of its own: standard input may keep it waiting for ever.
fn lines(input: Box<dyn BufRead + Send>) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(WINDOW);
    std::thread::spawn(move || input.split(b'\n').try_for_each(|line| sender.blocking_send(line)));
    receiver
}

fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = std::fs::File::open(path).map_err(|error| Error::Failed(format!("{}: {error}", path.display())))?;
    Ok(Box::new(BufReader::new(file)))
}

/// By bytes of the file; hidden where standard error is no terminal.
fn progress(args: &Args) -> ProgressBar {
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

fn counted(number: u64) -> String {
    of(number, "line", "lines")
}

fn is_are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn tell(args: &Args, outcome: &Summary, stopped: bool) -> Result<(), Error> {
    if args.json {
        print_json(outcome)?;
    } else {
        for Problem { line, problem } in &outcome.problems {
            print(&format!("{}:{line}: {problem}", args.file.display()))?;
        }
        let more = outcome.refused.saturating_sub(u64::try_from(SHOWN).unwrap_or(u64::MAX));
        if more > 0 {
            print(&format!("… and {more} more refused {}", if more == 1 { "line" } else { "lines" }))?;
        }
        let done = if args.lint { "good" } else { "published and confirmed" };
        print(&format!("{} {done}, {} refused", outcome.published, outcome.refused))?;
        for (destination, count) in &outcome.put_back {
            print(&format!("{count} of them {} among the dead letters of {destination} again", is_are(*count)))?;
        }
        if outcome.unrouted > 0 {
            let unrouted = outcome.unrouted;
            print(&format!("{unrouted} of them {} of a type that no destination subscribes to", is_are(unrouted)))?;
        }
    }
    if stopped {
        return Err(Error::Failed("stopped before the end of the input".into()));
    }
    if outcome.refused > 0 {
        let were = if outcome.refused == 1 { "was" } else { "were" };
        return Err(Error::Refused(format!("{} {were} not published", counted(outcome.refused))));
    }
    Ok(())
}
