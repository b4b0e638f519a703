//! Finds the lines of findings in the workflow files of their pipelines, at the evaluated commit. A file
//! is fetched only if a finding has no line yet.

use std::collections::BTreeMap;

use super::contents::{Lookup, NOT_TEXT, file_at};
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::gate::workflow_file::WorkflowFile;
use pacegate_engine::gate::workflow_file::locations::{
    WorkflowFiles, locate_findings, pipelines_without_lines,
};
use pacegate_engine::model::comparison::RunComparison;
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::note::Note;

/// Adds lines to findings. `paths` maps a pipeline to its workflow file.
pub(super) async fn locate(
    context: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    paths: &BTreeMap<String, String>,
    comparison: &mut RunComparison,
) -> Result<(), TaskError> {
    let wanted = pipelines_without_lines(comparison);
    let wanted: BTreeMap<&String, &String> =
        paths.iter().filter(|(pipeline, _)| wanted.contains(&pipeline.as_str())).collect();
    let mut files = WorkflowFiles::default();
    let mut is_granted = true;
    for (pipeline, path) in wanted {
        let text = match file_at(context, repo, head_sha, path).await? {
            Lookup::Known(Some(text)) if text != NOT_TEXT => text,
            Lookup::Known(_) | Lookup::NoGitHub => continue,
            Lookup::NotGranted => {
                is_granted = false;
                break;
            }
        };
        match tokio::task::spawn_blocking(move || WorkflowFile::parse(&text)).await? {
            Ok(file) => files.insert(pipeline, path, file),
            Err(error) => {
                tracing::debug!(%path, commit = %head_sha, %error, "findings of a workflow file have no lines: the file can't be parsed")
            }
        }
    }
    if !is_granted && !comparison.notes.contains(&Note::FilesWithheld) {
        comparison.notes.push(Note::FilesWithheld);
    }
    locate_findings(comparison, &files);
    Ok(())
}
