//! The JSON Schema of the policy file, for editors. Public, because it holds no data.

use axum::http::header;
use axum::response::IntoResponse;

use pacegate_engine::model::policy;

/// `GET /schema/pacegate.schema.json`.
pub(super) async fn policy() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/schema+json"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        // Editors in a browser read it from another origin.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, policy::schema().to_string())
}
