//! `pacegate migrate`: brings the tables up to date.

use clap::Args;

use super::output::say;
use super::{CliError, database};
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
    let url = database(&args.store)?;
    let db = Db::connect(&url, 2).await?;
    db.migrate().await?;
    say(&format!("The tables in {url:?} are up to date."));
    db.close().await;
    Ok(())
}
