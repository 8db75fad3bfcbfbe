//! Signing in with a token, and out.

use std::sync::Arc;

use askama::Template;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use url::form_urlencoded;

use super::form::{self, Fields, see_other};
use super::frame::{Frame, Ways, error_page, error_page_with, page};
use super::session::LASTS;
use crate::admin::Admin;
use crate::admin::auth::{self, holder};
use crate::admin::extract::Params;
use crate::admin::problem::Problem;
use crate::audit::{self, OperatorAct};
use crate::clock;

const LARGEST: usize = 8 * 1024;
const COOKIE: &str = "sluice-session";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    frame: Frame,
    /// Where to go afterwards.
    to: String,
    wrong: bool,
}

/// Reloads itself, so that the request comes from this site.
#[derive(Template)]
#[template(path = "again.html")]
struct Again {
    frame: Frame,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInQuery {
    #[serde(default)]
    to: String,
}

/// The session's id in a cookie.
pub(super) fn session_of(headers: &HeaderMap) -> Option<&str> {
    let name = cookie_name(headers);
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
        let (given, value) = cookie.trim().split_once('=')?;
        (given == name).then_some(value)
    })
}

/// Cookies know no ports: workers on one host, or reached through one, are told apart by the name.
fn cookie_name(headers: &HeaderMap) -> String {
    let port = auth::text(headers, header::HOST).and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or_else(|| COOKIE.to_owned(), |port| format!("{COOKIE}-{port}"))
}

fn cookie(headers: &HeaderMap, id: &str, seconds: u64) -> String {
    let encrypted =
        headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if encrypted { "; Secure" } else { "" };
    format!("{}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}", cookie_name(headers))
}

/// The answer to somebody who is not signed in.
pub(super) fn first(admin: &Admin, request: &Request) -> Response {
    if !auth::is_a_look(request.method()) {
        let detail = "you are not signed in, or no longer: nothing was done; sign in, and try again";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        let sign_in = Some(leading_to(came_from(request.headers())));
        return error_page_with(Frame::for_nobody(admin), &problem, Ways { sign_in, ..Ways::default() });
    }
    // A link from a chat comes without the cookie, which browsers send for requests from this site only. This page reloads itself at once, and
    // that request is from this site.
    if request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return page(&Again { frame: Frame::for_nobody(admin) });
    }
    see_other(&leading_to(request.uri().path_and_query().map_or("/", |to| to.as_str())))
}

/// Where somebody signs in who then goes on to a place of this site.
fn leading_to(place: &str) -> String {
    let place: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
    format!("/sign-in?to={place}")
}

/// The page of this site whose form was sent; the first where the browser does not say.
pub(super) fn came_from(headers: &HeaderMap) -> &str {
    let from = auth::text(headers, header::REFERER).and_then(|from| from.split_once("://")).map(|(_, from)| from);
    let place = from.zip(auth::text(headers, header::HOST)).and_then(|(from, host)| from.strip_prefix(host));
    place.map_or("/", local)
}

/// A place of this site, whatever is asked for.
fn local(to: &str) -> &str {
    let is_local =
        to.starts_with('/') && !to.starts_with("//") && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_local && !to.starts_with("/sign-in") { to } else { "/" }
}

/// The page that asks for a token.
pub(super) async fn ask(State(admin): State<Arc<Admin>>, Params(SignInQuery { to }): Params<SignInQuery>) -> Response {
    if admin.tokens().is_empty() {
        return see_other("/");
    }
    page(&Page { frame: Frame::for_nobody(&admin), to: local(&to).to_owned(), wrong: false })
}

/// Takes a token.
pub(super) async fn enter(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let nobody = || Frame::for_nobody(&admin);
    let tokens = admin.tokens();
    if let Err(problem) = auth::same_site(request.headers(), tokens.is_empty()) {
        return error_page(nobody(), &problem);
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let fields = match form::read(&parts.headers, &body) {
        Ok(fields) => fields,
        Err(problem) => return error_page(nobody(), &problem),
    };
    let to = local(fields.get("to").unwrap_or("/")).to_owned();
    let Some(token) = holder(&tokens, fields.get("token").unwrap_or_default().trim()) else {
        admin.wrong_tokens.count_one(clock::now());
        return (StatusCode::UNAUTHORIZED, page(&Page { frame: nobody(), to, wrong: true })).into_response();
    };
    tracing::info!(who = token.name, "signed in to the console");
    let by = (token.name.as_str(), "console");
    admin.record(audit::Entry::done(by, "", OperatorAct::SignIn, String::new(), "signed in"));
    let id = admin.console.sessions.begin(token, clock::now());
    ([(header::SET_COOKIE, cookie(&parts.headers, &id, LASTS.as_secs()))], see_other(&to)).into_response()
}

/// Ends the session.
pub(super) async fn leave(State(admin): State<Arc<Admin>>, headers: HeaderMap, _: Fields) -> Response {
    if let Some(id) = session_of(&headers) {
        admin.console.sessions.end(id);
    }
    ([(header::SET_COOKIE, cookie(&headers, "", 0))], see_other("/sign-in")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        for to in ["/", "/destinations/px/dead?reason=rejected&page=2", "/audit"] {
            assert_eq!(local(to), to);
        }
        for to in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", "javascript:1", "/sign-in"]
        {
            assert_eq!(local(to), "/", "{to}");
        }
    }

    #[test]
    fn a_form_came_from_a_page_of_this_site_or_from_the_first() {
        let from = |referer: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "sluice.example:9464".parse().unwrap());
            headers.insert(header::REFERER, referer.parse().unwrap());
            came_from(&headers).to_owned()
        };
        let page = "/destinations/px/dead?reason=rejected";
        assert_eq!(from(&format!("https://sluice.example:9464{page}")), page);
        for other in [
            "https://evil.example/destinations/px",
            "https://sluice.example:9464.evil.example/",
            "https://sluice.example:9464//evil.example",
            "https://sluice.example:9464",
            "/destinations/px",
            "",
        ] {
            assert_eq!(from(other), "/", "{other}");
        }
        assert_eq!(came_from(&HeaderMap::new()), "/");
    }

    #[test]
    fn the_session_is_found_among_other_cookies_by_its_port() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost:9464".parse().unwrap());
        headers.insert(header::COOKIE, "a=b; sluice-session-9465=other; sluice-session-9464=mine".parse().unwrap());
        assert_eq!(session_of(&headers), Some("mine"));
        headers.insert(header::HOST, "sluice.example".parse().unwrap());
        assert_eq!(session_of(&headers), None);
    }
}
