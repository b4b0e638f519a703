//! The OIDC token with which a job of GitHub Actions says who it is: its signature, then every claim.
//! A token that is not by the issuer, not for this service, or of an event in which strangers choose
//! the code is refused; nothing of a token is believed, logged or kept before its signature is checked.

mod claims;
mod error;
mod keys;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

pub use self::claims::{JobToken, LEEWAY};
pub use self::error::OidcError;
use self::keys::Keys;
use pacegate_clock::Clock;

/// The longest token that is looked at. GitHub's have about two thousand characters.
const TOKEN_BYTES: usize = 16 << 10;
/// The longest name of a key.
const KEY_ID_BYTES: usize = 200;

/// Verifies the tokens of one issuer. Its keys are fetched when the first token comes.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    keys: Keys,
    clock: Clock,
}

impl Verifier {
    /// For the tokens of an issuer: https, or http on this machine.
    ///
    /// # Errors
    /// [`OidcError::Configuration`] when the address can't be one of an issuer.
    pub fn new(issuer: &str, timeout: Duration, clock: Clock) -> Result<Self, OidcError> {
        let issuer = issuer.trim().trim_end_matches('/').to_owned();
        let keys = Keys::new(&issuer, timeout, clock.clone())?;
        Ok(Self { issuer, keys, clock })
    }

    /// Who a job is, by its token, which has to be for this audience.
    ///
    /// # Errors
    /// [`OidcError`], each with a sentence for whoever wrote the workflow.
    pub async fn verify(&self, token: &str, audience: &str) -> Result<JobToken, OidcError> {
        let key = self.keys.key(&key_id(token)?).await?;
        let claims: claims::Claims = verified(token, &key)?;
        claims.checked(&self.issuer, audience, self.clock.now())
    }

    /// Fetches the keys: how many tokens could be signed with. For `doctor`.
    ///
    /// # Errors
    /// [`OidcError::Unavailable`].
    pub async fn reach(&self) -> Result<usize, OidcError> {
        self.keys.fetch().await
    }

    /// The address that tokens have to name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The issuer of a GitHub, by the address of its API: an Enterprise Server's, a tenant's of ghe.com, or
/// github.com's.
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

/// The name of the key a token says it is signed with. Only RS256 is: who chose another algorithm chose
/// what the key means, too.
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

/// A token's claims, if this key signed it.
fn verified(token: &str, key: &DecodingKey) -> Result<claims::Claims, OidcError> {
    let mut validation = Validation::new(Algorithm::RS256);
    // Times and audience are checked with our own clock and words, in `claims`.
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
