//! The OIDC token that identifies a job of GitHub Actions. Checks its signature, then every claim.
//! Rejects a token of another issuer, for another service, or of an event in which strangers choose the
//! code. Nothing of a token is used, logged or kept before its signature is checked.

mod claims;
mod error;
mod keys;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

pub use self::claims::JobToken;
pub use self::error::OidcError;
use self::keys::Keys;
use pacegate_clock::Clock;

/// Longest token that is read, bytes. GitHub's have about two thousand.
const TOKEN_BYTES: usize = 16 << 10;
/// Longest identifier of a key, bytes.
const KEY_ID_BYTES: usize = 200;

/// Verifies the tokens of one issuer. Fetches its keys when the first token arrives.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    keys: Keys,
    clock: Clock,
}

impl Verifier {
    /// `issuer` is an https address, or http on this machine.
    ///
    /// # Errors
    /// [`OidcError::Configuration`] for any other address.
    pub fn new(issuer: &str, timeout: Duration, clock: Clock) -> Result<Self, OidcError> {
        let issuer = issuer.trim().trim_end_matches('/').to_owned();
        let keys = Keys::new(&issuer, timeout, clock.clone())?;
        Ok(Self { issuer, keys, clock })
    }

    /// Verifies a token for this audience and returns its job.
    ///
    /// # Errors
    /// [`OidcError`], with a text for the author of the workflow.
    pub async fn verify(&self, token: &str, audience: &str) -> Result<JobToken, OidcError> {
        let key = self.keys.key(&key_id(token)?).await?;
        let claims: claims::Claims = verified(token, &key)?;
        claims.checked(&self.issuer, audience, self.clock.now())
    }

    /// Fetches the keys now and returns their number. For `doctor`.
    ///
    /// # Errors
    /// [`OidcError::Unavailable`].
    pub async fn fetch_keys(&self) -> Result<usize, OidcError> {
        self.keys.fetch().await
    }

    /// The issuer that tokens have to name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The token issuer that belongs to an API address: of an Enterprise Server, of a tenant on ghe.com, or
/// of github.com.
#[must_use]
pub fn issuer_of(api_url: &str) -> String {
    let api_url = api_url.trim_end_matches('/');
    if let Some(server) = api_url.strip_suffix("/api/v3") {
        return format!("{server}/_services/token");
    }
    match api_url.strip_prefix("https://api.").filter(|host| host.ends_with(".ghe.com")) {
        Some(tenant) => format!("https://token.actions.{tenant}"),
        None => "https://token.actions.githubusercontent.com".to_owned(),
    }
}

/// The identifier of the key that a token names. Only RS256 is accepted: a sender who could choose the
/// algorithm could make the public key mean something else.
fn key_id(token: &str) -> Result<String, OidcError> {
    if token.len() > TOKEN_BYTES {
        return Err(OidcError::Malformed("it is longer than any token of GitHub".to_owned()));
    }
    let header = jsonwebtoken::decode_header(token)
        .map_err(|_| OidcError::Malformed("its header can't be read".to_owned()))?;
    if header.alg != Algorithm::RS256 {
        return Err(OidcError::Malformed("it has to be signed with RS256".to_owned()));
    }
    let named = header.kid.filter(|kid| !kid.is_empty() && kid.len() <= KEY_ID_BYTES);
    named.ok_or_else(|| OidcError::Malformed("it does not name its key (kid)".to_owned()))
}

/// The claims of a token, if this key signed it.
fn verified(token: &str, key: &DecodingKey) -> Result<claims::Claims, OidcError> {
    let mut validation = Validation::new(Algorithm::RS256);
    // `claims` checks times and audience, with our clock and error texts.
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let data = jsonwebtoken::decode(token, key, &validation).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::Json(what) => {
            OidcError::Malformed(format!("its claims are not those of a job: {what}"))
        }
        _ => OidcError::Signature,
    })?;
    Ok(data.claims)
}
