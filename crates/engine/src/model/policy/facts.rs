//! What a comparison keeps of the policy it was judged by, so that check, page and JSON say the
//! same of it for ever, whatever becomes of the file. Sentences are `report/`'s.

use serde::{Deserialize, Serialize};

use super::{CommentRule, Mistake, Mode};

/// The policy of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyFacts {
    /// Whether a regression fails the check.
    pub mode: Mode,
    /// When a comment is posted.
    pub comment: CommentRule,
    /// Where it came from.
    pub source: PolicySource,
    /// The file of the base branch, when it can't be used: the defaults were.
    pub unusable: Option<UnusablePolicy>,
    /// The change's own file, when it differs from the base branch's and can't be used.
    pub unusable_edit: Option<UnusablePolicy>,
}

/// Where a policy came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicySource {
    /// Not said: handed over by a caller, or judged before this was kept.
    #[default]
    Unstated,
    /// No file could be asked for: the defaults.
    Defaults,
    /// The base branch has no file: the defaults.
    NoFile {
        /// That branch.
        branch: String,
    },
    /// The base branch's file.
    File {
        /// From the repository's root.
        path: String,
        /// That branch.
        branch: String,
    },
}

/// A policy file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnusablePolicy {
    /// From the repository's root.
    pub path: String,
    /// The branch it is on.
    pub branch: Option<String>,
    /// What is wrong, in the order of its lines.
    pub mistakes: Vec<Mistake>,
}
