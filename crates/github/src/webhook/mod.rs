//! A delivery: verified over its raw bytes before anything reads them, then parsed (`payload`)
//! into a closed set of events. Pure: no clock, no database, no network.

mod payload;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use pacegate_engine::model::ids::{CommitSha, RepoName};

/// Why a delivery is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// No signature, or not made with a secret of ours.
    #[error(
        "the signature is missing or wrong; do GitHub and PACEGATE_GITHUB_WEBHOOK_SECRET have the same secret?"
    )]
    Signature,
    /// Signed, but not what GitHub's description promises for the event.
    #[error("the payload of `{event}` can't be read: {reason}")]
    Payload {
        /// The event's name.
        event: String,
        /// What is wrong and where.
        reason: String,
    },
}

/// Checks `X-Hub-Signature-256` over the raw body, in constant time, against each secret:
/// two are in force while one is being replaced.
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
    /// GitHub's number.
    pub id: i64,
    /// Its name now.
    pub full_name: RepoName,
    /// Whether only members may see it.
    #[serde(default = "assume_private")]
    pub private: bool,
    /// Where the payload has it.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Whether it is read-only, where the payload has it.
    #[serde(default)]
    pub archived: bool,
}

/// Private until GitHub says otherwise: the careful guess.
fn assume_private() -> bool {
    true
}

/// An event we act on. What we do with it starts from GitHub's present state, not from the
/// payload: deliveries come late, twice and out of order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A pull request's head or state changed.
    PullRequest {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// Which.
        number: i64,
        /// Its head when this was sent: remembered even when a newer one is there already.
        head_sha: CommitSha,
        /// When that was, RFC 3339.
        updated_at: String,
    },
    /// The App was installed, or its account's choice changed.
    InstallationPresent {
        /// The installation.
        installation: i64,
        /// Whose.
        account: String,
        /// Suspended: nothing may be called.
        suspended: bool,
        /// Repositories it may act on, as far as the payload lists them.
        repositories: Vec<EventRepository>,
        /// Repositories it may no longer act on.
        removed: Vec<EventRepository>,
    },
    /// The App was uninstalled.
    InstallationRemoved {
        /// The installation.
        installation: i64,
    },
    /// Somebody asked for our check again.
    CheckRerequested {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// The head.
        head_sha: CommitSha,
        /// The evaluation whose check was asked for again.
        external_id: Option<String>,
    },
    /// Somebody asked for all checks of a commit again.
    SuiteRerequested {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// The head.
        head_sha: CommitSha,
    },
    /// Somebody pressed a button of our check.
    CheckAction {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// The head.
        head_sha: CommitSha,
        /// The evaluation whose check has the button.
        external_id: Option<String>,
        /// Which button, as we named it.
        identifier: String,
        /// Who pressed it. May they? That is asked.
        sender: String,
    },
    /// A run of a workflow was requested, began or ended.
    WorkflowRun {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// The run as it was when this was sent.
        run: WorkflowRunNews,
    },
    /// A merge queue wants to know about a group of pull requests, or no longer does.
    MergeGroup {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// The commit that would become the branch's newest.
        head_sha: CommitSha,
        /// The branch, without `refs/heads/`.
        base_branch: String,
        /// Its newest commit when the group was made.
        base_sha: CommitSha,
        /// False once it was merged, taken back or replaced.
        wanted: bool,
    },
    /// A branch moved, came or went.
    Push {
        /// The installation that may act.
        installation: i64,
        /// Where.
        repository: EventRepository,
        /// Its name without `refs/heads/`.
        branch: String,
        /// Its newest commit; none when it was deleted.
        head_sha: Option<CommitSha>,
    },
    /// A repository was renamed, moved, archived, made public or private, or has another
    /// default branch.
    Repository {
        /// The installation that may act.
        installation: i64,
        /// The repository as it is now.
        repository: EventRepository,
        /// GitHub's word for what happened.
        action: String,
    },
}

/// What a delivery says of a workflow run. Old news come late: who uses it compares `attempt`
/// and how far it got, or asks GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRunNews {
    /// GitHub's number.
    pub id: i64,
    /// 1 for the first; a rerun keeps the number and counts this up.
    pub attempt: i64,
    /// GitHub's number of the workflow.
    pub workflow_id: i64,
    /// The workflow's name, bounded.
    pub name: String,
    /// The workflow's file, from the repository's root, bounded.
    pub path: String,
    /// What started it: `push`, `pull_request`, ...
    pub event: String,
    /// The commit it is shown on.
    pub head_sha: CommitSha,
    /// How far it is.
    pub progress: RunProgress,
}

/// How far a workflow run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunProgress {
    /// Waiting for a runner, for other runs or for somebody's approval.
    Queued,
    /// Running.
    InProgress,
    /// Ended.
    Completed,
}

impl RunProgress {
    /// From GitHub's many words; one that is not known yet counts as queued. So does a run of a
    /// fork that waits for somebody's approval: GitHub calls it completed, and goes on with the same
    /// attempt when it is approved.
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

/// What is about a pull request: GitHub's number of its repository, and its own.
#[must_use]
pub fn pull_request_subject(repository_id: i64, number: i64) -> String {
    format!("pull {repository_id}:{number}")
}

impl Event {
    /// What the event is about: events about one thing are handled one at a time.
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

/// Parses a verified delivery. `None`: an event, or an action of one, that we do not act on.
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
    fn a_run_that_waits_for_approval_has_not_ended() {
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
    fn the_documentation_s_signature_is_right() {
        let secrets = ["It's a Secret to Everybody".to_owned().into()];
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify(&secrets, Some(signature), b"Hello, World!"), Ok(()));
        assert_eq!(verify(&secrets, Some(signature), b"Hello, World?"), Err(WebhookError::Signature));
    }

    #[test]
    fn anything_else_is_refused() {
        let secrets: [SecretString; 1] = ["s".to_owned().into()];
        for wrong in [None, Some(""), Some("sha256="), Some("sha256=zz"), Some("sha1=00")] {
            assert_eq!(verify(&secrets, wrong, b""), Err(WebhookError::Signature), "{wrong:?}");
        }
        assert_eq!(
            verify(&[], Some("sha256=00"), b""),
            Err(WebhookError::Signature),
            "no secret, no entrance"
        );
    }

    #[test]
    fn either_secret_is_good_during_rotation() {
        let sign = |secret: &str| {
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
            format!("sha256={}", hex::encode(mac.chain_update(b"{}").finalize().into_bytes()))
        };
        let secrets = ["new".to_owned().into(), "old".to_owned().into()];
        assert_eq!(verify(&secrets, Some(&sign("old")), b"{}"), Ok(()));
        assert_eq!(verify(&secrets, Some(&sign("new")), b"{}"), Ok(()));
    }

    #[test]
    fn what_we_do_not_act_on_is_not_an_error() {
        assert_eq!(parse("star", b"not even JSON"), Ok(None));
        let error = parse("pull_request", b"{}").expect_err("no number");
        assert!(error.to_string().contains("missing field"), "{error}");
    }
}
