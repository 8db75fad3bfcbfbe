//! The console's middleware: sessions by cookie, the CSRF token of every form, and errors as pages.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::form;
use super::frame::{self, Frame, Ways};
use super::session::Viewer;
use super::sign_in;
use crate::admin::Admin;
use crate::admin::auth;
use crate::admin::problem::Problem;
use crate::clock;
use crate::config::Role;
use crate::serving::equal;

/// The largest form: a letter's body of a megabyte, as browsers encode it.
const LARGEST_FORM: usize = 4 * 1024 * 1024;
/// The field with a form's CSRF token.
const CSRF: &str = "csrf";
/// Where a session ends. Whoever may only read may do that too.
pub(super) const SIGN_OUT: &str = "/sign-out";

/// Lets a request through if its sender may do it. Errors are answered with a page.
pub(super) async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let tokens = admin.tokens();
    if let Err(problem) = auth::same_site(request.headers(), tokens.is_empty()) {
        return frame::error_page(Frame::for_nobody(&admin), &problem);
    }
    let viewer = if tokens.is_empty() {
        Some(admin.console.sessions.local())
    } else {
        let id = sign_in::session_of(request.headers());
        id.and_then(|id| admin.console.sessions.find(id, &tokens, clock::now()))
    };
    let Some(viewer) = viewer else { return sign_in::first(&admin, &request) };
    let is_a_look = auth::is_a_look(request.method());
    let back = (!is_a_look).then(|| sign_in::came_from(request.headers()).to_owned());
    let request = match checked(request, &viewer).await {
        Ok(request) => request,
        Err(problem) => {
            return frame::error_page_with(Frame::new(&admin, &viewer), &problem, Ways { back, ..Ways::default() });
        }
    };
    let letters_of = letters_of(request.uri().path()).map(str::to_owned);
    let answer = next.run(request).await;
    match answer.extensions().get::<Problem>() {
        Some(problem) => {
            let letters_of = letters_of.filter(|_| problem.status() == StatusCode::CONFLICT);
            let operations = letters_of.map(|name| format!("/destinations/{name}/dead/operations"));
            let passes = matches!(problem.status(), StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE);
            let ways = Ways { operations, back, again: is_a_look && passes, ..Ways::default() };
            frame::error_page_with(Frame::new(&admin, &viewer), problem, ways)
        }
        None => answer,
    }
}

/// Whose dead letters a path is about.
fn letters_of(path: &str) -> Option<&str> {
    let (name, rest) = path.strip_prefix("/destinations/")?.split_once('/')?;
    (rest == "dead" || rest.starts_with("dead/")).then_some(name)
}

/// The request with who it is from and what its form says, where it may be carried out.
async fn checked(request: Request, viewer: &Viewer) -> Result<Request, Problem> {
    let (mut parts, body) = request.into_parts();
    if !auth::is_a_look(&parts.method) {
        if viewer.who.role == Role::Read && parts.uri.path() != SIGN_OUT {
            return Err(auth::forbidden(&viewer.who));
        }
        let body = to_bytes(body, LARGEST_FORM).await;
        let too_large =
            |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the form is too large; use \"sluice dead edit\"");
        let fields = form::read(&parts.headers, &body.map_err(too_large)?)?;
        let given = fields.get(CSRF).unwrap_or_default();
        if !equal(given.as_bytes(), viewer.csrf.as_bytes()) {
            let detail = "the form is from an earlier session or another site: go back, reload the page, and try again";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        parts.extensions.insert(fields);
    }
    parts.extensions.insert(viewer.clone());
    parts.extensions.insert(viewer.who.clone());
    Ok(Request::from_parts(parts, Body::empty()))
}
