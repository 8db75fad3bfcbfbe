//! The console at `/`: pages that show the destinations and let operators act. It calls the same functions as the API. Everything works without
//! scripts; with them pages update themselves.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jiff::Timestamp;

use super::{Admin, problem};
use crate::clock;
use crate::control::{Command, Signal};
use session::Sessions;

mod act;
mod assets;
mod audit;
mod bars;
mod chart;
mod check;
mod copy;
mod dead;
mod destination;
mod edit;
mod figures;
mod find;
mod flash;
mod form;
mod frame;
mod gone;
mod guard;
mod issues;
mod letter;
mod letter_search;
mod operations;
mod overview;
mod reload;
mod session;
pub(super) mod show;
mod sign_in;
mod unrouted;
mod waiting;

#[cfg(test)]
mod tests;

/// Scripts and styles of this server alone, none inside of pages; no frame around them, no form to elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// What the console keeps.
#[derive(Debug)]
pub(super) struct Console {
    sessions: Sessions,
    /// The machine's name.
    worker: String,
    /// When this worker began.
    began: Timestamp,
}

impl Default for Console {
    fn default() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        Self {
            sessions: Sessions::default(),
            began: clock::wall(),
            worker: if host.is_empty() { "this machine".to_owned() } else { host.to_owned() },
        }
    }
}

/// Every page. Another one is another line.
pub(super) fn router(admin: &Arc<Admin>) -> Router<Arc<Admin>> {
    const DEAD: &str = "/destinations/{name}/dead";
    let dead = |rest: &str| format!("{DEAD}{rest}");
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/audit", get(audit::page))
        .route("/issues", get(issues::page))
        .route("/issues/{issue}", post(issues::say))
        .route("/find", get(find::page))
        .route("/unrouted", get(unrouted::page))
        .route("/unrouted/act", get(unrouted::ask).post(unrouted::act))
        .route("/reload", get(reload::ask).post(reload::submit))
        .route("/destinations/{name}", get(destination::page))
        .route("/destinations/{name}/pause", get(destination::back).post(destination::pause))
        .route(
            "/destinations/{name}/resume",
            destination::command_form(|destination| Command::Resume { destination }, "resumed"),
        )
        .route("/destinations/{name}/waiting", get(waiting::page).post(waiting::submit))
        .route("/destinations/{name}/limits", get(destination::back).post(destination::limits))
        .route(DEAD, get(dead::page))
        .route(&dead("/act"), get(act::count))
        .route(&dead("/operations"), get(operations::list).post(act::begin))
        .route(&dead("/operations/{operation}"), get(operations::page))
        .route(&dead("/operations/{operation}/pause"), operations::wished(Signal::Pause))
        .route(&dead("/operations/{operation}/resume"), operations::wished(Signal::Run))
        .route(&dead("/operations/{operation}/cancel"), operations::wished(Signal::Cancel))
        .route(&dead("/letters/{letter}"), get(letter::page))
        .route(&dead("/letters/{letter}/edit"), get(edit::form).post(edit::submit))
        .route(guard::SIGN_OUT, post(sign_in::leave))
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(from_fn_with_state(Arc::clone(admin), guard::guard));
    let open = Router::new()
        .route("/sign-in", get(sign_in::ask).post(sign_in::enter))
        .route("/assets/{name}", get(assets::serve));
    pages.merge(open).layer(from_fn(secured))
}

async fn secured(request: Request, next: Next) -> Response {
    with_headers(next.run(request).await)
}

fn with_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.extend(HEADERS);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Nothing is at that address: a page for people, a problem for programs.
pub(super) async fn not_found(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let problem = problem::not_found().await;
    let by_person = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if by_person.is_some_and(|accept| accept.contains("text/html")) {
        return with_headers(frame::error_page(frame::Frame::for_nobody(&admin), &problem));
    }
    problem.into_response()
}
