//! The baseline's runs turned into columns: for each stage its samples over the runs. A column is
//! sparse, because a stage may be in few runs. Renamed stages get their new name here.

use std::collections::HashMap;

use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{CacheState, StageKey, StageKind};

/// One stage over the runs.
pub(crate) struct Column {
    pub key: StageKey,
    /// Names, pipeline first.
    pub path: Vec<String>,
    pub parent: Option<StageKey>,
    /// From the runs in which it succeeded.
    pub samples: Vec<ColumnSample>,
    /// Positions of all runs that have it, with any result.
    pub present: Vec<usize>,
    /// It has no children.
    pub is_leaf: bool,
    /// Started by a message.
    pub asynchronous: bool,
    /// It belongs to a GitHub Actions workflow: GitHub stated its run, jobs and steps, and the
    /// jobs sent everything below the steps.
    pub of_workflow: bool,
}

/// Length of a step's path: pipeline, job, step.
const STEP_DEPTH: usize = 3;

impl Column {
    /// Whether runner speed is estimated from it. A leaf is used. With `by_steps`, a workflow's steps
    /// are used with GitHub's own times, and nothing below them. A hundred test cases of one step are
    /// not a hundred independent measurements, and the job that sent them could set the estimate.
    #[must_use]
    pub(crate) fn indicates_runner_speed(&self, by_steps: bool) -> bool {
        let stands_alone =
            if by_steps { !self.is_part_of_step() && (self.is_leaf || self.is_step()) } else { self.is_leaf };
        !self.asynchronous && stands_alone
    }

    /// Whether it is a step of a workflow.
    #[must_use]
    pub(crate) fn is_step(&self) -> bool {
        self.of_workflow && self.path.len() == STEP_DEPTH
    }

    /// Whether it is below a step of a workflow.
    #[must_use]
    pub(crate) fn is_part_of_step(&self) -> bool {
        self.of_workflow && self.path.len() > STEP_DEPTH
    }
}

/// A stage's time in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ColumnSample {
    /// Position of the run.
    pub run: usize,
    pub seconds: f64,
    /// Whether its cache hit; none where its spans do not state it.
    pub cache: Option<CacheState>,
}

/// All stages of a baseline.
pub(crate) struct Columns {
    /// In order of first appearance.
    pub list: Vec<Column>,
    pub runs: usize,
    place: HashMap<StageKey, usize>,
}

/// Nanoseconds as seconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a nanosecond in 104 days is beyond what anyone measures")]
pub(crate) fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

/// The path after the policy's renames; none when no rename applies.
#[must_use]
pub(crate) fn renamed(path: &[String], policy: &GatePolicy) -> Option<Vec<String>> {
    policy.aliases().iter().find_map(|alias| {
        let from: Vec<&str> = alias.from.split(" / ").collect();
        let applies = path.len() >= from.len() && path.iter().zip(&from).all(|(a, b)| a == b);
        applies.then(|| {
            alias.to.split(" / ").map(str::to_owned).chain(path[from.len()..].iter().cloned()).collect()
        })
    })
}

impl Columns {
    /// The columns of runs, which are oldest first.
    #[must_use]
    pub(crate) fn of(runs: &[MeasuredRun], policy: &GatePolicy) -> Self {
        let mut columns = Self { list: Vec::new(), runs: runs.len(), place: HashMap::new() };
        for (at, run) in runs.iter().enumerate() {
            // Waiting for a runner is not judged, and no runner speed is estimated from it.
            for sample in run.stages.iter().filter(|s| s.kind == StageKind::Work) {
                let new_path = renamed(&sample.path, policy);
                let (key, path, parent) = match new_path {
                    None => (sample.key.clone(), sample.path.clone(), sample.parent.clone()),
                    Some(path) => {
                        let parent = (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1]));
                        (StageKey::from_path(&path), path, parent)
                    }
                };
                let i = *columns.place.entry(key.clone()).or_insert_with(|| {
                    columns.list.push(Column {
                        key,
                        path,
                        parent,
                        samples: Vec::new(),
                        present: Vec::new(),
                        is_leaf: true,
                        asynchronous: sample.asynchronous,
                        of_workflow: false,
                    });
                    columns.list.len() - 1
                });
                let column = &mut columns.list[i];
                // The same run may also have the new name: the first one counts.
                if column.present.last() == Some(&at) {
                    continue;
                }
                column.present.push(at);
                column.of_workflow |= run.run.workflow_path.is_some();
                if sample.result == RunResult::Success {
                    let (seconds, cache) = (sample.seconds(), sample.cache);
                    column.samples.push(ColumnSample { run: at, seconds, cache });
                }
            }
        }
        for i in 0..columns.list.len() {
            if let Some(parent) = columns.parent_of(i) {
                columns.list[parent].is_leaf = false;
            }
        }
        columns
    }

    /// Position of a stage's parent. The parent's path is shorter, so that walking up always ends.
    #[must_use]
    pub(crate) fn parent_of(&self, i: usize) -> Option<usize> {
        let parent = *self.place.get(self.list[i].parent.as_ref()?)?;
        (self.list[parent].path.len() < self.list[i].path.len()).then_some(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{path, run, stage};

    #[test]
    fn renamed_stage_and_children_keep_history() {
        let policy =
            GatePolicy::from_yaml("aliases: [{from: \"ci / unit\", to: \"ci / test\"}]").expect("a policy");
        let old = run(
            1,
            vec![stage("ci", 0.0, 5.0), stage("ci / unit", 0.0, 4.0), stage("ci / unit / a", 0.0, 3.0)],
        );
        let new = run(
            2,
            vec![stage("ci", 0.0, 5.0), stage("ci / test", 0.0, 4.0), stage("ci / test / a", 0.0, 3.0)],
        );
        let columns = Columns::of(&[old, new], &policy);
        let lengths: Vec<(String, usize, bool)> =
            columns.list.iter().map(|c| (c.path.join(" / "), c.samples.len(), c.is_leaf)).collect();
        assert_eq!(
            lengths,
            [("ci".into(), 2, false), ("ci / test".into(), 2, false), ("ci / test / a".into(), 2, true)]
        );
        assert_eq!(renamed(&path("ci / unit-2"), &policy), None, "only whole parts are renamed");
    }

    #[test]
    fn failed_stages_are_present_without_samples() {
        let mut failed = stage("ci", 0.0, 5.0);
        failed.result = RunResult::Failure;
        let columns = Columns::of(&[run(1, vec![failed])], &GatePolicy::default());
        assert_eq!((columns.list[0].present.len(), columns.list[0].samples.len()), (1, 0));
    }
}
