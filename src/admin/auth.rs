//! Authentication: tokens with names and roles. Requests from pages of other sites are refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;

use super::Admin;
use super::problem::Problem;
use crate::clock;
use crate::config::{AdminToken, Role};
use crate::serving::{equal, is_address};

/// How often the log tells of wrong tokens.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// Who sends a request. Handlers that act take it as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The token's name; `admin` for that of `[admin]` itself, `local` where none is set.
    pub name: String,
    pub role: Role,
    /// From where, for the audit: `api` or `console`.
    pub place: &'static str,
}

impl Who {
    /// The same, who came by the console.
    pub fn at_console(self) -> Self {
        Self { place: "console", ..self }
    }

    /// Anyone, if no token is set.
    pub fn local() -> Self {
        Self { name: "local".to_owned(), role: Role::Act, place: "api" }
    }
}

impl From<&AdminToken> for Who {
    fn from(token: &AdminToken) -> Self {
        Self { name: token.name.clone(), role: token.role, place: "api" }
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "this request reached a page without its sign-in being checked; this is a bug in Sluice",
            )
        };
        parts.extensions.get().cloned().ok_or_else(missing)
    }
}

/// Middleware: lets a request through if its sender may do it, and adds who that is.
pub(super) async fn guard(State(admin): State<Arc<Admin>>, mut request: Request, next: Next) -> Response {
    let tokens = admin.tokens();
    if let Err(problem) = same_site(request.headers(), tokens.is_empty()) {
        return problem.into_response();
    }
    let Some(who) = identify(request.headers(), &tokens) else {
        if request.headers().contains_key(header::AUTHORIZATION) {
            admin.wrong_tokens.count_one(clock::now());
        }
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "send a token of [admin] as \"Authorization: Bearer …\"");
        return ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response();
    };
    if who.role == Role::Read && !is_a_look(request.method()) {
        return forbidden(&who).into_response();
    }
    request.extensions_mut().insert(who);
    next.run(request).await
}

/// Refuses an act with a token that may only read.
pub(super) fn forbidden(who: &Who) -> Problem {
    let detail = format!("the token {:?} may only read; acting needs one with role = \"act\"", who.name);
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Whether a request of that method changes nothing.
pub(super) fn is_a_look(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// A page of another site can make an operator's browser send requests here, where that site itself has no access. The browser then names the
/// page's site in `Origin`: only this server's own pages are allowed. With DNS rebinding both headers have the attacker's name; so without
/// tokens, `Host` has to be an IP address or `localhost`.
pub(super) fn same_site(headers: &HeaderMap, open: bool) -> Result<(), Problem> {
    let host = text(headers, header::HOST);
    if let Some(origin) = text(headers, header::ORIGIN) {
        let from = origin.split_once("://").map(|(_, host)| host);
        if from.is_none() || !from.zip(host).is_some_and(|(from, host)| from.eq_ignore_ascii_case(host)) {
            let detail = "this request is from a web page of another site (its Origin is not the Host), which may not use the API";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    }
    // A picture or a script of another site comes without an `Origin`; it must not make this server look through letters.
    let elsewhere = text(headers, HeaderName::from_static("sec-fetch-site")) == Some("cross-site");
    if elsewhere && text(headers, HeaderName::from_static("sec-fetch-mode")) != Some("navigate") {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this request is from a web page of another site"));
    }
    if open && host.is_some_and(|host| !is_address(host)) {
        let detail = "without tokens, the Host has to be \"localhost\" or an IP address; use one of these, or set a token under [admin]";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Whose token it is.
fn identify(headers: &HeaderMap, tokens: &[AdminToken]) -> Option<Who> {
    if tokens.is_empty() {
        return Some(Who::local());
    }
    let given = text(headers, header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let (_, given) = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))?;
    holder(tokens, given).map(Who::from)
}

/// Counts requests with wrong tokens. They are not slowed down, since a token cannot be guessed. The log has one line a minute at most, since
/// anyone who reaches this server can send many.
#[derive(Debug, Default)]
pub(super) struct WrongTokens(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    told: Option<Instant>,
}

impl WrongTokens {
    /// Counts one, and logs if a line is due.
    pub fn count_one(&self, now: Instant) {
        if let Some(count) = self.due(now) {
            tracing::warn!(count, "wrong tokens were given to the API or the console");
        }
    }

    /// Counts one. Returns how many are not in the log yet, if a line is due.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        untold.count += 1;
        if untold.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            return None;
        }
        untold.told = Some(now);
        Some(std::mem::take(&mut untold.count))
    }
}

/// The token of that text. Every token is looked at, whichever it is.
pub(super) fn holder<'a>(tokens: &'a [AdminToken], given: &str) -> Option<&'a AdminToken> {
    let matches = |token: &AdminToken| equal(token.secret.expose_secret().as_bytes(), given.as_bytes());
    tokens.iter().fold(None, |found, token| if matches(token) { Some(token) } else { found })
}

pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    // What is no text is never right: as it is compared, an empty one stands for it.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_are_told_at_once_and_then_together_once_a_minute() {
        let (wrong_tokens, now) = (WrongTokens::default(), crate::clock::now());
        assert_eq!(wrong_tokens.due(now), Some(1));
        for second in 0..50 {
            assert_eq!(wrong_tokens.due(now + Duration::from_secs(second)), None);
        }
        assert_eq!(wrong_tokens.due(now + TOLD_EVERY), Some(51));
    }
}
