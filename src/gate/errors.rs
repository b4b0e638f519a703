//! Whether an error is new: its signature against those of the base branch, failed runs
//! included. One sighting never proves anything, nor does the absence from a short history.

use std::collections::{BTreeMap, HashSet};

use super::baseline::Baseline;
use super::columns::renamed;
use super::propagation::signature;
use crate::model::comparison::{ErrorComparison, ErrorVerdict};
use crate::model::policy::GatePolicy;
use crate::model::run::MeasuredRun;
use crate::model::stage::{StageError, StageKey};

/// With fewer runs of history, "never seen" means little: such an error stays a suspicion.
const MIN_HISTORY: usize = 10;
/// In two candidate runs it is no accident of one.
const CONFIRMED: usize = 2;

/// How many base-branch runs had each error.
#[derive(Debug, Clone, Default)]
pub struct ErrorHistory {
    runs: usize,
    runs_with: BTreeMap<String, usize>,
}

impl ErrorHistory {
    /// Counts over all runs of a baseline, those that failed included.
    #[must_use]
    pub fn of(baseline: &Baseline, policy: &GatePolicy) -> Self {
        let mut history = Self::default();
        for run in baseline.runs.iter().chain(&baseline.error_history) {
            history.runs += 1;
            let signatures: HashSet<String> =
                run.errors.iter().map(|e| current_signature(e, policy)).collect();
            for signature in signatures {
                *history.runs_with.entry(signature).or_default() += 1;
            }
        }
        history
    }

    /// How many runs were looked at.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs
    }
}

/// The signature under the stage's present name.
fn current_signature(error: &StageError, policy: &GatePolicy) -> String {
    match renamed(&error.path, policy) {
        Some(path) => signature(&StageKey::from_path(&path), &error.error_type, &error.message),
        None => error.signature.clone(),
    }
}

/// Judges every error of the candidate's runs, oldest first. Errors that the policy ignores
/// are left out. The most serious come first.
#[must_use]
pub fn judge_errors(
    history: &ErrorHistory,
    candidate: &[&MeasuredRun],
    policy: &GatePolicy,
) -> Vec<ErrorComparison> {
    let ignored =
        |e: &StageError| policy.errors().ignore.iter().any(|text| e.message.contains(text.as_str()));
    // What only earlier pushes had is mended: the newest head's runs say which errors there are.
    let head = candidate.last().map(|newest| &newest.run.head_sha);
    let present: HashSet<&str> = candidate
        .iter()
        .filter(|run| Some(&run.run.head_sha) == head)
        .flat_map(|run| run.errors.iter().map(|e| e.signature.as_str()))
        .collect();
    // By signature: in how many runs, and the newest sighting.
    let mut seen: BTreeMap<&str, (usize, &StageError)> = BTreeMap::new();
    for run in candidate {
        let mut of_run = HashSet::new();
        for error in run.errors.iter().filter(|e| !ignored(e) && present.contains(e.signature.as_str())) {
            let entry = seen.entry(&error.signature).or_insert((0, error));
            entry.1 = error;
            if of_run.insert(error.signature.as_str()) {
                entry.0 += 1;
            }
        }
    }
    let mut judged: Vec<ErrorComparison> = seen
        .into_values()
        .map(|(candidate_runs, error)| {
            let with = history.runs_with.get(&error.signature).copied().unwrap_or(0);
            ErrorComparison {
                stage: error.stage.clone(),
                path: error.path.clone(),
                signature: error.signature.clone(),
                error_type: error.error_type.clone(),
                message: error.message.clone(),
                verdict: verdict(with, history.runs, candidate_runs),
                candidate_runs,
                baseline_runs_with: with,
                baseline_runs: history.runs,
                location: None,
            }
        })
        .collect();
    sort_errors(&mut judged);
    judged
}

fn verdict(with: usize, runs: usize, candidate_runs: usize) -> ErrorVerdict {
    match with {
        0 if candidate_runs >= CONFIRMED && runs >= MIN_HISTORY => ErrorVerdict::New,
        0 => ErrorVerdict::Suspect,
        // More than 20% of the runs.
        _ if with * 5 > runs => ErrorVerdict::Known,
        _ => ErrorVerdict::Flaky,
    }
}

/// New, then suspect, flaky, known; each by path.
pub fn sort_errors(errors: &mut [ErrorComparison]) {
    let rank = |verdict: ErrorVerdict| match verdict {
        ErrorVerdict::New => 0,
        ErrorVerdict::Suspect => 1,
        ErrorVerdict::Flaky => 2,
        ErrorVerdict::Known => 3,
    };
    errors.sort_by(|a, b| {
        (rank(a.verdict), &a.path, &a.signature).cmp(&(rank(b.verdict), &b.path, &b.signature))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture::{path, run, stage};

    fn with_error(n: u32, text: &str, message: &str) -> MeasuredRun {
        let mut measured = run(n, vec![stage("ci", 0.0, 1.0)]);
        let path = path(text);
        let stage = StageKey::from_path(&path);
        let signature = signature(&stage, "E", message);
        measured.errors.push(StageError {
            stage,
            path,
            signature,
            error_type: "E".into(),
            message: message.into(),
            frame: None,
        });
        measured
    }

    fn verdicts(of_twenty: u32, candidate: &[MeasuredRun], policy: &str) -> Vec<(ErrorVerdict, usize)> {
        let policy = GatePolicy::from_yaml(policy).expect("a policy");
        let past = (0..20)
            .map(|n| if n < of_twenty { with_error(n, "ci / unit", "port 1 busy") } else { run(n, vec![]) });
        let baseline = Baseline { error_history: past.collect(), ..Baseline::default() };
        let candidate: Vec<&MeasuredRun> = candidate.iter().collect();
        let judged = judge_errors(&ErrorHistory::of(&baseline, &policy), &candidate, &policy);
        judged.into_iter().map(|e| (e.verdict, e.candidate_runs)).collect()
    }

    #[test]
    fn novelty_needs_two_runs_and_a_history() {
        let one = || with_error(90, "ci / unit", "port 80 busy");
        assert_eq!(verdicts(0, &[one()], ""), [(ErrorVerdict::Suspect, 1)]);
        assert_eq!(verdicts(0, &[one(), one()], ""), [(ErrorVerdict::New, 2)]);
        assert_eq!(verdicts(4, &[one(), one()], ""), [(ErrorVerdict::Flaky, 2)], "20% is not more than 20%");
        assert_eq!(verdicts(5, &[one(), one()], ""), [(ErrorVerdict::Known, 2)]);
        let short = ErrorHistory::default();
        let runs = [one(), one()];
        let judged = judge_errors(&short, &runs.iter().collect::<Vec<_>>(), &GatePolicy::default());
        assert_eq!((judged[0].verdict, judged[0].seen().as_str()), (ErrorVerdict::Suspect, "0 of 0 runs"));
    }

    #[test]
    fn what_the_newest_head_no_longer_shows_is_mended() {
        let had = |n| with_error(n, "ci / unit", "port 80 busy");
        assert!(verdicts(0, &[had(90), had(91), run(92, vec![])], "").is_empty());
        let mut rerun = run(91, vec![]);
        rerun.run.attempt = 2;
        assert_eq!(
            verdicts(0, &[had(91), rerun], ""),
            [(ErrorVerdict::Suspect, 1)],
            "a rerun of the same head"
        );
    }

    #[test]
    fn the_policy_s_ignored_messages_are_left_out() {
        let candidate = [with_error(90, "ci / unit", "connection reset by peer: 7")];
        assert!(verdicts(0, &candidate, "errors: {gate: true, ignore: [\"reset by peer\"]}").is_empty());
    }

    #[test]
    fn a_renamed_stage_keeps_its_errors() {
        let candidate =
            [with_error(90, "ci / test", "port 2 busy"), with_error(91, "ci / test", "port 3 busy")];
        let policy = "aliases: [{from: \"ci / unit\", to: \"ci / test\"}]";
        assert_eq!(verdicts(20, &candidate, policy), [(ErrorVerdict::Known, 2)]);
    }
}
