//! `sluice dead edit`: one letter changed by hand, or many by one expression.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::ValueHint;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::act::{self, Common};
use super::show::one;
use super::{PATIENCE, Session, confirm, unless_stopped, who};
use crate::cli::{Error, find, print, print_json, print_lines};
use crate::clock;
use crate::config::ConfigFile;
use crate::dead_letters::edit::Edit;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::rewrite::Rewrite;
use crate::dead_letters::{DeadLetters, Pile};
use crate::{explain, lint};

const HELP: &str = "\
Opens the event's body in $VISUAL or $EDITOR, or takes it from a file or makes it with --jq. Shows what changes and the
request that it would make, and asks. The edited letter stays among the dead ones with a link to the original, which goes to
the trash.

With --jq and a filter, or --all, many letters are changed alike. In the expression . is the event's body as `dead show`
prints it: an envelope has its data at .data. Three samples are shown as diffs, with how many letters would be changed. A
letter on which the expression fails is left as it is, and so is one that would still be invalid, unless --force; both are
counted with the reason, and the exit code is 4. After a kill, the same command does the rest: one expression changes no letter
twice until that is replayed.

Examples:
  sluice dead edit px-prod 0123456789abcdef
  sluice dead edit px-prod order-4711 --file mended.json --yes
  sluice dead edit px-prod --group 8c1f0a2b3c4d5e6f --jq '.data.email |= ascii_downcase'
  sluice dead edit px-prod --reason invalid --where '.plan == null' --jq '.data.plan = \"free\"' --dry-run";

/// Change a letter's event, or many letters' by one jq expression
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = HELP,
    mut_arg("jq", |arg| arg.long("where").help("By a jq expression over the event: . is its data, $event the whole of it"))
)]
pub(super) struct Args {
    /// The destination's name
    destination: String,
    /// The letter's id (16 hex digits) or the event's; with --jq a filter may say which instead
    #[arg(value_name = "LETTER|ID")]
    one: Option<String>,
    /// The new body, from a file or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "change")]
    file: Option<PathBuf>,
    /// Make the new body of the old one by a jq expression
    #[arg(long = "jq", value_name = "JQ")]
    change: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// All letters, with --jq
    #[arg(long)]
    all: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Edit even if it would be a dead letter again
    #[arg(long)]
    force: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let Some(one) = args.one.clone() else { return many(args, file, stop).await };
    if args.all || !args.filter.is_empty() {
        return Err(Error::Refused(format!("{one:?} names one letter already: leave the filter out")));
    }
    let session = Session::open_whole(file).await?;
    let done = edit(&session, &args, &one, file, &stop).await;
    session.close().await;
    done
}

async fn many(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let Args { destination, filter, all, dry_run, force, yes, json, change, .. } = args;
    let Some(jq) = change else {
        return Err(Error::Refused("name the letter to edit; or give --jq with a filter to change many".to_owned()));
    };
    let common = Common { destination, filter, all, dry_run, yes, json };
    act::edit(common, &jq, force, file, stop).await
}

async fn edit(
    session: &Session,
    args: &Args,
    one: &str,
    file: &ConfigFile,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let letters = session.letters(&args.destination, file)?;
    let edit = unless_stopped(stop, edited(session, &letters, args, one, file)).await?;
    if edit.is_empty() {
        return Err(Error::Refused("nothing is changed: the body is the same".to_owned()));
    }
    if !args.json {
        print_lines(&edit.diff)?;
        print_lines(&explain::shown(&edit.explained))?;
    }
    if args.dry_run {
        return tell(args, &edit, false);
    }
    if let Some(problem) = edit.problem().filter(|_| !args.force) {
        return Err(Error::Refused(format!("it would be a dead letter again: {problem}. --force edits it anyway")));
    }
    if !args.yes {
        let unasked = "this is not a terminal, so you cannot be asked: add --yes to do it, or --dry-run to only look";
        confirm("Save this change?", unasked, stop).await?;
    }
    // Once begun it is not stopped: half of it would leave two letters.
    let letters = DeadLetters { history: session.recording.recorder(), ..letters };
    let replaced = letters.replace(&edit, &who(), PATIENCE, clock::wall()).await;
    replaced.map_err(|error| Error::Failed(error.to_string()))?;
    tell(args, &edit, true)
}

/// The letter with its new body, not yet put in its place.
async fn edited(
    session: &Session,
    letters: &DeadLetters,
    args: &Args,
    id: &str,
    file: &ConfigFile,
) -> Result<Edit, Error> {
    let destination = find(&session.config, &args.destination, file)?;
    let max_bytes = session.config.broker.max_event_bytes;
    let letter = one(letters, Pile::Dead, id).await?;
    let body = match (&args.file, &args.change) {
        (Some(path), _) => Bytes::from(lint::read(path)?),
        (None, Some(jq)) => {
            let rewrite = Rewrite::compile(jq, destination.clone(), max_bytes, args.force).map_err(Error::Refused)?;
            rewrite.body(&letter, clock::wall()).map_err(|left| Error::Refused(left.to_string()))?
        }
        (None, None) => Bytes::from(in_editor(&letter.body).await?),
    };
    Ok(Edit::new(&letter, body, destination, max_bytes, clock::wall()))
}

fn tell(args: &Args, edit: &Edit, done: bool) -> Result<(), Error> {
    if args.json {
        return print_json(&json!({
            "from": edit.from.id, "to": edit.to.id, "edited": done, "diff": edit.diff, "explained": edit.explained,
        }));
    }
    if done {
        let (to, name) = (&edit.to.id, &args.destination);
        let chosen = chosen(args.one.as_deref(), to, edit.to.event_id.as_deref());
        print(&format!("edited; it is letter {to} now. Send it with: sluice dead replay {name} {chosen}"))?;
    }
    Ok(())
}

/// How the edited letter is chosen: as it was named, if that still names it and needs no quoting.
fn chosen(named: Option<&str>, letter: &str, event: Option<&str>) -> String {
    let is_plain = |id: &&str| {
        id.starts_with(|c: char| c.is_ascii_alphanumeric())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/@+".contains(c))
    };
    match event.filter(|event| named == Some(event)).filter(is_plain) {
        Some(event) => format!("--id {event}"),
        None => format!("--letter {letter}"),
    }
}

/// The user's editor. A variable that is empty says nothing.
fn editor(variable: impl Fn(&str) -> Option<String>) -> String {
    let mut said = ["VISUAL", "EDITOR"].into_iter().filter_map(variable);
    said.find(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".to_owned())
}

/// The body as the user's editor leaves it.
#[expect(clippy::disallowed_methods, reason = "which editor is the user's to say")]
async fn in_editor(body: &[u8]) -> Result<Vec<u8>, Error> {
    let editor = editor(|name| std::env::var(name).ok());
    let mut file = tempfile::Builder::new().prefix("sluice-edit-").suffix(".json").tempfile()?;
    file.write_all(body)?;
    file.flush()?;
    let path: &Path = file.path();
    // As git does: the setting may hold arguments.
    let mut command = tokio::process::Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg(&editor).arg(path);
    let ended = command
        .status()
        .await
        .map_err(|error| Error::Failed(format!("cannot start the editor {editor:?}: {error}")))?;
    if !ended.success() {
        return Err(Error::Refused(format!("the editor {editor:?} ended with {ended}; nothing was changed")));
    }
    let edited = std::fs::read(path)?;
    // Editors end a file with a line break that was not there.
    let added = edited.ends_with(b"\n") && !body.ends_with(b"\n");
    Ok(if added { edited[..edited.len() - 1].to_vec() } else { edited })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_names_a_letter_as_the_last_one_did_where_that_needs_no_quoting() {
        let letter = "0123456789abcdef";
        assert_eq!(chosen(Some("growth-7-3"), letter, Some("growth-7-3")), "--id growth-7-3");
        let by_letter = format!("--letter {letter}");
        for (named, event) in [
            (Some("fedcba9876543210"), Some("growth-7-3")),
            (Some("a b"), Some("a b")),
            (Some("-x"), Some("-x")),
            (Some("growth-7-3"), Some("another")),
            (Some("growth-7-3"), None),
            (None, Some("growth-7-3")),
        ] {
            assert_eq!(chosen(named, letter, event), by_letter, "{named:?} {event:?}");
        }
    }

    #[test]
    fn a_variable_without_an_editor_is_passed_over() {
        let editor = |visual: &'static str, other: &'static str| {
            editor(|name| Some(if name == "VISUAL" { visual } else { other }.to_owned()))
        };
        assert_eq!(editor("code --wait", "nano"), "code --wait");
        assert_eq!(editor("", "nano"), "nano");
        assert_eq!(editor(" ", ""), "vi");
        assert_eq!(super::editor(|_| None), "vi");
    }
}
