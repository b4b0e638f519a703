//! Artifacts of a workflow run that the companion action made: which of them are this attempt's
//! by GitHub's own word, and their bytes. The bytes are fetched without our token, from where
//! GitHub says, over https, and no more of them than is asked for.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use super::blobs::DownloadError;
use super::{GitHubError, RepoClient};
use pacegate_engine::model::bounded;
use pacegate_engine::model::ids::CommitSha;
use pacegate_engine::model::workflow_run::WorkflowRun;

/// GitHub's largest page, and pages that are read.
const PAGE: usize = 100;
const PAGES: usize = 10;
/// Artifacts of one attempt that are read: jobs of the largest matrix.
const MOST: usize = 256;

/// An artifact as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Artifact {
    /// GitHub's number.
    pub id: i64,
    /// Its name, which whoever runs the workflow chooses.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Bytes of its zip.
    pub size_in_bytes: u64,
    /// Whether its bytes are gone.
    #[serde(default)]
    pub expired: bool,
    /// `sha256:` and hexadecimal digits; those of an older GitHub have none.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub digest: Option<String>,
    /// The run that made it, by GitHub's word.
    #[serde(default)]
    pub workflow_run: Option<ArtifactRun>,
}

/// The run that made an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ArtifactRun {
    /// GitHub's number.
    pub id: i64,
    /// Where it ran.
    pub repository_id: i64,
    /// Where its commit is.
    pub head_repository_id: i64,
    /// Its commit.
    pub head_sha: CommitSha,
}

/// Which artifacts are read, and why others are not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The newest of each name, in the order of names.
    pub chosen: Vec<Artifact>,
    /// For a log.
    pub refused: Vec<String>,
}

/// Of the artifacts of a run those of one attempt that the action made, each held against what
/// GitHub says of the run.
#[must_use]
pub fn of_attempt(listed: Vec<Artifact>, run: &WorkflowRun, attempt: u32) -> Selection {
    let prefix = format!("pacegate-{attempt}-");
    let mut newest: BTreeMap<String, Artifact> = BTreeMap::new();
    let mut selection = Selection::default();
    for artifact in listed.into_iter().filter(|artifact| artifact.name.starts_with(&prefix)) {
        if let Some(reason) = contradiction(&artifact, run) {
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
    // One that is gone hides no older one: that was replaced.
    newest.retain(|_, artifact| !artifact.expired);
    selection.chosen = newest.into_values().take(MOST).collect();
    selection
}

fn contradiction(artifact: &Artifact, run: &WorkflowRun) -> Option<&'static str> {
    let Some(of) = &artifact.workflow_run else { return Some("of no run that GitHub names") };
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
    /// The artifacts of a run, of all its attempts.
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
    /// [`DownloadError`]; only one of GitHub's can be worth another try.
    pub async fn artifact_zip(&self, artifact: &Artifact, limit: usize) -> Result<Vec<u8>, DownloadError> {
        if artifact.size_in_bytes > limit as u64 {
            return Err(DownloadError::TooLarge { limit });
        }
        let route = format!("/repos/{}/actions/artifacts/{}/zip", self.repo, artifact.id);
        let address = self.transport.location_of(&route).await?;
        let call = format!("the bytes of artifact {}", artifact.id);
        let bytes = self.transport.blobs().fetch(&call, address, limit).await?;
        if is_altered(artifact, &bytes) { Err(DownloadError::Altered) } else { Ok(bytes) }
    }
}

fn is_altered(artifact: &Artifact, bytes: &[u8]) -> bool {
    let told = artifact.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
    told.is_some_and(|told| !told.eq_ignore_ascii_case(&hex::encode(Sha256::digest(bytes))))
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
    fn the_newest_of_a_name_of_this_attempt_is_read() {
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
        let selection = of_attempt(listed, &run(), 1);
        assert_eq!(selection.chosen.iter().map(|a| a.id).collect::<Vec<_>>(), [3]);
        assert!(selection.refused.is_empty());
    }

    #[test]
    fn what_is_not_of_this_run_by_github_s_word_is_refused() {
        for (change, reason) in [
            (json!({ "id": 8 }), "another run"),
            (json!({ "repository_id": 9 }), "another repository"),
            (json!({ "head_repository_id": 1 }), "another head repository"),
            (json!({ "head_sha": "a".repeat(40) }), "another commit"),
            (json!({ "workflow_run": null }), "no run"),
        ] {
            let selection = of_attempt(vec![artifact(1, "pacegate-1-test", &change)], &run(), 1);
            assert!(selection.chosen.is_empty() && selection.refused[0].contains(reason), "{selection:?}");
        }
    }
}
