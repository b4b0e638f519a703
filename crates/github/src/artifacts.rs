//! Artifacts that the companion action uploaded. Selects those of one attempt, checks each against
//! GitHub's description of the run, and downloads them. A download uses https, carries no token, and
//! stops at the size that the caller allows.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use super::blobs::DownloadError;
use super::{GitHubError, RepoClient};
use pacegate_engine::model::bounded;
use pacegate_engine::model::ids::CommitSha;
use pacegate_engine::model::workflow_run::WorkflowRun;

/// GitHub's largest page.
const PAGE: usize = 100;
/// Pages that are read at most.
const PAGES: usize = 10;
/// Artifacts of one attempt that are read at most: the number of jobs in the largest matrix.
const MAX_ARTIFACTS: usize = 256;

/// An artifact as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Artifact {
    pub id: i64,
    /// Chosen by the author of the workflow, so untrusted.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Size of the zip.
    pub size_in_bytes: u64,
    /// GitHub has deleted the bytes.
    #[serde(default)]
    pub expired: bool,
    /// `sha256:` and hexadecimal digits. Older GitHub servers have no digests.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub digest: Option<String>,
    /// The run that uploaded it, as GitHub reports it.
    #[serde(default)]
    pub workflow_run: Option<ArtifactRun>,
}

/// The run that uploaded an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ArtifactRun {
    pub id: i64,
    /// The repository that the workflow ran in.
    pub repository_id: i64,
    /// The repository of the commit: that one or a fork.
    pub head_repository_id: i64,
    pub head_sha: CommitSha,
}

/// The artifacts to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The newest artifact of each name, sorted by name.
    pub chosen: Vec<Artifact>,
    /// Reasons why others were refused, for the log.
    pub refused: Vec<String>,
}

/// Selects the artifacts that the action uploaded in one attempt. Each must match GitHub's
/// description of the run.
#[must_use]
pub fn select_artifacts(listed: Vec<Artifact>, run: &WorkflowRun, attempt: u32) -> Selection {
    let prefix = format!("pacegate-{attempt}-");
    let mut newest: BTreeMap<String, Artifact> = BTreeMap::new();
    let mut selection = Selection::default();
    for artifact in listed.into_iter().filter(|artifact| artifact.name.starts_with(&prefix)) {
        if let Some(reason) = mismatch(&artifact, run) {
            selection.refused.push(format!("artifact {} is {reason}", artifact.id));
            continue;
        }
        match newest.get(&artifact.name) {
            Some(known) if known.id >= artifact.id => {}
            _ => {
                newest.insert(artifact.name.clone(), artifact);
            }
        }
    }
    // Only now: an expired artifact replaced the older ones of its name, so they don't count either.
    newest.retain(|_, artifact| !artifact.expired);
    selection.chosen = newest.into_values().take(MAX_ARTIFACTS).collect();
    selection
}

fn mismatch(artifact: &Artifact, run: &WorkflowRun) -> Option<&'static str> {
    let Some(of) = &artifact.workflow_run else { return Some("of no run that GitHub reports") };
    if of.id != run.id {
        Some("of another run")
    } else if of.repository_id != run.repository.id {
        Some("of another repository")
    } else if of.head_sha != run.head_sha {
        Some("of another commit")
    } else if run.head_repository.as_ref().is_some_and(|head| head.id != of.head_repository_id) {
        Some("of another head repository")
    } else {
        None
    }
}

impl RepoClient {
    /// The artifacts of all attempts of a run.
    pub async fn artifacts_of_run(&self, run_id: i64) -> Result<Vec<Artifact>, GitHubError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(deserialize_with = "bounded::list")]
            artifacts: Vec<Artifact>,
        }
        let mut found = Vec::new();
        for page in 1..=PAGES {
            let route =
                format!("/repos/{}/actions/runs/{run_id}/artifacts?per_page={PAGE}&page={page}", self.repo);
            let answer: Answer = self.transport.get(&route).await?;
            let is_last = answer.artifacts.len() < PAGE;
            found.extend(answer.artifacts);
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// The zip of an artifact, at most `limit` bytes.
    ///
    /// # Errors
    /// [`DownloadError`]. Only its `GitHub` variant may be worth a retry.
    pub async fn artifact_zip(&self, artifact: &Artifact, limit: usize) -> Result<Vec<u8>, DownloadError> {
        if artifact.size_in_bytes > limit as u64 {
            return Err(DownloadError::TooLarge { limit });
        }
        let route = format!("/repos/{}/actions/artifacts/{}/zip", self.repo, artifact.id);
        let address = self.transport.location_of(&route).await?;
        let call = format!("download of artifact {}", artifact.id);
        let bytes = self.transport.blobs().fetch(&call, address, limit).await?;
        if is_altered(artifact, &bytes) { Err(DownloadError::Altered) } else { Ok(bytes) }
    }
}

fn is_altered(artifact: &Artifact, bytes: &[u8]) -> bool {
    let expected = artifact.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
    expected.is_some_and(|expected| !expected.eq_ignore_ascii_case(&hex::encode(Sha256::digest(bytes))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run() -> WorkflowRun {
        let repository = json!({ "id": 1, "full_name": "acme/my-app" });
        serde_json::from_value(json!({
            "id": 7, "workflow_id": 1, "event": "push", "head_sha": "f83a356604ae3c5d03e1b46ef4d1ca77d64a90b0",
            "repository": repository, "head_repository": { "id": 2, "full_name": "fork/my-app" },
            "created_at": "", "updated_at": "",
        }))
        .expect("a run")
    }

    fn artifact(id: i64, name: &str, change: &Value) -> Artifact {
        let mut artifact = json!({
            "id": id, "name": name, "size_in_bytes": 9, "expired": false, "digest": null,
            "workflow_run": { "id": 7, "repository_id": 1, "head_repository_id": 2,
                              "head_sha": "f83a356604ae3c5d03e1b46ef4d1ca77d64a90b0" },
        });
        for (key, value) in change.as_object().expect("fields") {
            match key.as_str() {
                "expired" | "workflow_run" => artifact[key] = value.clone(),
                of_run => artifact["workflow_run"][of_run] = value.clone(),
            }
        }
        serde_json::from_value(artifact).expect("an artifact")
    }

    #[test]
    fn newest_artifact_of_each_name_is_selected() {
        let none = json!({});
        let listed = vec![
            artifact(1, "pacegate-1-test", &none),
            artifact(3, "pacegate-1-test", &none),
            artifact(2, "pacegate-1-test", &none),
            artifact(4, "pacegate-2-test", &none),
            artifact(5, "pacegate-11-test", &none),
            artifact(6, "coverage", &none),
            artifact(7, "pacegate-1-lint", &json!({ "expired": true })),
        ];
        let selection = select_artifacts(listed, &run(), 1);
        assert_eq!(selection.chosen.iter().map(|a| a.id).collect::<Vec<_>>(), [3]);
        assert!(selection.refused.is_empty());
    }

    #[test]
    fn artifacts_of_other_runs_are_refused() {
        for (change, reason) in [
            (json!({ "id": 8 }), "another run"),
            (json!({ "repository_id": 9 }), "another repository"),
            (json!({ "head_repository_id": 1 }), "another head repository"),
            (json!({ "head_sha": "a".repeat(40) }), "another commit"),
            (json!({ "workflow_run": null }), "no run"),
        ] {
            let selection = select_artifacts(vec![artifact(1, "pacegate-1-test", &change)], &run(), 1);
            assert!(selection.chosen.is_empty() && selection.refused[0].contains(reason), "{selection:?}");
        }
    }
}
