//! Daily quotas of senders.

mod artifact_quota;

pub use artifact_quota::{ArtifactQuota, SentArtifact};
