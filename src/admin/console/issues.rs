//! `/issues`: what needs a person, over all destinations, each with what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::bars::Bars;
use super::chart::Chart;
use super::flash::Flash;
use super::form::{Fields, see_other};
use super::frame::{self, Frame};
use super::letter_search::query_string;
use super::overview;
use super::show::{Moment, count, of};
use crate::admin::Admin;
use crate::admin::auth::Who;
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::issues::{self, Ignore, IssuePath};
use crate::admin::problem::Problem;
use crate::audit::IssueState;
use crate::clock;
use crate::issues::{Issue, Kind, Word};

/// Rows on the page; the worst.
const ROWS: usize = 200;
/// Letters that a replay begun here sends first.
const CANARY: &str = "5";

/// Which issues.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IssueFilter {
    /// Those in that state; open unless given, `all` for all.
    state: String,
    did: Flash,
}

struct Choice {
    label: &'static str,
    count: String,
    href: String,
    is_chosen: bool,
}

struct Row {
    id: String,
    /// What kind, for people.
    kind: &'static str,
    /// How bad, as a class.
    severity: &'static str,
    destination: Option<String>,
    says: String,
    count: Option<String>,
    types: String,
    first: Option<Moment>,
    last: Option<Moment>,
    bars: Option<Bars>,
    spark: Option<Chart>,
    state: &'static str,
    came_again: bool,
    /// Who said what of it, as `night-shift: the vendor is on it`.
    said: Option<(String, Moment)>,
    until: Option<Moment>,
    act: Act,
}

/// What to do about it, on the row.
enum Act {
    /// Look at these letters, or replay them.
    Letters {
        open: String,
        replay: String,
    },
    Resume {
        destination: String,
    },
    Unrouted,
    Open {
        destination: String,
    },
}

#[derive(Template)]
#[template(path = "issues.html")]
struct Page {
    frame: Frame,
    did: Option<&'static str>,
    choices: Vec<Choice>,
    rows: Vec<Row>,
    /// As `3 open issues`.
    summary: String,
    /// How many more there are.
    more: Option<String>,
    trouble: Vec<String>,
    state: String,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Params(filter): Params<IssueFilter>,
) -> Result<Response, Problem> {
    let list = issues::all(&admin).await?;
    let now = clock::wall();
    let choices = choices(&filter, &list.issues);
    let mut chosen: Vec<Issue> = list.issues.into_iter().filter(|issue| filter.has(issue)).collect();
    let total = chosen.len();
    let more = total.checked_sub(ROWS).filter(|more| *more > 0);
    chosen.truncate(ROWS);
    let without_bars = chosen.iter().filter(|issue| issue.by_hour.is_empty());
    let names: BTreeSet<String> = without_bars.filter_map(|issue| issue.destination.clone()).collect();
    let sparks = overview::sparks(&admin, names, now).await;
    let word = if filter.state.is_empty() { "open " } else { "" };
    let page = Page {
        frame,
        did: filter.did.current(now).and_then(done),
        choices,
        rows: chosen.iter().map(|issue| Row::of(issue, &sparks, now)).collect(),
        summary: of(u64::try_from(total).unwrap_or(u64::MAX), &format!("{word}issue"), &format!("{word}issues")),
        more: more.map(count),
        trouble: list.trouble,
        state: filter.state,
    };
    Ok(frame::page(&page))
}

/// What an operator says of an issue.
pub(super) async fn say(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(IssuePath { issue }): Segment<IssuePath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let note = fields.get("note").map(str::to_owned);
    let plain = |state| Word { state: Some(state), until: None, note: note.clone() };
    let (word, did) = match fields.get("what").unwrap_or_default() {
        "acknowledge" => (plain(IssueState::Acknowledged), "acknowledged"),
        "reopen" => (plain(IssueState::Open), "reopened"),
        "note" if note.is_none() => {
            return Err(Problem::new(StatusCode::CONFLICT, "the note is empty"));
        }
        "note" => (Word { state: None, until: None, note: note.clone() }, "noted"),
        "ignore" => {
            let lasts = fields.get("for").map(str::to_owned);
            (Ignore { lasts, until: None, note: note.clone() }.word()?, "ignored")
        }
        other => {
            let detail = format!("what is {other:?}; it is acknowledge, ignore, note or reopen");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    };
    drop(issues::say(&admin, &who, &issue, word).await?);
    let state = fields.get("state").filter(|state| ["all", "acknowledged", "ignored"].contains(state));
    let state = state.map(|state| format!("state={state}&")).unwrap_or_default();
    Ok(see_other(&format!("/issues?{state}{}", Flash::query(did, clock::wall()))))
}

fn done(act: &str) -> Option<&'static str> {
    match act {
        "acknowledged" => Some("Acknowledged. It opens again if it comes again."),
        "ignored" => Some("Ignored for that time. Then it opens again, if it is still there."),
        "noted" => Some("The note is there for whoever looks next."),
        "reopened" => Some("It is open again."),
        _ => None,
    }
}

impl IssueFilter {
    fn has(&self, issue: &Issue) -> bool {
        match self.state.as_str() {
            "" => issue.state == IssueState::Open,
            "all" => true,
            state => issue.state.name() == state,
        }
    }
}

fn choices(filter: &IssueFilter, issues: &[Issue]) -> Vec<Choice> {
    let states = [("open", ""), ("acknowledged", "acknowledged"), ("ignored", "ignored"), ("all", "all")];
    let choice = |(label, state): (&'static str, &str)| {
        let one = IssueFilter { state: state.to_owned(), did: Flash::default() };
        let query = if state.is_empty() { String::new() } else { format!("?state={state}") };
        Choice {
            label,
            count: count(issues.iter().filter(|issue| one.has(issue)).count()),
            href: format!("/issues{query}"),
            is_chosen: filter.state == state,
        }
    };
    states.into_iter().map(choice).collect()
}

impl Row {
    fn of(issue: &Issue, sparks: &BTreeMap<String, Chart>, now: Timestamp) -> Self {
        let destination = issue.destination.clone();
        let said = issue.mark.as_ref().and_then(|mark| {
            let note = mark.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            (issue.state != IssueState::Open || mark.note.is_some())
                .then(|| (format!("{}{note}", mark.by), Moment::of(mark.at, now)))
        });
        Self {
            id: issue.id.clone(),
            kind: kind(issue.kind),
            severity: severity(issue.kind),
            says: issue.says.clone(),
            count: issue.count.map(count),
            types: issue.types.join(", "),
            first: Moment::maybe(issue.first_seen, now),
            last: Moment::maybe(issue.last_seen, now),
            bars: Bars::of(&issue.by_hour),
            spark: destination.as_ref().filter(|_| issue.by_hour.is_empty()).and_then(|name| sparks.get(name).cloned()),
            state: issue.state.name(),
            came_again: issue.came_again,
            said,
            until: (issue.state == IssueState::Ignored)
                .then(|| issue.mark.as_ref().and_then(|mark| Moment::maybe(mark.until, now)))
                .flatten(),
            act: Act::of(issue),
            destination,
        }
    }
}

impl Act {
    fn of(issue: &Issue) -> Self {
        let destination = issue.destination.clone().unwrap_or_default();
        match issue.kind {
            Kind::DeadLetters => {
                let group = issue.group.as_deref().unwrap_or_default();
                let (dead, group) = (format!("/destinations/{destination}/dead"), ("group", group));
                Self::Letters {
                    open: format!("{dead}{}", query_string(&[group])),
                    replay: format!("{dead}/act{}", query_string(&[group, ("act", "replay"), ("canary", CANARY)])),
                }
            }
            Kind::Parked | Kind::Broken | Kind::PausedLong => Self::Resume { destination },
            Kind::Unrouted => Self::Unrouted,
            Kind::NotAtWork | Kind::Late | Kind::CopiesNotTaken | Kind::DayBudget | Kind::Slowed => {
                Self::Open { destination }
            }
        }
    }
}

/// A kind, for people.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Parked => "parked",
        Kind::NotAtWork => "not at work",
        Kind::Broken => "broken",
        Kind::Late => "late",
        Kind::DeadLetters => "dead letters",
        Kind::CopiesNotTaken => "broker takes no copies",
        Kind::DayBudget => "day’s budget",
        Kind::Unrouted => "unrouted",
        Kind::Slowed => "slowed",
        Kind::PausedLong => "paused for long",
    }
}

/// How bad, by the colour of a gate's state.
fn severity(kind: Kind) -> &'static str {
    match kind {
        Kind::Parked | Kind::NotAtWork | Kind::DeadLetters => "parked",
        Kind::Broken | Kind::Late | Kind::CopiesNotTaken | Kind::DayBudget | Kind::Unrouted | Kind::Slowed => "broken",
        Kind::PausedLong => "paused",
    }
}
