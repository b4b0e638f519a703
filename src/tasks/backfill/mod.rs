//! Backfills the baseline from the history of a repository's workflows, newest runs first, so that the
//! first pull request after the installation is compared with something. One task reads one page and
//! pushes the next, behind all others: workflows take turns, and live tasks are not delayed.

pub(super) mod backfill_workflow;
pub(super) mod discover_workflows;
mod page;

pub use discover_workflows::discover;
pub use page::{PageOutcome, Reserve, Then, read_page};

use pacegate_engine::model::ids::RepoId;

/// Two lanes for all backfills, so that history never takes every slot from live tasks.
fn serial_key(repo: RepoId) -> String {
    format!("backfill:{}", repo.0 % 2)
}
