//! `pacegate migrate`: brings the tables up to date.

use clap::Args;

use super::CliError;
use super::output::say;
use crate::config::StoreArgs;
use crate::store::Db;

/// Arguments of `migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// `pacegate migrate`.
pub async fn migrate(args: MigrateArgs) -> Result<(), CliError> {
    let db = Db::connect(&args.store.database_url, 2).await?;
    db.migrate().await?;
    say(&format!("The tables in {:?} are up to date.", args.store.database_url));
    db.close().await;
    Ok(())
}
