//! `/destinations/{name}`: how one destination is and was lately; pause, resume and other limits.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::chart::{self, Chart};
use super::figures::Figures;
use super::frame::{self, Frame};
use super::guard::{Fields, see_other};
use super::show::{Moment, count};
use crate::admin::Admin;
use crate::admin::auth::Who;
use crate::admin::destinations::{self, Named, order, shown};
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::problem::Problem;
use crate::clock;
use crate::control::{Order, OrderError};
use crate::destination::orders;
use crate::destination::recent::{Change, KEPT, Outcome, Recent};
use crate::gate::{Limit, LimitError};
use crate::verdict::Reason;

/// What was just done, for the page that follows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct Did {
    did: String,
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
    outcome: &'static str,
    /// For a person.
    ended: &'static str,
    status: String,
    ms: String,
    said: String,
}

struct ShownReason {
    name: &'static str,
    count: String,
}

#[derive(Template)]
#[template(path = "destination.html")]
struct Page {
    frame: Frame,
    figures: Figures,
    did: Option<&'static str>,
    charts: Vec<(&'static str, Chart)>,
    changes: Vec<ShownChange>,
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
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(Named { name }): Segment<Named>,
    Params(Did { did }): Params<Did>,
) -> Result<Response, Problem> {
    let unknown = || Problem::from(OrderError::Unknown(name.clone()));
    let handle = admin.roster.get(&name).ok_or_else(unknown)?;
    let (view, recent) = (handle.view().await.map_err(|_| unknown())?, handle.recent().await.map_err(|_| unknown())?);
    let now = clock::wall();
    let figures = Figures::of(shown(&admin, view), now);
    let shown = Page {
        did: done(&did),
        charts: charts(&recent, &figures, now),
        changes: changes(&recent, now),
        outcomes: recent.outcomes().map(|outcome| ShownOutcome::of(outcome, now)).collect(),
        reasons: reasons(&admin, &name),
        figures,
        frame,
    };
    Ok(frame::page(&shown))
}

pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(Named { name }): Segment<Named>,
    Params(NoParams {}): Params<NoParams>,
    _: Fields,
) -> Result<Response, Problem> {
    drop(order(&admin, &who, Order::Pause { destination: name.clone() }).await?);
    Ok(see_other(&format!("/destinations/{name}?did=paused")))
}

pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(Named { name }): Segment<Named>,
    Params(NoParams {}): Params<NoParams>,
    _: Fields,
) -> Result<Response, Problem> {
    drop(order(&admin, &who, Order::Resume { destination: name.clone() }).await?);
    Ok(see_other(&format!("/destinations/{name}?did=resumed")))
}

/// First asks whether that is meant, then does it.
pub(super) async fn limits(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(Named { name }): Segment<Named>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let given = fields.get("limits").unwrap_or_default();
    let limits: Vec<String> = given.split([',', ' ']).filter(|limit| !limit.is_empty()).map(str::to_owned).collect();
    if fields.get("sure").is_some() {
        drop(order(&admin, &who, Order::Limits { destination: name.clone(), limits }).await?);
        return Ok(see_other(&format!("/destinations/{name}?did=limited")));
    }
    let axum::Json(shown) = destinations::look(&admin, &name).await?;
    let parsed = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<Limit>, _>>();
    let wrong = |error: LimitError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    let then = orders::changed(&parsed(&shown.limits).map_err(wrong)?, &parsed(&limits).map_err(wrong)?);
    let then = then.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if limits.is_empty() {
        let detail = "no limit is given; write at least one, such as \"100/s\", and several with commas between them";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let figures = Figures::of(shown, clock::wall());
    Ok(frame::page(&Sure { frame, figures, limits: limits.join(", "), then }))
}

/// What was done, in words. The address has one of these names and nothing that is shown.
fn done(did: &str) -> Option<&'static str> {
    match did {
        "paused" => Some("Paused. Nothing is sent until somebody resumes it; events wait in the queue."),
        "resumed" => Some("Resumed. If the vendor is still in trouble, the gate closes again."),
        "limited" => {
            Some("The limits are changed, until a reload that changes this destination or a restart of the worker.")
        }
        _ => None,
    }
}

fn charts(recent: &Recent, figures: &Figures, now: jiff::Timestamp) -> Vec<(&'static str, Chart)> {
    let samples = recent.samples();
    let changes: Vec<Change> = recent.changes().cloned().collect();
    let frame = chart::Frame { width: 600, height: 120, now, span: KEPT };
    let state = figures.state;
    vec![
        ("Requests a second", chart::rate(frame, &samples, &changes, state, figures.quota)),
        ("Request time", chart::latency(frame, &samples, &changes, state)),
        ("Delivered a second", chart::delivered(frame, &samples, &changes, state)),
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

fn reasons(admin: &Admin, name: &str) -> Vec<ShownReason> {
    let counted = Reason::ALL.into_iter().map(|reason| {
        (reason.name(), admin.metrics.dead_lettered_total.with_label_values(&[name, reason.name()]).get())
    });
    counted.filter(|(_, number)| *number > 0).map(|(name, number)| ShownReason { name, count: count(number) }).collect()
}

impl ShownOutcome {
    fn of(outcome: &Outcome, now: jiff::Timestamp) -> Self {
        let ended = match outcome.outcome {
            "delivered" => "delivered",
            "retry" => "retried later",
            "dead_lettered" => "dead letter",
            "already_delivered" => "sent again by the broker",
            other => other,
        };
        Self {
            at: Moment::of(outcome.at, now),
            id: outcome.id.clone(),
            kind: outcome.kind.clone(),
            outcome: outcome.outcome,
            ended,
            status: outcome.status.map_or_else(String::new, |status| status.to_string()),
            ms: outcome.ms.map_or_else(String::new, count),
            said: outcome.said.clone(),
        }
    }
}
