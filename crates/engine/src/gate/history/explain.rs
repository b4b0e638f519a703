//! Which stage is responsible for a lasting change: one that holds the deeper one that changed at
//! the same place is explained by it.

use std::collections::HashMap;

use super::Located;
use crate::gate::verdict::attribute::EXPLAINED_SHARE;
use crate::model::stage::StageKey;

/// Steps of a stage and of one that holds it are one when they are found this many runs apart or
/// less: noise moves the place by a few runs.
const SAME_PLACE: usize = 5;

/// Fills `explained_by` by the rule of `attribute.rs`: a change is its parts' when their changes
/// at the same place and in the same direction make up most of its seconds. The deepest stage
/// along the largest part is named.
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
    // Of each change the nearest changes below it: (seconds, part).
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
