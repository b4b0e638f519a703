//! Credentials that Pacegate gives out: ingest tokens of repositories and upload grants of CI
//! jobs. Only their hashes are kept.

mod grants;
mod tokens;

pub use grants::{GRANT_PREFIX, GrantRow, Granted, JobTokenUse, NewGrant};
pub use tokens::{TOKEN_PREFIX, TokenRow};
