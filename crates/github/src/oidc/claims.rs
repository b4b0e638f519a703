//! Checks every claim of a job's token. Pure. The subject (`sub`) is never read: it has several forms,
//! and a repository may choose its own. The repository's number identifies the owner of a token.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::OidcError;
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoName};
use pacegate_engine::model::time::Timestamp;

/// Allowed difference between GitHub's clock and ours.
pub(super) const LEEWAY: Duration = Duration::from_mins(1);
/// Longest lifetime of a token, seconds. GitHub's live for minutes. Each token is remembered for its
/// lifetime, so that it is accepted only once.
const LIFE_S: i64 = 3_600;
/// Longest text in a claim, bytes.
const TEXT: usize = 300;

/// Accepted events. Their runs belong to the commit that GitHub names. Its author may write to the
/// repository, or the run is judged as a pull request.
///
/// Other events are missing because a stranger may trigger them and they run the base branch's
/// workflow. Their jobs often check out the stranger's code, and their times would count for the base
/// branch. Such events are:
/// - `pull_request_target`, `workflow_run`, `issue_comment`, `issues` and similar ones;
/// - `repository_dispatch`, which has a payload of its caller.
const EVENTS: [&str; 6] = ["push", "pull_request", "merge_group", "schedule", "workflow_dispatch", "release"];

/// The claims of a token, unchecked.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    repository: String,
    #[serde(deserialize_with = "number")]
    repository_id: Option<i64>,
    #[serde(deserialize_with = "number")]
    run_id: Option<i64>,
    #[serde(deserialize_with = "number")]
    run_attempt: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    check_run_id: Option<i64>,
    event_name: String,
    #[serde(rename = "ref")]
    git_ref: String,
    sha: String,
    #[serde(default)]
    head_ref: Option<String>,
}

/// The job that a verified token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobToken {
    /// Identifies the token, which is accepted only once.
    pub id: String,
    /// End of the token's validity, with the allowed clock difference added.
    pub usable_until: Timestamp,
    /// GitHub's number of the repository.
    pub repository_id: i64,
    /// The name when the job began.
    pub repository: RepoName,
    /// GitHub's number of the workflow run.
    pub run_id: i64,
    /// Counted from 1.
    pub run_attempt: u32,
    /// GitHub's number of the job. Older servers leave it out.
    pub check_run_id: Option<i64>,
    /// The event that started the run.
    pub event: &'static str,
    /// The commit of the run. For a pull request it is GitHub's merge commit.
    pub sha: CommitSha,
    pub pull_request: Option<PrNumber>,
}

impl Claims {
    /// Checks every claim.
    pub(super) fn checked(self, issuer: &str, audience: &str, now: Timestamp) -> Result<JobToken, OidcError> {
        if self.iss.trim_end_matches('/') != issuer {
            return Err(OidcError::Issuer { expected: issuer.to_owned() });
        }
        let audience = audience.trim_end_matches('/');
        if audience.is_empty() || self.aud.trim_end_matches('/') != audience {
            return Err(OidcError::Audience { expected: audience.to_owned() });
        }
        self.check_times(now)?;
        let id = bounded(self.jti, "jti")?;
        let repository_id = positive(self.repository_id, "repository_id")?;
        let run_id = positive(self.run_id, "run_id")?;
        let attempt = positive(self.run_attempt, "run_attempt")?;
        let run_attempt = u32::try_from(attempt).map_err(|_| OidcError::Claim { claim: "run_attempt" })?;
        let check_run_id = self.check_run_id.map(|id| positive(Some(id), "check_run_id")).transpose()?;
        let repository = self.repository.parse().map_err(|_| OidcError::Claim { claim: "repository" })?;
        let sha: CommitSha = self.sha.parse().map_err(|_| OidcError::Claim { claim: "sha" })?;
        let git_ref = bounded(self.git_ref, "ref")?;
        let event = known_event(&self.event_name)?;
        let pull_request = pull_request_of(&git_ref);
        // Runs of pull requests, and only these, have the ref of a merge.
        if (event == "pull_request") != pull_request.is_some() {
            return Err(OidcError::Claim { claim: "ref" });
        }
        let head_ref = self.head_ref.filter(|head| !head.is_empty());
        if head_ref.as_ref().is_some_and(|head| head.len() > TEXT)
            || (event == "pull_request") != head_ref.is_some()
        {
            return Err(OidcError::Claim { claim: "head_ref" });
        }
        let usable_until = Timestamp(self.exp.saturating_mul(1_000_000)).after(LEEWAY);
        Ok(JobToken {
            id,
            usable_until,
            repository_id,
            repository,
            run_id,
            run_attempt,
            check_run_id,
            event,
            sha,
            pull_request,
        })
    }

    fn check_times(&self, now: Timestamp) -> Result<(), OidcError> {
        let (now, leeway) = (now.as_secs(), LEEWAY.as_secs().cast_signed());
        if self.exp.saturating_add(leeway) <= now {
            return Err(OidcError::Expired);
        }
        if self.nbf.max(self.iat).saturating_sub(leeway) > now {
            return Err(OidcError::NotYetValid);
        }
        if self.exp <= self.iat || self.exp.saturating_sub(self.iat) > LIFE_S {
            return Err(OidcError::Claim { claim: "exp" });
        }
        Ok(())
    }
}

fn known_event(name: &str) -> Result<&'static str, OidcError> {
    let known = EVENTS.iter().find(|known| **known == name);
    known.copied().ok_or_else(|| {
        let is_a_name = name.len() <= 50 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let event = if is_a_name && !name.is_empty() { name } else { "of an unknown name" };
        OidcError::Event { event: event.to_owned() }
    })
}

/// `refs/pull/7/merge`.
fn pull_request_of(git_ref: &str) -> Option<PrNumber> {
    let number = git_ref.strip_prefix("refs/pull/")?.strip_suffix("/merge")?;
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|number| digits && *number > 0).map(PrNumber)
}

fn bounded(text: String, claim: &'static str) -> Result<String, OidcError> {
    let is_plain = !text.is_empty() && text.len() <= TEXT && !text.chars().any(char::is_control);
    if is_plain { Ok(text) } else { Err(OidcError::Claim { claim }) }
}

fn positive(number: Option<i64>, claim: &'static str) -> Result<i64, OidcError> {
    number.filter(|number| *number > 0).ok_or(OidcError::Claim { claim })
}

/// GitHub writes numbers as texts. Any other value becomes 0, which is never a valid number.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(i64),
        Text(String),
        Else(serde::de::IgnoredAny),
    }
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| match written {
        Written::Number(number) => number,
        Written::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().unwrap_or(0),
        Written::Text(_) | Written::Else(_) => 0,
    }))
}
