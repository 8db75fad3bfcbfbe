//! Errors of the API as `application/problem+json` (RFC 9457), as they are sent and as the document describes them.

use std::collections::BTreeMap;

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was not carried out (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong and what to do, for people.
    detail: String,
    /// The field of a form that it is about, where it is about one: the console shows it there.
    #[serde(skip)]
    field: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        Self { r#type: "about:blank", title, status: status.as_u16(), detail: detail.into(), field: None }
    }

    /// The same, about this field.
    pub fn at(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// The field that it is about.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Whether something is wrong with what was given, so that its form can say it and be sent again.
    pub fn is_of_a_form(&self) -> bool {
        self.field.is_some() || matches!(self.status(), StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
    }

    /// The status as a person says it.
    pub fn heading(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "This address cannot be read",
            StatusCode::UNAUTHORIZED => "Sign in first",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::METHOD_NOT_ALLOWED => "This address does not take that",
            StatusCode::CONFLICT => "Not possible now",
            StatusCode::PAYLOAD_TOO_LARGE => "Too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "Not a form",
            StatusCode::UNPROCESSABLE_ENTITY => "That does not work",
            StatusCode::SERVICE_UNAVAILABLE => "The broker is away",
            _ => "Something is wrong with Sluice",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is wrong and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings and a number can always be written.
        let body = serde_json::to_string(&self).unwrap_or_default();
        // The console shows it as a page instead.
        (self.status(), [(header::CONTENT_TYPE, CONTENT_TYPE)], Extension(self), body).into_response()
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing here; see /, /metrics, /healthz, /readyz and /api/v1/openapi.json",
    )
}

pub(super) async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this address does not take that method; the header Allow lists those it takes",
    )
}

/// The errors of every endpoint, for `responses(…)`.
pub(super) struct Refusals;

/// The error of an endpoint with a name in its path.
pub(super) struct Unknown;

/// The errors of an endpoint that takes a body.
pub(super) struct BadBody;

/// The error of an endpoint that depends on the present state.
pub(super) struct Conflict;

/// The error of an endpoint that needs the broker.
pub(super) struct BrokerAway;

impl IntoResponses for Conflict {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[("409", "Not possible as things are: `detail` says why; somebody else may be reading the letters")])
    }
}

impl IntoResponses for BrokerAway {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[("503", "The broker cannot be reached, or broke off")])
    }
}

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            ("400", "The request cannot be read: a parameter that is unknown or wrong, or text that is not JSON"),
            ("401", "No token, or a wrong one"),
            ("403", "The token may only read, or the request is from another site's web page"),
            ("405", "The address does not take that method; `Allow` lists those it takes"),
        ])
    }
}

impl IntoResponses for Unknown {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[("404", "Nothing here has that name")])
    }
}

impl IntoResponses for BadBody {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            ("413", "The body is too large"),
            ("415", "The body is not declared as application/json"),
            ("422", "The body is JSON, and says something that is not possible"),
        ])
    }
}

fn described(answers: &[(&str, &str)]) -> BTreeMap<String, RefOr<Described>> {
    let describe = |(status, description): &(&str, &str)| {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new().description(*description).content(CONTENT_TYPE, content).build();
        ((*status).to_owned(), RefOr::T(response))
    };
    answers.iter().map(describe).collect()
}
