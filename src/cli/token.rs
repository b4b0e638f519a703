//! `pacegate token`: creates, lists and revokes the tokens with which senders push spans.

use clap::{Args, Subcommand};

use super::output::{print, print_diagnostic};
use super::{CliError, database};
use crate::config::StoreArgs;
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::time::Timestamp;
use pacegate_store::Db;

/// Arguments of `token`.
#[derive(Debug, Clone, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum TokenCommand {
    /// Creates a token and prints it, once
    Create {
        /// Repository of the token
        #[arg(long, value_name = "OWNER/NAME")]
        repo: RepoName,
        /// Purpose of the token
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Lists a repository's tokens, without their secrets
    List {
        /// Repository
        #[arg(long, value_name = "OWNER/NAME")]
        repo: RepoName,
    },
    /// Revokes a token
    Revoke {
        /// Repository
        #[arg(long, value_name = "OWNER/NAME")]
        repo: RepoName,
        /// Identifier, as `list` shows it
        id: String,
    },
}

/// `pacegate token`.
pub(super) async fn token(args: TokenArgs) -> Result<(), CliError> {
    let (clock, rng) = (Clock::system(), Randomness::from_system());
    let url = database(&args.store)?;
    let db = Db::connect(&url, 2).await?;
    db.migrate().await?;
    let mut tx = db.write().await?;
    match args.command {
        TokenCommand::Create { repo, label } => {
            let repository = tx.ensure_repository(&repo, clock.now()).await?;
            let (id, token) = tx.create_token(repository.id, &label, &rng, clock.now()).await?;
            tx.commit().await?;
            print_diagnostic(&format!("token {id} for {repo}, in {url:?}; it is shown only now:"));
            print(&token);
        }
        TokenCommand::List { repo } => {
            let repository = tx.find_repository(&repo).await?.ok_or_else(|| unknown(&repo))?;
            let rows = tx.list_tokens(repository.id).await?;
            drop(tx); // an open transaction would block the close below
            for row in rows {
                let state = match row.revoked_at {
                    None => "in force".to_owned(),
                    Some(at) => format!("revoked {}", Timestamp(at)),
                };
                print(&format!(
                    "{}  made {}  {state}  {}",
                    row.token_id,
                    Timestamp(row.created_at),
                    row.label
                ));
            }
        }
        TokenCommand::Revoke { repo, id } => {
            let repository = tx.find_repository(&repo).await?.ok_or_else(|| unknown(&repo))?;
            if !tx.revoke_token(repository.id, &id, clock.now()).await? {
                let message = format!(
                    "{repo} has no token {id} in force; `pacegate token list --repo {repo}` shows them"
                );
                return Err(CliError::Input(message));
            }
            tx.commit().await?;
            print(&format!("Token {id} of {repo} is revoked."));
        }
    }
    db.close().await;
    Ok(())
}

fn unknown(repo: &RepoName) -> CliError {
    CliError::Input(format!("{repo} is not known here; is PACEGATE_DATABASE_URL the service's database?"))
}
