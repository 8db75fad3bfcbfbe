//! The console's style, script and icon: part of the binary, kept by browsers for as long as what they hold stays the same.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

const ASSETS: [(&str, &str, &str); 4] = [
    ("console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    // https://github.com/bigskysoftware/idiomorph, from npm; its licence lies beside it.
    ("idiomorph.js", "text/javascript; charset=utf-8", include_str!("assets/idiomorph-0.8.0.min.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// What each holds, as a short name.
static VERSIONS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let version =
        |text: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string()[..12].to_owned();
    ASSETS.iter().map(|(name, _, text)| (*name, version(text))).collect()
});

/// Where an asset is.
pub(super) fn address(name: &str) -> String {
    let version = VERSIONS.iter().find(|(other, _)| *other == name).map_or("", |(_, version)| version);
    format!("/assets/{name}?v={version}")
}

/// One of them.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(other, _, _)| *other == name) {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")], *text)
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
