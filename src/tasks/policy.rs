//! The policy a head is judged by: the base branch's newest, never the change's own. A file that
//! can't be used, one that GitHub withholds and a change that differs from it are told, and none
//! of them is an error.

use std::time::Duration;

use super::contents::{Access, Lookup, NOT_TEXT, access, fetch, file_at};
use super::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::policy::{
    GatePolicy, Mistake, PolicyError, PolicyFacts, PolicySource, UnusablePolicy,
};
use pacegate_github::GitHubError;
use pacegate_store::{StoredFile, StoredPolicy};

/// Where the file is, the first that is there.
const PATHS: [&str; 2] = [".github/pacegate.yml", ".github/pacegate.yaml"];
/// So long an answer of GitHub's holds, unless a push is known to have changed the branch.
const FRESH: Duration = Duration::from_mins(1);

/// The policy of one comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct Governing {
    /// What it is judged by.
    pub policy: GatePolicy,
    /// What is kept of that.
    pub facts: PolicyFacts,
    /// What a reader has to know of it.
    pub notes: Vec<Note>,
    text: Option<String>,
}

impl Governing {
    /// Everything of it that a comparison depends on: another policy is another comparison.
    pub(super) fn fingerprint(&self) -> String {
        format!("{:?} {:?} {:?}", self.text, self.facts, self.notes)
    }
}

/// What is known of a branch's policy.
enum BranchPolicy {
    Known(Option<StoredFile>),
    NotGranted,
    NoGitHub,
}

/// The policy of a base branch, for a change's head where GitHub has named it one's.
pub(super) async fn governing(
    work: &WorkerContext,
    repo: RepoId,
    base_branch: Option<&str>,
    head: Option<&CommitSha>,
) -> Result<Governing, TaskError> {
    let Some(branch) = base_branch else { return Ok(defaults(vec![])) };
    let base = match of_branch(work, repo, branch, head.is_some()).await? {
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
        && let Some(own) = own_file(work, repo, head, base.as_ref()).await?
    {
        tell_difference(&mut governing, base.as_ref(), own.as_ref(), branch);
    }
    Ok(governing)
}

/// Without a file that could be asked for.
fn defaults(notes: Vec<Note>) -> Governing {
    let facts = PolicyFacts { source: PolicySource::Defaults, ..PolicyFacts::default() };
    Governing { facts, notes, ..Governing::default() }
}

/// What the change's own file means, when it is not the base branch's.
fn tell_difference(
    governing: &mut Governing,
    base: Option<&StoredFile>,
    own: Option<&StoredFile>,
    branch: &str,
) {
    if base == own {
        return;
    }
    // A change that has not taken in the newest base branch differs without an edit of its own.
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
        let text = "the file is too large, or is no text in UTF-8".to_owned();
        return Err(PolicyError { mistakes: vec![Mistake { line: 1, column: 1, text }] });
    }
    GatePolicy::from_yaml(text)
}

fn unusable(file: &StoredFile, branch: Option<&str>, error: PolicyError) -> UnusablePolicy {
    UnusablePolicy { path: file.path.clone(), branch: branch.map(str::to_owned), mistakes: error.mistakes }
}

/// The policy file of a branch: what was kept while it is fresh, else what GitHub says. While
/// GitHub can't answer, what was kept holds until a push outdates it. An installation that is
/// suspended is waited for by those alone that have something to publish.
async fn of_branch(
    work: &WorkerContext,
    repo: RepoId,
    branch: &str,
    will_publish: bool,
) -> Result<BranchPolicy, TaskError> {
    let kept = work.db.read().await?.policy(repo, branch).await?;
    let now = work.clock.now();
    let fresh = |kept: &StoredPolicy| kept.fetched_at.is_some_and(|at| now < at.after(FRESH));
    if let Some(kept) = kept.as_ref().filter(|kept| fresh(kept)) {
        return Ok(BranchPolicy::Known(kept.file.clone()));
    }
    match ask(work, repo, branch).await {
        Ok(BranchPolicy::Known(file)) => {
            let mut tx = work.db.write().await?;
            tx.record_policy(repo, branch, file.as_ref(), now).await?;
            tx.commit().await?;
            Ok(BranchPolicy::Known(file))
        }
        Err(error) => match kept.filter(|kept| kept.fetched_at.is_some() && is_silence(&error)) {
            Some(kept) => Ok(BranchPolicy::Known(kept.file)),
            None if matches!(error, TaskError::TooEarly(_)) && !will_publish => Ok(BranchPolicy::NoGitHub),
            None => Err(error),
        },
        known => known,
    }
}

/// Whether GitHub said nothing about the file.
fn is_silence(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::TooEarly(_)
            | TaskError::GitHub(
                GitHubError::Unavailable { .. }
                    | GitHubError::RateLimited { .. }
                    | GitHubError::Postponed { .. }
                    | GitHubError::Gate { .. }
            )
    )
}

async fn ask(work: &WorkerContext, repo: RepoId, branch: &str) -> Result<BranchPolicy, TaskError> {
    let client = match access(work, repo).await? {
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

/// The change's own policy file. None when it can't be known.
async fn own_file(
    work: &WorkerContext,
    repo: RepoId,
    head: &CommitSha,
    base: Option<&StoredFile>,
) -> Result<Option<Option<StoredFile>>, TaskError> {
    // Most changes leave it alone: the base branch's place is looked at first.
    let first = base.map_or(PATHS[0], |file| file.path.as_str());
    for path in std::iter::once(first).chain(PATHS.into_iter().filter(|path| *path != first)) {
        match file_at(work, repo, head, path).await? {
            Lookup::Known(Some(text)) => return Ok(Some(Some(StoredFile { path: path.to_owned(), text }))),
            Lookup::Known(None) => {}
            Lookup::NotGranted | Lookup::NoGitHub => return Ok(None),
        }
    }
    Ok(Some(None))
}
