//! A job's properties and how a runner passes them to steps as variables, contexts and the event's
//! payload. They are its run, its matrix, the action's inputs and the reachable services.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::webhooks::sha;

/// The address of a service, and the token for it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub url: String,
    pub token: String,
}

/// A job of a run of the workflow `CI`.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub repository: String,
    pub repository_id: u64,
    pub run_id: u64,
    pub run_attempt: u64,
    /// The job's key in the workflow's file.
    pub key: String,
    /// GitHub's number of the job. Older servers do not pass it to steps.
    pub check_run_id: Option<u64>,
    /// The head of the branch or of the pull request.
    pub head_sha: String,
    /// `push` or `pull_request`.
    pub event: String,
    pub branch: String,
    pub pull_request: u64,
    pub runner_name: String,
    /// The values of the matrix, null when there is none.
    pub matrix: Value,
    /// The step's inputs in the workflow.
    pub with: BTreeMap<String, String>,
    /// Values of the workflow's secrets, which the runner masks from the start.
    pub secrets: Vec<String>,
    /// The artifact service.
    pub results: Option<Access>,
    /// The address for OIDC tokens, if the job has `id-token: write`.
    pub id_tokens: Option<Access>,
}

impl Job {
    /// A job of a push to main.
    pub(crate) fn new(repository: &str, run_id: u64, key: &str, head_sha: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            repository_id: 1_296_269,
            run_id,
            run_attempt: 1,
            key: key.to_owned(),
            // The number that the fake GitHub gives to the first job of a run.
            check_run_id: Some(run_id * 100 + 1),
            head_sha: head_sha.to_owned(),
            event: "push".to_owned(),
            branch: "main".to_owned(),
            pull_request: 0,
            runner_name: "GitHub Actions 1".to_owned(),
            matrix: Value::Null,
            with: BTreeMap::new(),
            secrets: Vec::new(),
            results: None,
            id_tokens: None,
        }
    }

    /// Turns it into a job of a pull request.
    pub(crate) fn of_pull_request(mut self, number: u64) -> Self {
        "pull_request".clone_into(&mut self.event);
        self.branch = format!("change-{number}");
        self.pull_request = number;
        self
    }

    /// Sets an input of the action.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.with.insert(name.to_owned(), value.to_owned());
        self
    }

    fn git_ref(&self) -> String {
        if self.pull_request == 0 {
            format!("refs/heads/{}", self.branch)
        } else {
            format!("refs/pull/{}/merge", self.pull_request)
        }
    }

    /// `GITHUB_SHA`. For a pull request it is the merge with its base, which is on no branch.
    pub(crate) fn checked_out(&self) -> String {
        if self.pull_request == 0 {
            self.head_sha.clone()
        } else {
            sha(&format!("merge of {}", self.head_sha))
        }
    }

    /// The content of the file `GITHUB_EVENT_PATH`, limited to the fields that are read.
    pub(crate) fn event_payload(&self) -> Value {
        let repository = json!({ "id": self.repository_id, "full_name": self.repository });
        if self.pull_request == 0 {
            return json!({ "ref": self.git_ref(), "after": self.head_sha, "repository": repository });
        }
        let head = json!({ "sha": self.head_sha, "ref": self.branch, "repo": repository });
        json!({
            "action": "synchronize", "number": self.pull_request, "repository": repository,
            "pull_request": { "number": self.pull_request, "head": head, "base": { "ref": "main", "repo": repository } },
        })
    }

    /// The contexts that expressions in an input's default can use.
    pub(crate) fn contexts(&self) -> BTreeMap<&'static str, Value> {
        let github = json!({
            "repository": self.repository, "repository_id": self.repository_id.to_string(),
            "run_id": self.run_id.to_string(), "run_attempt": self.run_attempt.to_string(),
            "job": self.key, "sha": self.checked_out(), "event_name": self.event, "ref": self.git_ref(),
            "server_url": "https://github.com", "api_url": "https://api.github.com",
            "event": self.event_payload(), "head_ref": if self.pull_request == 0 { "" } else { &self.branch },
            "workflow": "CI",
        });
        let job = self.check_run_id.map_or_else(|| json!({}), |id| json!({ "check_run_id": id }));
        BTreeMap::from([
            ("github", github),
            ("job", job),
            ("matrix", self.matrix.clone()),
            ("strategy", json!({ "job-index": 0, "job-total": 1 })),
            ("runner", json!({ "name": self.runner_name, "os": "Linux", "arch": "X64" })),
        ])
    }

    /// The variables of every step.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let (owner, _) = self.repository.split_once('/').expect("OWNER/NAME");
        let (head_ref, base_ref) =
            if self.pull_request == 0 { ("", "") } else { (self.branch.as_str(), "main") };
        let ref_name = self.git_ref().replacen("refs/heads/", "", 1).replacen("refs/pull/", "", 1);
        let workflow_ref = format!("{}/.github/workflows/ci.yml@{}", self.repository, self.git_ref());
        let pairs = [
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_ACTOR", "octocat".to_owned()),
            ("GITHUB_API_URL", "https://api.github.com".to_owned()),
            ("GITHUB_BASE_REF", base_ref.to_owned()),
            ("GITHUB_EVENT_NAME", self.event.clone()),
            ("GITHUB_HEAD_REF", head_ref.to_owned()),
            ("GITHUB_JOB", self.key.clone()),
            ("GITHUB_REF", self.git_ref()),
            ("GITHUB_REF_NAME", ref_name),
            ("GITHUB_REPOSITORY", self.repository.clone()),
            ("GITHUB_REPOSITORY_ID", self.repository_id.to_string()),
            ("GITHUB_REPOSITORY_OWNER", owner.to_owned()),
            ("GITHUB_RETENTION_DAYS", "90".to_owned()),
            ("GITHUB_RUN_ATTEMPT", self.run_attempt.to_string()),
            ("GITHUB_RUN_ID", self.run_id.to_string()),
            ("GITHUB_RUN_NUMBER", "7".to_owned()),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_SHA", self.checked_out()),
            ("GITHUB_WORKFLOW", "CI".to_owned()),
            ("GITHUB_WORKFLOW_REF", workflow_ref),
            ("ImageOS", "ubuntu24".to_owned()),
            ("ImageVersion", "20261101.1.0".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("RUNNER_ARCH", "X64".to_owned()),
            ("RUNNER_ENVIRONMENT", "github-hosted".to_owned()),
            ("RUNNER_NAME", self.runner_name.clone()),
            ("RUNNER_OS", "Linux".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// The additional variables of an action's own steps. All of them are secrets or addresses that
    /// need a secret. Other steps do not get them.
    pub(crate) fn services(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let mut add = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
        if let Some(results) = &self.results {
            add("ACTIONS_RESULTS_URL", &results.url);
            add("ACTIONS_RUNTIME_URL", &results.url);
            add("ACTIONS_RUNTIME_TOKEN", &results.token);
        }
        if let Some(issuer) = &self.id_tokens {
            add("ACTIONS_ID_TOKEN_REQUEST_URL", &issuer.url);
            add("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &issuer.token);
        }
        variables
    }
}
