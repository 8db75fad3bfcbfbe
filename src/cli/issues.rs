//! `sluice issues`: what needs a person, from a worker's admin API; and what operators say of it.

use std::io::Write as _;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::dead::who;
use super::lease::{BROKER_WITHIN, connect};
use super::source::Source;
use super::table::{Column, Table, figure, text as texts, word};
use super::{Error, load, load_admin, print, print_drawn, print_json};
use crate::audit::IssueState;
use crate::clock;
use crate::config::{Config, ConfigFile};
use crate::control;
use crate::gate::later;
use crate::issues::{Issue, LONGEST_IGNORED, Word, entry};
use crate::section::parse_lasting;

const EXAMPLES: &str = "\
An issue that was acknowledged opens again when it comes again: when another event dies for the same cause, or when the
gate closes again. One that is ignored opens again when that time is over.

Examples:
  sluice issues                                                 those that are open, the worst first
  sluice issues --state all --destination px-prod
  sluice issues acknowledge px-prod.parked --note \"new key by noon\"
  sluice issues ignore unrouted --for 7d
  sluice issues note px-prod.parked \"ticket 4711\"
  sluice issues reopen px-prod.parked
  sluice issues --json | jq '.issues[] | select(.kind == \"dead_letters\") | .group'";

/// Show what needs a person, over all destinations, and say who looks after it
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only those in this state
    #[arg(long, value_name = "STATE", default_value = "open", value_parser = ["open", "acknowledged", "ignored", "all"])]
    state: String,
    /// Only those of this destination
    #[arg(long, value_name = "DEST")]
    destination: Option<String>,
    /// The worker's admin address, instead of `[admin] listen`
    #[arg(long, value_name = "URL", global = true)]
    url: Option<Url>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say that you look after an issue; it opens again when it comes again
    #[command(after_long_help = "Example:\n  sluice issues acknowledge px-prod.parked --note \"new key by noon\"")]
    Acknowledge {
        /// The issue's id, or its beginning where no other begins so
        issue: String,
        /// For whoever looks next
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Leave an issue out for a while
    #[command(
        after_long_help = "Examples:\n  sluice issues ignore unrouted --for 7d\n  sluice issues ignore px-prod.late --until 2026-03-02T08:00:00Z"
    )]
    Ignore {
        /// The issue's id, or its beginning where no other begins so
        issue: String,
        /// For so long, such as 90m, 2h or 1d; 90 days at most
        #[arg(long = "for", value_name = "TIME", value_parser = parse_lasting, required_unless_present = "until")]
        lasts: Option<Duration>,
        /// Until then
        #[arg(long, value_name = "RFC3339", conflicts_with = "lasts")]
        until: Option<Timestamp>,
        /// For whoever looks next
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Leave a note for whoever looks next
    #[command(after_long_help = "Example:\n  sluice issues note px-prod.parked \"ticket 4711\"")]
    Note {
        /// The issue's id, or its beginning where no other begins so
        issue: String,
        /// The note
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        note: String,
    },
    /// Open an issue again
    #[command(after_long_help = "Example:\n  sluice issues reopen px-prod.parked")]
    Reopen {
        /// The issue's id, or its beginning where no other begins so
        issue: String,
        /// For whoever looks next
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

pub(super) async fn run(args: Args, file: &ConfigFile) -> Result<(), Error> {
    let Args { command, state, destination, url, json } = args;
    let mut shown = Source::new(url.as_ref(), &load_admin(file)?)?.issues().await?;
    let Some(command) = command else {
        if let Some(issues) = shown.get_mut("issues").and_then(Value::as_array_mut) {
            issues.retain(|issue| {
                (state == "all" || text(issue, "state") == state)
                    && destination.as_ref().is_none_or(|name| text(issue, "destination") == *name)
            });
        }
        return list(&shown, &state, json);
    };
    let (id, word) = said(command)?;
    let all = read(&shown)?;
    let issue = chosen(&all, &id)?;
    let mark = say(&load(file)?, issue, word).await?;
    if json {
        return print_json(&mark);
    }
    let until = mark.until.map(|until| format!(" until {}", second(until))).unwrap_or_default();
    let note = mark.note.map(|note| format!(": {note}")).unwrap_or_default();
    Ok(print(&format!("{}: {}{until}{note}", mark.issue, mark.state.name()))?)
}

/// Which issue, and what is said of it.
fn said(command: Command) -> Result<(String, Word), Error> {
    let plain = |state, note| Word { state: Some(state), until: None, note };
    Ok(match command {
        Command::Acknowledge { issue, note } => (issue, plain(IssueState::Acknowledged, note)),
        Command::Reopen { issue, note } => (issue, plain(IssueState::Open, note)),
        Command::Note { issue, note } => (issue, Word { state: None, until: None, note: Some(note) }),
        Command::Ignore { issue, lasts, until, note } => {
            let wall = clock::wall();
            let until = until.or_else(|| lasts.map(|lasts| later(wall, lasts)));
            if until.is_some_and(|until| until > later(wall, LONGEST_IGNORED)) {
                return Err(Error::Refused("an issue is ignored for 90 days at most".to_owned()));
            }
            if until.is_some_and(|until| until <= wall) {
                return Err(Error::Refused("--until is over already".to_owned()));
            }
            (issue, Word { state: Some(IssueState::Ignored), until, note })
        }
    })
}

/// The issues of an answer.
fn read(shown: &Value) -> Result<Vec<Issue>, Error> {
    let unreadable = |error| Error::Failed(format!("the worker's answer cannot be read: {error}"));
    serde_json::from_value(shown.get("issues").cloned().unwrap_or_default()).map_err(unreadable)
}

/// The issue of that id, or the only one whose id begins so.
fn chosen<'a>(all: &'a [Issue], id: &str) -> Result<&'a Issue, Error> {
    let begin: Vec<&Issue> = all.iter().filter(|issue| issue.id.starts_with(id)).collect();
    let exact = all.iter().find(|issue| issue.id == id);
    match (exact, begin.as_slice()) {
        (Some(issue), _) | (None, &[issue]) => Ok(issue),
        (None, []) => Err(Error::Refused(format!("there is no issue {id:?} now; see sluice issues --state all"))),
        (None, several) => {
            let ids: Vec<&str> = several.iter().map(|issue| issue.id.as_str()).collect();
            Err(Error::Refused(format!("several issues begin with {id:?}: {}", ids.join(", "))))
        }
    }
}

/// Says it through the broker, so that the audit has who did, and from where.
async fn say(config: &Config, issue: &Issue, word: Word) -> Result<crate::audit::Mark, Error> {
    let broker = connect(config).await?;
    let entry = entry(issue, word, (&who(), "command line"));
    let recorded = control::record(&broker, &entry).await;
    broker.close(BROKER_WITHIN).await;
    recorded.map_err(|error| Error::Failed(format!("the audit cannot be written, and nothing was done: {error}")))?;
    entry.mark.ok_or_else(|| Error::Failed("nothing was said".to_owned()))
}

fn list(shown: &Value, state: &str, json: bool) -> Result<(), Error> {
    if json {
        return print_json(shown);
    }
    let issues = shown.get("issues").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if issues.is_empty() {
        let which = if state == "all" { "no issues" } else { &format!("no {state} issues") };
        print(which)?;
    } else {
        print_drawn(&Table::new(&COLUMNS, issues.iter().map(row)).of_whole_texts())?;
    }
    let trouble = shown.get("trouble").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for sentence in trouble.iter().filter_map(Value::as_str) {
        writeln!(std::io::stderr(), "{}", super::sanitize::line(sentence))?;
    }
    Ok(())
}

const COLUMNS: [Column; 6] = [
    word("issue"),
    word("state"),
    figure("events"),
    word("first seen").leaves(2),
    word("last seen").leaves(1),
    texts("what happened"),
];

fn row(issue: &Value) -> [String; 6] {
    let time = |key: &str| match text(issue, key).parse() {
        Ok(at) => second(at),
        Err(_) => "-".to_owned(),
    };
    let note = issue.pointer("/mark/note").and_then(Value::as_str).map(|note| format!(" ({note})")).unwrap_or_default();
    let again = if issue.get("came_again") == Some(&Value::Bool(true)) { "open, again" } else { text(issue, "state") };
    [
        text(issue, "id").to_owned(),
        again.to_owned(),
        issue.get("count").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |count| count.to_string()),
        time("first_seen"),
        time("last_seen"),
        format!("{}{note}", text(issue, "says")),
    ]
}

fn text<'a>(issue: &'a Value, key: &str) -> &'a str {
    issue.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// To the second, as people write it.
fn second(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown() -> Value {
        let issue = |id: &str| {
            json!({ "id": id, "kind": "parked", "destination": "px", "says": "x", "count": 1, "first_seen": null, "last_seen": null,
                "by_hour": [], "group": null, "types": [], "state": "open", "came_again": false, "mark": null })
        };
        json!({ "issues": [issue("px.parked"), issue("px.parked2"), issue("px.late"), issue("crm.late")] })
    }

    #[test]
    fn an_issue_is_named_by_its_id_or_by_the_beginning_of_it() {
        let all = read(&shown()).unwrap();
        let id = |text: &str| chosen(&all, text).map(|issue| issue.id.clone()).map_err(|error| error.to_string());
        assert_eq!(id("px.parked").as_deref(), Ok("px.parked"), "though another begins so");
        assert_eq!(id("crm").as_deref(), Ok("crm.late"));
        assert!(id("px.").unwrap_err().contains("px.parked, px.parked2, px.late"));
        assert!(id("hook").unwrap_err().contains("no issue"));
    }
}
