//! Acting on many letters: first shows how many, then begins the operation.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::check::Check;
use super::dead::{self, FROM};
use super::edit::Line;
use super::form::{Fields, see_other};
use super::frame::{self, Frame};
use super::letter_search::{LetterSearch, query_string};
use super::show::{self, of, rate, span};
use crate::admin::Admin;
use crate::admin::auth::{Who, forbidden};
use crate::admin::destinations::DestinationPath;
use crate::admin::extract::{NoParams, Params, Query, Segment};
use crate::admin::operations::OperationRequest;
use crate::admin::problem::Problem;
use crate::config::Role;
use crate::dead_letters::Pile;
use crate::dead_letters::acts::Act;
use crate::dead_letters::operation::Counted;
use crate::dead_letters::rewrite::Rewritten;

/// What the form has beside the filter.
const FIELDS: [&str; 11] =
    ["act", "canary", "ramp", "rate", "wait", "edit", "force", "chosen", "counted", "csrf", FROM];

/// What is to be done, as a form or an address has it.
pub(super) struct ActForm {
    search: LetterSearch,
    act: Act,
    rate: Option<f64>,
    canary: Option<u32>,
    ramp: bool,
    wait: Option<u32>,
    /// The expression of an edit.
    edit: Option<String>,
    force: bool,
    /// What was counted for whoever says yes.
    counted: Option<Counted>,
}

impl ActForm {
    fn read(fields: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problem> {
        let search = LetterSearch::read(fields, &FIELDS)?;
        let name = search.query.also("act").unwrap_or_default();
        let act = Act::named(name).ok_or_else(|| {
            let detail = format!("act is {name:?}; it is replay, edit, discard, restore or purge");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        let (rate, canary) = (search.query.also_number("rate")?, search.query.also_number("canary")?);
        let wait = search.query.also_number("wait")?;
        let counted = search.query.also("counted").map(|counted| Counted::try_from(counted.to_owned())).transpose();
        let counted = counted.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if search.query.also("chosen").is_some() && search.query.filter.letter.is_empty() {
            let detail = "choose at least one letter: nothing chosen means none, not all";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail).at("chosen"));
        }
        let edit = search.query.also("edit").filter(|_| act == Act::Edit).map(str::to_owned);
        let (ramp, force) = (search.query.also("ramp").is_some(), search.query.also("force").is_some());
        Ok(Self { act, rate, canary: canary.filter(|_| !ramp), ramp, wait, edit, force, counted, search })
    }

    fn wanted(&self) -> Result<OperationRequest, Problem> {
        let (filter, is_replay) = (self.search.query.filter.clone(), self.act == Act::Replay);
        let wanted = OperationRequest {
            act: self.act,
            filter,
            rate: self.rate,
            canary: self.canary.filter(|_| is_replay),
            ramp: self.ramp && is_replay,
            canary_wait_seconds: self.wait,
            edit: self.edit.clone(),
            force: self.force,
            counted: self.counted,
        };
        wanted.check(self.search.is_all())?;
        // Says what is wrong with the filter, before anything is read.
        self.search.matcher()?;
        Ok(wanted)
    }
}

#[derive(Template)]
#[template(path = "act.html")]
struct Page {
    frame: Frame,
    name: String,
    act: Act,
    heading: &'static str,
    /// What is meant, as `12 letters`.
    letters: String,
    there: String,
    selected: u64,
    is_all: bool,
    pairs: Vec<(&'static str, String)>,
    rate: Option<String>,
    /// As `about 3 min`.
    takes: Option<String>,
    /// As `5 go first`.
    canary: Option<String>,
    check: Option<Check>,
    edit: Option<ShownEdit>,
    /// The form's fields.
    given: Vec<(&'static str, String)>,
    trouble: Option<String>,
    /// The letter, where one is meant by its own id.
    single: Option<String>,
    /// Why it did not begin.
    refused: Option<String>,
    back: String,
}

/// What an edit changes.
struct ShownEdit {
    jq: String,
    samples: Vec<Vec<Line>>,
    sentence: String,
    /// This page with those changed too that would still be invalid, where there are such.
    forced: Option<String>,
}

impl ShownEdit {
    fn of(edited: Rewritten, jq: String, forced: Option<String>) -> Self {
        let samples = edited.samples.iter().map(|sample| Line::all(&sample.diff)).collect();
        Self { jq, samples, sentence: edited.sentence, forced: forced.filter(|_| edited.invalid > 0) }
    }
}

/// How many letters are meant, and the question whether to do it. Changes nothing; only for those who could act then, since it occupies
/// the letters for a moment.
pub(super) async fn count(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Query(fields): Query,
) -> Result<Response, Problem> {
    if who.role == Role::Read {
        return Err(forbidden(&who));
    }
    match question(&admin, frame.clone(), &name, fields.clone(), None).await {
        Err(problem) if problem.is_of_a_form() => dead::again(&admin, frame, name, fields, problem).await,
        answer => answer,
    }
}

/// The question, with why it was not done where it was asked before.
async fn question(
    admin: &Admin,
    frame: Frame,
    name: &str,
    fields: Vec<(String, String)>,
    refused: Option<&Problem>,
) -> Result<Response, Problem> {
    let plan = ActForm::read(fields)?;
    let wanted = plan.wanted()?;
    let steps = wanted.steps();
    let estimate = wanted.estimate(admin, name).await?;
    let ActForm { search, act, rate: given_rate, canary, ramp, wait, edit, force, counted: _ } = plan;
    let mut given = search.pairs();
    given.push(("act", act.name().to_owned()));
    given.extend(given_rate.map(|rate| ("rate", rate.to_string())));
    given.extend(canary.map(|canary| ("canary", canary.to_string())));
    given.extend(ramp.then(|| ("ramp", "yes".to_owned())));
    given.extend(wait.map(|wait| ("wait", wait.to_string())));
    given.extend(edit.clone().map(|jq| ("edit", jq)));
    given.extend(force.then(|| ("force", "yes".to_owned())));
    let forced = (!force).then(|| {
        let forced = given.iter().cloned().chain([("force", "yes".to_owned())]).collect::<Vec<_>>();
        format!("/destinations/{name}/dead/act{}", query_string(&forced))
    });
    given.push(("counted", estimate.counted.into()));
    let mut back = search.clone();
    back.query.pile = Pile::of(act);
    let from = search.query.also(FROM).filter(|from| from.starts_with('?'));
    let back = if search.query.also("chosen").is_some() { from.unwrap_or("").to_owned() } else { back.with(&[]) };
    let shown = Page {
        frame,
        act,
        heading: show::act(act),
        letters: of(estimate.selected, "letter", "letters"),
        there: of(estimate.there.into(), "letter", "letters"),
        selected: estimate.selected,
        is_all: search.is_all(),
        pairs: search.pairs(),
        rate: estimate.rate.map(rate),
        takes: estimate.seconds.map(about),
        canary: first(&steps, estimate.selected),
        check: estimate.check.filter(|check| check.checked > 0).map(|check| Check::of(check, name)),
        edit: edit.zip(estimate.edit).map(|(jq, edited)| ShownEdit::of(edited, jq, forced)),
        given,
        trouble: estimate.trouble,
        single: match search.query.filter.letter.as_slice() {
            [letter] => Some(letter.clone()),
            _ => None,
        },
        refused: refused.map(|problem| problem.detail().to_owned()),
        back: format!("/destinations/{name}/dead{back}"),
        name: name.to_owned(),
    };
    let status = refused.map_or(StatusCode::OK, Problem::status);
    Ok((status, frame::page(&shown)).into_response())
}

/// Those that go first of so many.
fn first(steps: &[u32], selected: u64) -> Option<String> {
    let steps: Vec<String> =
        steps.iter().filter(|step| u64::from(**step) < selected).map(|step| show::count(*step)).collect();
    match steps.as_slice() {
        [] => None,
        [one] => Some(format!("{one} go first")),
        several => Some(format!("{} go first, each step when the one before came through", several.join(", then "))),
    }
}

/// How long it takes, as far as that can be estimated.
fn about(seconds: f64) -> String {
    if seconds < 1.0 { span(seconds) } else { format!("about {}", span(seconds)) }
}

/// Begins the operation: of the letters that were counted, or of none.
pub(super) async fn begin(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    Fields(fields): Fields,
) -> Result<Response, Problem> {
    match begun(&admin, &name, who, fields.clone()).await {
        Err(problem) if problem.is_of_a_form() => dead::again(&admin, frame, name, fields, problem).await,
        // Others are at work: the question stays.
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            question(&admin, frame, &name, fields, Some(&problem)).await
        }
        answer => answer,
    }
}

async fn begun(admin: &Admin, name: &str, who: Who, fields: Vec<(String, String)>) -> Result<Response, Problem> {
    let plan = ActForm::read(fields)?;
    if plan.counted.is_none() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "count the letters first, then confirm"));
    }
    let state = plan.wanted()?.begin(admin, name, who.name).await?;
    Ok(see_other(&format!("/destinations/{name}/dead/operations/{}", state.id)))
}
