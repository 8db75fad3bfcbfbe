//! Extractors: what a handler takes out of a request. If that fails, the answer is a [`Problem`].

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{self, FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::problem::Problem;

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
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(error) => Err(Problem::new(error.status(), error.body_text())),
        }
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let whole = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let body = whole.map_err(|error| Problem::new(error.status(), error.body_text()))?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        let JsonBody(body) = JsonBody::from_request(Request::from_parts(parts, Body::from(body)), state).await?;
        let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        match body {
            Value::Null => Ok(Self(T::default())),
            // To serde a list of the fields' values is one too.
            Value::Object(_) => serde_json::from_value(body).map(Self).map_err(|error| wrong(error.to_string())),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(wrong("the body has to be a JSON object".to_owned()))
            }
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Query::from_request_parts(parts, state).await {
            Ok(extract::Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::new(error.status(), error.body_text())),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(error) => Err(Problem::new(error.status(), error.body_text())),
        }
    }
}
