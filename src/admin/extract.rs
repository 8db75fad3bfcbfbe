//! Extractors: what a handler takes out of a request. If that fails, the answer is a [`Problem`].

use axum::body::Bytes;
use axum::extract::{self, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use url::form_urlencoded;

use super::problem::Problem;
use super::wrong;

/// The JSON body. Its type should have `deny_unknown_fields`.
pub(super) struct JsonBody<T>(pub T);

/// The JSON body, or the type's default where there is none. Its type should have `deny_unknown_fields`.
pub(super) struct OptionalBody<T>(pub T);

/// The query's parameters. Their type must have `deny_unknown_fields`.
pub(super) struct Params<T>(pub T);

/// The query's parameters one by one, as they stand there.
pub(super) struct Query(pub Vec<(String, String)>);

/// What stands in the path, such as a destination's name.
pub(super) struct Segment<T>(pub T);

/// The parameters of an endpoint that has none: refuses all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (declared, body) = whole(request, state).await?;
        read(&declared?, &body).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (declared, body) = whole(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        let declared = declared?;
        if body.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        read(&declared, &body).map(Self)
    }
}

/// A body was declared as JSON.
struct DeclaredJson;

/// Whether a request's body is declared as JSON, and the body.
async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<(Result<DeclaredJson, Problem>, Bytes), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let essence =
        kind.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let declared = if is_json {
        Ok(DeclaredJson)
    } else {
        let said = kind.as_deref().map_or_else(|| "is missing".to_owned(), |kind| format!("says {kind:?}"));
        let detail = format!("the body has to be application/json; the header Content-Type {said}");
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
    };
    let body = Bytes::from_request(request, state).await.map_err(|error| {
        let detail = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than this address takes: 64 KiB, 40 MiB of an edit",
            _ => "the body broke off",
        };
        Problem::new(error.status(), detail)
    })?;
    Ok((declared, body))
}

/// What a body of JSON says.
fn read<T: DeserializeOwned>(_: &DeclaredJson, body: &[u8]) -> Result<T, Problem> {
    // To serde a list of the fields' values is an object too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body has to be a JSON object"),
            Err(error) => Problem::new(StatusCode::BAD_REQUEST, wrong::not_json(&error)),
        });
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| wrong::body(&error, body));
    let read = read.and_then(|read| match json.end() {
        Ok(()) => Ok(read),
        Err(error) => Err((false, wrong::not_json(&error))),
    });
    read.map_err(|(is_json, detail)| {
        let status = if is_json { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Problem::new(status, detail)
    })
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Query::from_request_parts(parts, state).await {
            Ok(extract::Query(params)) => Ok(Self(params)),
            Err(error) => {
                let mut said: &dyn std::error::Error = &error;
                while let Some(inner) = said.source() {
                    said = inner;
                }
                Err(Problem::new(error.status(), wrong::parameters(&said.to_string(), &pairs(parts))))
            }
        }
    }
}

/// The query's parameters.
fn pairs(parts: &Parts) -> Vec<(String, String)> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(pairs(parts)))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(error) => Err(Problem::new(error.status(), "a part of the path is not UTF-8 text")),
        }
    }
}
