//! Aggregates verdicts: a run's from its stages and errors, a commit's from its pipelines. It also
//! orders the findings. It judges no duration.

use super::attribute::flag;
use super::errors::sort_errors;
use crate::model::comparison::{ErrorVerdict, RunComparison, RunVerdict, StageComparison, StageVerdict};

/// The worst verdict of stages and errors:
/// - a stage that a deeper one explains does not count, nor does an accepted or muted finding;
/// - an error counts as a regression only when errors gate;
/// - where a job contradicts GitHub, slower stages count and the run can't pass.
#[must_use]
pub fn run_verdict(comparison: &RunComparison, errors_gate: bool) -> RunVerdict {
    let of_stage = |stage: &StageComparison| match stage.verdict {
        StageVerdict::Regressed | StageVerdict::Suspect if stage.decision.is_some() => Some(RunVerdict::Pass),
        StageVerdict::Regressed if stage.explained_by.is_none() => Some(RunVerdict::Regressed),
        StageVerdict::Suspect if stage.explained_by.is_none() => Some(RunVerdict::Suspect),
        StageVerdict::Improved => Some(RunVerdict::Improved),
        StageVerdict::Pass | StageVerdict::Regressed | StageVerdict::Suspect => Some(RunVerdict::Pass),
        _ => None,
    };
    // Without history every error is unseen, which is not evidence against this change.
    let of_error = |verdict: ErrorVerdict, history: usize| match verdict {
        ErrorVerdict::New if errors_gate => Some(RunVerdict::Regressed),
        ErrorVerdict::New | ErrorVerdict::Suspect if history > 0 => Some(RunVerdict::Suspect),
        _ => None,
    };
    let stages = comparison.stages.iter().filter_map(of_stage).max();
    let open = comparison.errors.iter().filter(|error| error.decision.is_none());
    let errors = open.filter_map(|e| of_error(e.verdict, e.baseline_runs)).max();
    // A run in which nothing could be judged does not pass.
    let least = if comparison.contradicts_github() { RunVerdict::Inconclusive } else { RunVerdict::Pass };
    stages.unwrap_or(RunVerdict::Inconclusive).max(errors.unwrap_or(RunVerdict::Pass)).max(least)
}

/// Sorts findings first: regressed, suspect, findings that a deeper one explains, improved, new and
/// removed, then all others. Within each, the critical path comes first, then the order of paths.
pub fn sort_stages(stages: &mut [StageComparison]) {
    let rank = |stage: &StageComparison| match (&stage.verdict, &stage.explained_by) {
        (StageVerdict::Regressed, None) => 0,
        (StageVerdict::Suspect, None) => 1,
        (StageVerdict::Regressed | StageVerdict::Suspect, Some(_)) => 2,
        (StageVerdict::Improved, _) => 3,
        (StageVerdict::New | StageVerdict::Removed, _) => 4,
        _ => 5,
    };
    let place = |stage: &StageComparison| (rank(stage), flag(stage.verdict) > 0 && !stage.critical);
    stages.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.path.cmp(&b.path)));
}

/// Joins the comparisons of one commit's pipelines; none without any. The verdict is the worst. An
/// inconclusive pipeline beside a passed one stays visible in its stages. Summary and runner are those
/// of the pipeline with the largest baseline. The wall clock is that of the longest pipeline, for which
/// people wait.
#[must_use]
pub fn aggregate(comparisons: Vec<RunComparison>) -> Option<RunComparison> {
    let largest = comparisons.iter().rev().max_by_key(|c| c.baseline.runs)?;
    let longest = comparisons
        .iter()
        .rev()
        .max_by(|a, b| a.wall_clock.candidate_s.total_cmp(&b.wall_clock.candidate_s))?;
    let mut joined = RunComparison {
        verdict: comparisons.iter().map(|c| c.verdict).max()?,
        candidate_runs: comparisons.iter().map(|c| c.candidate_runs).max()?,
        wall_clock: longest.wall_clock.clone(),
        stages: Vec::new(),
        errors: Vec::new(),
        structure: Vec::new(),
        notes: Vec::new(),
        ..largest.clone()
    };
    for comparison in comparisons {
        joined.stages.extend(comparison.stages);
        joined.errors.extend(comparison.errors);
        joined.structure.extend(comparison.structure);
        for note in comparison.notes {
            if !joined.notes.contains(&note) {
                joined.notes.push(note);
            }
        }
    }
    sort_stages(&mut joined.stages);
    sort_errors(&mut joined.errors);
    Some(joined)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::note::Note;

    #[test]
    fn contradicting_job_prevents_pass_not_regression() {
        use RunVerdict::{Improved, Inconclusive, Pass, Regressed, Suspect};
        for (stage, alone, contradicted) in [
            ("pass", Pass, Inconclusive),
            ("improved", Improved, Inconclusive),
            ("suspect", Suspect, Suspect),
            ("regressed", Regressed, Regressed),
        ] {
            let of = |notes: &[Note]| -> RunComparison {
                serde_json::from_value(json!({
                    "verdict": "pass", "repo": "acme/my-app", "head_sha": "a".repeat(40), "candidate_runs": 1,
                    "baseline": { "runs": 9, "from_sha": null, "to_sha": null, "excluded": [] }, "runner_factor": 1.0,
                    "wall_clock": { "candidate_s": 1.0, "baseline_median_s": 1.0, "critical_path": [] },
                    "stages": [{
                        "key": "v1|CI", "path": ["CI"], "parent": null, "verdict": stage, "candidate_s": 1.0,
                        "baseline_median_s": 1.0, "ratio": 1.0, "increase_s": 0.0, "score": null, "threshold": null,
                        "samples": 1, "baseline_samples": 9, "critical": true, "explained_by": null, "reason": "",
                        "location": null, "history_s": [], "history_candidates": 0,
                    }],
                    "errors": [], "notes": notes,
                }))
                .expect("a comparison")
            };
            let note = Note::ContradictsGitHub { job: "test".into(), spans: 3 };
            let verdicts = [&[][..], &[note]].map(|notes| run_verdict(&of(notes), true));
            assert_eq!(verdicts, [alone, contradicted], "{stage}");
        }
    }
}
