//! Reads a run's facts from the variables of its CI system: commit, branch, pull request, run. The
//! caller passes the environment and the event file; nothing is read here.

use super::engines::ENGINES;
use pacegate_engine::model::span::{AttributeValue, Attributes};

/// A run's facts, as the CI system names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CiRun {
    pub revision: Option<String>,
    pub branch: Option<String>,
    pub is_tag: bool,
    pub change: Option<String>,
    /// `OWNER/NAME`, from GitHub Actions only. On other systems a mirror may have another name, and
    /// the token already decides the repository.
    pub repository: Option<String>,
    pub workflow: Option<String>,
    pub pipeline: Option<String>,
    pub job: Option<String>,
    pub run_id: Option<String>,
    pub run_url: Option<String>,
    pub attempt: Option<String>,
}

impl CiRun {
    /// `variable` reads the environment; `event` returns the text of GitHub's event file.
    pub(super) fn of(
        variable: impl Fn(&str) -> Option<String>,
        event: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let present = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| present(name));
        let is_present = |engine: &&super::engines::Engine| {
            present(engine.marker.0).is_some_and(|value| engine.marker.1.is_none_or(|wanted| wanted == value))
        };
        let Some(engine) = ENGINES.iter().find(is_present) else { return Self::default() };
        let tag = first(engine.tag);
        let named = first(engine.branch).map(|name| branch_name(&name));
        let mut run = Self {
            revision: first(engine.revision)
                .filter(|sha| sha.parse::<pacegate_engine::model::ids::CommitSha>().is_ok()),
            is_tag: tag.is_some(),
            branch: tag.or(named),
            change: first(engine.change).and_then(|text| change_number(&text)),
            repository: None,
            workflow: None,
            pipeline: first(engine.pipeline),
            job: first(engine.job),
            run_id: first(engine.run_id),
            run_url: first(engine.run_url),
            attempt: first(engine.attempt),
        };
        match engine.marker.0 {
            "GITHUB_ACTIONS" => run.add_github(present, event),
            "TF_BUILD" => {
                let parts = ["SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID"].map(present);
                if let [Some(server), Some(project), Some(id)] = parts {
                    let server = server.trim_end_matches('/');
                    run.run_url = Some(format!("{server}/{project}/_build/results?buildId={id}"));
                }
            }
            _ => {}
        }
        run
    }

    fn add_github(
        &mut self,
        present: impl Fn(&str) -> Option<String>,
        event: impl Fn(&str) -> Option<String>,
    ) {
        self.repository = present("GITHUB_REPOSITORY");
        self.workflow = present("GITHUB_WORKFLOW_REF");
        self.is_tag = present("GITHUB_REF_TYPE").is_some_and(|kind| kind == "tag");
        if let (Some(server), Some(repository), Some(id)) =
            (present("GITHUB_SERVER_URL"), &self.repository, &self.run_id)
        {
            self.run_url = Some(format!("{server}/{repository}/actions/runs/{id}"));
        }
        let head = present("GITHUB_EVENT_PATH")
            .and_then(|path| event(&path))
            .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
            .and_then(|event| event["pull_request"]["head"]["sha"].as_str().map(str::to_owned));
        self.revision = head.or(self.revision.take());
    }

    /// Pipeline and job, as the name of the run.
    pub(super) fn name(&self) -> Option<String> {
        match (&self.pipeline, &self.job) {
            (Some(pipeline), Some(job)) => Some(format!("{pipeline} / {job}")),
            (one, other) => one.clone().or_else(|| other.clone()),
        }
    }

    /// The facts as attributes of a resource.
    pub(super) fn attributes(&self) -> Attributes {
        let kind = self.branch.as_ref().map(|_| if self.is_tag { "tag" } else { "branch" }.to_owned());
        let pairs = [
            ("vcs.ref.head.revision", self.revision.clone()),
            ("vcs.ref.head.name", self.branch.clone()),
            ("vcs.ref.head.type", kind),
            ("vcs.change.id", self.change.clone()),
            ("vcs.repository.name", self.repository.clone()),
            ("github.workflow_ref", self.workflow.clone()),
            ("cicd.pipeline.run.id", self.run_id.clone()),
            ("cicd.pipeline.run.url.full", self.run_url.clone()),
            ("cicd.pipeline.run.attempt", self.attempt.clone()),
        ];
        let present = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Attributes(present.map(|(key, value)| (key, AttributeValue::String(value))).collect())
    }
}

/// Shortens `refs/heads/x` and `origin/x` (Jenkins) to `x`.
fn branch_name(name: &str) -> String {
    let name = name.strip_prefix("refs/heads/").unwrap_or(name);
    name.strip_prefix("origin/").unwrap_or(name).to_owned()
}

/// Reads `12`, `refs/pull/12/merge` or `https://github.com/o/n/pull/12`. Buildkite writes `false`
/// for none.
fn change_number(text: &str) -> Option<String> {
    let is_number =
        |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    if is_number(text) {
        return Some(text.to_owned());
    }
    let (_, after) = text.rsplit_once("pull/")?;
    after.split('/').next().filter(|part| is_number(part)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn run(variables: &[(&str, &str)]) -> CiRun {
        let event = |_: &str| Some(r#"{"pull_request":{"head":{"sha":"feedfacefeed"}}}"#.to_owned());
        let found = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        CiRun::of(found, event)
    }

    #[test]
    fn systems_name_commit_branch_change_and_run() {
        for (variables, [branch, change, name, id]) in [
            (
                &[
                    ("GITLAB_CI", "true"),
                    ("CI_COMMIT_SHA", SHA),
                    ("CI_MERGE_REQUEST_IID", "12"),
                    ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "fix"),
                    ("CI_PROJECT_NAME", "app"),
                    ("CI_JOB_NAME", "test"),
                    ("CI_PIPELINE_ID", "77"),
                ][..],
                ["fix", "12", "app / test", "77"],
            ),
            (
                &[
                    ("BUILDKITE", "true"),
                    ("BUILDKITE_COMMIT", SHA),
                    ("BUILDKITE_BRANCH", "main"),
                    ("BUILDKITE_PULL_REQUEST", "false"),
                    ("BUILDKITE_PIPELINE_SLUG", "app"),
                    ("BUILDKITE_BUILD_ID", "b-1"),
                ],
                ["main", "", "app", "b-1"],
            ),
            (
                &[
                    ("JENKINS_URL", "http://j/"),
                    ("GIT_COMMIT", SHA),
                    ("GIT_BRANCH", "origin/main"),
                    ("JOB_NAME", "app"),
                    ("STAGE_NAME", "Test"),
                    ("BUILD_TAG", "jenkins-app-3"),
                ],
                ["main", "", "app / Test", "jenkins-app-3"],
            ),
            (
                &[
                    ("CIRCLECI", "true"),
                    ("CIRCLE_SHA1", SHA),
                    ("CIRCLE_BRANCH", "fix"),
                    ("CIRCLE_PULL_REQUEST", "https://github.com/o/n/pull/9"),
                    ("CIRCLE_JOB", "unit"),
                ],
                ["fix", "9", "unit", ""],
            ),
            (
                &[
                    ("CI", "woodpecker"),
                    ("CI_COMMIT_SHA", SHA),
                    ("CI_COMMIT_BRANCH", "main"),
                    ("CI_PIPELINE_NUMBER", "5"),
                ],
                ["main", "", "", "5"],
            ),
            (
                &[
                    ("DRONE", "true"),
                    ("DRONE_COMMIT_SHA", SHA),
                    ("DRONE_BRANCH", "main"),
                    ("DRONE_SOURCE_BRANCH", "fix"),
                    ("DRONE_PULL_REQUEST", "4"),
                ],
                ["fix", "4", "", ""],
            ),
            (
                &[
                    ("TF_BUILD", "True"),
                    ("BUILD_SOURCEVERSION", SHA),
                    ("BUILD_SOURCEBRANCH", "refs/heads/main"),
                    ("BUILD_DEFINITIONNAME", "app"),
                    ("BUILD_BUILDID", "31"),
                ],
                ["main", "", "app", "31"],
            ),
            (&[("TEAMCITY_VERSION", "2025"), ("BUILD_VCS_NUMBER", SHA)], ["", "", "", ""]),
            (&[("PATH", "/bin"), ("GIT_COMMIT", SHA), ("GIT_BRANCH", "main")], ["main", "", "", ""]),
        ] {
            let found = run(variables);
            assert_eq!(found.revision.as_deref(), Some(SHA), "{variables:?}");
            let text = |value: Option<String>| value.unwrap_or_default();
            let got = [found.branch.clone(), found.change.clone(), found.name(), found.run_id].map(text);
            assert_eq!(got, [branch, change, name, id], "{variables:?}");
        }
    }

    #[test]
    fn github_pull_request_commit_is_its_head() {
        let found = run(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", SHA),
            ("GITHUB_REF", "refs/pull/31/merge"),
            ("GITHUB_REF_NAME", "31/merge"),
            ("GITHUB_HEAD_REF", "fix"),
            ("GITHUB_EVENT_PATH", "event.json"),
            ("GITHUB_REPOSITORY", "acme/app"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_RUN_ID", "7"),
        ]);
        assert_eq!(found.revision.as_deref(), Some("feedfacefeed"));
        assert_eq!((found.branch.as_deref(), found.change.as_deref()), (Some("fix"), Some("31")));
        assert_eq!(found.run_url.as_deref(), Some("https://github.com/acme/app/actions/runs/7"));
        assert_eq!(found.attributes().text("vcs.repository.name").as_deref(), Some("acme/app"));
    }

    #[test]
    fn invalid_commits_and_numbers_are_left_out() {
        assert_eq!(run(&[]), CiRun::default());
        let found = run(&[("GITLAB_CI", "1"), ("CI_COMMIT_SHA", "HEAD"), ("CI_MERGE_REQUEST_IID", "x")]);
        assert_eq!((found.revision, found.change), (None, None));
        let tag = run(&[("GITLAB_CI", "1"), ("CI_COMMIT_TAG", "v1"), ("CI_COMMIT_BRANCH", "main")]);
        assert_eq!(tag.attributes().text("vcs.ref.head.type").as_deref(), Some("tag"));
    }
}
