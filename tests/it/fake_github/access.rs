//! Access rules: the App's JWT, installation tokens, and the scope of a token.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::reply::Reply;
use super::state::{App, Permissions, Repository, State, Token};
use crate::time::now_seconds;

/// GitHub's upper limit for the lifetime of an App's JWT.
const JWT_LIFETIME_SECONDS: i64 = 600;
const TOKEN_LIFETIME_SECONDS: i64 = 3600;

/// Checks a JWT against the App's public key and GitHub's rules for its claims.
pub(crate) fn verify_jwt<'a>(state: &'a State, bearer: Option<&str>) -> Result<&'a App, Reply> {
    let undecodable = || Reply::refusal(401, "A JSON web token could not be decoded");
    let (Some(jwt), Some(app)) = (bearer, &state.app) else { return Err(undecodable()) };
    let key = DecodingKey::from_rsa_pem(app.public_key_pem.as_bytes()).expect("the App's public key");
    let mut rules = Validation::new(Algorithm::RS256);
    // Time is checked below: GitHub allows no leeway and checks `iat` as well.
    rules.validate_exp = false;
    rules.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<Value>(jwt, &key, &rules).map_err(|_| undecodable())?.claims;

    let issuer = claims["iss"].as_u64().or_else(|| claims["iss"].as_str().and_then(|text| text.parse().ok()));
    if issuer != Some(app.id) {
        return Err(Reply::refusal(401, "Integration not found"));
    }
    let now = now_seconds();
    if claims["iat"].as_i64().is_none_or(|issued| issued > now) {
        let message = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
        return Err(Reply::refusal(401, message));
    }
    match claims["exp"].as_i64() {
        Some(expires) if expires > now && expires <= now + JWT_LIFETIME_SECONDS => Ok(app),
        Some(expires) if expires > now => {
            Err(Reply::refusal(401, "'Expiration time' claim ('exp') is too far in the future"))
        }
        _ => {
            Err(Reply::refusal(401, "'Expiration time' claim ('exp') must be a numeric value in the future"))
        }
    }
}

/// Mints a token for an installation, limited to what the request asks for.
pub(crate) fn mint<'a>(
    state: &'a mut State,
    installation_id: u64,
    body: Option<&Value>,
) -> Result<&'a Token, Reply> {
    let installation = state.installation(installation_id).ok_or_else(Reply::not_found)?.clone();
    if installation.suspended {
        return Err(Reply::refusal(403, "This installation has been suspended"));
    }
    let granted: Vec<&Repository> =
        state.repositories.iter().filter(|r| r.installation == Some(installation_id)).collect();
    let field = |name: &str| body.and_then(|b| b.get(name)).cloned();
    let by_name = field("repositories");
    let requested_repositories = by_name.clone().or_else(|| field("repository_ids"));
    let mut repositories = Vec::new();
    match requested_repositories.as_ref().and_then(Value::as_array) {
        None => repositories.extend(granted.iter().map(|r| r.id)),
        Some(wanted) => {
            for want in wanted {
                let found = granted.iter().find(|r| match want {
                    Value::String(name) => r.name.eq_ignore_ascii_case(name),
                    id => id.as_u64() == Some(r.id),
                });
                let missing = "There is at least one repository that does not exist or is not accessible to the \
                               parent installation.";
                repositories.push(found.ok_or_else(|| Reply::refusal(422, missing))?.id);
            }
        }
    }
    let requested_permissions: Option<Permissions> =
        field("permissions").and_then(|given| serde_json::from_value(given).ok());
    let refused = "The permissions requested are not granted to this installation.";
    for (name, level) in requested_permissions.iter().flatten() {
        if !allows(&installation.permissions, name, level) {
            return Err(Reply::refusal(422, refused));
        }
    }
    let mut scope = requested_permissions.clone().unwrap_or_else(|| installation.permissions.clone());
    scope.insert("metadata".to_owned(), "read".to_owned());
    let token = Token {
        text: token_text(state.tokens.len()),
        installation_id,
        repositories,
        permissions: scope,
        requested_repositories,
        requested_permissions,
        expires_at: now_seconds() + TOKEN_LIFETIME_SECONDS,
        revoked: false,
    };
    state.tokens.push(token);
    Ok(&state.tokens[state.tokens.len() - 1])
}

/// A long token with dots and underscores, as GitHub's are since they no longer have 40 characters.
fn token_text(count: usize) -> String {
    let part = |name: &str| hex::encode(Sha256::digest(format!("{name} {count}")));
    format!("ghs_{count}_{}.{}.{}", part("header"), part("payload"), part("signature"))
}

/// The repository of a path, if the bearer has one of the permissions there.
pub(crate) fn authorise(
    state: &State,
    bearer: Option<&str>,
    owner: &str,
    name: &str,
    needs: &[(&str, &str)],
) -> Result<Repository, Reply> {
    let token = bearer
        .and_then(|text| state.live_token(text))
        .ok_or_else(|| Reply::refusal(401, "Bad credentials"))?;
    if state.installation(token.installation_id).is_none_or(|installation| installation.suspended) {
        return Err(Reply::refusal(403, "This installation has been suspended"));
    }
    let repository = state.repository(owner, name).ok_or_else(Reply::not_found)?;
    let forbidden = || Reply::refusal(403, "Resource not accessible by integration");
    // A repository that has left the installation is out of reach for tokens minted before.
    let reachable =
        token.repositories.contains(&repository.id) && repository.installation == Some(token.installation_id);
    if !reachable {
        return Err(if repository.private { Reply::not_found() } else { forbidden() });
    }
    // One of several permissions is enough, as for comments on a pull request.
    if !needs.iter().any(|(name, level)| allows(&token.permissions, name, level)) {
        return Err(forbidden());
    }
    if repository.archived && needs.iter().any(|(_, level)| *level == "write") {
        return Err(Reply::refusal(403, "Repository was archived so is read-only."));
    }
    Ok(repository.clone())
}

fn allows(granted: &Permissions, name: &str, level: &str) -> bool {
    granted.get(name).is_some_and(|has| has == "write" || has == level)
}
