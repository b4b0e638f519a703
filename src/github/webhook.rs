//! A delivery: verified over its raw bytes before anything reads them, then parsed into a
//! closed set of events. Pure: no clock, no database, no network.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::model::ids::{CommitSha, RepoName};

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
}

impl Event {
    /// What the event is about: events about one thing are handled one at a time.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::PullRequest { repository, number, .. } => format!("pull {}:{number}", repository.id),
            Self::InstallationPresent { installation, .. } | Self::InstallationRemoved { installation } => {
                format!("installation {installation}")
            }
            Self::CheckRerequested { repository, head_sha, .. } => {
                format!("head {}:{head_sha}", repository.id)
            }
        }
    }
}

#[derive(Deserialize)]
struct Installation {
    id: i64,
    account: Option<Account>,
    suspended_at: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

/// Parses a verified delivery. `None`: an event, or an action of one, that we do not act on.
///
/// # Errors
/// [`WebhookError::Payload`].
pub fn parse(event: &str, body: &[u8]) -> Result<Option<Event>, WebhookError> {
    let read = match event {
        "pull_request" => pull_request(body),
        "installation" => installation(body),
        "installation_repositories" => installation_repositories(body),
        "check_run" => check_run(body),
        _ => Ok(None),
    };
    read.map_err(|e| WebhookError::Payload { event: event.to_owned(), reason: e.to_string() })
}

fn pull_request(body: &[u8]) -> Result<Option<Event>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Payload {
        action: String,
        number: i64,
        pull_request: PullRequest,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct PullRequest {
        head: Head,
        updated_at: String,
    }
    #[derive(Deserialize)]
    struct Head {
        sha: CommitSha,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    let wanted = ["opened", "synchronize", "reopened", "ready_for_review", "edited", "closed"];
    Ok(match payload.installation {
        Some(installation) if wanted.contains(&payload.action.as_str()) => Some(Event::PullRequest {
            installation: installation.id,
            repository: payload.repository,
            number: payload.number,
            head_sha: payload.pull_request.head.sha,
            updated_at: payload.pull_request.updated_at,
        }),
        _ => None,
    })
}

#[derive(Deserialize)]
struct Reference {
    id: i64,
}

fn installation(body: &[u8]) -> Result<Option<Event>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Payload {
        action: String,
        installation: Installation,
        #[serde(default)]
        repositories: Option<Vec<EventRepository>>,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    Ok(match payload.action.as_str() {
        "deleted" => Some(Event::InstallationRemoved { installation: payload.installation.id }),
        "created" | "suspend" | "unsuspend" | "new_permissions_accepted" => {
            let repositories = payload.repositories.unwrap_or_default();
            let suspended = payload.action == "suspend"
                || (payload.action != "unsuspend" && payload.installation.suspended_at.is_some());
            Some(present(payload.installation, suspended, repositories, Vec::new()))
        }
        _ => None,
    })
}

fn installation_repositories(body: &[u8]) -> Result<Option<Event>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Payload {
        installation: Installation,
        #[serde(default)]
        repositories_added: Vec<EventRepository>,
        #[serde(default)]
        repositories_removed: Vec<EventRepository>,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    let suspended = payload.installation.suspended_at.is_some();
    Ok(Some(present(
        payload.installation,
        suspended,
        payload.repositories_added,
        payload.repositories_removed,
    )))
}

fn present(
    installation: Installation,
    suspended: bool,
    repositories: Vec<EventRepository>,
    removed: Vec<EventRepository>,
) -> Event {
    Event::InstallationPresent {
        installation: installation.id,
        account: installation.account.map(|a| a.login).unwrap_or_default(),
        suspended,
        repositories,
        removed,
    }
}

fn check_run(body: &[u8]) -> Result<Option<Event>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Payload {
        action: String,
        check_run: CheckRun,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct CheckRun {
        head_sha: CommitSha,
        external_id: Option<String>,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    Ok(match payload.installation {
        // Only the App that made a check run is told that it was asked for again.
        Some(installation) if payload.action == "rerequested" => Some(Event::CheckRerequested {
            installation: installation.id,
            repository: payload.repository,
            head_sha: payload.check_run.head_sha,
            external_id: payload.check_run.external_id.filter(|id| !id.is_empty()),
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
