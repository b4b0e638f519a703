//! The claims of a job's token, each held against what it has to be. Pure. The subject (`sub`) is never
//! read: it has several forms, and a repository may choose its own; its number says whose a token is.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::OidcError;
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoName};
use pacegate_engine::model::time::Timestamp;

/// How much GitHub's clock and ours may differ.
pub const LEEWAY: Duration = Duration::from_mins(1);
/// The longest a token may live: GitHub's live for minutes, and each is remembered for as long.
const LIFE_S: i64 = 3_600;
/// The longest identifier of a token, name of a ref, name of an event, in bytes.
const TEXT: usize = 300;

/// Events whose run is of the commit that GitHub names, written by who may write to the repository or
/// judged as a pull request. Not here: those that run the base branch's workflow at a stranger's
/// word (`pull_request_target`, `workflow_run`, `issue_comment`, `issues` and their like) or with a
/// caller's payload (`repository_dispatch`): their jobs often check out the stranger's code, and would
/// speak for the base branch.
const EVENTS: [&str; 6] = ["push", "pull_request", "merge_group", "schedule", "workflow_dispatch", "release"];

/// A token's claims as they are written.
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

/// Which job a verified token is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobToken {
    /// The token's own identifier: it is taken once.
    pub id: String,
    /// Until when it could be used, clocks that differ counted in.
    pub usable_until: Timestamp,
    /// GitHub's number of the repository.
    pub repository_id: i64,
    /// Its name when the job began.
    pub repository: RepoName,
    /// GitHub's number of the workflow run.
    pub run_id: i64,
    /// 1 for the first.
    pub run_attempt: u32,
    /// GitHub's number of the job, which older servers do not tell.
    pub check_run_id: Option<i64>,
    /// What started the run.
    pub event: &'static str,
    /// The commit that was checked out: of a pull request, a merge that GitHub made.
    pub sha: CommitSha,
    /// The pull request that the run is of.
    pub pull_request: Option<PrNumber>,
}

impl Claims {
    /// Holds every claim against what it has to be.
    pub(super) fn checked(self, issuer: &str, audience: &str, now: Timestamp) -> Result<JobToken, OidcError> {
        if self.iss.trim_end_matches('/') != issuer {
            return Err(OidcError::Issuer { expected: issuer.to_owned() });
        }
        let audience = audience.trim_end_matches('/');
        if audience.is_empty() || self.aud.trim_end_matches('/') != audience {
            return Err(OidcError::Audience { expected: audience.to_owned() });
        }
        self.is_of_now(now)?;
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
        // A pull request's run is of its merge, and nothing else is.
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

    fn is_of_now(&self, now: Timestamp) -> Result<(), OidcError> {
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

/// GitHub writes numbers as texts; what is neither is 0, which nobody has.
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
