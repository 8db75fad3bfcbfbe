//! `/destinations/{name}`: how one destination is and was lately; pause, resume and other limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use serde::Deserialize;

use super::chart::{self, Chart, Past};
use super::figures::Figures;
use super::flash::Flash;
use super::form::{Fields, Wrong, see_other};
use super::frame::{self, Frame};
use super::show::{Moment, count};
use crate::admin::Admin;
use crate::admin::auth::Who;
use crate::admin::bulk::{ClassParam, of_class};
use crate::admin::destinations::{self, DestinationPath, PauseRequest, command, status_from};
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::problem::Problem;
use crate::clock;
use crate::control::{self, Command, CommandError, stamp};
use crate::dead_letters::operation::TOLD_WITHIN;
use crate::destination::recent::{KEPT, Recent, RecentOutcome};
use crate::destination::{Handle, View};
use crate::gate::{self, Limit, LimitError};

/// The flash message of the page.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FlashQuery {
    did: Flash,
}

struct ShownChange {
    at: Moment,
    from: &'static str,
    to: &'static str,
    why: String,
    /// How long that lasted, or has lasted.
    lasted: String,
}

struct ShownOutcome {
    at: Moment,
    id: String,
    kind: String,
    outcome: String,
    /// For a person.
    ended: String,
    status: String,
    ms: String,
    said: String,
}

struct ShownReason {
    name: String,
    count: String,
}

/// What somebody gave in the page's forms, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The form that it was given in.
    pub form: &'static str,
    pub reason: String,
    pub lasts: String,
    pub limits: Option<String>,
    pub wrong: Wrong,
}

/// Fields of the page's forms.
const FIELDS: [&str; 3] = ["reason", "for", "limits"];

#[derive(Template)]
#[template(path = "destination.html")]
struct Page {
    frame: Frame,
    given: Given,
    /// What is wrong beyond its fields.
    wrong_at_all: Option<String>,
    figures: Figures,
    /// This worker.
    me: String,
    did: Option<&'static str>,
    charts: Vec<(&'static str, Chart)>,
    changes: Vec<ShownChange>,
    /// Before that nothing is known of the gate.
    since: Option<Moment>,
    /// Whether that is within the time that the charts could show.
    is_new: bool,
    outcomes: Vec<ShownOutcome>,
    /// Events that became dead letters since the worker started.
    reasons: Vec<ShownReason>,
}

#[derive(Template)]
#[template(path = "limits.html")]
struct Sure {
    frame: Frame,
    figures: Figures,
    /// As they were given.
    limits: String,
    /// All that would hold.
    then: String,
    /// What the vendor documents and that would pass over.
    beyond: Option<String>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(FlashQuery { did }): Params<FlashQuery>,
) -> Result<Response, Problem> {
    shown(&admin, frame, name, did, Given::default()).await
}

pub(super) async fn shown(
    admin: &Admin,
    frame: Frame,
    name: String,
    did: Flash,
    given: Given,
) -> Result<Response, Problem> {
    let unknown = || Problem::from(CommandError::Unknown(name.clone()));
    let handle = admin.roster.get(&name).ok_or_else(unknown)?;
    let view = handle.view().await.map_err(|_| unknown())?;
    let recent = recent(admin, &handle, &view).await.ok_or_else(unknown)?;
    let reasons =
        view.dead.iter().map(|(name, number)| ShownReason { name: name.clone(), count: count(*number) }).collect();
    let now = clock::wall();
    let figures = Figures::of(status_from(admin, view), now);
    let status = given.wrong.status();
    let shown = Page {
        wrong_at_all: given.wrong.beyond(&FIELDS).map(str::to_owned),
        given,
        did: did.current(now).and_then(|act| done(act, &figures)),
        charts: charts(&recent, &figures, now),
        since: Moment::maybe(recent.since(), now),
        is_new: plot(&recent, now).span < KEPT,
        changes: changes(&recent, now),
        outcomes: recent.outcomes().map(|outcome| ShownOutcome::of(outcome, now)).collect(),
        reasons,
        me: admin.roster.peers().me().name.clone(),
        figures,
        frame,
    };
    Ok((status, frame::page(&shown)).into_response())
}

/// Pauses: with a reason and an end, where the form says so.
pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    paused(&admin, frame, &who, (name, ClassParam::default()), &fields).await
}

/// Pauses all of a destination, or its events of a class.
pub(super) async fn paused(
    admin: &Arc<Admin>,
    frame: Frame,
    who: &Who,
    (name, class): (String, ClassParam),
    fields: &Fields,
) -> Result<Response, Problem> {
    let (form, done) = if class.is_bulk() { ("bulk-pause", "bulk_paused") } else { ("pause", "paused") };
    let given = |field: &str| fields.get(field).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let pause = PauseRequest { reason: given("reason"), lasts: given("for") };
    let paused = async { command(admin, who, of_class(pause.command(name.clone(), who)?, &class)).await };
    match paused.await {
        Err(problem) if problem.is_of_a_form() => {
            let text = |field: &str| fields.get(field).unwrap_or_default().to_owned();
            let (reason, lasts) = (text("reason"), text("for"));
            let given = Given { form, reason, lasts, wrong: problem.into(), ..Given::default() };
            shown(admin, frame, name, Flash::default(), given).await
        }
        paused => paused.map(|_| done_with(&name, done)),
    }
}

/// A form that gives a command without further fields; `did` names the flash message afterwards.
pub(super) fn command_form(command_to: fn(String) -> Command, did: &'static str) -> MethodRouter<Arc<Admin>> {
    let handle = async move |State(admin): State<Arc<Admin>>,
                             who: Who,
                             Segment(DestinationPath { name }): Segment<DestinationPath>,
                             Params(NoParams {}): Params<NoParams>,
                             _: Fields| {
        drop(command(&admin, &who, command_to(name.clone())).await?);
        Ok::<_, Problem>(done_with(&name, did))
    };
    get(back).post(handle)
}

/// If the answer to a form is reloaded, or reached by signing in, the browser is sent back to the destination.
pub(super) async fn back(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
) -> Result<Response, Problem> {
    if admin.roster.get(&name).is_none() {
        return Err(CommandError::Unknown(name).into());
    }
    Ok(see_other(&format!("/destinations/{name}")))
}

/// Asks for confirmation first, then does it.
pub(super) async fn limits(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    match limited(&admin, frame.clone(), &who, &name, &fields).await {
        Err(problem) if problem.is_of_a_form() => {
            let limits = Some(fields.get("limits").unwrap_or_default().to_owned());
            let given = Given { form: "limits", limits, wrong: problem.at("limits").into(), ..Given::default() };
            shown(&admin, frame, name, Flash::default(), given).await
        }
        answer => answer,
    }
}

async fn limited(admin: &Admin, frame: Frame, who: &Who, name: &str, fields: &Fields) -> Result<Response, Problem> {
    let given = fields.get("limits").unwrap_or_default();
    let limits: Vec<String> = given.split([',', ' ']).filter(|limit| !limit.is_empty()).map(str::to_owned).collect();
    let destination = name.to_owned();
    if fields.get("sure").is_some() {
        drop(command(admin, who, Command::Limits { destination, limits }).await?);
        return Ok(done_with(name, "limited"));
    }
    if fields.get("reset").is_some() {
        drop(command(admin, who, Command::ResetLimits { destination }).await?);
        return Ok(done_with(name, "limited"));
    }
    let axum::Json(shown) = destinations::status_of(admin, name).await?;
    let parsed = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<Limit>, _>>();
    let wrong = |error: LimitError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    let then = stamp::changed(&parsed(&shown.limits).map_err(wrong)?, &parsed(&limits).map_err(wrong)?);
    let documented = admin.destination(name).map(|settings| settings.documented).unwrap_or_default();
    let beyond = Some(gate::beyond(&then, &documented)).filter(|beyond| !beyond.is_empty());
    let (beyond, then) = (beyond.map(|beyond| gate::listed(&beyond)), gate::listed(&then));
    if limits.is_empty() {
        let detail = "no limit is given; write at least one, such as \"100/s\", and several with commas between them";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let figures = Figures::of(shown, clock::wall());
    Ok(frame::page(&Sure { frame, figures, limits: limits.join(", "), then, beyond }))
}

pub(super) fn done_with(name: &str, act: &str) -> Response {
    see_other(&format!("/destinations/{name}?{}", Flash::query(act, clock::wall())))
}

/// What was done, in words, as long as it is so.
fn done(act: &str, figures: &Figures) -> Option<&'static str> {
    let is_bulk_paused = figures.bulk.as_ref().is_some_and(|bulk| bulk.is_paused);
    match act {
        "paused" if figures.is_paused() => Some(
            "Paused. Nothing is sent until somebody resumes it, or until the time that was set; events wait in the queue.",
        ),
        "resumed" if !figures.is_paused() => Some("Resumed. If the vendor is still in trouble, the gate closes again."),
        "limited" => Some("The limits are changed, until the limits in its configuration change."),
        "bulk_paused" if is_bulk_paused => Some("Paused. Bulk events wait in their queue; live ones go on."),
        "bulk_resumed" if !is_bulk_paused => Some("Resumed. Bulk events go on behind live ones."),
        "bulk_limited" => Some("The pace of bulk events is changed, until somebody changes it again."),
        _ => None,
    }
}

/// What the charts show of the past.
fn plot(recent: &Recent, now: jiff::Timestamp) -> chart::Plot {
    chart::Plot { width: 600, height: 120, now, span: KEPT }.known(&recent.samples(), recent.since())
}

fn charts(recent: &Recent, figures: &Figures, now: jiff::Timestamp) -> Vec<(&'static str, Chart)> {
    let samples = recent.samples();
    let frame = plot(recent, now);
    let past = Past { changes: recent.changes().cloned().collect(), state: figures.state, since: recent.since() };
    vec![
        ("Requests a second", chart::rate(frame, &samples, &past, figures.quota)),
        ("Request time", chart::latency(frame, &samples, &past)),
        ("Delivered a second", chart::delivered(frame, &samples, &past)),
    ]
}

fn changes(recent: &Recent, now: jiff::Timestamp) -> Vec<ShownChange> {
    let mut ended = now;
    recent
        .changes()
        .map(|change| {
            let lasted = super::show::span(ended.duration_since(change.at).as_secs_f64());
            ended = change.at;
            ShownChange {
                at: Moment::of(change.at, now),
                from: change.from.name(),
                to: change.to.name(),
                why: change.why.clone(),
                lasted,
            }
        })
        .collect()
}

/// What happened lately, as whoever drives it knows. Where that is another worker and it does not answer, what is known here.
async fn recent(admin: &Admin, handle: &Handle, view: &View) -> Option<Recent> {
    let known = if view.driver.is_some() { lately(admin, [view.name.clone()].into()).await } else { BTreeMap::new() };
    match known.into_values().next() {
        Some(recent) => Some(recent),
        None => handle.recent().await.ok(),
    }
}

/// What the workers that drive those destinations know of what happened lately.
pub(super) async fn lately(admin: &Admin, destinations: BTreeSet<String>) -> BTreeMap<String, Recent> {
    let command = Command::Recent { destinations };
    let answers = control::ask::<BTreeMap<String, Recent>>(&admin.broker, &command, TOLD_WITHIN).await;
    answers.unwrap_or_default().into_iter().flatten().collect()
}

impl ShownOutcome {
    fn of(outcome: &RecentOutcome, now: jiff::Timestamp) -> Self {
        let ended = match &*outcome.outcome {
            "delivered" => "delivered",
            "retry" => "retried later",
            "dead_lettered" => "dead letter",
            "already_delivered" => "sent again by the broker",
            "waits" => "waits for the gate",
            "scheduled" => "waits until it is due",
            other => other,
        };
        Self {
            at: Moment::of(outcome.at, now),
            id: outcome.id.clone(),
            kind: outcome.kind.clone(),
            outcome: outcome.outcome.to_string(),
            ended: ended.to_owned(),
            status: outcome.status.map_or_else(String::new, |status| status.to_string()),
            ms: outcome.ms.map_or_else(String::new, count),
            said: outcome.said.clone(),
        }
    }
}
