//! Rows about GitHub: its reports (deliveries, pull requests, workflow runs, files), what
//! was written there (checks, comments), how far its data was read, and its rate limits.

mod attempt_traces;
mod backfills;
mod checks;
mod contents;
mod deliveries;
mod delivery_sweeps;
mod merge_groups;
mod pull_requests;
mod rate_limits;
mod workflow_runs;

pub use attempt_traces::TraceOfAttempt;
pub use backfills::{BackfillRow, PageRead};
pub use checks::CheckRow;
pub use contents::{StoredFile, StoredPolicy};
pub use deliveries::DeliveryRow;
pub use delivery_sweeps::{DeliverySweep, FailedDelivery};
pub use merge_groups::MergeGroupRow;
pub use pull_requests::PullRequestRow;
pub use rate_limits::{BudgetsOverview, RateLimitRow};
pub use workflow_runs::WorkflowRunRow;
