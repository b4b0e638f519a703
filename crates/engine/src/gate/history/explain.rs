//! Finds the stage that is responsible for a lasting change: a change of a parent is explained by a
//! change of a deeper stage at the same place.

use std::collections::HashMap;

use super::Located;
use crate::gate::verdict::attribute::EXPLAINED_SHARE;
use crate::model::stage::StageKey;

/// Steps of a stage and of its parent are the same change when they are found at most this many runs
/// apart: noise moves the place by a few runs.
const SAME_PLACE: usize = 5;

/// Fills `explained_by` by the rule of `attribute.rs`. Changes of the parts explain a change when they
/// make up most of its seconds, at the same place and in the same direction. It names the deepest stage
/// along the largest part.
pub(super) fn explain(found: &mut [Located], parents: &HashMap<&StageKey, &StageKey>) {
    let mut by_stage: HashMap<&StageKey, Vec<usize>> = HashMap::new();
    for (i, located) in found.iter().enumerate() {
        by_stage.entry(&located.change.stage).or_default().push(i);
    }
    let same = |a: &Located, b: &Located| {
        a.change.kind == b.change.kind
            && a.at.abs_diff(b.at) <= SAME_PLACE
            && (a.change.ratio > 1.0) == (b.change.ratio > 1.0)
    };
    // For each change the nearest changes below it: (seconds, part).
    let mut parts: Vec<Vec<(f64, usize)>> = vec![Vec::new(); found.len()];
    for (i, part) in found.iter().enumerate() {
        let mut at = parents.get(&part.change.stage).copied();
        while let Some(above) = at {
            let mut whole = by_stage.get(above).into_iter().flatten();
            if let Some(whole) = whole.find(|whole| same(&found[**whole], part)) {
                parts[*whole].push((part.change.increase_s().abs(), i));
                break;
            }
            at = parents.get(above).copied();
        }
    }
    let mut deepest_first: Vec<usize> = (0..found.len()).filter(|i| !parts[*i].is_empty()).collect();
    deepest_first.sort_by_key(|i| std::cmp::Reverse(found[*i].change.path.len()));
    for i in deepest_first {
        let total: f64 = parts[i].iter().map(|(seconds, _)| seconds).sum();
        if total < EXPLAINED_SHARE * found[i].change.increase_s().abs() {
            continue;
        }
        let largest = parts[i].iter().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((_, part)) = largest {
            let part = &found[*part].change;
            let deepest = part.explained_by.clone().unwrap_or_else(|| part.stage.clone());
            found[i].change.explained_by = Some(deepest);
        }
    }
}
