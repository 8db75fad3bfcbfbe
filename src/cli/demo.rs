//! `sluice demo`: flags come in; steps, progress and the report are printed.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::{Error, print_json, print_lines};
use crate::clock;
use crate::demo::{self, Addresses, Audience, DestinationProgress, Moment, Report};

/// Between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "\
What it does:
  It starts a private RabbitMQ in a temporary folder, the vendors' sandbox, and a worker (sluice run) with a destination
  for each vendor. Producers publish 7,828 events; some are malformed, some lack what the vendor requires, some the vendor
  refuses, some nobody wants. Meanwhile
    px     (Gainsight PX, 200 requests a second) answers 429 to everything for a while, and later it is down;
    acton  (Act-On, 5 calls a second) gets 5,000 events at once, fails a job and revokes a token;
    apsis  (APSIS One) gets the events of eight profiles with awkward keys, which have to arrive in order;
    hook   (any HTTP API, with OAuth and JSON arrays) should notice nothing of all that.
  At the end every event is looked up where it ended, and every promise is checked.
  Everything listens on free ports of this machine alone, and is gone when the command ends.

Exit codes:
  0  every event ended in exactly one place, the right one, and every other promise was kept
  1  one was not, or the demo could not run: the message says what

Needs RabbitMQ installed (package rabbitmq-server). Takes about 40 s.

Examples:
  sluice demo
  sluice demo --keep                  stay up afterwards, to look around
  sluice demo --json | jq .backlog";

/// Run everything on this machine: a broker, a worker, a sandbox of four vendors and 7,828 events
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Stay up after the report until Ctrl-C, and print the addresses
    #[arg(long)]
    keep: bool,
    /// Print the report as JSON; progress goes to standard error
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<(), Error> {
    let mut screen = Screen::new(args.json);
    let ended = demo::run(args.keep, &mut screen, stop).await;
    screen.clear();
    ended.map_err(|error| Error::Failed(error.to_string()))
}

/// Where a demo is watched: bars on a terminal, else a line now and then.
struct Screen {
    json: bool,
    bars: Option<Bars>,
    began: Instant,
    /// When the last line of progress was printed.
    printed: Instant,
}

struct Bars {
    all: MultiProgress,
    destinations: Vec<ProgressBar>,
}

impl Screen {
    fn new(json: bool) -> Self {
        let terminal = !json && io::stdout().is_terminal();
        let bars = terminal.then(|| Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            destinations: Vec::new(),
        });
        let now = clock::now();
        Self { json, bars, began: now, printed: now }
    }

    /// A line above the bars.
    fn line(&self, text: &str) {
        // Nobody may be watching any more; the demo still ends in order.
        match &self.bars {
            Some(bars) => drop(bars.all.println(text)),
            None if self.json => drop(writeln!(io::stderr(), "{text}")),
            None => drop(print_lines(text)),
        }
    }

    fn clear(&mut self) {
        if let Some(bars) = self.bars.take() {
            drop(bars.all.clear());
        }
    }
}

impl Audience for Screen {
    fn tell(&mut self, sentence: &str) {
        let elapsed = clock::now().duration_since(self.began).as_secs_f64();
        self.line(&format!("{elapsed:>5.1} s  {sentence}"));
    }

    fn show(&mut self, moment: &Moment) {
        let now = clock::now();
        if let Some(bars) = &mut self.bars {
            bars.show(moment);
        } else if now >= self.printed + LINE_EVERY {
            self.printed = now;
            let destinations: Vec<_> = moment.destinations.iter().map(progress).collect();
            self.tell(&format!("  {} · {}", destinations.join(" · "), rest(moment)));
        }
    }

    fn report(&mut self, report: &Report) {
        self.clear();
        if self.json {
            drop(print_json(report));
        } else {
            drop(print_lines(&format!("\n{report}")));
        }
    }

    fn stay(&mut self, addresses: &Addresses) {
        self.line(&staying(addresses));
    }
}

impl Bars {
    fn show(&mut self, moment: &Moment) {
        if self.destinations.is_empty() {
            let style = ProgressStyle::with_template("         {prefix:5} {bar:28} {pos:>5}/{len:5} {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            for standing in &moment.destinations {
                let bar = ProgressBar::new(standing.expected).with_style(style.clone());
                self.destinations.push(self.all.add(bar.with_prefix(standing.name.clone())));
            }
        }
        for (bar, standing) in self.destinations.iter().zip(&moment.destinations) {
            bar.set_position(standing.delivered);
            bar.set_message(gate(standing));
        }
        if let Some(last) = self.destinations.last().filter(|_| moment.dead + moment.retried > 0) {
            last.set_message(format!("{} · {}", last.message(), rest(moment)));
        }
    }
}

fn progress(standing: &DestinationProgress) -> String {
    let DestinationProgress { name, delivered, expected, state, .. } = standing;
    let gate = if state == "open" { String::new() } else { format!(" {}", gate(standing)) };
    format!("{name} {delivered}/{expected}{gate}")
}

/// The gate in a few words.
fn gate(standing: &DestinationProgress) -> String {
    match (standing.rate.filter(|rate| *rate > 0.0), standing.seconds_left) {
        (Some(rate), _) => format!("{}, {rate:.0}/s", standing.state),
        (None, Some(seconds)) => format!("{}, {seconds:.0} s left", standing.state),
        (None, None) => standing.state.clone(),
    }
}

fn rest(moment: &Moment) -> String {
    format!("{} dead, {} retried, {} unrouted", moment.dead, moment.retried, moment.unrouted)
}

fn staying(addresses: &Addresses) -> String {
    let program = std::env::current_exe().map_or_else(|_| "sluice".to_owned(), |path| path.display().to_string());
    let Addresses { broker, admin, sandbox, config, log } = addresses;
    let sluice = format!("{program} --config {}", config.display());
    format!(
        r#"
It stays up until Ctrl-C:
  console        {admin}/
  metrics, API   {admin}/metrics  {admin}/api/v1/destinations
  RabbitMQ       {broker}
  its log        {}
  sandbox        {sandbox}/sandbox/stats  {sandbox}/sandbox/events

To try:
  {sluice} status
  {sluice} pause px
  echo '{{"identifyId":"u-1","eventName":"Hello"}}' | {sluice} publish --type product.hello -
  {sluice} resume px
  echo '{{"person":{{"email":"ann@example.com"}},"webinar":"Growth"}}' | {sluice} publish --type webinar.attended -
  echo '{{"customer":"ann@example.com","amount":9.5,"pieces":"two"}}' | {sluice} publish --type shop.purchase -
  curl -X POST '{sandbox}/sandbox/revoke?vendor=act-on&tokens=access'
  curl {sandbox}/sandbox/faults -d '{{"fault":"status","status":429,"retry_after":7,"seconds":3}}'"#,
        log.display()
    )
}
