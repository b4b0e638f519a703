//! The JSON Schema of the policy file, for editors: for anybody, it says nothing of anyone.

use axum::http::header;
use axum::response::IntoResponse;

use pacegate_engine::model::policy;

/// `GET /schema/pacegate.schema.json`.
pub(super) async fn policy() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/schema+json"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        // An editor in a browser reads it from another origin.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, policy::schema().to_string())
}
