//! The API's bearer token, where one is set.

use std::sync::{Arc, PoisonError};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;

use super::Admin;
use super::problem::Problem;

/// Lets a request through that carries the token, or any where none is set.
pub(super) async fn require_token(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let expected = admin.token.read().unwrap_or_else(PoisonError::into_inner).clone();
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match expected {
        Some(token) if !equal(token.expose_secret().as_bytes(), given.as_bytes()) => {
            let problem =
                Problem::new(StatusCode::UNAUTHORIZED, "send the token of [admin] as \"Authorization: Bearer …\"");
            ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

/// Takes the same time wherever the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
