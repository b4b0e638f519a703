//! How much a sender may upload within a day.

mod artifact_quota;

pub use artifact_quota::{ArtifactQuota, SentArtifact};
