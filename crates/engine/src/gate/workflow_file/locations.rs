//! Adds lines of workflow files to the findings of a comparison. A stage's path is workflow, job, step.
//! An error that already has a line of the code keeps it. It changes no verdict.

use std::collections::BTreeMap;

use crate::gate::workflow_file::WorkflowFile;
use crate::model::comparison::{ErrorVerdict, Location, RunComparison, StageVerdict};

/// Workflow files at the commit of the comparison, by the name of their pipeline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkflowFiles {
    by_pipeline: BTreeMap<String, (String, WorkflowFile)>,
}

impl WorkflowFiles {
    /// Adds the file of a pipeline. `path` is from the repository's root.
    pub fn insert(&mut self, pipeline: &str, path: &str, file: WorkflowFile) {
        self.by_pipeline.insert(pipeline.to_owned(), (path.to_owned(), file));
    }

    fn locate(&self, stage: &[String]) -> Option<Location> {
        let [pipeline, job, below @ ..] = stage else { return None };
        let (path, file) = self.by_pipeline.get(pipeline)?;
        let line = file.locate(job, below.first().map(String::as_str), None)?;
        Some(Location { path: path.clone(), line })
    }
}

/// The pipelines with a finding without a line. Only their files need to be fetched.
#[must_use]
pub fn pipelines_without_lines(comparison: &RunComparison) -> Vec<&str> {
    let stages = comparison.stages.iter().filter(|stage| {
        stage.location.is_none()
            && matches!(
                stage.verdict,
                StageVerdict::Regressed | StageVerdict::Suspect | StageVerdict::Improved
            )
    });
    let errors = comparison.errors.iter().filter(|error| {
        error.location.is_none() && matches!(error.verdict, ErrorVerdict::New | ErrorVerdict::Suspect)
    });
    let paths = stages.map(|stage| &stage.path).chain(errors.map(|error| &error.path));
    let mut pipelines: Vec<&str> = paths.filter(|path| path.len() > 1).map(|path| path[0].as_str()).collect();
    pipelines.sort_unstable();
    pipelines.dedup();
    pipelines
}

/// Sets the line of every stage that is still in the pipeline, and of every error without a line. It is the
/// line of the step, else of the job.
pub fn locate_findings(comparison: &mut RunComparison, files: &WorkflowFiles) {
    for stage in &mut comparison.stages {
        if stage.location.is_none() && stage.verdict != StageVerdict::Removed {
            stage.location = files.locate(&stage.path);
        }
    }
    for error in &mut comparison.errors {
        if error.location.is_none() {
            error.location = files.locate(&error.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::baseline::Baseline;
    use crate::gate::duration_model::fit::fit;
    use crate::gate::tests::fixture::{run, stage};
    use crate::gate::verdict::compare::compare;
    use crate::model::comparison::ErrorComparison;
    use crate::model::policy::GatePolicy;
    use crate::model::stage::StageKey;

    fn error(path: &[String], location: Option<Location>) -> ErrorComparison {
        ErrorComparison {
            stage: StageKey::from_path(path),
            path: path.to_vec(),
            signature: String::new(),
            error_type: String::new(),
            message: String::new(),
            verdict: ErrorVerdict::Suspect,
            candidate_runs: 1,
            baseline_runs_with: 0,
            baseline_runs: 1,
            reason: None,
            decision: None,
            location,
        }
    }

    #[test]
    fn findings_get_lines_of_their_steps() {
        let policy = GatePolicy::default();
        let names = ["ci", "ci / build", "ci / build / make", "ci / build / make / cc", "other / build"];
        let candidate = run(1, names.into_iter().map(|name| stage(name, 0.0, 9.0)).collect());
        let repo = "acme/app".parse().expect("a name");
        let mut comparison =
            compare(&fit(&Baseline::of_files(vec![]), &policy), &[candidate], &repo, &policy).expect("a run");
        for stage in &mut comparison.stages {
            stage.verdict = StageVerdict::Suspect;
        }
        let step = crate::gate::tests::fixture::path("ci / build / make");
        let own = Some(Location { path: "src/a.rs".into(), line: 7 });
        comparison.errors = vec![error(&step, None), error(&step, own.clone())];
        assert_eq!(pipelines_without_lines(&comparison), ["ci", "other"]);

        let mut files = WorkflowFiles::default();
        let text = "jobs:\n  build:\n    steps:\n      - run: make\n        name: make\n";
        files.insert("ci", ".github/workflows/ci.yml", WorkflowFile::parse(text).expect("a workflow"));
        locate_findings(&mut comparison, &files);
        let line = |name: &str| {
            let path = crate::gate::tests::fixture::path(name);
            let stage = comparison.stages.iter().find(|stage| stage.path == path).expect(name);
            stage.location.as_ref().map(|at| (at.path.as_str(), at.line))
        };
        let at = |line| Some((".github/workflows/ci.yml", line));
        assert_eq!(names.map(line), [None, at(2), at(4), at(4), None]);
        assert_eq!(comparison.errors[0].location.as_ref().map(|at| at.line), Some(4));
        assert_eq!(comparison.errors[1].location, own);
        assert_eq!(pipelines_without_lines(&comparison), ["other"]);
    }
}
