//! `sluice tap`: outcomes at a destination as they happen, whichever worker drives it.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::screen::Screen;
use super::table::{Tint, cut};
use super::{Error, find, load, print_exactly, sanitize};
use crate::backoff::{Backoff, Bounds};
use crate::broker::{Conversation, Names};
use crate::clock;
use crate::config::{Broker, ConfigFile};
use crate::control::{ANSWER_WITHIN, Command};
use crate::destination::recent::RecentOutcome;
use crate::destination::tap::TapReply;
use crate::section::parse_lasting;
use crate::words::count;

const HELP: &str = "\
A line each: time, outcome, type, id, status, milliseconds, and what the vendor said where it failed. Addresses are masked, as in the
log. Where there are too many to be sent, a line says how many are left out: \"… 1,240 more\". Watching slows no delivery.

Outcomes: delivered, already_delivered, retry, scheduled, dead_lettered; probe and waits where the event waits for the gate; failed of a request
without events, such as one for an access token.

Examples:
  sluice tap px-prod
  sluice tap px-prod --failed --for 5m
  sluice tap px-prod --json --count 100 > outcomes.ndjson";

/// How often the workers are told that somebody watches; a new one has it by then.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// Pauses between tries to reach the broker again.
const TRIES: Bounds = Bounds::doubling(Duration::from_millis(200), Duration::from_secs(5), 0.5);

/// Show outcomes at a destination as they happen
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// The destination's name
    destination: String,
    /// Only what failed
    #[arg(long)]
    failed: bool,
    /// End after this time, such as 30s or 5m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_lasting)]
    lasts: Option<Duration>,
    /// End after so many outcomes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print JSON, a line each
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let config = load(file)?;
    find(&config, &args.destination, file)?;
    let ends = args.lasts.map(|lasts| clock::now() + lasts);
    let mut watching = Watching { left: args.count, driver: None, heard: None, args };
    let over = async {
        match ends {
            Some(ends) => clock::sleep_until(ends).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = over => if watching.heard.is_none() { Err(watching.unheard()) } else { Ok(()) },
        ended = watching.watch(&config.broker) => ended,
    }
}

/// A tap at work.
struct Watching {
    args: Args,
    /// Outcomes still to be shown, where there is an end to them.
    left: Option<u64>,
    /// The worker that drives the destination, as far as is known.
    driver: Option<String>,
    /// When a worker answered last.
    heard: Option<Instant>,
}

/// Why a conversation ended without an error.
enum Ended {
    /// Everything was shown.
    Over,
    /// The connection was lost.
    Lost(String),
}

impl Watching {
    /// Shows outcomes until so many were shown; reaches the broker again where it is lost.
    async fn watch(&mut self, broker: &Broker) -> Result<(), Error> {
        let (names, mut backoff) = (Names::new(&broker.prefix), Backoff::new(TRIES));
        loop {
            let lost = match Conversation::open(&broker.url, &names).await {
                Ok(mut talk) => {
                    backoff.reset();
                    let ended = self.talk(&mut talk).await;
                    talk.close().await;
                    match ended? {
                        Ended::Over => return Ok(()),
                        Ended::Lost(why) => why,
                    }
                }
                Err(error) if self.heard.is_none() => return Err(Error::Failed(error.to_string())),
                Err(error) => error.to_string(),
            };
            note(&format!("the broker is away ({lost}); outcomes until it is back are not shown"));
            clock::sleep(backoff.pause()).await;
        }
    }

    async fn talk(&mut self, talk: &mut Conversation) -> Result<Ended, Error> {
        let command = Command::Tap { destination: self.args.destination.clone(), tap: Uuid::new_v4() };
        let body = serde_json::to_vec(&command).map_err(|error| Error::Failed(error.to_string()))?;
        let (mut tell, began) = (tokio::time::interval(TOLD_EVERY), clock::now());
        loop {
            tokio::select! {
                _ = tell.tick() => {
                    if let Err(error) = talk.say(&body).await {
                        return Ok(Ended::Lost(error.to_string()));
                    }
                    self.look_for_silence(began)?;
                }
                answer = talk.next() => match answer {
                    Ok(Some(answer)) => {
                        let Ok(reply) = serde_json::from_slice::<TapReply>(&answer) else { continue };
                        if self.show(reply)? {
                            return Ok(Ended::Over);
                        }
                    }
                    Ok(None) => return Ok(Ended::Lost("it closed the connection".to_owned())),
                    Err(error) => return Ok(Ended::Lost(error.to_string())),
                },
            }
        }
    }

    /// Nobody has answered for a while: an error at the beginning, later something to be said.
    fn look_for_silence(&mut self, began: Instant) -> Result<(), Error> {
        let silent = clock::now().saturating_duration_since(self.heard.unwrap_or(began));
        if silent < ANSWER_WITHIN {
            return Ok(());
        }
        if self.heard.is_none() {
            return Err(self.unheard());
        }
        if self.driver.take().is_some() {
            note("no worker answers now; it goes on when one does");
        }
        Ok(())
    }

    fn unheard(&self) -> Error {
        Error::Refused(format!("no worker has {:?}: none answered within {ANSWER_WITHIN:?}", self.args.destination))
    }

    /// Shows what a worker sent; says whether that was all that is wanted.
    fn show(&mut self, reply: TapReply) -> Result<bool, Error> {
        self.heard = Some(clock::now());
        if reply.drives && self.driver.as_ref() != Some(&reply.worker) {
            if !self.args.json {
                note(&format!("{} is driven by {}", self.args.destination, reply.worker));
            }
            self.driver = Some(reply.worker);
        }
        if reply.missed > 0 {
            let line = if self.args.json { json!({ "missed": reply.missed }).to_string() } else { more(reply.missed) };
            print_exactly(&line)?;
        }
        let screen = Screen::now();
        for outcome in reply.outcomes.iter().filter(|outcome| !self.args.failed || is_failure(outcome)) {
            let line = if self.args.json { in_json(outcome) } else { line(outcome, screen) };
            print_exactly(&line)?;
            self.left = self.left.map(|left| left - 1);
            if self.left == Some(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// For whoever watches, beside the outcomes.
fn note(text: &str) {
    // Whoever closed standard error does not want to know.
    drop(writeln!(io::stderr(), "{}", sanitize::line(text)));
}

fn more(missed: u64) -> String {
    format!("… {} more", count(missed))
}

fn is_failure(outcome: &RecentOutcome) -> bool {
    match &*outcome.outcome {
        "delivered" | "already_delivered" => false,
        "probe" => !outcome.said.is_empty(),
        _ => true,
    }
}

fn in_json(outcome: &RecentOutcome) -> String {
    let RecentOutcome { at, id, kind, outcome, status, ms, said } = outcome;
    json!({ "at": at, "outcome": outcome, "type": kind, "id": id, "status": status, "ms": ms, "said": said })
        .to_string()
}

fn line(shown: &RecentOutcome, screen: Screen) -> String {
    let RecentOutcome { at, id, kind, outcome, status, ms, said } = shown;
    let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let ms = ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    let (time, outcome) = (at.strftime("%T%.3f").to_string(), format!("{outcome:<13}"));
    let rest = format!("{kind:<24}  {id:<16}  {status:>3}  {ms:>8}  {said}");
    let rest = sanitize::line(rest.trim_end());
    let before = time.len() + outcome.len() + 4;
    let rest = screen.width.map_or_else(|| rest.clone(), |width| cut(&rest, width.saturating_sub(before)));
    let tint = match (is_failure(shown), outcome.trim_end()) {
        (true, "dead_lettered" | "failed") => Tint::Bad,
        (true, _) => Tint::Warn,
        (false, _) => Tint::Good,
    };
    let outcome = if screen.colour { tint.paint(&outcome) } else { outcome };
    format!("{time}  {outcome}  {rest}")
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn outcome(outcome: &'static str, said: &str) -> RecentOutcome {
        let at = "2026-03-01T12:00:00.25Z".parse().unwrap();
        let (id, kind) = ("e-1".to_owned(), "product.paid".to_owned());
        RecentOutcome { at, id, kind, outcome: outcome.into(), status: Some(400), ms: Some(12), said: said.to_owned() }
    }

    #[test]
    fn a_line_tells_when_what_of_which_and_why_and_fits_the_screen() {
        let screen = |width| Screen { width, height: None, colour: false };
        let shown = line(&outcome("dead_lettered", "name is missing"), screen(None));
        assert_eq!(
            shown,
            "12:00:00.250  dead_lettered  product.paid              e-1               400     12 ms  name is missing"
        );
        let cut = line(&outcome("dead_lettered", &"x".repeat(200)), screen(Some(80)));
        assert!(cut.width() == 80 && cut.ends_with('…'), "{cut}");
        assert!(!line(&outcome("retry", "a\u{1b}[2Jb\n"), screen(None)).contains(['\u{1b}', '\n']));
    }

    #[test]
    fn a_failure_is_whatever_did_not_reach_the_vendor() {
        let fails = |name, said| is_failure(&outcome(name, said));
        assert!(!fails("delivered", "") && !fails("already_delivered", "") && !fails("probe", ""));
        for name in ["retry", "dead_lettered", "waits", "failed", "probe"] {
            assert!(fails(name, "401: no such key"), "{name}");
        }
    }

    #[test]
    fn outcomes_that_were_left_out_are_counted() {
        assert_eq!(more(1_240), "… 1,240 more");
    }

    #[test]
    fn a_line_for_programs_has_every_field() {
        let read: serde_json::Value = serde_json::from_str(&in_json(&outcome("retry", "busy"))).unwrap();
        let expected = json!({ "at": "2026-03-01T12:00:00.25Z", "outcome": "retry", "type": "product.paid", "id": "e-1",
            "status": 400, "ms": 12, "said": "busy" });
        assert_eq!(read, expected);
    }
}
