//! The fake's state as plain data: the App, its installations, repositories, pull requests, check
//! runs, comments, tokens and all requests so far.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys;
use crate::time::now_seconds;

/// The GitHub App, with the public half of its key.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub id: u64,
    pub slug: String,
    pub public_key_pem: String,
    pub permissions: Permissions,
    pub events: Vec<String>,
    /// The webhook's address. Empty when the webhook is off.
    pub hook_url: String,
    /// Deliveries of the last hour without a successful answer.
    pub failed_deliveries: usize,
}

impl App {
    /// An App with the key pair of this test process.
    pub(crate) fn new(id: u64, slug: &str) -> Self {
        Self {
            id,
            slug: slug.to_owned(),
            public_key_pem: keys::app().public_pem.clone(),
            permissions: Installation::new(0, "").permissions,
            events: Vec::new(),
            hook_url: String::new(),
            failed_deliveries: 0,
        }
    }
}

/// Permission name to `read` or `write`.
pub(crate) type Permissions = BTreeMap<String, String>;

pub(crate) fn permissions(pairs: &[(&str, &str)]) -> Permissions {
    pairs.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
}

/// An installation of the App on an account.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub id: u64,
    pub account: String,
    pub suspended: bool,
    pub permissions: Permissions,
}

impl Installation {
    /// An installation with all permissions that the App asks for.
    pub(crate) fn new(id: u64, account: &str) -> Self {
        let asked = [
            ("metadata", "read"),
            ("checks", "write"),
            ("pull_requests", "write"),
            ("actions", "read"),
            ("contents", "read"),
        ];
        Self { id, account: account.to_owned(), suspended: false, permissions: permissions(&asked) }
    }
}

/// A repository. Only `installation` has access to it.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub id: u64,
    pub owner: String,
    pub name: String,
    pub default_branch: String,
    pub private: bool,
    pub archived: bool,
    pub installation: Option<u64>,
}

impl Repository {
    /// A private repository `OWNER/NAME` with the default branch `main`.
    pub(crate) fn new(id: u64, full_name: &str) -> Self {
        let (owner, name) = full_name.split_once('/').expect("OWNER/NAME");
        Self {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            default_branch: "main".to_owned(),
            private: true,
            archived: false,
            installation: None,
        }
    }

    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// A pull request. `head_repo` is `OWNER/NAME` and differs from the pull request's repository for a
/// fork.
#[derive(Clone, Debug)]
pub(crate) struct PullRequest {
    pub number: u64,
    pub open: bool,
    pub head_sha: String,
    pub head_ref: String,
    pub head_repo: String,
    pub base_ref: String,
    pub base_sha: String,
    /// RFC 3339.
    pub merged_at: Option<String>,
}

impl PullRequest {
    /// An open pull request from a branch of the same repository.
    pub(crate) fn new(number: u64, full_name: &str, head_sha: &str) -> Self {
        Self {
            number,
            open: true,
            head_sha: head_sha.to_owned(),
            head_ref: format!("change-{number}"),
            head_repo: full_name.to_owned(),
            base_ref: "main".to_owned(),
            base_sha: "b".repeat(40),
            merged_at: None,
        }
    }
}

/// A check run after its last change. `writes` counts its POST and every PATCH.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckRun {
    pub id: u64,
    pub repo_id: u64,
    pub name: String,
    pub head_sha: String,
    pub status: String,
    pub conclusion: Option<String>,
    pub external_id: Option<String>,
    pub details_url: Option<String>,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    pub title: Option<String>,
    pub summary: Option<String>,
    pub text: Option<String>,
    pub annotations: Vec<Value>,
    pub images: Vec<Value>,
    pub actions: Vec<Value>,
    pub writes: usize,
}

/// A comment on a pull request. `app_slug` is set if an App wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub id: u64,
    pub repo_id: u64,
    pub number: u64,
    pub body: String,
    pub author: String,
    pub app_slug: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub writes: usize,
}

/// An installation token, and the scope that the request asked for.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The bearer text.
    pub text: String,
    pub installation_id: u64,
    /// Ids of the repositories in its scope.
    pub repositories: Vec<u64>,
    pub permissions: Permissions,
    /// The request's `repositories` or `repository_ids`, `None` when it asked for all.
    pub requested_repositories: Option<Value>,
    /// The request's `permissions`, `None` when it asked for all.
    pub requested_permissions: Option<Permissions>,
    pub expires_at: i64,
    pub revoked: bool,
}

/// One request, with its status (`None` when it got no answer).
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Option<Value>,
    pub operation: Option<String>,
    pub status: Option<u16>,
}

#[derive(Default)]
pub(crate) struct State {
    pub app: Option<App>,
    pub installations: Vec<Installation>,
    pub repositories: Vec<Repository>,
    /// By repository id.
    pub pull_requests: Vec<(u64, PullRequest)>,
    pub check_runs: Vec<CheckRun>,
    pub comments: Vec<Comment>,
    /// By repository id.
    pub workflow_runs: Vec<(u64, super::actions::WorkflowRun)>,
    pub artifacts: Vec<super::artifacts::Artifact>,
    /// By repository id, git ref and path.
    pub contents: BTreeMap<(u64, String, String), Vec<u8>>,
    pub tokens: Vec<Token>,
    pub requests: Vec<Recorded>,
    pub violations: Vec<String>,
    /// Delivery attempts, and below the guids to redeliver.
    pub delivery_attempts: Vec<super::deliveries::DeliveryAttempt>,
    pub redelivery_requests: Vec<String>,
    /// The waits that rate limits imposed.
    pub waits: Vec<super::waits::Wait>,
    /// Jobs of workflow runs that the App asked to run again.
    pub reruns: Vec<u64>,
    /// Permissions of people, by repository id and login: `admin`, `write` or `read`.
    pub collaborators: BTreeMap<(u64, String), String>,
    /// Accepted manifests, by their code.
    pub manifests: BTreeMap<String, Value>,
    /// Seconds by which this GitHub's clock is ahead of the test's clock.
    pub clock_offset_s: i64,
    last_id: u64,
}

impl State {
    /// A new id, as large as GitHub's ids are.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        30_000_000_000 + self.last_id
    }

    pub(crate) fn repository(&self, owner: &str, name: &str) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|r| r.owner.eq_ignore_ascii_case(owner) && r.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn repository_named(&self, full_name: &str) -> &Repository {
        let (owner, name) = full_name.split_once('/').expect("OWNER/NAME");
        self.repository(owner, name).unwrap_or_else(|| panic!("add the repository {full_name} first"))
    }

    pub(crate) fn installation(&self, id: u64) -> Option<&Installation> {
        self.installations.iter().find(|installation| installation.id == id)
    }

    pub(crate) fn pull_request(&self, repo_id: u64, number: u64) -> Option<&PullRequest> {
        self.pull_requests.iter().find(|(repo, pr)| *repo == repo_id && pr.number == number).map(|(_, pr)| pr)
    }

    /// The token, while it is valid.
    pub(crate) fn live_token(&self, token: &str) -> Option<&Token> {
        self.tokens.iter().find(|t| t.text == token && !t.revoked && t.expires_at > now_seconds())
    }

    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }
}
