//! Writes check runs and comments to GitHub. Each is looked up before it is created, so that a second
//! run of a task changes nothing.

pub(super) mod announce_check;
pub(super) mod conclude_silent_check;
pub(super) mod conclude_superseded_check;
pub(super) mod publish_comment;
pub(super) mod publish_comparison;
pub(super) mod publishing;
pub(super) mod show_awaited;
