//! The class of runner that a run used. Durations are compared within one class only. The runner's name
//! is not part of it, because every hosted runner has a new name.

use serde::{Deserialize, Serialize};

/// The kind of runner that a run used, as far as its spans name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RunnerClass {
    /// `os.type`, such as `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// `host.arch`, such as `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The runner's labels, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl RunnerClass {
    /// One line, equal for comparable runs.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts: Vec<&str> = [self.os.as_deref(), self.arch.as_deref()].into_iter().flatten().collect();
        parts.extend(self.labels.iter().map(String::as_str));
        if parts.is_empty() { "unspecified runner".to_owned() } else { parts.join(" ") }
    }
}
