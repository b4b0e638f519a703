//! Check runs: found by name and `external_id` before one is made, so that a repeat converges.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::CommitSha;

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
    /// Buttons, at most three; they stand beside the output in a request.
    #[serde(skip)]
    pub actions: Vec<CheckRunAction>,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRunAction {
    /// At most 20 characters.
    pub label: &'static str,
    /// At most 40 characters.
    pub description: &'static str,
    /// At most 20 characters: what GitHub says was pressed.
    pub identifier: &'static str,
}

/// A remark on a line, as it is sent.
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
    // Sent even when there are none: left out, GitHub keeps the buttons it has.
    actions: &'a [CheckRunAction],
}

/// A remark on a line, as GitHub has it.
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

/// Those that GitHub does not have yet, in their order. Each it has stands for one of ours.
fn missing(ours: &[CheckRunAnnotation], shown: Vec<ShownAnnotation>) -> Vec<CheckRunAnnotation> {
    let mut there: HashMap<ShownAnnotation, usize> = HashMap::new();
    for annotation in shown {
        *there.entry(annotation).or_default() += 1;
    }
    let is_missing = |annotation: &&CheckRunAnnotation| match there.get_mut(&annotation.as_shown()) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    ours.iter().filter(is_missing).cloned().collect()
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

    /// Changes what a check run that waits says.
    pub async fn update_pending_check_run(
        &self,
        id: i64,
        output: &CheckRunOutput,
    ) -> Result<(), GitHubError> {
        self.update(id, None, ("in_progress", None), output.clone(), &output.actions).await?;
        Ok(())
    }

    /// Concludes a check run. More than 50 annotations go in further requests, each of
    /// which appends; the state goes with the last, so that a half-sent one is not concluded.
    /// What an interrupted attempt has sent already is not sent again.
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

    /// The annotations a check run has, the oldest first.
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
    fn what_github_has_is_not_missing_and_a_repeated_one_counts_twice() {
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
