//! Writes check runs and comments to GitHub. Each is looked up before it is created, so that a second
//! run of a task changes nothing.

pub(super) mod announce_check;
mod check_run;
pub(super) mod conclude_silent_check;
pub(super) mod conclude_superseded_check;
pub(super) mod publish_comment;
pub(super) mod publish_comparison;
pub(super) mod show_awaited;

use pacegate_engine::model::ids::{CommitSha, RepoId};

/// Tasks that write the check of one head run one at a time.
fn serial_key(repo: RepoId, head_sha: &CommitSha) -> String {
    format!("publish:{}:{head_sha}", repo.0)
}
