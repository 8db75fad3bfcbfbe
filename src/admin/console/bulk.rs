//! A destination's bulk events on its page: their figures, and the acts that are for them alone.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::destination::{Given, done_with, paused, shown};
use super::flash::Flash;
use super::form::Fields;
use super::frame::Frame;
use super::show::{Moment, count, span};
use crate::admin::Admin;
use crate::admin::auth::Who;
use crate::admin::bulk::{BulkStatus, ClassParam};
use crate::admin::destinations::{DestinationPath, command};
use crate::admin::extract::{NoParams, Params, Segment};
use crate::admin::problem::Problem;
use crate::class::Class;
use crate::control::Command;
use crate::control::stamp::BulkChange;
use crate::watch::age;

/// What the page shows of bulk events.
#[derive(Clone, Debug)]
pub(super) struct BulkFigures {
    pub waiting: Option<String>,
    pub ready: Option<String>,
    pub retry: Option<String>,
    pub held: String,
    pub oldest: Option<String>,
    pub drain: Option<String>,
    pub delivered: String,
    pub share: String,
    pub types: Vec<String>,
    pub limits: Vec<String>,
    pub is_paused: bool,
    /// Who paused them, when and why, as far as known.
    pub paused: String,
    pub paused_until: Option<Moment>,
}

impl BulkFigures {
    /// None where the destination has nothing to do with bulk events.
    pub fn of(bulk: BulkStatus, now: Timestamp) -> Option<Self> {
        let BulkStatus { types, limits, paused, waiting, delivered, .. } = &bulk;
        let has_some = waiting.is_some_and(|waiting| waiting > 0) || *delivered > 0;
        if types.is_empty() && limits.is_empty() && !paused && !has_some {
            return None;
        }
        let at = bulk.paused_at.map(|at| Moment::of(at, now).ago);
        let by = bulk.paused_by.map(|by| format!("by {by}"));
        let why = bulk.pause_reason.map(|reason| format!("“{reason}”"));
        Some(Self {
            waiting: bulk.waiting.map(count),
            ready: bulk.queue_ready.map(count),
            retry: bulk.retrying.map(count),
            held: count(bulk.held),
            oldest: bulk.oldest_event.map(|oldest| span(age(oldest, now))),
            drain: bulk.drained_in_seconds.filter(|_| bulk.waiting.is_some_and(|waiting| waiting > 0)).map(span),
            delivered: count(bulk.delivered),
            share: bulk.share,
            types: bulk.types,
            limits: bulk.limits,
            is_paused: bulk.paused,
            paused: [by, at, why].into_iter().flatten().collect::<Vec<_>>().join(", "),
            paused_until: Moment::maybe(bulk.paused_until, now),
        })
    }
}

/// Pauses them: with a reason and an end, where the form says so.
pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    paused(&admin, frame, &who, (name, ClassParam { class: Some(Class::Bulk) }), &fields).await
}

/// Holds them to other bounds, or to none.
pub(super) async fn limits(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let given = if fields.get("reset").is_some() { "" } else { fields.get("limits").unwrap_or_default() };
    let limits: Vec<String> = given.split([',', ' ']).filter(|limit| !limit.is_empty()).map(str::to_owned).collect();
    let change = BulkChange::Limits { limits };
    match command(&admin, &who, Command::Bulk { destination: name.clone(), change }).await {
        Err(problem) if problem.is_of_a_form() => {
            let wrong = problem.at("limits").into();
            let given = Given { form: "bulk-limits", limits: Some(given.to_owned()), wrong, ..Given::default() };
            shown(&admin, frame, name, Flash::default(), given).await
        }
        answer => answer.map(|_| done_with(&name, "bulk_limited")),
    }
}
