//! `/destinations/{name}/dead/operations`: what is done with many letters, followed, paused and ended.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use jiff::Timestamp;
use serde::Deserialize;

use super::form::{Fields, see_other};
use super::frame::{self, Frame};
use super::show::{self, Moment, count, percent, rate, span};
use crate::admin::Admin;
use crate::admin::destinations::DestinationPath;
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::operations::{OperationPath, everywhere, find, signal};
use crate::admin::problem::Problem;
use crate::clock;
use crate::control::Signal;
use crate::dead_letters::operation::{OperationState as Operation, Phase};

/// How long one that has ended is news.
const RECENT_SECONDS: i64 = 600;

/// Which operations.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OperationFilter {
    /// Only those that [`is_recent`] tells.
    recent: bool,
}

/// An operation, ready to be shown.
pub(super) struct ShownOperation {
    pub id: String,
    pub act: &'static str,
    /// The same at the beginning of a sentence.
    pub heading: &'static str,
    /// What has been done with its letters.
    pub done: &'static str,
    pub filter: String,
    pub by: String,
    pub started: Moment,
    pub ended: Option<Moment>,
    pub phase: &'static str,
    pub is_over: bool,
    pub is_paused: bool,
    pub moved: u64,
    pub selected: u64,
    pub percent: u64,
    pub progress: String,
    /// Figures that say something, with their names.
    pub figures: Vec<(&'static str, String)>,
    pub left: Option<String>,
    pub note: Option<String>,
    pub outcome: Option<String>,
}

impl ShownOperation {
    pub fn of(state: &Operation, now: Timestamp) -> Self {
        let left = state.left();
        let number = |count: u64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
        let gone = state.selected - left;
        let known = [
            ("delivered", state.delivered),
            ("died again", state.dead_again),
            ("not sent: suppressed", state.suppressed),
            ("wait for another try", state.retrying),
            ("not there any more", state.missing),
            ("could not be acted on", state.refused),
        ];
        let mut figures: Vec<(&'static str, String)> =
            known.into_iter().filter(|(_, number)| *number > 0).map(|(name, number)| (name, count(number))).collect();
        figures.extend(state.rate.map(|a_second| ("pace", format!("{}/s", rate(a_second)))));
        figures.extend(state.canary.map(|canary| ("canary", count(canary))));
        Self {
            id: state.id.clone(),
            act: state.act.name(),
            heading: show::act(state.act),
            done: state.act.done(),
            filter: state.filter.clone(),
            by: state.by.clone(),
            started: Moment::of(state.started, now),
            ended: Moment::maybe(state.ended, now),
            phase: state.phase.name(),
            is_over: state.phase.is_over(),
            is_paused: state.phase == Phase::Paused,
            moved: gone,
            selected: state.selected,
            percent: percent(number(gone), number(state.selected)),
            progress: format!("{} of {}", count(state.moved), count(state.selected)),
            figures,
            left: state.seconds_left().filter(|_| !state.phase.is_over() && left > 0).map(span),
            note: state.note.clone(),
            outcome: state.outcome.clone(),
        }
    }

    /// Those that this worker carries out, or carried out lately. Others take a second to be asked.
    pub fn of_this_process(admin: &Admin, name: &str, now: Timestamp) -> Vec<Self> {
        let states = admin.operations.states();
        let shown = states.iter().filter(|state| state.destination == name && is_recent(state, now));
        shown.map(|state| Self::of(state, now)).collect()
    }
}

#[derive(Template)]
#[template(path = "operations.html")]
struct List {
    frame: Frame,
    name: String,
    operations: Vec<ShownOperation>,
    operations_at: String,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct Page {
    frame: Frame,
    name: String,
    operation: ShownOperation,
    /// Why what somebody wished is not possible.
    refused: Option<String>,
}

/// Where those are that [`is_recent`] tells.
pub(super) fn recent_of(name: &str) -> String {
    format!("/destinations/{name}/dead/operations?recent=true")
}

/// At work, or ended a moment ago.
fn is_recent(state: &Operation, now: Timestamp) -> bool {
    state.ended.is_none_or(|ended| now.duration_since(ended).as_secs() < RECENT_SECONDS)
}

/// All of a destination, in whichever process they run.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(OperationFilter { recent }): Params<OperationFilter>,
) -> Result<Response, Problem> {
    let states = everywhere(&admin, &name).await?;
    let now = clock::wall();
    let shown = states.iter().filter(|state| !recent || is_recent(state, now));
    let operations = shown.map(|state| ShownOperation::of(state, now)).collect();
    let operations_at = if recent { recent_of(&name) } else { format!("/destinations/{name}/dead/operations") };
    Ok(frame::page(&List { frame, name, operations, operations_at }))
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(of): Segment<OperationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let operation = ShownOperation::of(&find(&admin, &of).await?, clock::wall());
    Ok(frame::page(&Page { frame, name: of.name, operation, refused: None }))
}

/// What a person wants of an operation, by a form that says nothing more.
pub(super) fn wished(wanted: Signal) -> MethodRouter<Arc<Admin>> {
    let handle = async move |State(admin): State<Arc<Admin>>,
                             frame: Frame,
                             Segment(of): Segment<OperationPath>,
                             Params(NoParams {}): Params<NoParams>,
                             _: Fields| {
        match signal(&admin, &of, wanted).await {
            Err(problem) if problem.status() == StatusCode::CONFLICT => {
                let operation = ShownOperation::of(&find(&admin, &of).await?, clock::wall());
                let refused = Some(problem.detail().to_owned());
                let page = frame::page(&Page { frame, name: of.name, operation, refused });
                Ok((StatusCode::CONFLICT, page).into_response())
            }
            answer => answer.map(|_| see_other(&place(&of))),
        }
    };
    // If its answer is reloaded, or reached by signing in.
    get(async |Segment(of): Segment<OperationPath>| see_other(&place(&of))).post(handle)
}

fn place(of: &OperationPath) -> String {
    format!("/destinations/{}/dead/operations/{}", of.name, of.operation)
}
