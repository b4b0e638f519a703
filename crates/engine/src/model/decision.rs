//! What somebody decided about a finding: to live with a change, or not to hear of a stage for
//! a while. A decision goes as far as the finding it was made about; what is materially worse is
//! a finding again.

use serde::{Deserialize, Serialize};

use super::ids::PrNumber;
use super::stage::StageKey;
use super::time::Timestamp;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The change is wanted as it is: in its pull request, and once that is merged, for good.
    Accepted,
    /// The stage, or the error, raises nothing in any pull request until a time.
    Muted,
}

impl DecisionKind {
    /// The word used in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Muted => "muted",
        }
    }

    /// From its own word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "accepted" => Some(Self::Accepted),
            "muted" => Some(Self::Muted),
            _ => None,
        }
    }
}

/// A decision as it is shown beside the finding it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub kind: DecisionKind,
    /// Who decided: a login on GitHub.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when, for a muted finding.
    pub until: Option<Timestamp>,
    /// Why, in words.
    pub reason: String,
}

/// How far a decision about a stage goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// It got slower than its past.
    Slower {
        /// Times as long as predicted.
        ratio: f64,
        /// Longer than predicted, seconds.
        increase_s: f64,
    },
    /// It is over a budget, without a past to hold it against.
    Took {
        /// How long it took.
        seconds: f64,
    },
}

/// A decision with what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingDecision {
    /// As it is shown.
    pub decision: Decision,
    /// The stage.
    pub stage: StageKey,
    /// The error's signature, if it is about an error.
    pub signature: Option<String>,
    /// How far it goes; none for an error.
    pub extent: Option<Extent>,
    /// The pull request it was made in: an accepted change is that one's alone.
    pub pull_request: Option<PrNumber>,
}
