//! Check runs. Each is looked up by name and `external_id` before it is created, so a repeated
//! attempt finds the check run of the first.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::CommitSha;

/// The name of our check run on every head. Branch protection refers to it, so it must not change.
const CHECK_NAME: &str = "Pacegate";
/// Annotations that GitHub takes in one request.
const ANNOTATIONS_PER_REQUEST: usize = 50;

/// Output of a check run, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRunOutput {
    pub title: String,
    /// Markdown. GitHub shows it first.
    pub summary: String,
    /// Markdown with the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<CheckRunAnnotation>,
    /// At most three. A request has them beside the output, not inside it.
    #[serde(skip)]
    pub actions: Vec<CheckRunAction>,
}

/// A button below a check run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRunAction {
    /// At most 20 characters.
    pub label: &'static str,
    /// At most 40 characters.
    pub description: &'static str,
    /// At most 20 characters. GitHub sends it back when the button is pressed.
    pub identifier: &'static str,
}

/// An annotation, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRunAnnotation {
    /// Relative to the repository's root.
    pub path: String,
    /// Counted from 1.
    pub start_line: u32,
    pub end_line: u32,
    /// `notice`, `warning` or `failure`.
    pub annotation_level: &'static str,
    pub title: String,
    pub message: String,
}

/// One of our check runs, as GitHub returns it.
#[derive(Debug, Clone, Deserialize)]
pub struct CheckRun {
    pub id: i64,
    /// Identifies the evaluation that it shows.
    pub external_id: Option<String>,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    pub conclusion: Option<String>,
    pub output: ShownOutput,
}

/// Output of a check run, as GitHub returns it.
#[derive(Debug, Clone, Deserialize)]
pub struct ShownOutput {
    pub title: Option<String>,
    pub summary: Option<String>,
    pub text: Option<String>,
    pub annotations_count: usize,
}

impl CheckRun {
    /// Whether GitHub already shows this conclusion and output. Sending the same output again would
    /// append its annotations a second time.
    #[must_use]
    pub fn shows(&self, conclusion: &str, output: &CheckRunOutput) -> bool {
        self.status == "completed"
            && self.conclusion.as_deref() == Some(conclusion)
            && self.output.title.as_deref() == Some(output.title.as_str())
            && self.output.summary.as_deref() == Some(output.summary.as_str())
            && self.output.text.as_deref().unwrap_or_default() == output.text.as_deref().unwrap_or_default()
            && self.output.annotations_count >= output.annotations.len()
    }
}

#[derive(Deserialize)]
struct CheckRunList {
    total_count: usize,
    check_runs: Vec<CheckRun>,
}

#[derive(Serialize)]
struct CheckRunRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_sha: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_url: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conclusion: Option<&'static str>,
    output: CheckRunOutput,
    // Sent even when empty: without this field GitHub keeps the old buttons.
    actions: &'a [CheckRunAction],
}

/// An annotation, as GitHub returns it.
#[derive(Debug, PartialEq, Eq, Hash, Deserialize)]
struct ShownAnnotation {
    path: String,
    start_line: u32,
    annotation_level: Option<String>,
    title: Option<String>,
    message: Option<String>,
}

impl CheckRunAnnotation {
    fn as_shown(&self) -> ShownAnnotation {
        ShownAnnotation {
            path: self.path.clone(),
            start_line: self.start_line,
            annotation_level: Some(self.annotation_level.to_owned()),
            title: Some(self.title.clone()),
            message: Some(self.message.clone()),
        }
    }
}

/// The annotations that GitHub does not have yet, in their order. Each annotation
/// on GitHub accounts for one of ours.
fn missing(ours: &[CheckRunAnnotation], shown: Vec<ShownAnnotation>) -> Vec<CheckRunAnnotation> {
    let mut present: HashMap<ShownAnnotation, usize> = HashMap::new();
    for annotation in shown {
        *present.entry(annotation).or_default() += 1;
    }
    let is_missing = |annotation: &&CheckRunAnnotation| match present.get_mut(&annotation.as_shown()) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    ours.iter().filter(is_missing).cloned().collect()
}

impl RepoClient {
    /// Finds our check run with this `external_id` on a head.
    pub async fn find_check_run(
        &self,
        head_sha: &CommitSha,
        external_id: &str,
    ) -> Result<Option<CheckRun>, GitHubError> {
        // Pages are counted because the links to further pages are absolute URLs.
        for page in 1..=10 {
            let route = format!(
                "/repos/{}/commits/{head_sha}/check-runs?check_name={CHECK_NAME}&app_id={}&filter=all&per_page=100&page={page}",
                self.repo, self.app_id
            );
            let list: CheckRunList = self.transport.get(&route).await?;
            let last = list.check_runs.len() < 100 || list.total_count <= page * 100;
            if let Some(found) =
                list.check_runs.into_iter().find(|run| run.external_id.as_deref() == Some(external_id))
            {
                return Ok(Some(found));
            }
            if last {
                break;
            }
        }
        Ok(None)
    }

    /// Creates a check run in progress.
    pub async fn create_check_run(
        &self,
        head_sha: &CommitSha,
        external_id: &str,
        details_url: Option<&str>,
        output: &CheckRunOutput,
    ) -> Result<CheckRun, GitHubError> {
        let request = CheckRunRequest {
            name: Some(CHECK_NAME),
            head_sha: Some(head_sha.as_str()),
            external_id: Some(external_id),
            details_url,
            status: "in_progress",
            conclusion: None,
            output: output.clone(),
            actions: &output.actions,
        };
        self.transport.post(&format!("/repos/{}/check-runs", self.repo), &request).await
    }

    /// Replaces the output of a check run in progress.
    pub async fn update_pending_check_run(
        &self,
        id: i64,
        output: &CheckRunOutput,
    ) -> Result<(), GitHubError> {
        self.update(id, None, ("in_progress", None), output.clone(), &output.actions).await?;
        Ok(())
    }

    /// Completes a check run. A request takes 50 annotations, and each request appends its own.
    /// Only the last request sets the state, so an interrupted attempt leaves the check run in
    /// progress. Annotations that an earlier attempt sent are not sent again.
    pub async fn conclude_check_run(
        &self,
        check_run: &CheckRun,
        conclusion: &'static str,
        details_url: Option<&str>,
        output: &CheckRunOutput,
    ) -> Result<(), GitHubError> {
        let annotations = if check_run.output.annotations_count == 0 || output.annotations.is_empty() {
            output.annotations.clone()
        } else {
            missing(&output.annotations, self.annotations(check_run.id).await?)
        };
        let mut batches: Vec<&[CheckRunAnnotation]> = annotations.chunks(ANNOTATIONS_PER_REQUEST).collect();
        let last = batches.pop().unwrap_or_default();
        let with = |annotations: &[CheckRunAnnotation]| CheckRunOutput {
            annotations: annotations.to_vec(),
            ..output.clone()
        };
        for batch in batches {
            self.update(check_run.id, details_url, ("in_progress", None), with(batch), &output.actions)
                .await?;
        }
        let state = ("completed", Some(conclusion));
        self.update(check_run.id, details_url, state, with(last), &output.actions).await?;
        Ok(())
    }

    async fn update(
        &self,
        id: i64,
        details_url: Option<&str>,
        (status, conclusion): (&'static str, Option<&'static str>),
        output: CheckRunOutput,
        actions: &[CheckRunAction],
    ) -> Result<CheckRun, GitHubError> {
        let request = CheckRunRequest {
            name: None,
            head_sha: None,
            external_id: None,
            details_url,
            status,
            conclusion,
            output,
            actions,
        };
        self.transport.patch(&format!("/repos/{}/check-runs/{id}", self.repo), &request).await
    }

    /// The annotations that GitHub has, oldest first.
    async fn annotations(&self, id: i64) -> Result<Vec<ShownAnnotation>, GitHubError> {
        let mut all = Vec::new();
        for page in 1..=10 {
            let route = format!("/repos/{}/check-runs/{id}/annotations?per_page=100&page={page}", self.repo);
            let shown: Vec<ShownAnnotation> = self.transport.get(&route).await?;
            let is_last = shown.len() < 100;
            all.extend(shown);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(title: &str) -> CheckRunAnnotation {
        CheckRunAnnotation {
            path: "ci.yml".into(),
            start_line: 3,
            end_line: 3,
            annotation_level: "warning",
            title: title.into(),
            message: "slower".into(),
        }
    }

    #[test]
    fn missing_counts_repeated_annotations() {
        let ours = ["a", "b", "a", "c"].map(annotation);
        let titles = |shown: &[&str]| {
            let shown = shown.iter().map(|title| annotation(title).as_shown()).collect();
            missing(&ours, shown).into_iter().map(|a| a.title).collect::<Vec<_>>()
        };
        assert_eq!(titles(&[]), ["a", "b", "a", "c"]);
        assert_eq!(titles(&["a", "of an older output"]), ["b", "a", "c"]);
        assert_eq!(titles(&["c", "a", "b", "a"]), Vec::<String>::new());
    }
}
