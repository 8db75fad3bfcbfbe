//! `/api/v1`: the list of its endpoints, and the OpenAPI document that is made of the same list.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::extract::{NoParams, Params};
use super::problem::{self, Problem, Refusals};
use super::{Admin, auth, dead, dead_lists, destinations, find, issues, operations, people, reload, unrouted, waiting};

const PREFIX: &str = "/api/v1";
/// The largest event that may be configured, written as JSON text.
const LARGEST_BODY: usize = 40 * 1024 * 1024;

/// Every endpoint. Another one is another line.
fn endpoints() -> OpenApiRouter<Arc<Admin>> {
    OpenApiRouter::default()
        .routes(routes!(document))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::show))
        .routes(routes!(destinations::pause))
        .routes(routes!(destinations::resume))
        .routes(routes!(destinations::limits, destinations::reset_limits))
        .routes(routes!(waiting::list))
        .routes(routes!(dead_lists::list))
        .routes(routes!(dead_lists::groups))
        .routes(routes!(dead_lists::of_all))
        .routes(routes!(dead_lists::check))
        .routes(routes!(dead::show))
        .routes(routes!(dead::edit).layer(DefaultBodyLimit::max(LARGEST_BODY)))
        .routes(routes!(dead::audit))
        .routes(routes!(find::find))
        .routes(routes!(find::find_by_subject))
        .routes(routes!(issues::list))
        .routes(routes!(issues::acknowledge))
        .routes(routes!(issues::ignore))
        .routes(routes!(issues::note))
        .routes(routes!(issues::reopen))
        .routes(routes!(unrouted::groups))
        .routes(routes!(unrouted::list))
        .routes(routes!(unrouted::publish))
        .routes(routes!(unrouted::discard))
        .routes(routes!(people::list, people::add))
        .routes(routes!(people::remove))
        .routes(routes!(people::check))
        .routes(routes!(people::erase))
        .routes(routes!(operations::list))
        .routes(routes!(operations::all))
        .routes(routes!(operations::begin))
        .routes(routes!(operations::show))
        .routes(routes!(operations::pause))
        .routes(routes!(operations::resume))
        .routes(routes!(operations::cancel))
        .routes(routes!(reload::reload))
}

/// The API, behind its guard.
pub(super) fn router(admin: &Arc<Admin>) -> Router<Arc<Admin>> {
    let api = Router::from(endpoints()).fallback(problem::not_found).method_not_allowed_fallback(problem::wrong_method);
    Router::new().nest(PREFIX, api.layer(from_fn_with_state(Arc::clone(admin), auth::guard)))
}

/// What stands in the document besides the endpoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluice",
        description = "How each destination is, and what operators do. Errors are `application/problem+json` (RFC 9457).\n\n\
                       Where tokens are set under `[admin]`, every request needs one; one with `role = \"read\"` may only GET.",
    ),
    components(schemas(Problem)),
    modifiers(&BearerScheme)
)]
struct ApiDocument;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
        document.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    }
}

/// The whole document.
pub(super) fn described() -> Document {
    OpenApiRouter::with_openapi(ApiDocument::openapi()).nest(PREFIX, endpoints()).into_openapi()
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "document",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value), Refusals)
)]
async fn document(
    State(admin): State<Arc<Admin>>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<impl IntoResponse, Problem> {
    static CLOSED: LazyLock<Result<String, String>> =
        LazyLock::new(|| described().to_json().map_err(|error| error.to_string()));
    // Where no token is set none is asked for.
    static OPEN: LazyLock<Result<String, String>> = LazyLock::new(|| {
        let mut open = described();
        open.security = None;
        open.to_json().map_err(|error| error.to_string())
    });
    let text = if admin.tokens().is_empty() { &OPEN } else { &CLOSED };
    let failed = |error: &String| Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.clone());
    let text = text.as_ref().map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text.as_str()))
}
