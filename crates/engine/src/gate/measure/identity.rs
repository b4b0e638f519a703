//! Whose run a trace is, as far as its spans say: repository, commit, branch or pull request,
//! attempt, pipeline, result, kind of runner. These are claims of the producer: whether the
//! producer may speak for that repository is decided elsewhere.

use crate::model::environment::RunnerClass;
use crate::model::ids::{CommitSha, PrNumber, RepoName};
use crate::model::run::{Lineage, RunResult};
use crate::model::span::{AttributeValue, Attributes, Span};
use crate::model::trace::Trace;

use super::stage_key::{stable_name, stage_name};

/// Longest identifier of a run that is kept, in characters.
const MAX_EXTERNAL_ID_CHARS: usize = 200;
/// Labels of a runner that are kept.
const MAX_LABELS: usize = 20;

/// What a trace says about its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunIdentity {
    /// The repository as OWNER/NAME, if it can be derived.
    pub repo_claim: Option<String>,
    /// The commit that was measured.
    pub head_sha: Option<CommitSha>,
    /// The branch, without `refs/heads/`.
    pub branch: Option<String>,
    /// The pull request.
    pub change: Option<PrNumber>,
    /// The producer's own identifier of the run.
    pub external_id: Option<String>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Name of the pipeline, varying parts templated.
    pub pipeline: String,
    /// How the run ended.
    pub result: RunResult,
    /// What it ran on.
    pub runner: RunnerClass,
    /// The file its workflow is written in: `.github/workflows/ci.yml`.
    pub workflow_path: Option<String>,
}

impl RunIdentity {
    /// Reads the root span, then the others, parents first, those of linked traces after all of
    /// the root's own; of each the span's own attributes before its resource's.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        let root = trace.span(trace.root());
        let (branch, change) = line_of_development(trace);
        Self {
            repo_claim: repository(trace),
            head_sha: first(trace, &SHA_KEYS, |text| text.parse().ok()),
            branch,
            change,
            external_id: first(trace, &EXTERNAL_ID_KEYS, |text| one_line(&text, MAX_EXTERNAL_ID_CHARS)),
            attempt: first(trace, &ATTEMPT_KEYS, |text| text.parse().ok().filter(|n| *n > 0)).unwrap_or(1),
            pipeline: pipeline_name(trace),
            result: root_result(root),
            runner: runner_class(trace),
            workflow_path: first(trace, &WORKFLOW_PATH_KEYS, |text| workflow_path(&text)),
        }
    }

    /// What traces of this run have in common and those of no other have: the producer's identifier
    /// and the attempt. None when the producer has none.
    #[must_use]
    pub fn run_key(&self) -> Option<String> {
        self.external_id.as_ref().map(|id| format!("{id}#{}", self.attempt))
    }

    /// Which line of development the run is on. A pull request wins over a branch: its head
    /// branch may be called `main` too, and what it measured must not become a baseline.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        match (self.change, &self.branch) {
            (Some(number), _) => Lineage::PullRequest { number },
            (None, Some(name)) => Lineage::Branch { name: name.clone() },
            (None, None) => Lineage::Unknown,
        }
    }
}

/// Attributes that name the commit, the preferred one first.
pub const SHA_KEYS: [&str; 6] = [
    "vcs.ref.head.revision",
    "vcs.repository.ref.revision",
    "github.sha",
    "ci.commit.sha",
    "git.commit.sha",
    "git.commit.id",
];
/// Whether a span names the commit that was measured.
#[must_use]
pub fn names_commit(span: &Span) -> bool {
    first_of([span], &SHA_KEYS, |text| text.parse::<CommitSha>().ok()).is_some()
}

const BRANCH_KEYS: [&str; 6] =
    ["vcs.ref.head.name", "vcs.ref.head", "github.head_ref", "ci.branch", "git.branch", "github.ref_name"];
const CHANGE_KEYS: [&str; 3] = ["vcs.change.id", "github.pull_request.number", "ci.pull_request.number"];
const EXTERNAL_ID_KEYS: [&str; 5] =
    ["cicd.pipeline.run.id", "pipeline.run.id", "ci.pipeline.run.id", "github.run_id", "pipeline.id"];
const ATTEMPT_KEYS: [&str; 4] =
    ["cicd.pipeline.run.attempt", "github.run_attempt", "ci.pipeline.run.attempt", "pipeline.attempt"];
const PIPELINE_KEYS: [&str; 4] =
    ["cicd.pipeline.name", "pipeline.name", "ci.pipeline.name", "github.workflow"];
/// GitHub's `GITHUB_WORKFLOW_REF` is `OWNER/NAME/.github/workflows/ci.yml@refs/heads/main`.
const WORKFLOW_PATH_KEYS: [&str; 3] =
    ["github.workflow.path", "cicd.pipeline.definition.path", "github.workflow_ref"];
const RESULT_KEYS: [&str; 6] = [
    "cicd.pipeline.result",
    "cicd.pipeline.run.result",
    "cicd.pipeline.run.status",
    "ci.pipeline.status",
    "pipeline.result",
    "pipeline.status",
];

/// Whether a span says what the pipeline is called, so that the root is not needed for it.
#[must_use]
pub fn names_pipeline(trace: &Trace) -> bool {
    first(trace, &PIPELINE_KEYS, Some).is_some()
}

/// Name of the trace's pipeline: what it says, else the root's name.
#[must_use]
pub fn pipeline_name(trace: &Trace) -> String {
    // `path@refs/heads/main` is GitHub's way to name a workflow at one commit.
    let without_ref = |text: String| text.split("@refs/").next().unwrap_or_default().to_owned();
    first(trace, &PIPELINE_KEYS, Some)
        .map_or_else(|| stage_name(trace.span(trace.root())), |name| stable_name(&without_ref(name)))
}

/// How the root says that the run ended: in words, else by its status.
#[must_use]
pub fn root_result(root: &Span) -> RunResult {
    let by_status = if root.failed() { RunResult::Failure } else { RunResult::Success };
    RESULT_KEYS.iter().find_map(|key| RunResult::parse(&root.text(&[key])?)).unwrap_or(by_status)
}

/// The first value of any of the keys that `read` accepts: keys in their order for each span,
/// the root span before the others, its trace before those that are linked with it.
fn first<T>(trace: &Trace, keys: &[&str], read: impl Fn(String) -> Option<T>) -> Option<T> {
    let others = trace.spans().iter().filter(|span| span.trace_id != trace.id());
    first_of(own_spans(trace).chain(others), keys, read)
}

fn first_of<'a, T>(
    spans: impl IntoIterator<Item = &'a Span>,
    keys: &[&str],
    read: impl Fn(String) -> Option<T>,
) -> Option<T> {
    spans.into_iter().find_map(|span| keys.iter().find_map(|key| span.text(&[key]).and_then(&read)))
}

/// Those of the root's trace.
fn own_spans(trace: &Trace) -> impl Iterator<Item = &Span> {
    trace.spans().iter().filter(|span| span.trace_id == trace.id())
}

fn one_line(text: &str, chars: usize) -> Option<String> {
    let text = text.trim();
    let kept: String = text.chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!kept.is_empty()).then_some(kept)
}

/// The path of a workflow file, where GitHub looks for such: nothing else is ever asked for.
fn workflow_path(text: &str) -> Option<String> {
    let path = text.split('@').next().unwrap_or_default();
    let file = path.get(path.find(WORKFLOWS_FOLDER)? + WORKFLOWS_FOLDER.len()..)?;
    let is_file =
        [".yml", ".yaml"].iter().any(|end| file.strip_suffix(end).is_some_and(|name| !name.is_empty()));
    let is_plain = file.len() <= 200 && !file.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    (is_file && is_plain).then(|| format!("{WORKFLOWS_FOLDER}{file}"))
}

/// Where GitHub looks for workflows.
const WORKFLOWS_FOLDER: &str = ".github/workflows/";

fn repository(trace: &Trace) -> Option<String> {
    trace.spans().iter().find_map(repository_claim)
}

/// The repository a span's sender names as OWNER/NAME, if that can be derived. A root speaks for
/// the run itself; any other span may describe another repository (a submodule it clones), so
/// only its resource is asked.
#[must_use]
pub fn repository_claim(span: &Span) -> Option<String> {
    let own = span.parent_span_id.is_none().then(|| claim_in(&span.attributes)).flatten();
    own.or_else(|| claim_in(&span.resource.attributes))
}

/// The repository that attributes name as OWNER/NAME, if that can be derived.
#[must_use]
pub fn claim_in(attributes: &Attributes) -> Option<String> {
    let checked = |text: String| text.parse::<RepoName>().ok().map(|repo| repo.to_string());
    let name = attributes.text("vcs.repository.name");
    let owner = attributes.first_text(&["vcs.owner.name", "vcs.repository.owner"]);
    name.clone()
        .and_then(checked)
        .or_else(|| checked(format!("{}/{}", owner?, name?)))
        .or_else(|| {
            of_url(&attributes.first_text(&["vcs.repository.url.full", "vcs.repository.url"])?)
                .and_then(checked)
        })
        .or_else(|| attributes.first_text(&["github.repository", "ci.repository"]).and_then(checked))
}

/// `https://host/OWNER/NAME.git`, `ssh://git@host/OWNER/NAME`, `git@host:OWNER/NAME.git`.
fn of_url(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':')?.1,
    };
    let (owner, name) = path.trim_matches('/').split_once('/')?;
    // Deeper paths (GitLab's subgroups) have no form as OWNER/NAME.
    if name.contains('/') {
        return None;
    }
    Some(format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name)))
}

/// Branch and pull request. What the root's trace says of either is not added to from others.
fn line_of_development(trace: &Trace) -> (Option<String>, Option<PrNumber>) {
    let of_own: Vec<&Span> = own_spans(trace).collect();
    let keys: Vec<&str> = CHANGE_KEYS.into_iter().chain(BRANCH_KEYS).collect();
    let is_stated = first_of(of_own.iter().copied(), &keys, Some).is_some();
    if is_stated { line_in(&of_own) } else { line_in(&trace.spans().iter().collect::<Vec<_>>()) }
}

/// A reference to a pull request or a tag is no branch.
fn line_in(spans: &[&Span]) -> (Option<String>, Option<PrNumber>) {
    let number =
        |text: &str| text.trim_start_matches(['#', '!']).parse().ok().filter(|n| *n > 0).map(PrNumber);
    let stated = first_of(spans.iter().copied(), &CHANGE_KEYS, |text| number(&text));
    let type_keys = ["vcs.ref.head.type", "github.ref_type"];
    let is_tag = first_of(spans.iter().copied(), &type_keys, Some).is_some_and(|t| t == "tag");
    let named = first_of(spans.iter().copied(), &BRANCH_KEYS, |text| one_line(&text, 255));
    let Some(named) = named else { return (None, stated) };
    // `refs/pull/12/merge`, which GitHub shortens to `12/merge`.
    let pull = named.strip_prefix("refs/pull/").unwrap_or(&named);
    if let Some(of_pull) = pull.strip_suffix("/merge").or(pull.strip_suffix("/head")).and_then(number) {
        return (None, stated.or(Some(of_pull)));
    }
    let branch = named.strip_prefix("refs/heads/").unwrap_or(&named);
    let is_branch = !is_tag && !branch.is_empty() && !branch.starts_with("refs/");
    (is_branch.then(|| branch.to_owned()), stated)
}

fn runner_class(trace: &Trace) -> RunnerClass {
    let os = first(trace, &["os.type", "runner.os", "github.runner.os"], |t| one_line(&t, 40));
    let arch = first(trace, &["host.arch", "runner.arch", "github.runner.arch"], |t| one_line(&t, 40));
    let labels = trace.spans().iter().find_map(|span| {
        let of = |attributes: &Attributes| {
            LABEL_KEYS.iter().find_map(|key| attributes.get(key).map(labels).filter(|l| !l.is_empty()))
        };
        of(&span.attributes).or_else(|| of(&span.resource.attributes))
    });
    RunnerClass {
        os: os.map(|os| match os.to_ascii_lowercase().as_str() {
            "macos" | "osx" => "darwin".to_owned(),
            other => other.to_owned(),
        }),
        arch: arch.map(|arch| match arch.to_ascii_lowercase().as_str() {
            "x64" | "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        }),
        labels: labels.unwrap_or_default(),
    }
}

const LABEL_KEYS: [&str; 3] = ["cicd.worker.labels", "runner.labels", "github.runner.labels"];

fn labels(value: &AttributeValue) -> Vec<String> {
    let words: Vec<String> = match value {
        AttributeValue::Array(items) => items.iter().filter_map(AttributeValue::to_text).collect(),
        other => other.to_text().unwrap_or_default().split(',').map(str::to_owned).collect(),
    };
    let mut labels: Vec<String> = words.into_iter().filter_map(|w| one_line(&w, 60)).collect();
    labels.sort();
    labels.dedup();
    labels.truncate(MAX_LABELS);
    labels
}

#[cfg(test)]
mod tests;
