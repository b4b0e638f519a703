//! The facts about its policy that a comparison stores, so that check, page and JSON agree even if
//! the file changes later. The report's sentences are in `report/`.

use serde::{Deserialize, Serialize};

use super::{CommentRule, Mistake, Mode};

/// The policy of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyFacts {
    pub mode: Mode,
    pub comment: CommentRule,
    pub source: PolicySource,
    /// The base branch's file, when it is invalid and the defaults applied.
    pub unusable: Option<UnusablePolicy>,
    /// The change's own file, when it differs from the base branch's and is invalid.
    pub unusable_edit: Option<UnusablePolicy>,
}

/// The origin of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicySource {
    /// A caller supplied the policy, or the comparison is older than this field.
    #[default]
    Unstated,
    /// No file could be requested, so the defaults applied.
    Defaults,
    /// The base branch has no file, so the defaults applied.
    NoFile { branch: String },
    /// The base branch's file.
    File {
        /// From the repository's root.
        path: String,
        branch: String,
    },
}

/// A policy file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnusablePolicy {
    /// From the repository's root.
    pub path: String,
    pub branch: Option<String>,
    /// In the order of the file's lines.
    pub mistakes: Vec<Mistake>,
}
