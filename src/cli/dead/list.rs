//! `sluice dead list`: letters one by one.

use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::ops::ControlFlow;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Session, bar, compiled, not_seen, pile, progress, within_session};
use crate::cli::{Error, print, print_exactly, sanitize};
use crate::config::ConfigFile;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::letter::Letter;
use crate::dead_letters::look::{LookStep, LookSummary};
use crate::words::letters;

/// List dead letters, the oldest first
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sluice dead list px-prod\n  \
    sluice dead list px-prod --reason rejected --newer-than 2h --limit 500\n  \
    sluice dead list px-prod --jq '.user.plan == \"pro\"' --json\n  sluice dead list px-prod --trash")]
pub(super) struct Args {
    /// The destination's name
    destination: String,
    #[command(flatten)]
    filter: Filter,
    /// The most letters to show; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Letters in the trash instead
    #[arg(long)]
    trash: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let matcher = compiled(&args.filter)?;
    let session = Session::open(file).await?;
    within_session(session, &stop, async |session| {
        let dead = session.letters(&args.destination, file)?;
        let bar = bar(args.json);
        let progress = progress(&bar);
        // Kept in a file until the letters have been let go: whoever reads the output may take hours.
        let mut spool = tempfile::tempfile()?;
        let (mut shown, mut failed) = (0_u64, None);
        let seen = dead.look(pile(args.trash), &matcher, PATIENCE, &progress, |step| {
            let written = match step {
                LookStep::Anew => {
                    shown = 0;
                    spool.rewind().and_then(|()| spool.set_len(0))
                }
                LookStep::Letter(letter, _) => {
                    shown += 1;
                    let line = if args.json { json!(letter).to_string() } else { line(letter) };
                    writeln!(spool, "{line}")
                }
            };
            failed = written.err();
            let enough = args.limit > 0 && shown >= args.limit;
            if enough || failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let seen = seen.await.map_err(|error| not_seen(&error))?;
        bar.finish_and_clear();
        failed.map_or(Ok(()), Err)?;
        spool.rewind()?;
        tell(&args, &seen, shown, spool)
    })
    .await
}

fn tell(args: &Args, seen: &LookSummary, shown: u64, spool: std::fs::File) -> Result<(), Error> {
    let mut lines = BufReader::new(spool).lines();
    if args.json {
        let head =
            json!({ "destination": args.destination, "there": seen.there, "shown": shown, "trouble": seen.trouble });
        let mut head = head.to_string();
        head.pop();
        print_exactly(&format!("{head},\"letters\":["))?;
        if let Some(first) = lines.next() {
            print_exactly(&first?)?;
        }
        lines.try_for_each(|line| print_exactly(&format!(",{}", line?)))?;
        return Ok(print_exactly("]}")?);
    }
    lines.try_for_each(|line| print(&line?))?;
    let more = if args.limit > 0 && shown >= args.limit { "; there may be more, see --limit" } else { "" };
    print(&format!("{} shown of the {} that were there{more}", letters(shown), seen.there))?;
    seen.trouble.as_ref().map_or(Ok(()), |trouble| Ok(print(trouble)?))
}

fn line(letter: &Letter) -> String {
    let at = letter.dead_lettered_at.map_or_else(|| "-".to_owned(), |at| second(at).to_string());
    let id = letter.event_id.as_deref().unwrap_or("-");
    let replays = if letter.replays > 0 { format!(" (replayed {} ×)", letter.replays) } else { String::new() };
    let (own, reason, kind, sentence) = (&letter.id, letter.reason.name(), &letter.event_type, &letter.sentence);
    sanitize::line(&format!("{at}  {own}  {reason:<15} {kind}  {id}{replays}: {sentence}"))
}

/// To the second, for people; never later than it was, so that `--newer-than` finds what was seen.
pub(super) fn second(at: Timestamp) -> Timestamp {
    at.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_no_later_than_it_was() {
        let shown = |at: &str| second(at.parse().unwrap()).to_string();
        assert_eq!(shown("2026-11-26T22:08:59.967Z"), "2026-11-26T22:08:59Z");
        assert_eq!(shown("1969-12-31T23:59:58.2Z"), "1969-12-31T23:59:58Z");
    }
}
