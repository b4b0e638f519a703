//! Authentication: maps a token to its repository, and decides which repositories a reader may see.
//! Verifies no OIDC token and no webhook signature.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use base64::Engine;

use super::AppState;
use super::error::WebError;
use super::forward::FORWARDED;
use super::ingest::admission::RateKey;
use crate::config::PageAccess;
use pacegate_engine::model::ids::{RepoId, RepoName};
use pacegate_store::{RepositoryRow, StoreError};

/// The token of a request: `Authorization: Bearer`, or the password of Basic, which browsers send.
pub(super) fn token_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        return text.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// The sender of a push.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// Owner of the spans.
    pub repository: RepositoryRow,
    /// The bucket of its rate limit.
    pub(super) key: RateKey,
    /// Whether a Pacegate forwarded the request.
    pub(super) was_forwarded: bool,
}

/// The sender of a request. The token decides the repository, never the payload. A request without
/// a token belongs to the default repository, if it comes from this machine.
pub(super) async fn pushing_repository(
    state: &AppState,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Sender, WebError> {
    if let Some(token) = token_of(headers) {
        let mut tx = state.context.db.read().await?;
        let id = tx.repository_of_token(&token).await?.ok_or(WebError::Unauthorized(
            "this token is unknown or was revoked; `pacegate token create --repo OWNER/NAME` creates one",
        ))?;
        let repository = tx
            .repository(id)
            .await?
            .ok_or(WebError::Unauthorized("the repository of this token was removed"))?;
        return Ok(Sender {
            repository,
            key: RateKey::of_token(&token),
            was_forwarded: headers.contains_key(FORWARDED),
        });
    }
    match &state.default_repo {
        // Failed authentication is not anonymous access.
        Some(name) if is_this_machine(headers, peer) && !headers.contains_key(header::AUTHORIZATION) => {
            let sender = configured_sender(state, name).await?;
            Ok(Sender { was_forwarded: headers.contains_key(FORWARDED), ..sender })
        }
        _ => Err(WebError::Unauthorized(
            "a token is needed: send `Authorization: Bearer TOKEN` (OTEL_EXPORTER_OTLP_HEADERS), or the token as \
             password of the address (http://x:TOKEN@HOST); \
             `pacegate token create --repo OWNER/NAME` creates one",
        )),
    }
}

/// A sender whose repository comes from the configuration.
pub(super) async fn configured_sender(state: &AppState, name: &RepoName) -> Result<Sender, StoreError> {
    let sender = |repository: RepositoryRow| {
        let key = RateKey::of_repository(repository.id);
        Sender { repository, key, was_forwarded: false }
    };
    let mut tx = state.context.db.read().await?;
    if let Some(row) = tx.find_repository(name).await? {
        return Ok(sender(row));
    }
    drop(tx);
    let mut tx = state.context.db.write().await?;
    let row = tx.ensure_repository(name, state.context.clock.now()).await?;
    tx.commit().await?;
    Ok(sender(row))
}

/// A loopback peer without a proxy's headers. Behind a proxy on this machine every client would look
/// local.
fn is_this_machine(headers: &HeaderMap, peer: SocketAddr) -> bool {
    let forwarded = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name));
    peer.ip().to_canonical().is_loopback() && !forwarded
}

/// A repository by its name. A repository that the reader may not see is `NotFound`.
pub(super) async fn readable_repository(
    state: &AppState,
    headers: &HeaderMap,
    name: &RepoName,
) -> Result<RepositoryRow, WebError> {
    let mut tx = state.context.db.read().await?;
    let row = match tx.find_repository(name).await? {
        Some(row) => row,
        // By an earlier name. A repository that has the name now takes precedence.
        None => tx.find_repository_by_old_name(name).await?.ok_or(WebError::NotFound)?,
    };
    drop(tx);
    let of_token = repository_of_reader(state, headers).await?;
    if may_read(state, of_token, &row) { Ok(row) } else { Err(WebError::NotFound) }
}

/// The repository of the reader's token; none without a valid token.
pub(super) async fn repository_of_reader(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<RepoId>, StoreError> {
    match token_of(headers) {
        Some(token) => state.context.db.read().await?.repository_of_token(&token).await,
        None => Ok(None),
    }
}

/// Whether a reader may see a repository. A token reads its own repository and no other.
pub(super) fn may_read(state: &AppState, of_token: Option<RepoId>, row: &RepositoryRow) -> bool {
    match of_token {
        Some(id) => id == row.id,
        None => state.pages == PageAccess::All || !row.private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (header::HeaderName::from_static(k), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn token_is_bearer_or_basic_password() {
        assert_eq!(token_of(&headers(&[("authorization", "bearer abc ")])), Some("abc".into()));
        assert_eq!(token_of(&headers(&[("authorization", "Basic bWU6YWJj")])), Some("abc".into()));
        for wrong in ["abc", "Basic !!", "Digest abc", "Basic bWU="] {
            assert_eq!(token_of(&headers(&[("authorization", wrong)])), None, "{wrong}");
        }
    }

    #[test]
    fn proxied_clients_are_not_local() {
        let local: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:9".parse().expect("an address");
        let remote: SocketAddr = "192.0.2.1:9".parse().expect("an address");
        assert!(is_this_machine(&headers(&[]), local) && is_this_machine(&headers(&[]), mapped));
        assert!(!is_this_machine(&headers(&[]), remote));
        assert!(!is_this_machine(&headers(&[("x-forwarded-for", "127.0.0.1")]), local));
    }
}
