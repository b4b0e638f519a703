//! Parsers for the payloads of GitHub's events, one function for each event. Fields that we don't read
//! are not declared, so GitHub may change them.

use serde::{Deserialize, Deserializer};

use super::{Event, EventRepository, RunProgress, WorkflowRunUpdate};
use pacegate_engine::model::ids::CommitSha;

/// Longer texts of a payload are cut, characters.
const MAX_TEXT: usize = 255;

type Parsed = Result<Option<Event>, serde_json::Error>;

pub(super) fn read(event: &str, body: &[u8]) -> Parsed {
    match event {
        "pull_request" => pull_request(body),
        "installation" => installation(body),
        "installation_repositories" => installation_repositories(body),
        "check_run" => check_run(body),
        "check_suite" => check_suite(body),
        "workflow_run" => workflow_run(body),
        "merge_group" => merge_group(body),
        "push" => push(body),
        "repository" => repository(body),
        // `workflow_job` is ignored, too. A run is read when all of it has ended. GitHub also sends this
        // event for check runs that steps create.
        _ => Ok(None),
    }
}

#[derive(Deserialize)]
struct Reference {
    id: i64,
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

/// Cuts a text at [`MAX_TEXT`] characters.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(String::deserialize(deserializer)?.chars().take(MAX_TEXT).collect())
}

/// The same; null becomes empty.
fn bounded_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(text.chars().take(MAX_TEXT).collect())
}

fn branch_of(git_ref: &str) -> Option<String> {
    git_ref.strip_prefix("refs/heads/").filter(|name| !name.is_empty()).map(str::to_owned)
}

fn pull_request(body: &[u8]) -> Parsed {
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

fn installation(body: &[u8]) -> Parsed {
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

fn installation_repositories(body: &[u8]) -> Parsed {
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

/// GitHub sends `rerequested` and `requested_action` only to the App that created the check run.
fn check_run(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Payload {
        action: String,
        check_run: CheckRun,
        repository: EventRepository,
        requested_action: Option<RequestedAction>,
        sender: Option<Account>,
        installation: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct CheckRun {
        head_sha: CommitSha,
        external_id: Option<String>,
    }
    #[derive(Deserialize)]
    struct RequestedAction {
        #[serde(deserialize_with = "bounded")]
        identifier: String,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    let Some(installation) = payload.installation.map(|reference| reference.id) else { return Ok(None) };
    let (repository, head_sha) = (payload.repository, payload.check_run.head_sha);
    let external_id = payload.check_run.external_id.filter(|id| !id.is_empty());
    Ok(match (payload.action.as_str(), payload.requested_action, payload.sender) {
        ("rerequested", ..) => {
            Some(Event::CheckRerequested { installation, repository, head_sha, external_id })
        }
        ("requested_action", Some(action), Some(sender)) => Some(Event::CheckAction {
            installation,
            repository,
            head_sha,
            external_id,
            identifier: action.identifier,
            sender: sender.login,
        }),
        _ => None,
    })
}

fn check_suite(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Payload {
        action: String,
        check_suite: CheckSuite,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct CheckSuite {
        head_sha: CommitSha,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    Ok(match payload.installation {
        Some(installation) if payload.action == "rerequested" => Some(Event::SuiteRerequested {
            installation: installation.id,
            repository: payload.repository,
            head_sha: payload.check_suite.head_sha,
        }),
        _ => None,
    })
}

fn workflow_run(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Payload {
        workflow_run: WorkflowRun,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct WorkflowRun {
        id: i64,
        #[serde(default = "first")]
        run_attempt: i64,
        workflow_id: i64,
        #[serde(default, deserialize_with = "bounded_or_empty")]
        name: String,
        #[serde(default, deserialize_with = "bounded_or_empty")]
        path: String,
        #[serde(deserialize_with = "bounded")]
        event: String,
        head_sha: CommitSha,
        #[serde(default, deserialize_with = "bounded_or_empty")]
        status: String,
        #[serde(default, deserialize_with = "bounded_or_empty")]
        conclusion: String,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    let run = payload.workflow_run;
    Ok(payload.installation.map(|installation| Event::WorkflowRun {
        installation: installation.id,
        repository: payload.repository,
        run: WorkflowRunUpdate {
            id: run.id,
            attempt: run.run_attempt.max(1),
            workflow_id: run.workflow_id,
            name: run.name,
            // GitHub sends `path@ref` when the file is from another commit.
            path: run.path.split('@').next().unwrap_or_default().to_owned(),
            event: run.event,
            head_sha: run.head_sha,
            progress: RunProgress::of(&run.status, Some(&run.conclusion)),
        },
    }))
}

/// Old Enterprise Servers do not count attempts.
fn first() -> i64 {
    1
}

fn merge_group(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Payload {
        action: String,
        merge_group: MergeGroup,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct MergeGroup {
        head_sha: CommitSha,
        base_sha: CommitSha,
        base_ref: String,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    let group = payload.merge_group;
    Ok(match (payload.installation, branch_of(&group.base_ref)) {
        (Some(installation), Some(base_branch)) => Some(Event::MergeGroup {
            installation: installation.id,
            repository: payload.repository,
            head_sha: group.head_sha,
            base_branch,
            base_sha: group.base_sha,
            wanted: payload.action == "checks_requested",
        }),
        _ => None,
    })
}

fn push(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(rename = "ref")]
        git_ref: String,
        after: CommitSha,
        #[serde(default)]
        deleted: bool,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    Ok(match (payload.installation, branch_of(&payload.git_ref)) {
        (Some(installation), Some(branch)) => Some(Event::Push {
            installation: installation.id,
            repository: payload.repository,
            branch,
            head_sha: (!payload.deleted).then_some(payload.after),
        }),
        _ => None, // a tag
    })
}

fn repository(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(deserialize_with = "bounded")]
        action: String,
        repository: EventRepository,
        installation: Option<Reference>,
    }
    let payload: Payload = serde_json::from_slice(body)?;
    Ok(payload.installation.map(|installation| Event::Repository {
        installation: installation.id,
        repository: payload.repository,
        action: payload.action,
    }))
}
