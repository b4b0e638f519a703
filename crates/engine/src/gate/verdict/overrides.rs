//! Applies people's decisions to a comparison. A finding that a decision covers stays visible, but does
//! not affect the verdict. A finding that is materially worse than the decided one counts again.

use super::aggregate::run_verdict;
use crate::model::comparison::{ErrorVerdict, RunComparison, StageComparison, StageVerdict};
use crate::model::decision::{DecisionKind, Extent, StandingDecision};
use crate::model::note::Note;
use crate::model::policy::GatePolicy;
use crate::model::stage::StageKey;

/// A finding to decide about.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub stage: StageKey,
    /// Only for an error.
    pub signature: Option<String>,
    /// Only for a stage: how much slower it got.
    pub extent: Option<Extent>,
}

/// The findings to which a decision of this kind applies: confirmed findings are accepted, confirmed
/// and suspect ones are muted. Findings that a deeper stage explains or an earlier decision covers are
/// left out.
#[must_use]
pub fn subjects(comparison: &RunComparison, kind: DecisionKind) -> Vec<Subject> {
    let is_subject = |verdict: StageVerdict| match kind {
        DecisionKind::Accepted => verdict == StageVerdict::Regressed,
        DecisionKind::Muted => matches!(verdict, StageVerdict::Regressed | StageVerdict::Suspect),
    };
    let stages = comparison
        .stages
        .iter()
        .filter(|stage| is_subject(stage.verdict) && stage.explained_by.is_none() && stage.decision.is_none())
        .filter_map(|stage| {
            Some(Subject { stage: stage.key.clone(), signature: None, extent: Some(extent(stage)?) })
        });
    let is_subject = |verdict: ErrorVerdict| match kind {
        DecisionKind::Accepted => verdict == ErrorVerdict::New,
        DecisionKind::Muted => matches!(verdict, ErrorVerdict::New | ErrorVerdict::Suspect),
    };
    let errors =
        comparison.errors.iter().filter(|error| is_subject(error.verdict) && error.decision.is_none()).map(
            |error| Subject {
                stage: error.stage.clone(),
                signature: Some(error.signature.clone()),
                extent: None,
            },
        );
    stages.chain(errors).collect()
}

/// The size of a stage's finding; none without a finite number.
fn extent(stage: &StageComparison) -> Option<Extent> {
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    match (finite(stage.ratio), finite(stage.increase_s)) {
        (Some(ratio), Some(increase_s)) => Some(Extent::Slower { ratio, increase_s }),
        _ => Some(Extent::Took { seconds: finite(stage.candidate_s)? }),
    }
}

/// Marks the findings that decisions cover, notes the findings that have outgrown one, and updates the
/// verdict. `decisions` are newest first.
pub fn apply(comparison: &mut RunComparison, decisions: &[StandingDecision], policy: &GatePolicy) {
    if decisions.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    for stage in &mut comparison.stages {
        if !matches!(stage.verdict, StageVerdict::Regressed | StageVerdict::Suspect) {
            continue;
        }
        let about = |d: &&StandingDecision| d.signature.is_none() && d.stage == stage.key;
        let mut outgrown = None;
        for standing in decisions.iter().filter(about) {
            if reaches(stage, standing.extent, policy) {
                stage.decision = Some(standing.decision.clone());
                break;
            }
            outgrown = outgrown.or(Some(standing));
        }
        if let (None, Some(standing)) = (&stage.decision, outgrown) {
            notes.push(outgrown_note(stage, standing));
        }
    }
    for error in &mut comparison.errors {
        if !matches!(error.verdict, ErrorVerdict::New | ErrorVerdict::Suspect) {
            continue;
        }
        let about = |d: &&StandingDecision| d.signature.as_ref() == Some(&error.signature);
        error.decision = decisions.iter().find(about).map(|standing| standing.decision.clone());
    }
    comparison.notes.extend(notes);
    comparison.verdict = run_verdict(comparison, policy.errors().gate);
}

/// Whether a decision of this extent covers a stage: the stage is not slower than the decided finding
/// by more than the policy's floors. Extents of different kinds can't be compared and are not covered.
fn reaches(stage: &StageComparison, decided: Option<Extent>, policy: &GatePolicy) -> bool {
    let floors = policy.stage(&stage.path).floors;
    let least_s = floors.min_increase.as_secs_f64();
    match (decided, extent(stage)) {
        (
            Some(Extent::Slower { ratio, increase_s }),
            Some(Extent::Slower { ratio: now, increase_s: now_s }),
        ) => now < ratio * floors.min_ratio || now_s < increase_s + least_s,
        (Some(Extent::Took { seconds }), Some(Extent::Took { seconds: now })) => {
            now < seconds * floors.min_ratio || now < seconds + least_s
        }
        _ => false,
    }
}

fn outgrown_note(stage: &StageComparison, standing: &StandingDecision) -> Note {
    Note::DecisionOutgrown {
        stage: stage.path.last().cloned().unwrap_or_default(),
        kind: standing.decision.kind,
        by: standing.decision.by.clone(),
        decided: standing.extent,
        now: extent(stage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::comparison::{BaselineSummary, RunVerdict, WallClock};
    use crate::model::decision::Decision;
    use crate::model::policy::PolicyFacts;
    use crate::model::time::Timestamp;

    fn key(name: &str) -> StageKey {
        StageKey::from_path(&["ci".to_owned(), name.to_owned()])
    }

    fn stage(name: &str, verdict: StageVerdict, ratio: f64, increase_s: f64) -> StageComparison {
        StageComparison {
            key: key(name),
            path: vec!["ci".into(), name.into()],
            parent: None,
            verdict,
            candidate_s: None,
            baseline_median_s: None,
            ratio: Some(ratio),
            increase_s: Some(increase_s),
            score: None,
            threshold: None,
            probability: None,
            workings: None,
            samples: 2,
            baseline_samples: 60,
            critical: false,
            explained_by: None,
            decision: None,
            reason: Vec::new(),
            location: None,
            history_s: Vec::new(),
            history_candidates: 0,
        }
    }

    fn comparison(stages: Vec<StageComparison>) -> RunComparison {
        RunComparison {
            verdict: RunVerdict::Regressed,
            repo: "o/n".parse().expect("a name"),
            head_sha: "0123456789012345678901234567890123456789".parse().expect("a commit"),
            candidate_runs: 2,
            baseline: BaselineSummary { runs: 60, ..BaselineSummary::default() },
            runner_factor: None,
            wall_clock: WallClock { candidate_s: 1.0, baseline_median_s: None, critical_path: Vec::new() },
            stages,
            errors: Vec::new(),
            structure: Vec::new(),
            notes: Vec::new(),
            policy: PolicyFacts::default(),
        }
    }

    fn accepted(name: &str, ratio: f64, increase_s: f64) -> StandingDecision {
        StandingDecision {
            decision: Decision {
                kind: DecisionKind::Accepted,
                by: "ada".into(),
                at: Timestamp(1),
                until: None,
                reason: String::new(),
            },
            stage: key(name),
            signature: None,
            extent: Some(Extent::Slower { ratio, increase_s }),
            pull_request: None,
        }
    }

    #[test]
    fn covered_finding_is_shown_without_counting() {
        for (now, covered, verdict) in [
            ((1.5, 50.0), true, RunVerdict::Pass),
            ((1.6, 60.0), true, RunVerdict::Pass), // not materially worse
            ((1.7, 51.0), true, RunVerdict::Pass), // the ratio alone: less than 2 s more
            ((1.7, 70.0), false, RunVerdict::Regressed), // materially worse
        ] {
            let mut judged = comparison(vec![stage("a", StageVerdict::Regressed, now.0, now.1)]);
            apply(&mut judged, &[accepted("a", 1.5, 50.0)], &GatePolicy::default());
            assert_eq!(judged.stages[0].decision.is_some(), covered, "{now:?}");
            assert_eq!((judged.verdict, judged.notes.is_empty()), (verdict, covered), "{now:?}");
            assert_eq!(judged.stages[0].verdict, StageVerdict::Regressed, "the stage's own verdict stays");
        }
    }

    #[test]
    fn accepted_budget_covers_only_similar_length() {
        let took = |seconds: f64| {
            let mut stage = stage("a", StageVerdict::Regressed, 1.0, 0.0);
            (stage.ratio, stage.increase_s, stage.candidate_s) = (None, None, Some(seconds));
            comparison(vec![stage])
        };
        let decided = subjects(&took(22.0), DecisionKind::Accepted);
        assert_eq!(decided[0].extent, Some(Extent::Took { seconds: 22.0 }));
        let standing = StandingDecision { extent: decided[0].extent, ..accepted("a", 1.0, 0.0) };
        for (seconds, verdict) in [(22.5, RunVerdict::Pass), (2_000.0, RunVerdict::Regressed)] {
            let mut judged = took(seconds);
            apply(&mut judged, std::slice::from_ref(&standing), &GatePolicy::default());
            assert_eq!(judged.verdict, verdict, "{seconds}");
        }
        let mut with_a_past = comparison(vec![stage("a", StageVerdict::Regressed, 1.5, 50.0)]);
        apply(&mut with_a_past, &[standing], &GatePolicy::default());
        assert_eq!(with_a_past.verdict, RunVerdict::Regressed, "seconds can't be compared with a ratio");
    }

    #[test]
    fn decision_covers_only_its_stage() {
        let findings = || {
            vec![stage("a", StageVerdict::Regressed, 1.5, 50.0), stage("b", StageVerdict::Suspect, 1.5, 50.0)]
        };
        let mut judged = comparison(findings());
        apply(&mut judged, &[accepted("a", 1.5, 50.0)], &GatePolicy::default());
        assert_eq!(judged.verdict, RunVerdict::Suspect);
        assert_eq!(subjects(&judged, DecisionKind::Accepted), vec![], "decided, or only suspected");
        assert_eq!(subjects(&judged, DecisionKind::Muted).len(), 1);
        let mut other = comparison(findings());
        apply(&mut other, &[accepted("c", 9.0, 900.0)], &GatePolicy::default());
        assert_eq!((other.verdict, other.stages[0].decision.clone()), (RunVerdict::Regressed, None));
    }
}
