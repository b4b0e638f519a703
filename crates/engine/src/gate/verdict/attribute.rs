//! Attributes a slowdown: finds the flagged stages that a deeper one explains, and the stages that
//! determined the end of the run. It changes no verdict.

use std::collections::HashMap;

use crate::model::comparison::{StageComparison, StageVerdict};
use crate::model::stage::{StageKey, StageSample};

/// A stage whose flagged parts account for this share of its increase is not a finding itself.
pub(crate) const EXPLAINED_SHARE: f64 = 0.6;

/// Severity of a finding; 0 is none.
#[must_use]
pub fn flag(verdict: StageVerdict) -> u8 {
    match verdict {
        StageVerdict::Regressed => 2,
        StageVerdict::Suspect => 1,
        _ => 0,
    }
}

/// Fills `explained_by`. A flagged stage is explained when flagged stages below it, of at least the
/// same severity, together account for most of its increase. It then names the deepest stage along the
/// largest part. `own_finding` is by stage, in the same order: true for a finding that no part can
/// explain, such as an exceeded budget.
pub fn explain(stages: &mut [StageComparison], own_finding: &[bool]) {
    let place: HashMap<&StageKey, usize> = stages.iter().enumerate().map(|(i, s)| (&s.key, i)).collect();
    let parents: Vec<Option<usize>> = stages
        .iter()
        .map(|s| place.get(s.parent.as_ref()?).copied().filter(|p| stages[*p].path.len() < s.path.len()))
        .collect();
    // By stage: its nearest flagged parts as (increase, part).
    let mut parts: Vec<Vec<(f64, usize)>> = vec![Vec::new(); stages.len()];
    for (i, stage) in stages.iter().enumerate() {
        let (own, increase) = (flag(stage.verdict), stage.increase_s.unwrap_or(0.0));
        if own == 0 || increase <= 0.0 {
            continue;
        }
        // A flagged stage in between is counted instead of the stages below it.
        let mut between = 0;
        let mut at = parents[i];
        while let Some(above) = at {
            let flagged = flag(stages[above].verdict);
            if flagged > between && flagged <= own {
                parts[above].push((increase, i));
            }
            between = between.max(flagged);
            at = parents[above];
        }
    }
    let mut deepest_first: Vec<usize> = (0..stages.len()).filter(|i| !parts[*i].is_empty()).collect();
    deepest_first.sort_by_key(|i| std::cmp::Reverse(stages[*i].path.len()));
    for i in deepest_first {
        let total: f64 = parts[i].iter().map(|(increase, _)| increase).sum();
        let needed = stages[i].increase_s.map(|increase| increase * EXPLAINED_SHARE);
        if own_finding.get(i) == Some(&true) || needed.is_none_or(|needed| total < needed) {
            continue;
        }
        let largest = parts[i].iter().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((_, part)) = largest {
            let deepest = stages[*part].explained_by.clone().unwrap_or_else(|| stages[*part].key.clone());
            stages[i].explained_by = Some(deepest);
        }
    }
}

/// The stages that determined the end of a run, outermost first. In each stage this is the part that
/// finished last, then the part that finished last before that one started, and so on. Work that a message
/// started delays no other stage and is left out.
#[must_use]
pub fn critical_path(stages: &[StageSample]) -> Vec<StageKey> {
    let mut children: HashMap<&StageKey, Vec<&StageSample>> = HashMap::new();
    for stage in stages.iter().filter(|s| !s.asynchronous) {
        if let Some(parent) = &stage.parent {
            children.entry(parent).or_default().push(stage);
        }
    }
    let mut path = Vec::new();
    let mut open: Vec<&StageSample> = stages.iter().filter(|s| s.parent.is_none()).take(1).collect();
    while let Some(stage) = open.pop() {
        path.push(stage.key.clone());
        // Each stage's parts are taken once, so the walk ends for any parents.
        let mut inside = children.remove(&stage.key).unwrap_or_default();
        inside.sort_by(|a, b| (b.end_offset_ns, &a.key).cmp(&(a.end_offset_ns, &b.key)));
        let mut until = i64::MAX;
        // Pushed last first, so that the earliest is on top of the stack: time order.
        for part in inside {
            if part.end_offset_ns <= until {
                until = part.start_offset_ns;
                open.push(part);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{path, stage};

    fn compared(text: &str, verdict: StageVerdict, increase_s: f64) -> StageComparison {
        let sample = stage(text, 0.0, 1.0);
        StageComparison {
            key: sample.key,
            path: sample.path,
            parent: sample.parent,
            verdict,
            candidate_s: Some(1.0),
            baseline_median_s: Some(1.0),
            ratio: Some(1.5),
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
            history_s: vec![],
            history_candidates: 0,
        }
    }

    fn explained(rows: Vec<(&str, StageVerdict, f64)>) -> Vec<Option<String>> {
        let mut stages: Vec<StageComparison> = rows.into_iter().map(|(p, v, i)| compared(p, v, i)).collect();
        let own = vec![false; stages.len()];
        explain(&mut stages, &own);
        stages
            .into_iter()
            .map(|s| s.explained_by.map(|k| k.as_str().trim_start_matches("v1|").to_owned()))
            .collect()
    }

    use StageVerdict::{Pass, Regressed, Suspect};

    #[test]
    fn deepest_stage_is_responsible() {
        let by = explained(vec![
            ("ci", Regressed, 30.0),
            ("ci / test", Regressed, 31.0),
            ("ci / test / slow", Regressed, 30.0),
            ("ci / test / ok", Pass, 0.5),
        ]);
        assert_eq!(by, [Some("ci / test / slow".into()), Some("ci / test / slow".into()), None, None]);
    }

    #[test]
    fn passed_stage_between_hides_nothing() {
        let by = explained(vec![
            ("ci", Regressed, 30.0),
            ("ci / test", Pass, 29.0),
            ("ci / test / slow", Regressed, 30.0),
        ]);
        assert_eq!(by[0].as_deref(), Some("ci / test / slow"));
    }

    #[test]
    fn spread_slowdown_belongs_to_parent() {
        assert_eq!(
            explained(vec![("ci", Regressed, 30.0), ("ci / a", Regressed, 10.0), ("ci / b", Pass, 9.0)]),
            [None, None, None]
        );
    }

    #[test]
    fn flagged_halves_explain_whole_and_larger_is_named() {
        let by = explained(vec![
            ("ci", Regressed, 30.0),
            ("ci / a", Regressed, 14.0),
            ("ci / b", Regressed, 15.0),
        ]);
        assert_eq!(by, [Some("ci / b".into()), None, None]);
    }

    #[test]
    fn suspicion_never_explains_regression() {
        let rows =
            |child| vec![("ci", Regressed, 30.0), ("ci / a", child, 30.0), ("ci / a / b", Regressed, 29.0)];
        assert_eq!(explained(rows(Suspect))[0].as_deref(), Some("ci / a / b"));
        assert_eq!(explained(vec![("ci", Regressed, 30.0), ("ci / a", Suspect, 30.0)]), [None, None]);
        assert_eq!(
            explained(vec![("ci", Suspect, 30.0), ("ci / a", Regressed, 30.0)])[0].as_deref(),
            Some("ci / a")
        );
    }

    #[test]
    fn exceeded_budget_is_not_explained() {
        let mut stages = vec![compared("ci", Regressed, 30.0), compared("ci / a", Regressed, 30.0)];
        explain(&mut stages, &[true, false]);
        assert_eq!(stages[0].explained_by, None);
    }

    #[test]
    fn critical_path_walks_back_from_end() {
        let mut process = stage("ci / process", 0.0, 99.0);
        process.asynchronous = true;
        let stages = vec![
            stage("ci", 0.0, 20.0),
            stage("ci / checkout", 0.0, 2.0),
            stage("ci / lint", 2.0, 3.0),
            stage("ci / build", 2.0, 10.0),
            stage("ci / build / compile", 2.0, 9.0),
            stage("ci / build / docs", 2.0, 4.0),
            stage("ci / test", 12.0, 8.0),
            process,
        ];
        let keys: Vec<String> = critical_path(&stages).iter().map(|k| k.as_str()[3..].to_owned()).collect();
        assert_eq!(keys, ["ci", "ci / checkout", "ci / build", "ci / build / compile", "ci / test"]);
    }

    #[test]
    fn circular_parents_do_not_trap_walk() {
        let mut a = stage("ci / a", 0.0, 1.0);
        a.parent = Some(StageKey::from_path(&path("ci / a")));
        let mut root = stage("ci", 0.0, 1.0);
        root.end_offset_ns = i64::MIN;
        assert_eq!(critical_path(&[root, a]).len(), 1);
        assert!(critical_path(&[]).is_empty());
    }
}
