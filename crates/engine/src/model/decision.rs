//! A person's decision about a finding: to accept a change, or to mute a stage or an error for some
//! time. A decision covers the size of its finding. A materially worse result is a finding again.

use serde::{Deserialize, Serialize};

use super::ids::PrNumber;
use super::stage::StageKey;
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The change is accepted in its pull request, and for good once that is merged.
    Accepted,
    /// The stage or the error raises no finding in any pull request until a given time.
    Muted,
}

impl DecisionKind {
    /// The value in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Muted => "muted",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "accepted" => Some(Self::Accepted),
            "muted" => Some(Self::Muted),
            _ => None,
        }
    }
}

/// A decision as it is shown beside the finding it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub kind: DecisionKind,
    /// A login on GitHub.
    pub by: String,
    pub at: Timestamp,
    /// Set for a muted finding only.
    pub until: Option<Timestamp>,
    /// Free text.
    pub reason: String,
}

/// The size of the finding that a decision about a stage covers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The stage became slower than its baseline.
    Slower {
        /// Actual over predicted duration.
        ratio: f64,
        /// Actual minus predicted duration, seconds.
        increase_s: f64,
    },
    /// The stage exceeded its budget and has no baseline.
    Took { seconds: f64 },
}

/// A decision with the finding that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingDecision {
    pub decision: Decision,
    pub stage: StageKey,
    /// The error's signature, if the decision is about an error.
    pub signature: Option<String>,
    /// None for an error.
    pub extent: Option<Extent>,
    /// The pull request of the decision. An accepted change is accepted in this one only.
    pub pull_request: Option<PrNumber>,
}
