//! The frame of every page: who is signed in, which worker this is, and what is wrong with the broker.

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
    /// What is wrong with the broker, a sentence each.
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

fn trouble(admin: &Admin) -> Vec<String> {
    let status = admin.broker.status().borrow().clone();
    let mut trouble = status.lacking();
    for (name, link) in [("consuming", &status.consuming), ("publishing", &status.publishing)] {
        trouble.extend(link.blocked.iter().map(|why| format!("the broker takes no messages ({name}): {why}")));
    }
    trouble
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    title: &'a str,
    detail: &'a str,
    /// Where to sign in, if that helps.
    sign_in: Option<String>,
    /// A link to operations that may be the cause.
    operations: Option<String>,
}

/// A problem as a page.
pub(super) fn error_page(frame: Frame, problem: &Problem) -> Response {
    render_error(frame, problem, None, None)
}

/// A problem that signing in solves, with a link there.
pub(super) fn error_page_until(frame: Frame, problem: &Problem, sign_in: String) -> Response {
    render_error(frame, problem, Some(sign_in), None)
}

/// A problem with dead letters, of which these operations may be at work.
pub(super) fn error_page_for_letters(frame: Frame, problem: &Problem, operations: Option<String>) -> Response {
    render_error(frame, problem, None, operations)
}

fn render_error(frame: Frame, problem: &Problem, sign_in: Option<String>, operations: Option<String>) -> Response {
    let (status, title, detail) = (problem.status().as_u16(), problem.title(), problem.detail());
    (problem.status(), page(&ErrorPage { frame, status, title, detail, sign_in, operations })).into_response()
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
