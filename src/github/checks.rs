//! Check runs: found by name and `external_id` before one is made, so that a repeat converges.

use serde::{Deserialize, Serialize};

use super::{GitHubError, RepoClient};
use crate::model::ids::CommitSha;

/// The one name our check has on every head: branch protection refers to it.
pub const CHECK_NAME: &str = "Pacegate";
/// Annotations GitHub takes in one request.
pub const ANNOTATIONS_PER_REQUEST: usize = 50;

/// What a check run says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRunOutput {
    /// One phrase.
    pub title: String,
    /// Markdown, a screenful.
    pub summary: String,
    /// Markdown, the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// On lines of the head.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<CheckRunAnnotation>,
}

/// A remark on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRunAnnotation {
    /// File, from the repository's root.
    pub path: String,
    /// First line, from 1.
    pub start_line: u32,
    /// Last line.
    pub end_line: u32,
    /// `notice`, `warning` or `failure`.
    pub annotation_level: &'static str,
    /// A few words.
    pub title: String,
    /// A sentence.
    pub message: String,
}

/// A check run of ours on GitHub.
#[derive(Debug, Clone, Deserialize)]
pub struct CheckRun {
    /// GitHub's number.
    pub id: i64,
    /// The evaluation it shows.
    pub external_id: Option<String>,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// How it ended.
    pub conclusion: Option<String>,
    /// What it says.
    pub output: ShownOutput,
}

/// What a check run on GitHub says.
#[derive(Debug, Clone, Deserialize)]
pub struct ShownOutput {
    /// One phrase.
    pub title: Option<String>,
    /// Markdown.
    pub summary: Option<String>,
    /// Markdown.
    pub text: Option<String>,
    /// How many annotations it has.
    pub annotations_count: usize,
}

impl CheckRun {
    /// Whether GitHub shows this conclusion and output already: sending it again would append
    /// the annotations once more.
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
}

impl RepoClient {
    /// Our check run of a head with this `external_id`, if GitHub has it.
    pub async fn find_check_run(
        &self,
        head_sha: &CommitSha,
        external_id: &str,
    ) -> Result<Option<CheckRun>, GitHubError> {
        // Pages are counted, not followed by their links, which are absolute URLs.
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

    /// Makes a check run that waits.
    pub async fn create_check_run(
        &self,
        head_sha: &CommitSha,
        external_id: &str,
        output: &CheckRunOutput,
    ) -> Result<CheckRun, GitHubError> {
        let request = CheckRunRequest {
            name: Some(CHECK_NAME),
            head_sha: Some(head_sha.as_str()),
            external_id: Some(external_id),
            details_url: None,
            status: "in_progress",
            conclusion: None,
            output: output.clone(),
        };
        self.transport.post(&format!("/repos/{}/check-runs", self.repo), &request).await
    }

    /// Changes what a check run that waits says.
    pub async fn update_pending_check_run(
        &self,
        id: i64,
        output: &CheckRunOutput,
    ) -> Result<(), GitHubError> {
        let request = CheckRunRequest {
            name: None,
            head_sha: None,
            external_id: None,
            details_url: None,
            status: "in_progress",
            conclusion: None,
            output: output.clone(),
        };
        let route = format!("/repos/{}/check-runs/{id}", self.repo);
        let _: CheckRun = self.transport.patch(&route, &request).await?;
        Ok(())
    }

    /// Concludes a check run. More than 50 annotations go in further requests, each of
    /// which appends; the state goes with the last, so that a half-sent one is not concluded.
    pub async fn conclude_check_run(
        &self,
        id: i64,
        conclusion: &'static str,
        details_url: Option<&str>,
        output: &CheckRunOutput,
    ) -> Result<(), GitHubError> {
        let route = format!("/repos/{}/check-runs/{id}", self.repo);
        let mut batches: Vec<&[CheckRunAnnotation]> =
            output.annotations.chunks(ANNOTATIONS_PER_REQUEST).collect();
        if batches.is_empty() {
            batches.push(&[]);
        }
        let last = batches.len() - 1;
        for (i, annotations) in batches.into_iter().enumerate() {
            let (status, conclusion) =
                if i == last { ("completed", Some(conclusion)) } else { ("in_progress", None) };
            let request = CheckRunRequest {
                name: None,
                head_sha: None,
                external_id: None,
                details_url,
                status,
                conclusion,
                output: CheckRunOutput { annotations: annotations.to_vec(), ..output.clone() },
            };
            let _: CheckRun = self.transport.patch(&route, &request).await?;
        }
        Ok(())
    }
}
