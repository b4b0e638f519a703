//! Reads a run's identity from its spans: repository, commit, branch or pull request, attempt, pipeline,
//! result, class of runner. These are the producer's claims. Whether the producer has access to the
//! repository is checked elsewhere.

use crate::model::environment::RunnerClass;
use crate::model::ids::{CommitSha, PrNumber, RepoName};
use crate::model::run::{Lineage, RunResult};
use crate::model::span::{AttributeValue, Attributes, Span};
use crate::model::trace::Trace;

use super::stage_key::{stable_name, stage_name};

/// Longer identifiers of a run are cut, in characters.
const MAX_EXTERNAL_ID_CHARS: usize = 200;
/// Most labels of a runner.
const MAX_LABELS: usize = 20;

/// The producer's claims about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunIdentity {
    /// The repository as OWNER/NAME, if it can be derived.
    pub repo_claim: Option<String>,
    pub head_sha: Option<CommitSha>,
    /// Without `refs/heads/`.
    pub branch: Option<String>,
    /// The pull request.
    pub change: Option<PrNumber>,
    /// The producer's own identifier of the run.
    pub external_id: Option<String>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Name of the pipeline with its varying parts templated.
    pub pipeline: String,
    pub result: RunResult,
    pub runner: RunnerClass,
    /// The workflow's file, such as `.github/workflows/ci.yml`.
    pub workflow_path: Option<String>,
}

impl RunIdentity {
    /// Reads spans in this order: the root, the rest of its trace with parents first, linked traces. A
    /// span's own attributes come before its resource's.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        Self::read(&Sources::of(trace))
    }

    /// Reads the root span alone: the other spans come from a less trusted source.
    #[must_use]
    pub fn of_root(root: &Span) -> Self {
        Self::read(&Sources { root, spans: vec![root] })
    }

    fn read(sources: &Sources<'_>) -> Self {
        let (branch, change) = line_of_development(sources);
        Self {
            repo_claim: sources.spans.iter().copied().find_map(repository_claim),
            head_sha: first(sources, &SHA_KEYS, |text| text.parse().ok()),
            branch,
            change,
            external_id: first(sources, &EXTERNAL_ID_KEYS, |text| one_line(&text, MAX_EXTERNAL_ID_CHARS)),
            attempt: first(sources, &ATTEMPT_KEYS, |text| text.parse().ok().filter(|n| *n > 0)).unwrap_or(1),
            pipeline: pipeline(sources),
            result: root_result(sources.root),
            runner: runner_class(sources),
            workflow_path: first(sources, &WORKFLOW_PATH_KEYS, |text| workflow_path(&text)),
        }
    }

    /// A key that all traces of this run share and no other run has: the producer's identifier and the
    /// attempt. None without an identifier.
    #[must_use]
    pub fn run_key(&self) -> Option<String> {
        self.external_id.as_ref().map(|id| format!("{id}#{}", self.attempt))
    }

    /// The run's line of development. A pull request wins over a branch: its head branch may be called
    /// `main` too, and its measurements must not become a baseline.
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
/// `github.workflow_ref` has the form `OWNER/NAME/.github/workflows/ci.yml@refs/heads/main`.
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

/// Whether a span names the pipeline, so that the root's name is not needed.
#[must_use]
pub fn names_pipeline(trace: &Trace) -> bool {
    first(&Sources::of(trace), &PIPELINE_KEYS, Some).is_some()
}

/// The pipeline's name from an attribute, else the root span's name.
#[must_use]
pub fn pipeline_name(trace: &Trace) -> String {
    pipeline(&Sources::of(trace))
}

fn pipeline(sources: &Sources<'_>) -> String {
    // GitHub names a workflow at one commit `path@refs/heads/main`.
    let without_ref = |text: String| text.split("@refs/").next().unwrap_or_default().to_owned();
    first(sources, &PIPELINE_KEYS, Some)
        .map_or_else(|| stage_name(sources.root), |name| stable_name(&without_ref(name)))
}

/// The run's result from an attribute of the root, else from its status.
#[must_use]
pub fn root_result(root: &Span) -> RunResult {
    let by_status = if root.failed() { RunResult::Failure } else { RunResult::Success };
    RESULT_KEYS.iter().find_map(|key| RunResult::parse(&root.text(&[key])?)).unwrap_or(by_status)
}

/// The spans that an identity is read from, in this order: the root, the rest of its trace with
/// parents first, linked traces.
struct Sources<'a> {
    root: &'a Span,
    spans: Vec<&'a Span>,
}

impl<'a> Sources<'a> {
    fn of(trace: &'a Trace) -> Self {
        let (mut spans, linked): (Vec<&Span>, Vec<&Span>) =
            trace.spans().iter().partition(|span| span.trace_id == trace.id());
        spans.extend(linked);
        Self { root: trace.span(trace.root()), spans }
    }

    fn of_own_trace(&self) -> impl Iterator<Item = &'a Span> {
        self.spans.iter().copied().filter(|span| span.trace_id == self.root.trace_id)
    }
}

/// The first value that `read` accepts. For each span the keys are tried in their order. The root span
/// comes first, and its trace before linked traces.
fn first<T>(sources: &Sources<'_>, keys: &[&str], read: impl Fn(String) -> Option<T>) -> Option<T> {
    first_of(sources.spans.iter().copied(), keys, read)
}

fn first_of<'a, T>(
    spans: impl IntoIterator<Item = &'a Span>,
    keys: &[&str],
    read: impl Fn(String) -> Option<T>,
) -> Option<T> {
    spans.into_iter().find_map(|span| keys.iter().find_map(|key| span.text(&[key]).and_then(&read)))
}

fn one_line(text: &str, chars: usize) -> Option<String> {
    let text = text.trim();
    let kept: String = text.chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!kept.is_empty()).then_some(kept)
}

/// The path of a workflow file in GitHub's folder for workflows. Other paths are refused, because the
/// file is later fetched from the repository.
fn workflow_path(text: &str) -> Option<String> {
    let path = text.split('@').next().unwrap_or_default();
    let file = path.get(path.find(WORKFLOWS_FOLDER)? + WORKFLOWS_FOLDER.len()..)?;
    let is_file =
        [".yml", ".yaml"].iter().any(|end| file.strip_suffix(end).is_some_and(|name| !name.is_empty()));
    let is_plain = file.len() <= 200 && !file.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    (is_file && is_plain).then(|| format!("{WORKFLOWS_FOLDER}{file}"))
}

/// GitHub's folder for workflows.
const WORKFLOWS_FOLDER: &str = ".github/workflows/";

/// The repository of a span's producer as OWNER/NAME, if it can be derived. The attributes of a root
/// describe the run itself. Those of any other span may describe another repository, such as a
/// submodule that it clones, so that only its resource is read.
#[must_use]
pub fn repository_claim(span: &Span) -> Option<String> {
    let own = span.parent_span_id.is_none().then(|| claim_in(&span.attributes)).flatten();
    own.or_else(|| claim_in(&span.resource.attributes))
}

/// The repository in these attributes as OWNER/NAME, if it can be derived.
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
    // Deeper paths (GitLab's subgroups) can't be written as OWNER/NAME.
    if name.contains('/') {
        return None;
    }
    Some(format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name)))
}

/// Branch and pull request. When the root's trace names either, linked traces are ignored.
fn line_of_development(sources: &Sources<'_>) -> (Option<String>, Option<PrNumber>) {
    let of_own: Vec<&Span> = sources.of_own_trace().collect();
    let keys: Vec<&str> = CHANGE_KEYS.into_iter().chain(BRANCH_KEYS).collect();
    let is_stated = first_of(of_own.iter().copied(), &keys, Some).is_some();
    if is_stated { line_in(&of_own) } else { line_in(&sources.spans) }
}

/// Branch and pull request in these spans. A reference to a pull request or a tag is not a branch.
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

fn runner_class(sources: &Sources<'_>) -> RunnerClass {
    let os = first(sources, &["os.type", "runner.os", "github.runner.os"], |t| one_line(&t, 40));
    let arch = first(sources, &["host.arch", "runner.arch", "github.runner.arch"], |t| one_line(&t, 40));
    let labels = sources.spans.iter().find_map(|span| {
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
    let texts: Vec<String> = match value {
        AttributeValue::Array(items) => items.iter().filter_map(AttributeValue::to_text).collect(),
        other => other.to_text().unwrap_or_default().split(',').map(str::to_owned).collect(),
    };
    let mut labels: Vec<String> = texts.into_iter().filter_map(|text| one_line(&text, 60)).collect();
    labels.sort();
    labels.dedup();
    labels.truncate(MAX_LABELS);
    labels
}

#[cfg(test)]
mod tests;
