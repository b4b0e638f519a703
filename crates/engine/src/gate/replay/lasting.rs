//! Finds the lasting changes of the replayed branch: steps and drifts of its stages, with their
//! commits. This includes slowdowns that were merged in small parts.

use super::Plan;
use crate::gate::baseline::Baseline;
use crate::gate::duration_model::fit::series_of;
use crate::gate::history::changes;
use crate::model::history::{HistoryChange, HistoryRun};

impl Plan<'_> {
    /// The lasting changes over the whole history, newest first, without those that another explains.
    #[must_use]
    pub fn lasting_changes(&self) -> Vec<HistoryChange> {
        let history = Baseline::of_files(self.runs.clone());
        let series = series_of(&history, self.policy);
        let runs: Vec<HistoryRun> = history
            .runs
            .iter()
            .map(|m| HistoryRun { commit: m.run.head_sha.clone(), started_at: m.run.started_at })
            .collect();
        let mut found = changes(&series, &runs, &[]);
        found.retain(|change| change.explained_by.is_none());
        found
    }
}
