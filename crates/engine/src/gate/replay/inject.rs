//! A run with one stage made slower: what holds the stage takes as much longer, everything
//! else stays as it was.

use crate::model::run::MeasuredRun;
use crate::model::stage::StageKey;

/// The run, the stage taking `ratio` times as long, and each stage above it that the run holds
/// the same seconds more. A run without the stage is returned as it is.
#[must_use]
pub(super) fn slowed(run: &MeasuredRun, stage: &StageKey, ratio: f64) -> MeasuredRun {
    let mut run = run.clone();
    let place = |run: &MeasuredRun, key: &StageKey| run.stages.iter().position(|s| s.key == *key);
    let Some(target) = place(&run, stage) else { return run };
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no stage takes so long")]
    let extra_ns = (run.stages[target].seconds() * (ratio - 1.0) * 1e9).round() as i64;
    let mut at = Some(target);
    // Bounded, should a stored run's stages hold one another in a circle.
    for _ in 0..run.stages.len() {
        let Some(i) = at else { break };
        let sample = &mut run.stages[i];
        sample.duration_ns = sample.duration_ns.saturating_add(extra_ns);
        sample.end_offset_ns = sample.end_offset_ns.saturating_add(extra_ns);
        let above = sample.parent.clone();
        at = above.and_then(|above| place(&run, &above));
    }
    run.run.duration_ns = run.run.duration_ns.saturating_add(extra_ns);
    run
}
