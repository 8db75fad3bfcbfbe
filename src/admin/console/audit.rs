//! `/audit`: who did what.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::frame::{self, Frame};
use super::show::{Moment, count};
use crate::admin::Admin;
use crate::admin::dead::{PATIENCE, to_its_end};
use crate::admin::extract::Params;
use crate::admin::problem::Problem;
use crate::audit;
use crate::clock;
use crate::dead_letters::acts::Act;

/// Entries on the page: the last.
const SOME: usize = 200;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuditFilter {
    destination: String,
}

struct Row {
    at: Moment,
    by: String,
    /// From where, where that is known.
    place: Option<String>,
    destination: String,
    act: String,
    filter: String,
    count: String,
    /// How it ended; none where it began.
    outcome: Option<String>,
    operation: String,
    /// Whether there is a page of its operation.
    is_operation: bool,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    destination: String,
    names: Vec<String>,
    entries: Vec<Row>,
    is_full: bool,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Params(AuditFilter { destination }): Params<AuditFilter>,
) -> Result<Response, Problem> {
    let (broker, of) = (admin.reachable()?, Some(destination.clone()).filter(|name| !name.is_empty()));
    let read = async move { Ok(audit::read(&broker, of.as_deref(), SOME, PATIENCE).await?) };
    let now = clock::wall();
    let entries = to_its_end(read).await?;
    let shown = |entry: &audit::Entry| Row {
        at: Moment::of(entry.at, now),
        by: entry.by.clone(),
        place: entry.place.clone(),
        destination: entry.destination.clone(),
        act: entry.act.clone(),
        filter: entry.filter.clone(),
        count: if entry.is_of_operator() { String::new() } else { count(entry.count) },
        outcome: entry.outcome.clone(),
        operation: entry.operation.clone(),
        is_operation: Act::named(&entry.act).is_some(),
    };
    let page = Page {
        frame,
        destination,
        names: admin.roster.all().into_iter().map(|(name, _)| name).collect(),
        is_full: entries.len() == SOME,
        entries: entries.iter().rev().map(shown).collect(),
    };
    Ok(frame::page(&page))
}
