//! Webhook deliveries. The signature over the raw body is verified before anything is parsed into an
//! event (`payload`). Pure: no clock, no database, no network.

mod payload;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use pacegate_engine::model::ids::{CommitSha, RepoName};

/// Why a delivery is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// There is no signature, or none of our secrets made it.
    #[error(
        "the signature is missing or wrong; do GitHub and PACEGATE_GITHUB_WEBHOOK_SECRET have the same secret?"
    )]
    Signature,
    /// Signed, but the payload does not match GitHub's description of the event.
    #[error("the payload of `{event}` can't be read: {reason}")]
    Payload { event: String, reason: String },
}

/// Checks `X-Hub-Signature-256` over the raw body, in constant time. Any of the secrets may match: two
/// are valid while one is being replaced.
///
/// # Errors
/// [`WebhookError::Signature`].
pub fn verify(secrets: &[SecretString], signature: Option<&str>, body: &[u8]) -> Result<(), WebhookError> {
    let signature = signature
        .and_then(|text| text.strip_prefix("sha256="))
        .and_then(|text| hex::decode(text).ok())
        .ok_or(WebhookError::Signature)?;
    let matches = secrets.iter().any(|secret| {
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(&signature).is_ok())
    });
    if matches { Ok(()) } else { Err(WebhookError::Signature) }
}

/// A repository in a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRepository {
    pub id: i64,
    /// The name when the event was sent.
    pub full_name: RepoName,
    /// Only members may see it.
    #[serde(default = "assume_private")]
    pub private: bool,
    /// None where the payload leaves it out.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// False where the payload leaves it out.
    #[serde(default)]
    pub archived: bool,
}

/// Without information from GitHub a repository counts as private, the safe choice.
fn assume_private() -> bool {
    true
}

/// An event that we handle. Handlers fetch GitHub's present state and don't rely on the payload:
/// deliveries come late, twice and out of order. `installation` is the number of the installation that
/// may act on `repository`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A pull request's head or state changed.
    PullRequest {
        installation: i64,
        repository: EventRepository,
        number: i64,
        /// Head when the event was sent. It is stored even if a newer one is known.
        head_sha: CommitSha,
        /// RFC 3339.
        updated_at: String,
    },
    /// The App was installed, or its repositories or permissions changed.
    InstallationPresent {
        installation: i64,
        /// Login of the owner.
        account: String,
        /// GitHub refuses all calls.
        suspended: bool,
        /// Repositories that were added, as far as the payload lists them.
        repositories: Vec<EventRepository>,
        /// Repositories that the installation no longer covers.
        removed: Vec<EventRepository>,
    },
    /// The App was uninstalled.
    InstallationRemoved { installation: i64 },
    /// A person asked to run our check again.
    CheckRerequested {
        installation: i64,
        repository: EventRepository,
        head_sha: CommitSha,
        /// Identifies the evaluation of that check.
        external_id: Option<String>,
    },
    /// A person asked to run all checks of a commit again.
    SuiteRerequested { installation: i64, repository: EventRepository, head_sha: CommitSha },
    /// A person pressed a button of our check.
    CheckAction {
        installation: i64,
        repository: EventRepository,
        head_sha: CommitSha,
        /// Identifies the evaluation of that check.
        external_id: Option<String>,
        /// Our identifier of the button.
        identifier: String,
        /// Login of the person. Permission is checked later.
        sender: String,
    },
    /// A workflow run was requested, started or completed.
    WorkflowRun { installation: i64, repository: EventRepository, run: WorkflowRunUpdate },
    /// A merge queue requests checks of a group of pull requests, or no longer needs them.
    MergeGroup {
        installation: i64,
        repository: EventRepository,
        /// The commit that would become the head of the base branch.
        head_sha: CommitSha,
        /// Without `refs/heads/`.
        base_branch: String,
        /// Head of the base branch when the group was created.
        base_sha: CommitSha,
        /// False once the group was merged, removed or replaced.
        wanted: bool,
    },
    /// A branch was created, moved or deleted.
    Push {
        installation: i64,
        repository: EventRepository,
        /// Without `refs/heads/`.
        branch: String,
        /// None when the branch was deleted.
        head_sha: Option<CommitSha>,
    },
    /// A repository was renamed, transferred or archived, or its visibility or default branch changed.
    Repository {
        installation: i64,
        repository: EventRepository,
        /// The `action` in the payload.
        action: String,
    },
}

/// The state of a workflow run in a delivery. It may be out of date. So users of it compare `attempt`
/// and `progress`, or fetch the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRunUpdate {
    pub id: i64,
    /// Counted from 1. A rerun keeps `id` and increases this.
    pub attempt: i64,
    pub workflow_id: i64,
    /// The workflow's name, at most 255 characters.
    pub name: String,
    /// The workflow's file, relative to the repository's root.
    pub path: String,
    /// The event that started it: `push`, `pull_request`, ...
    pub event: String,
    /// The commit that GitHub shows it on.
    pub head_sha: CommitSha,
    pub progress: RunProgress,
}

/// Progress of a workflow run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunProgress {
    /// It waits for a runner, for other runs or for an approval.
    Queued,
    InProgress,
    Completed,
}

impl RunProgress {
    /// Converts GitHub's status; an unknown one counts as queued. A fork's run that waits for approval
    /// counts as queued, too: GitHub calls it completed but continues the same attempt after approval.
    #[must_use]
    pub fn of(status: &str, conclusion: Option<&str>) -> Self {
        match status {
            "completed" if conclusion == Some("action_required") => Self::Queued,
            "completed" => Self::Completed,
            "in_progress" => Self::InProgress,
            _ => Self::Queued,
        }
    }
}

/// The subject of events about a pull request.
#[must_use]
pub fn pull_request_subject(repository_id: i64, number: i64) -> String {
    format!("pull {repository_id}:{number}")
}

impl Event {
    /// The thing that the event is about. Events with the same subject are handled one at a time.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::PullRequest { repository, number, .. } => pull_request_subject(repository.id, *number),
            Self::InstallationPresent { installation, .. } | Self::InstallationRemoved { installation } => {
                format!("installation {installation}")
            }
            Self::CheckRerequested { repository, head_sha, .. }
            | Self::SuiteRerequested { repository, head_sha, .. }
            | Self::CheckAction { repository, head_sha, .. }
            | Self::MergeGroup { repository, head_sha, .. } => {
                format!("head {}:{head_sha}", repository.id)
            }
            Self::WorkflowRun { repository, run, .. } => format!("run {}:{}", repository.id, run.id),
            Self::Push { repository, branch, .. } => format!("branch {}:{branch}", repository.id),
            Self::Repository { repository, .. } => format!("repository {}", repository.id),
        }
    }
}

/// Parses a verified delivery. `None`: an event or action that we do not handle.
///
/// # Errors
/// [`WebhookError::Payload`].
pub fn parse(event: &str, body: &[u8]) -> Result<Option<Event>, WebhookError> {
    payload::read(event, body)
        .map_err(|e| WebhookError::Payload { event: event.to_owned(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_waiting_for_approval_are_queued() {
        let cases = [
            ("completed", Some("success"), RunProgress::Completed),
            ("completed", Some("action_required"), RunProgress::Queued),
            ("completed", None, RunProgress::Completed),
            ("in_progress", None, RunProgress::InProgress),
            ("waiting", None, RunProgress::Queued),
        ];
        for (status, conclusion, expected) in cases {
            assert_eq!(RunProgress::of(status, conclusion), expected, "{status} {conclusion:?}");
        }
    }

    /// The example of GitHub's documentation, "Validating webhook deliveries".
    #[test]
    fn documented_signature_is_accepted() {
        let secrets = ["It's a Secret to Everybody".to_owned().into()];
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify(&secrets, Some(signature), b"Hello, World!"), Ok(()));
        assert_eq!(verify(&secrets, Some(signature), b"Hello, World?"), Err(WebhookError::Signature));
    }

    #[test]
    fn other_signatures_are_rejected() {
        let secrets: [SecretString; 1] = ["s".to_owned().into()];
        for wrong in [None, Some(""), Some("sha256="), Some("sha256=zz"), Some("sha1=00")] {
            assert_eq!(verify(&secrets, wrong, b""), Err(WebhookError::Signature), "{wrong:?}");
        }
        assert_eq!(
            verify(&[], Some("sha256=00"), b""),
            Err(WebhookError::Signature),
            "without a secret nothing is accepted"
        );
    }

    #[test]
    fn either_secret_is_accepted_during_rotation() {
        let sign = |secret: &str| {
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
            format!("sha256={}", hex::encode(mac.chain_update(b"{}").finalize().into_bytes()))
        };
        let secrets = ["new".to_owned().into(), "old".to_owned().into()];
        assert_eq!(verify(&secrets, Some(&sign("old")), b"{}"), Ok(()));
        assert_eq!(verify(&secrets, Some(&sign("new")), b"{}"), Ok(()));
    }

    #[test]
    fn unhandled_events_are_not_errors() {
        assert_eq!(parse("star", b"not even JSON"), Ok(None));
        let error = parse("pull_request", b"{}").expect_err("no number");
        assert!(error.to_string().contains("missing field"), "{error}");
    }
}
