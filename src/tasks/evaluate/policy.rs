//! The policy for a head: the newest of the base branch, never the change's own. Three cases become a
//! note of the comparison and not an error: an unusable file, a missing permission, and a change of the
//! file.

use std::time::Duration;

use serde::Serialize;

use super::contents::{Access, Lookup, NOT_TEXT, access, fetch, file_at};
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::policy::{
    GatePolicy, Mistake, PolicyError, PolicyFacts, PolicySource, UnusablePolicy,
};
use pacegate_github::GitHubError;
use pacegate_store::{StoredFile, StoredPolicy};

/// Paths of the policy file. The first existing one counts.
const PATHS: [&str; 2] = [".github/pacegate.yml", ".github/pacegate.yaml"];
/// A fetched policy is reused for this long, unless a push to the branch is known.
const FRESH: Duration = Duration::from_mins(1);

/// The policy of one comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct Governing {
    pub policy: GatePolicy,
    /// Stored with the comparison.
    pub facts: PolicyFacts,
    /// Shown with the comparison.
    pub notes: Vec<Note>,
    text: Option<String>,
}

impl Governing {
    /// Everything that a comparison depends on, as an input of its digest.
    pub(super) fn digest_input(&self) -> impl Serialize {
        (self.text.as_deref(), &self.facts, &self.notes)
    }
}

/// The result of looking for the policy file of a branch.
enum BranchPolicy {
    Known(Option<StoredFile>),
    NotGranted,
    NoGitHub,
}

/// The policy of a base branch. `head` is the head of a change that GitHub announced: its own file is
/// compared with the base branch's.
pub(super) async fn governing(
    context: &WorkerContext,
    repo: RepoId,
    base_branch: Option<&str>,
    head: Option<&CommitSha>,
) -> Result<Governing, TaskError> {
    let Some(branch) = base_branch else { return Ok(defaults(vec![])) };
    let base = match of_branch(context, repo, branch, head.is_some()).await? {
        BranchPolicy::Known(file) => file,
        BranchPolicy::NotGranted => return Ok(defaults(vec![Note::FilesWithheld])),
        BranchPolicy::NoGitHub => return Ok(defaults(vec![])),
    };
    let mut governing =
        Governing { text: base.as_ref().map(|file| file.text.clone()), ..Governing::default() };
    let branch_name = branch.to_owned();
    governing.facts.source = match &base {
        Some(file) => PolicySource::File { path: file.path.clone(), branch: branch_name },
        None => PolicySource::NoFile { branch: branch_name },
    };
    if let Some(file) = &base {
        match read(&file.text) {
            Ok(policy) => governing.policy = policy,
            Err(error) => governing.facts.unusable = Some(unusable(file, Some(branch), error)),
        }
    }
    governing.facts.mode = governing.policy.mode();
    governing.facts.comment = governing.policy.comment();
    if let Some(head) = head
        && let Some(own) = own_file(context, repo, head, base.as_ref()).await?
    {
        note_difference(&mut governing, base.as_ref(), own.as_ref(), branch);
    }
    Ok(governing)
}

fn defaults(notes: Vec<Note>) -> Governing {
    let facts = PolicyFacts { source: PolicySource::Defaults, ..PolicyFacts::default() };
    Governing { facts, notes, ..Governing::default() }
}

/// Adds a note if the change's own file differs from the base branch's.
fn note_difference(
    governing: &mut Governing,
    base: Option<&StoredFile>,
    own: Option<&StoredFile>,
    branch: &str,
) {
    if base == own {
        return;
    }
    // A change that is behind its base branch may differ without an edit of its own.
    let note = match (base, own) {
        (_, Some(own)) => Note::PolicyDiffers { path: own.path.clone(), branch: branch.to_owned() },
        (Some(base), None) => Note::PolicyRemoved { path: base.path.clone() },
        (None, None) => return,
    };
    governing.notes.push(note);
    if let Some(own) = own
        && let Err(error) = read(&own.text)
    {
        governing.facts.unusable_edit = Some(unusable(own, None, error));
    }
}

fn read(text: &str) -> Result<GatePolicy, PolicyError> {
    if text == NOT_TEXT {
        let text = "the file is too large, or is not text in UTF-8".to_owned();
        return Err(PolicyError { mistakes: vec![Mistake { line: 1, column: 1, text }] });
    }
    GatePolicy::from_yaml(text)
}

fn unusable(file: &StoredFile, branch: Option<&str>, error: PolicyError) -> UnusablePolicy {
    UnusablePolicy { path: file.path.clone(), branch: branch.map(str::to_owned), mistakes: error.mistakes }
}

/// The policy file of a branch: the stored one while it is fresh, else GitHub's. If GitHub can't answer,
/// the stored one is used until a push outdates it. Only a caller that will publish waits for a suspended
/// installation.
async fn of_branch(
    context: &WorkerContext,
    repo: RepoId,
    branch: &str,
    will_publish: bool,
) -> Result<BranchPolicy, TaskError> {
    let kept = context.db.read().await?.policy(repo, branch).await?;
    let now = context.clock.now();
    let fresh = |kept: &StoredPolicy| kept.fetched_at.is_some_and(|at| now < at.after(FRESH));
    if let Some(kept) = kept.as_ref().filter(|kept| fresh(kept)) {
        return Ok(BranchPolicy::Known(kept.file.clone()));
    }
    match ask(context, repo, branch).await {
        Ok(BranchPolicy::Known(file)) => {
            let mut tx = context.db.write().await?;
            tx.record_policy(repo, branch, file.as_ref(), now).await?;
            tx.commit().await?;
            Ok(BranchPolicy::Known(file))
        }
        Err(error) => match kept.filter(|kept| kept.fetched_at.is_some() && has_no_answer(&error)) {
            Some(kept) => Ok(BranchPolicy::Known(kept.file)),
            None if matches!(error, TaskError::TooEarly(_)) && !will_publish => Ok(BranchPolicy::NoGitHub),
            None => Err(error),
        },
        known => known,
    }
}

/// Whether GitHub gave no answer about the file.
fn has_no_answer(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::TooEarly(_)
            | TaskError::GitHub(
                GitHubError::Unavailable { .. }
                    | GitHubError::RateLimited { .. }
                    | GitHubError::Postponed { .. }
                    | GitHubError::RateLimiter { .. }
            )
    )
}

async fn ask(context: &WorkerContext, repo: RepoId, branch: &str) -> Result<BranchPolicy, TaskError> {
    let client = match access(context, repo).await? {
        Access::Granted(client) => client,
        Access::NotGranted => return Ok(BranchPolicy::NotGranted),
        Access::NoGitHub => return Ok(BranchPolicy::NoGitHub),
    };
    for path in PATHS {
        match fetch(&client, path, branch).await? {
            Lookup::Known(Some(text)) => {
                return Ok(BranchPolicy::Known(Some(StoredFile { path: path.to_owned(), text })));
            }
            Lookup::Known(None) => {}
            Lookup::NotGranted => return Ok(BranchPolicy::NotGranted),
            Lookup::NoGitHub => return Ok(BranchPolicy::NoGitHub),
        }
    }
    Ok(BranchPolicy::Known(None))
}

/// The change's own policy file. The outer `None`: it can't be read.
async fn own_file(
    context: &WorkerContext,
    repo: RepoId,
    head: &CommitSha,
    base: Option<&StoredFile>,
) -> Result<Option<Option<StoredFile>>, TaskError> {
    // Most changes do not touch the file, so the path in the base branch is tried first.
    let first = base.map_or(PATHS[0], |file| file.path.as_str());
    for path in std::iter::once(first).chain(PATHS.into_iter().filter(|path| *path != first)) {
        match file_at(context, repo, head, path).await? {
            Lookup::Known(Some(text)) => return Ok(Some(Some(StoredFile { path: path.to_owned(), text }))),
            Lookup::Known(None) => {}
            Lookup::NotGranted | Lookup::NoGitHub => return Ok(None),
        }
    }
    Ok(Some(None))
}
