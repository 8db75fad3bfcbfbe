//! The frame of every page: who is signed in, which worker this is, and what is wrong with the broker.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::assets;
use super::session::Viewer;
use super::show::Moment;
use crate::admin::Admin;
use crate::admin::problem::Problem;
use crate::clock;
use crate::config::Role;

/// What stands around a page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Who looks; none before signing in.
    pub who: Option<String>,
    pub may_act: bool,
    /// Whether there is a session to end.
    pub signed_in: bool,
    pub csrf: String,
    /// The machine that the worker runs on.
    pub worker: String,
    pub version: &'static str,
    /// That the broker is away.
    pub away: Option<Away>,
    /// What else is wrong with the broker, a sentence each.
    pub trouble: Vec<String>,
    pub now: Moment,
}

impl Frame {
    pub fn new(admin: &Admin, viewer: &Viewer) -> Self {
        Self {
            who: Some(viewer.who.name.clone()),
            may_act: viewer.who.role == Role::Act,
            signed_in: viewer.signed_in,
            csrf: viewer.csrf.clone(),
            away: Away::of(admin),
            trouble: trouble(admin),
            ..Self::for_nobody(admin)
        }
    }

    /// The frame for somebody who is not signed in: it tells nothing.
    pub fn for_nobody(admin: &Admin) -> Self {
        let now = clock::wall();
        Self {
            who: None,
            may_act: false,
            signed_in: false,
            csrf: String::new(),
            worker: admin.console.worker.clone(),
            version: env!("CARGO_PKG_VERSION"),
            away: None,
            trouble: Vec::new(),
            now: Moment::of(now, now),
        }
    }

    /// The address of an asset, with what it holds as its version.
    #[expect(clippy::unused_self, reason = "templates reach it through the frame")]
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

impl FromRequestParts<Arc<Admin>> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Problem> {
        let missing = || {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "this request reached a page without its sign-in being checked; this is a bug in Sluice",
            )
        };
        parts.extensions.get::<Viewer>().map(|viewer| Self::new(admin, viewer)).ok_or_else(missing)
    }
}

/// How the broker is away, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Away {
    /// What the missing connections are for, where others are there.
    pub side: Option<String>,
    pub since: Option<Moment>,
    pub why: Option<String>,
}

impl Away {
    fn of(admin: &Admin) -> Option<Self> {
        let away = admin.broker.status().borrow().away()?;
        Some(Self { side: away.side, since: Moment::maybe(away.since, clock::wall()), why: away.why })
    }
}

/// The broker says the same on each connection: once is enough.
fn trouble(admin: &Admin) -> Vec<String> {
    let status = admin.broker.status().borrow().clone();
    let why: BTreeSet<_> = [status.consuming, status.publishing].into_iter().filter_map(|link| link.blocked).collect();
    why.into_iter().map(|why| format!("the broker takes no messages for now: {why}")).collect()
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    heading: &'a str,
    detail: &'a str,
    ways: Ways,
}

/// Where to go on from a problem.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Where to sign in, if that helps.
    pub sign_in: Option<String>,
    /// Operations that may be the cause.
    pub operations: Option<String>,
    /// The page that the form was on.
    pub back: Option<String>,
    /// Whether to ask for the same once more may help.
    pub again: bool,
}

/// A problem as a page.
pub(super) fn error_page(frame: Frame, problem: &Problem) -> Response {
    error_page_with(frame, problem, Ways::default())
}

/// A problem as a page, with where to go on from there.
pub(super) fn error_page_with(frame: Frame, problem: &Problem, ways: Ways) -> Response {
    let (status, heading) = (problem.status().as_u16(), problem.heading());
    let is_told = problem.status() == StatusCode::SERVICE_UNAVAILABLE && frame.away.is_some();
    // Why stands above every page then.
    let detail = if is_told { "This page works again when the broker is back." } else { problem.detail() };
    (problem.status(), page(&ErrorPage { frame, status, heading, detail, ways })).into_response()
}

/// A page as an answer.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made; this is a bug in Sluice");
            (StatusCode::INTERNAL_SERVER_ERROR, "this is a bug in Sluice; its log says more").into_response()
        }
    }
}
