//! Finds stages that changed places: they ran before a sibling and now run after it, or the reverse.
//! Stages that overlap have no order, so that parallel work never counts as moved.

use super::Side;
use super::usual::UsualStage;
use crate::model::run::RunResult;
use crate::model::stage::StageSample;

/// Smallest number of baseline runs with both stages.
const MIN_RUNS: usize = 5;
/// A moved stage is compared with this many siblings on each side, so that work stays near linear.
const NEIGHBOURS: usize = 16;

/// A stage that both the baseline and the candidate have.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub usual: &'a UsualStage,
    pub now: &'a StageSample,
}

/// One stage that changed sides with another.
pub(super) struct Move<'a> {
    pub stage: Pair<'a>,
    pub sibling: Pair<'a>,
    pub now: Side,
    /// Baseline runs with the opposite order.
    pub runs: usize,
    /// Baseline runs with both stages, in any order.
    pub of: usize,
}

/// The moved siblings: those outside a longest sequence of siblings that kept their order. Each comes
/// with the nearest sibling that it changed sides with. The old order must have held in at least nine
/// in ten baseline runs.
#[must_use]
pub(super) fn moved<'a>(pairs: &[Pair<'a>]) -> Vec<Move<'a>> {
    let mut siblings: Vec<(Pair<'a>, f64)> = pairs
        .iter()
        .filter(|p| p.now.result == RunResult::Success && !p.now.asynchronous)
        .filter(|p| p.usual.times.len() >= MIN_RUNS)
        .filter_map(|p| Some((*p, p.usual.usual?.start_ns)))
        .collect();
    siblings.sort_by(|(a, at), (b, bt)| at.total_cmp(bt).then_with(|| a.now.key.cmp(&b.now.key)));
    let mut in_order: Vec<(usize, Pair<'a>)> =
        siblings.into_iter().map(|(pair, _)| pair).enumerate().collect();
    in_order.sort_by_key(|(rank, p)| (p.now.start_offset_ns, p.now.end_offset_ns, *rank));
    let ranks: Vec<usize> = in_order.iter().map(|(rank, _)| *rank).collect();
    let stayed = longest_rise(&ranks);
    (0..in_order.len()).filter(|at| !stayed[*at]).filter_map(|at| confirmed(&in_order, at)).collect()
}

fn confirmed<'a>(in_order: &[(usize, Pair<'a>)], at: usize) -> Option<Move<'a>> {
    let (rank, stage) = in_order[at];
    let earlier = in_order[..at].iter().rev().take(NEIGHBOURS).filter(|(r, _)| *r > rank);
    let later = in_order[at + 1..].iter().take(NEIGHBOURS).filter(|(r, _)| *r < rank);
    let after = earlier.filter_map(|(_, sibling)| {
        let follows = sibling.now.end_offset_ns <= stage.now.start_offset_ns;
        let (runs, of) = precedes(stage.usual, sibling.usual);
        (follows && is_stable(runs, of)).then_some(Move {
            stage,
            sibling: *sibling,
            now: Side::After,
            runs,
            of,
        })
    });
    let before = later.filter_map(|(_, sibling)| {
        let follows = stage.now.end_offset_ns <= sibling.now.start_offset_ns;
        let (runs, of) = precedes(sibling.usual, stage.usual);
        (follows && is_stable(runs, of)).then_some(Move {
            stage,
            sibling: *sibling,
            now: Side::Before,
            runs,
            of,
        })
    });
    after.chain(before).next()
}

/// The number of baseline runs in which `first` ended before `second` began, and of runs with both.
fn precedes(first: &UsualStage, second: &UsualStage) -> (usize, usize) {
    let (mut runs, mut of) = (0, 0);
    let mut others = second.times.iter().peekable();
    for time in &first.times {
        while others.next_if(|other| other.run < time.run).is_some() {}
        if let Some(other) = others.next_if(|other| other.run == time.run) {
            of += 1;
            runs += usize::from(time.end_ns <= other.start_ns);
        }
    }
    (runs, of)
}

/// Whether the order held in nine of ten runs, and there are enough runs.
fn is_stable(runs: usize, of: usize) -> bool {
    of >= MIN_RUNS && runs * 10 >= of * 9
}

/// Marks a longest increasing subsequence of distinct numbers (Schensted 1961), in n log n.
fn longest_rise(ranks: &[usize]) -> Vec<bool> {
    // At index length - 1: the position of the smallest end of a rise of that length.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; ranks.len()];
    for (at, rank) in ranks.iter().enumerate() {
        let length = ends.partition_point(|end| ranks[*end] < *rank);
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut is_in = vec![false; ranks.len()];
    let mut at = ends.last().copied();
    while let Some(place) = at {
        is_in[place] = true;
        at = before[place];
    }
    is_in
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_rise_omits_moved_stages() {
        let left_out = |ranks: &[usize]| -> Vec<usize> {
            ranks.iter().zip(longest_rise(ranks)).filter(|(_, stays)| !stays).map(|(rank, _)| *rank).collect()
        };
        for (ranks, moved) in [
            (&[][..], &[][..]),
            (&[0, 1, 2, 3], &[]),
            (&[3, 0, 1, 2], &[3]),
            (&[1, 2, 3, 0], &[0]),
            (&[0, 3, 1, 2, 4], &[3]),
            (&[2, 1, 0], &[2, 1]),
        ] {
            assert_eq!(left_out(ranks), moved, "{ranks:?}");
        }
    }
}
