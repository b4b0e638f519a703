//! What kind of runner a run is on: the labels that most of its jobs ask for, so that a job more
//! or less changes nothing. Never a runner's name, which is new each time.

use std::collections::BTreeMap;

use pacegate_engine::model::workflow_run::WorkflowJob;

/// The kind of a run's runners.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kind {
    /// Sorted.
    pub labels: Vec<String>,
    /// As `os.type`: `linux`, `windows`, `darwin`.
    pub os: Option<&'static str>,
    /// As `host.arch`: `amd64`, `arm64`.
    pub arch: Option<&'static str>,
}

/// Of a run's jobs, the labels of the most; of several such the first in order of text.
pub(super) fn of_run<'a>(jobs: impl Iterator<Item = &'a WorkflowJob>) -> Kind {
    let mut asked: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for job in jobs.filter(|job| !job.labels.is_empty()) {
        *asked.entry(sorted(&job.labels)).or_default() += 1;
    }
    let most = asked.values().max().copied();
    let labels =
        asked.into_iter().find(|(_, jobs)| Some(*jobs) == most).map_or(Vec::new(), |(labels, _)| labels);
    Kind { os: os(&labels), arch: arch(&labels), labels }
}

/// Labels in order, each once.
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
    let said = labels.iter().find_map(|label| {
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
    said.or_else(|| labels.iter().find_map(|label| of_hosted(label)))
}

/// GitHub's own labels, where they say nothing of it: macOS is on Arm since 14.
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
    fn labels_say_what_a_runner_is() {
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
