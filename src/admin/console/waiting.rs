//! `/destinations/{name}/waiting`: the events that are sent next. Nothing is looked at before somebody asks for it, since a look costs
//! something.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::figures::Figures;
use super::form::Fields;
use super::frame::{self, Frame};
use super::show::{Moment, of, pretty};
use crate::admin::Admin;
use crate::admin::destinations::{DestinationPath, status_of};
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::problem::Problem;
use crate::admin::waiting::{WaitingRequest, look};
use crate::clock;
use crate::waiting::Place;

/// Longest body that is shown, in bytes.
const LONGEST_BODY: usize = 4_000;

struct Event {
    id: String,
    kind: String,
    source: String,
    time: Option<Moment>,
    delay: Option<String>,
    due: Option<Moment>,
    problem: Option<String>,
    /// What the last attempt met.
    last: Option<(String, Moment)>,
    returns: Option<String>,
    body: String,
}

#[derive(Template)]
#[template(path = "waiting.html")]
struct Page {
    frame: Frame,
    figures: Figures,
    /// Whether somebody asked for a look.
    looked: bool,
    events: Vec<Event>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let axum::Json(shown) = status_of(&admin, &name).await?;
    let figures = Figures::of(shown, clock::wall());
    Ok(frame::page(&Page { frame, figures, looked: false, events: Vec::new() }))
}

/// The look that somebody asked for.
pub(super) async fn submit(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let now = clock::wall();
    let place = match fields.get("place") {
        Some("retry") => Place::Retry,
        Some("scheduled") => Place::Scheduled,
        Some(_) | None => Place::Queue,
    };
    let list = look(&admin, &name, WaitingRequest { place, limit: None }).await?;
    let axum::Json(shown) = status_of(&admin, &name).await?;
    let events = list.events.into_iter().map(|event| {
        let body = pretty(&event.body).unwrap_or(event.body);
        let end = body.floor_char_boundary(LONGEST_BODY);
        let last = event.attempts.last().map(|attempt| {
            let status = attempt.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            (format!("{status} {}", attempt.excerpt), Moment::of(attempt.at, now))
        });
        Event {
            id: event.id,
            kind: event.r#type,
            source: event.source,
            time: Moment::maybe(event.time, now),
            delay: event.delay,
            due: Moment::maybe(event.due, now),
            problem: event.problem,
            last,
            returns: (event.returns > 0).then(|| of(event.returns.into(), "return", "returns")),
            body: body.get(..end).unwrap_or_default().to_owned(),
        }
    });
    let (events, figures) = (events.collect(), Figures::of(shown, now));
    Ok(frame::page(&Page { frame, figures, looked: true, events }))
}
