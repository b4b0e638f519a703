//! `pacegate migrate`: brings the tables up to date.

use clap::Args;

use super::output::print;
use super::{CliError, database};
use crate::config::StoreArgs;
use pacegate_store::Db;

/// Arguments of `migrate`.
#[derive(Debug, Clone, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// `pacegate migrate`.
pub(super) async fn migrate(args: MigrateArgs) -> Result<(), CliError> {
    let url = database(&args.store)?;
    let db = Db::connect(&url, 2).await?;
    db.migrate().await?;
    print(&format!("The tables in {url:?} are up to date."));
    db.close().await;
    Ok(())
}
