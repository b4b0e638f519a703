//! What a run ran on. Durations are compared within one class only; the machine's name is
//! never part of it, because hosted runners get a new one each time.

use serde::{Deserialize, Serialize};

/// The kind of machine a run used, as far as its spans say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RunnerClass {
    /// `os.type`, such as `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// `host.arch`, such as `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Labels of the runner, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl RunnerClass {
    /// One line that two comparable runs share.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts: Vec<&str> = [self.os.as_deref(), self.arch.as_deref()].into_iter().flatten().collect();
        parts.extend(self.labels.iter().map(String::as_str));
        if parts.is_empty() { "unspecified runner".to_owned() } else { parts.join(" ") }
    }
}
