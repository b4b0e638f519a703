//! The kind of runner of a run: the labels that most of its jobs request, so that one job more or
//! less changes nothing. A runner's name is never used, because it differs in each run.

use std::collections::BTreeMap;

use pacegate_engine::model::workflow_run::WorkflowJob;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kind {
    /// Sorted.
    pub labels: Vec<String>,
    /// As `os.type`: `linux`, `windows`, `darwin`.
    pub os: Option<&'static str>,
    /// As `host.arch`: `amd64`, `arm64`.
    pub arch: Option<&'static str>,
}

/// Uses the labels that most jobs request. A tie goes to the first in alphabetical order.
pub(super) fn of_run<'a>(jobs: impl Iterator<Item = &'a WorkflowJob>) -> Kind {
    let mut requested: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for job in jobs.filter(|job| !job.labels.is_empty()) {
        *requested.entry(sorted(&job.labels)).or_default() += 1;
    }
    let most = requested.values().max().copied();
    let labels =
        requested.into_iter().find(|(_, jobs)| Some(*jobs) == most).map_or(Vec::new(), |(labels, _)| labels);
    Kind { os: os(&labels), arch: arch(&labels), labels }
}

/// Sorted labels without duplicates.
pub(super) fn sorted(labels: &[String]) -> Vec<String> {
    let mut labels = labels.to_vec();
    labels.sort();
    labels.dedup();
    labels
}

fn os(labels: &[String]) -> Option<&'static str> {
    labels.iter().find_map(|label| {
        let label = label.to_ascii_lowercase();
        let family = label.split(['-', '.']).next().unwrap_or_default();
        Some(match family {
            "ubuntu" | "linux" => "linux",
            "windows" => "windows",
            "macos" => "darwin",
            _ => return None,
        })
    })
}

fn arch(labels: &[String]) -> Option<&'static str> {
    let explicit = labels.iter().find_map(|label| {
        let label = label.to_ascii_lowercase();
        let parts = || label.split(['-', '.', '_']);
        if parts().any(|part| matches!(part, "arm" | "arm64" | "aarch64")) {
            Some("arm64")
        } else if label.contains("x86_64") || parts().any(|part| matches!(part, "x64" | "amd64" | "intel")) {
            Some("amd64")
        } else {
            None
        }
    });
    explicit.or_else(|| labels.iter().find_map(|label| of_hosted(label)))
}

/// The architecture behind labels of GitHub-hosted runners that do not name it. macOS 14 and later
/// run on Arm.
fn of_hosted(label: &str) -> Option<&'static str> {
    let (family, rest) = label.split_once('-')?;
    let version = rest.split(['-', '.']).next().unwrap_or_default();
    match family {
        "ubuntu" | "windows" => Some("amd64"),
        "macos" if rest.contains("large") && !rest.contains("xlarge") => Some("amd64"),
        "macos" if version == "latest" => Some("arm64"),
        "macos" => version.parse::<u32>().ok().map(|v| if v >= 14 { "arm64" } else { "amd64" }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_give_os_and_architecture() {
        for (labels, expected_os, expected_arch) in [
            (&["ubuntu-24.04"][..], Some("linux"), Some("amd64")),
            (&["ubuntu-24.04-arm"], Some("linux"), Some("arm64")),
            (&["windows-11-arm"], Some("windows"), Some("arm64")),
            (&["macos-13"], Some("darwin"), Some("amd64")),
            (&["macos-15"], Some("darwin"), Some("arm64")),
            (&["macos-14-large"], Some("darwin"), Some("amd64")),
            (&["macos-14-xlarge"], Some("darwin"), Some("arm64")),
            (&["X64", "Linux", "self-hosted"], Some("linux"), Some("amd64")),
            (&["self-hosted", "gpu"], None, None),
            (&["farm"], None, None),
        ] {
            let labels: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
            assert_eq!((os(&labels), arch(&labels)), (expected_os, expected_arch), "{labels:?}");
        }
    }
}
