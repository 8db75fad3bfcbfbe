//! `sluice dead groups`: what went wrong, and how often.

use std::ops::ControlFlow;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::list::second;
use super::{PATIENCE, Session, bar, compiled, not_seen, pile, progress, within_session};
use crate::cli::table::{Column, Table, figure, text, word};
use crate::cli::{Error, print, print_drawn, print_json};
use crate::config::ConfigFile;
use crate::dead_letters::everywhere::{self, GroupOf};
use crate::dead_letters::filter::Filter;
use crate::dead_letters::groups::{Group, Groups};
use crate::dead_letters::look::LookStep;
use crate::words::{letters, of};

const COLUMNS: [Column; 7] = [
    figure("letters"),
    word("group"),
    word("reason"),
    word("first").leaves(2),
    word("last").leaves(1),
    text("types").leaves(3),
    text("cause"),
];

/// Show the causes of dead letters with counts, the most frequent first
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Letters of one cause are one group, whatever ids and addresses stand in them.\n\n\
    Examples:\n  sluice dead groups\n  sluice dead groups px-prod\n  sluice dead groups px-prod --newer-than 1d --json")]
pub(super) struct Args {
    /// The destination's name; of all destinations unless given
    destination: Option<String>,
    /// Of all destinations
    #[arg(long, conflicts_with = "destination")]
    all_destinations: bool,
    #[command(flatten)]
    filter: Filter,
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
        let Some(destination) = &args.destination else { return of_all(session, &args).await };
        let dead = session.letters(destination, file)?;
        let bar = bar(args.json);
        let progress = progress(&bar);
        let mut groups = Groups::default();
        let seen = dead.look(pile(args.trash), &matcher, PATIENCE, &progress, |step| {
            match step {
                LookStep::Anew => groups = Groups::default(),
                LookStep::Letter(letter, _) => groups.add(letter),
            }
            ControlFlow::Continue(())
        });
        let seen = seen.await.map_err(|error| not_seen(&error))?;
        bar.finish_and_clear();
        let groups = groups.finish();
        if args.json {
            return print_json(&json!({
                "destination": destination, "there": seen.there, "matched": seen.matched, "trouble": seen.trouble, "groups": groups,
            }));
        }
        if !groups.is_empty() {
            print_drawn(&Table::new(&COLUMNS, groups.iter().map(row)))?;
        }
        let in_groups = of(u64::try_from(groups.len()).unwrap_or(u64::MAX), "group", "groups");
        print(&format!("{} in {in_groups}, of the {} that were there", letters(seen.matched), seen.there))?;
        seen.trouble.as_ref().map_or(Ok(()), |trouble| Ok(print(trouble)?))
    })
    .await
}

async fn of_all(session: &Session, args: &Args) -> Result<(), Error> {
    let destinations: Vec<String> = session.config.destinations.keys().cloned().collect();
    let found = everywhere::groups(&session.broker, &destinations, pile(args.trash), &args.filter, PATIENCE).await;
    let found = found.map_err(|error| Error::Failed(error.to_string()))?;
    if args.json {
        return print_json(&found);
    }
    if !found.groups.is_empty() {
        let [letters, group, reason, first, last, types, cause] = COLUMNS;
        let columns = [word("destination"), letters, group, reason, first, last, types, cause];
        print_drawn(&Table::new(&columns, found.groups.iter().map(row_of)))?;
    }
    let (groups, omitted) = (found.groups.len(), found.omitted);
    let counted = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    print(&format!(
        "{} in {} at {}, of the {} that were there",
        letters(found.matched),
        of(counted(groups), "group", "groups"),
        of(counted(destinations.len()), "destination", "destinations"),
        found.there
    ))?;
    if omitted > 0 {
        print(&format!(
            "{omitted} smaller groups are not shown: name a destination, or narrow the letters by a filter"
        ))?;
    }
    Ok(found.trouble.iter().try_for_each(|trouble| print(trouble))?)
}

fn row_of(of: &GroupOf) -> [String; 8] {
    let [letters, group, reason, first, last, types, cause] = row(&of.group);
    [of.destination.clone(), letters, group, reason, first, last, types, cause]
}

fn row(group: &Group) -> [String; 7] {
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| second(at).to_string());
    [
        group.count.to_string(),
        group.group.clone(),
        group.reason.name().to_owned(),
        time(group.first_seen),
        time(group.last_seen),
        group.types.join(", "),
        group.cause.clone(),
    ]
}
