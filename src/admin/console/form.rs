//! Forms: what they say, and where a browser is led after one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use crate::admin::auth;
use crate::admin::problem::Problem;

/// What a form says.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The field of that name, where it says something.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, value)| field == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Fields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody read the form");
        parts.extensions.remove().ok_or_else(missing)
    }
}

/// What a form says.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Problem> {
    let kind = auth::text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _parameters)| kind).trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let detail = "a form is sent as application/x-www-form-urlencoded; programs use /api/v1";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(Fields(form_urlencoded::parse(body).into_owned().collect()))
}

/// To another page, after something was done.
pub(super) fn see_other(place: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place.to_owned())]).into_response()
}
