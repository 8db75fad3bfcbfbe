//! `/destinations/{name}/waiting`: the events that are sent next. Nothing is looked at before somebody asks for it, since a look costs
//! something.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::figures::Figures;
use super::frame::{self, Frame};
use super::show::{Moment, pretty};
use crate::admin::Admin;
use crate::admin::auth::Who;
use crate::admin::destinations::{DestinationPath, status_of};
use crate::admin::extract::{Params, Segment};
use crate::admin::problem::Problem;
use crate::admin::waiting::{WaitingQuery, look};
use crate::clock;
use crate::waiting::{MOST_SHOWN, Place};

/// Longest body that is shown, in bytes.
const LONGEST_BODY: usize = 4_000;

/// Where to look; nowhere yet where nothing is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WaitingFilter {
    place: Option<Place>,
}

struct Event {
    id: String,
    kind: String,
    source: String,
    time: Option<Moment>,
    delay: Option<String>,
    problem: Option<String>,
    /// What the last attempt met.
    last: Option<(String, Moment)>,
    returns: u32,
    body: String,
}

#[derive(Template)]
#[template(path = "waiting.html")]
struct Page {
    frame: Frame,
    figures: Figures,
    /// Whether somebody asked for a look.
    place: Option<&'static str>,
    events: Vec<Event>,
    note: Option<String>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(WaitingFilter { place }): Params<WaitingFilter>,
) -> Result<Response, Problem> {
    let now = clock::wall();
    let axum::Json(shown) = status_of(&admin, &name).await?;
    let (mut events, mut note) = (Vec::new(), None);
    if let Some(place) = place {
        let list = look(&admin, &who, &name, WaitingQuery { place, limit: MOST_SHOWN }).await?;
        note = list.note;
        events.extend(list.events.into_iter().map(|event| {
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
                problem: event.problem,
                last,
                returns: event.returns,
                body: body.get(..end).unwrap_or_default().to_owned(),
            }
        }));
    }
    let place = place.map(|place| match place {
        Place::Queue => "queue",
        Place::Retry => "retry",
    });
    Ok(frame::page(&Page { frame, figures: Figures::of(shown, now), place, events, note }))
}
