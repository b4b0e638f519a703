//! Waits for a runner: they are shown beside the stages, with a note when one was long. They are never
//! judged, because the change does not cause them.

use super::compare::blank;
use crate::gate::structure::{BaselineStructure, UsualStage};
use crate::model::comparison::{StageComparison, StageVerdict};
use crate::model::note::Note;
use crate::model::reason::StageFact;
use crate::model::stage::{StageKind, StageSample};
use crate::stats::robust::median_of;

/// A wait is noted when it is longer than usual by this factor and this number of seconds, and when
/// the baseline has enough waits to know the usual one.
const LONG_RATIO: f64 = 2.0;
const LONG_S: f64 = 30.0;
const MIN_RUNS: usize = 5;

/// The comparison of a stage that is a wait.
#[must_use]
pub(crate) fn waiting(sample: &StageSample, usual: &BaselineStructure) -> StageComparison {
    let mut shown = blank(&sample.key, &sample.path, sample.parent.as_ref(), None);
    let waits_s: &[f64] = usual.find(&sample.key).map_or(&[], |stage| &stage.waits_s);
    shown.verdict = StageVerdict::NotComparable;
    shown.reason.push(StageFact::Waiting);
    shown.candidate_s = Some(sample.seconds());
    shown.baseline_median_s = median_of(waits_s.iter().copied());
    shown.baseline_samples = waits_s.len();
    shown.samples = 1;
    shown.history_s = waits_s.iter().copied().chain([sample.seconds()]).collect();
    shown.history_candidates = 1;
    shown
}

/// The note on the longest wait of a run that was unusually long, with the number of others.
#[must_use]
pub(crate) fn long_waits(stages: &[StageSample], usual: &BaselineStructure) -> Option<Note> {
    let usually = |stage: &UsualStage| {
        (stage.waits_s.len() >= MIN_RUNS).then(|| median_of(stage.waits_s.iter().copied())).flatten()
    };
    let mut long: Vec<(f64, f64, &StageSample)> = stages
        .iter()
        .filter(|s| s.kind == StageKind::Queue)
        .filter_map(|s| Some((s.seconds(), usually(usual.find(&s.key)?)?, s)))
        .filter(|(took, usual_s, _)| *took >= usual_s * LONG_RATIO && took - usual_s >= LONG_S)
        .collect();
    long.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.key.cmp(&b.2.key)));
    let (took, usual_s, stage) = long.first()?;
    let name = stage.path[stage.path.len().saturating_sub(2)..].join(" / ");
    Some(Note::LongWait { stage: name, took_s: *took, usual_s: *usual_s, more: long.len() - 1 })
}
