//! Ingest tokens: each allows its holder to push spans for one repository. Only a hash is kept.

use sha2::{Digest, Sha256};

use crate::{StoreError, Tx, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// A token in a list, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TokenRow {
    /// Identifier, for revocation.
    pub token_id: String,
    /// The purpose, as its creator wrote it.
    pub label: String,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch.
    pub revoked_at: Option<i64>,
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// The prefix of every ingest token. Secret scanners recognize it.
pub const TOKEN_PREFIX: &str = "pgt_";

impl Tx {
    /// Creates a token for a repository. Returns its identifier and its secret, which can't be
    /// read again.
    pub async fn create_token(
        &mut self,
        repo: RepoId,
        label: &str,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<(String, String), StoreError> {
        let token = format!("{TOKEN_PREFIX}{}", hex::encode(rng.bytes::<24>()));
        let token_id = rng.ulid(now);
        on_db!(self, conn => {
            sqlx::query("INSERT INTO tokens (repo_id, token_id, label, hash, created_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(repo.0)
                .bind(&token_id)
                .bind(label)
                .bind(hash(&token))
                .bind(now.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok((token_id, token))
    }

    /// The repository of a token; none if it is unknown or revoked. The lookup is by hash, so its
    /// duration reveals nothing about existing tokens.
    pub async fn repository_of_token(&mut self, token: &str) -> Result<Option<RepoId>, StoreError> {
        let row: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT repo_id FROM tokens WHERE hash = $1 AND revoked_at IS NULL")
                .bind(hash(token))
                .fetch_optional(&mut *conn)
                .await?
        });
        Ok(row.map(RepoId))
    }

    /// A repository's tokens, oldest first.
    pub async fn list_tokens(&mut self, repo: RepoId) -> Result<Vec<TokenRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT token_id, label, created_at, revoked_at FROM tokens WHERE repo_id = $1 ORDER BY token_id",
            )
            .bind(repo.0)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// Revokes a token. `false`: the repository has no such active token.
    pub async fn revoke_token(
        &mut self,
        repo: RepoId,
        token_id: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE tokens SET revoked_at = $1 WHERE repo_id = $2 AND token_id = $3 AND revoked_at IS NULL",
            )
            .bind(now.0)
            .bind(repo.0)
            .bind(token_id)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }
}
