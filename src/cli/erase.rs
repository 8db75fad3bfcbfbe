//! `sluice erase PERSON`: deletes what lies at the broker about a person.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::confirm::confirm;
use super::dead::{PATIENCE, Session, who};
use super::{Error, print, print_json, suppress};
use crate::config::ConfigFile;
use crate::people::erase::{Erased, Erasure};
use crate::suppression::Act;
use crate::words;

const EXAMPLES: &str = "\
Deletes a person's events among the dead letters, in the trash and among the unrouted ones, of all destinations, for good. They
are known by each destination's `person`; of an e-mail address everything is deleted that mentions it, of other keys only with
--anywhere. What waits to be sent is not deleted: with --suppress it ends unsent when its turn comes, and nothing new is sent.

Examples:
  sluice erase ann@example.com --dry-run      what is there?
  sluice erase ann@example.com --suppress     delete it, and write to her no more
  sluice erase u-4711 --anywhere --yes        what mentions the key, too";

/// Delete a person's events among dead letters, trash and unrouted ones, everywhere
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The person's key: an e-mail address, a user id
    person: String,
    /// Write to them no more, first of all
    #[arg(long)]
    suppress: bool,
    /// Also what mentions the key without being about the person; always so of an e-mail address
    #[arg(long)]
    anywhere: bool,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let session = Session::open(file).await?;
    // A pass that is dropped half way leaves letters in another order.
    let done = erase(&session, &args, &stop).await;
    session.close().await;
    done
}

async fn erase(session: &Session, args: &Args, stop: &CancellationToken) -> Result<(), Error> {
    let Args { person, suppress, anywhere, dry_run, yes, json } = args;
    let erasure = Erasure::new(session.broker.clone(), &session.config, person, *anywhere).map_err(Error::Refused)?;
    let people = if *suppress { Some(suppress::people(session)?) } else { None };
    let failed = |error: crate::broker::BrokerError| Error::Failed(error.to_string());
    if *dry_run || !yes {
        let counted = erasure.count(PATIENCE).await.map_err(failed)?;
        if *dry_run {
            return tell(&counted, "would be deleted", *json, None);
        }
        for line in lines(&counted) {
            print(&line)?;
        }
        let more = if *suppress { " They are suppressed first." } else { "" };
        let question = format!("delete {} for good?{more}", words::of(counted.found, "message", "messages"));
        confirm(&question, "this is not a terminal, so you cannot be asked: add --yes to do it", stop).await?;
    }
    let mut digest = None;
    if let Some(people) = people {
        let one = people.digest(person).map_err(Error::Refused)?;
        let changed = people.change(Act::Add, &[one], (&who(), "command line"), "erased", |_| {}).await;
        changed.map_err(|error| Error::Failed(format!("nothing was deleted: {error}")))?;
        digest = Some(one);
    }
    let erased = erasure.erase((&who(), "command line"), PATIENCE).await.map_err(failed)?;
    tell(&erased, "deleted", *json, digest.map(|digest| digest.to_string()))
}

fn lines(erased: &Erased) -> Vec<String> {
    erased.places.iter().map(|place| format!("{}: {} of {}", place.queue, place.found, place.there)).collect()
}

fn tell(erased: &Erased, what: &str, as_json: bool, suppressed: Option<String>) -> Result<(), Error> {
    if as_json {
        let mut said = serde_json::to_value(erased).map_err(|error| Error::Failed(error.to_string()))?;
        said["suppressed"] = json!(suppressed);
        print_json(&said)?;
    } else {
        for line in lines(erased) {
            print(&line)?;
        }
        print(&format!("{} {what}", words::of(erased.found, "message", "messages")))?;
        if let Some(digest) = suppressed {
            print(&format!("{digest} is suppressed"))?;
        }
        print("What goes by itself:")?;
        for gone in &erased.ages_out {
            print(&format!("  {}: {}", gone.what, gone.when))?;
        }
    }
    if erased.trouble.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!("not everything was looked through: {}", erased.trouble.join("; "))))
}
