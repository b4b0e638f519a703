//! Makes one stage of a run slower. Its parents take as much longer, everything else is unchanged.

use crate::model::run::MeasuredRun;
use crate::model::stage::StageKey;

/// The run with the stage `ratio` times as long and each of its parents longer by the same seconds. A
/// run without the stage is returned unchanged.
#[must_use]
pub(super) fn slowed(run: &MeasuredRun, stage: &StageKey, ratio: f64) -> MeasuredRun {
    let mut run = run.clone();
    let place = |run: &MeasuredRun, key: &StageKey| run.stages.iter().position(|s| s.key == *key);
    let Some(target) = place(&run, stage) else { return run };
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and stages are shorter")]
    let extra_ns = (run.stages[target].seconds() * (ratio - 1.0) * 1e9).round() as i64;
    let mut at = Some(target);
    // Bounded, because the parents of a stored run might form a cycle.
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
