//! Finds pairs of a removed and an added stage that look like the same work under another name. It
//! proposes renames with their evidence, and renames nothing.

use std::collections::HashSet;

use super::usual::{Usual, each_s, log_ratio};
use crate::model::stage::StageSample;
use crate::model::structure::RenameEvidence;
use crate::stats::count;

/// Up to this number of pairs under one parent, all are compared. With more, each stage is compared with
/// [`WINDOW`] of the others on each side of its place.
const ALL_PAIRS: usize = 1_024;
const WINDOW: usize = 8;
/// Smallest similarity of names that is evidence.
const SIMILAR: f64 = 0.5;
/// From this similarity on, a similar time is enough further evidence.
const VERY_SIMILAR: f64 = 0.7;
/// Smallest share of common parts of the same work.
const SAME_PARTS: f64 = 0.6;
/// Largest ln of the ratio of two similar times, if they usually scatter less.
const SIMILAR_TIME: f64 = 0.182_321_556_793_954_6;
/// A pair is ambiguous when another pair's similarity is within this distance of its own, or larger.
const MARGIN: f64 = 0.05;

/// One side of a possible rename.
pub(super) struct Side<'a> {
    /// The last part of its path.
    pub name: &'a str,
    /// Names of its children.
    pub parts: Vec<&'a str>,
    pub place: Place,
}

/// The place of a stage among its siblings. It consists of the nearest siblings that stayed, with numbers
/// that both sides share, and of its rank between them, from either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The sibling before it, and its rank after that sibling.
    pub after: (Option<usize>, usize),
    /// The sibling after it, and its rank before that sibling.
    pub before: (Option<usize>, usize),
}

/// A removed stage.
pub(super) struct Removed<'a> {
    pub side: Side<'a>,
    /// None when it never succeeded.
    pub usual: Option<Usual>,
}

/// An added stage.
pub(super) struct Added<'a> {
    pub side: Side<'a>,
    pub sample: &'a StageSample,
}

/// A proposed pair, by positions in the given lists.
pub(super) struct Rename {
    pub removed: usize,
    pub added: usize,
    pub evidence: Vec<RenameEvidence>,
}

/// Two stages that may be the same work.
struct Scored {
    removed: usize,
    added: usize,
    /// Of names, time and parts together, 0 to 2.5.
    similarity: f64,
    same_place: bool,
    /// Enough for a proposal. A pair that would only be enough at the same place still makes another pair
    /// ambiguous, because parallel jobs begin in any order.
    is_enough: bool,
    evidence: Vec<RenameEvidence>,
}

impl Scored {
    fn score(&self) -> f64 {
        self.similarity + if self.same_place { 0.5 } else { 0.0 }
    }
}

/// Pairs the stages of one parent. Both lists are in the order of their beginning. A pair that is not
/// clearly better than another pair with one of its stages is not proposed. `runner` is the
/// runner's slowdown: 1 is the usual speed.
#[must_use]
pub(super) fn renames(removed: &[Removed<'_>], added: &[Added<'_>], runner: f64) -> Vec<Rename> {
    let removed_bigrams: Vec<Vec<[char; 2]>> = removed.iter().map(|g| bigrams(g.side.name)).collect();
    let added_bigrams: Vec<Vec<[char; 2]>> = added.iter().map(|c| bigrams(c.side.name)).collect();
    let mut pairs: Vec<Scored> = Vec::new();
    for (i, old) in removed.iter().enumerate() {
        let near = if removed.len().saturating_mul(added.len()) <= ALL_PAIRS {
            0..added.len()
        } else {
            i.saturating_sub(WINDOW).min(added.len())..(i + WINDOW + 1).min(added.len())
        };
        for j in near {
            let names = || dice(&removed_bigrams[i], &added_bigrams[j]);
            if let Some(pair) = resemblance(old, &added[j], names, runner) {
                pairs.push(Scored { removed: i, added: j, ..pair });
            }
        }
    }
    clear_pairs(pairs, removed.len(), added.len())
}

/// Takes the best pairs first. A stage with two equally good pairs gets none.
fn clear_pairs(mut pairs: Vec<Scored>, removed: usize, added: usize) -> Vec<Rename> {
    pairs.sort_by(|a, b| {
        b.score().total_cmp(&a.score()).then((a.removed, a.added).cmp(&(b.removed, b.added)))
    });
    let (mut by_removed, mut by_added) = (vec![Vec::new(); removed], vec![Vec::new(); added]);
    for (at, pair) in pairs.iter().enumerate() {
        by_removed[pair.removed].push(at);
        by_added[pair.added].push(at);
    }
    let (mut removed_state, mut added_state) = (vec![PairState::Open; removed], vec![PairState::Open; added]);
    let mut chosen = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        let is_open =
            removed_state[pair.removed] == PairState::Open && added_state[pair.added] == PairState::Open;
        if !pair.is_enough || !is_open {
            continue;
        }
        let rival = |other: &usize| {
            let is_other = *other != at;
            let other = &pairs[*other];
            is_other
                && removed_state[other.removed] != PairState::Paired
                && added_state[other.added] != PairState::Paired
                && other.similarity > pair.similarity - MARGIN
        };
        let is_clear = !by_removed[pair.removed].iter().any(rival) && !by_added[pair.added].iter().any(rival);
        let state = if is_clear { PairState::Paired } else { PairState::Ambiguous };
        (removed_state[pair.removed], added_state[pair.added]) = (state, state);
        if is_clear {
            chosen.push(Rename { removed: pair.removed, added: pair.added, evidence: pair.evidence.clone() });
        }
    }
    chosen
}

/// The state of a stage while pairs are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PairState {
    Open,
    Paired,
    /// More than one pair fits, so that those are ambiguous too.
    Ambiguous,
}

/// The similarity of two stages, and its evidence. None when they would not be similar at any place. The
/// caller sets the positions.
fn resemblance(old: &Removed<'_>, new: &Added<'_>, names: impl Fn() -> f64, runner: f64) -> Option<Scored> {
    let usual = old.usual?;
    let took = each_s(new.sample);
    let raw = log_ratio(took, usual.each_s);
    let off = raw.abs().min((raw - runner.ln()).abs());
    let limit = SIMILAR_TIME.max(2.0 * usual.spread);
    let takes_as_long = off <= limit;
    let parts = shared(&old.side.parts, &new.side.parts);
    let has_the_parts = parts.is_some_and(|share| share >= SAME_PARTS);
    // Without a similar time or common parts it is different work, even under a similar name.
    if !takes_as_long && !has_the_parts {
        return None;
    }
    let names = names();
    let enough = |same_place: bool| {
        // Different parts are different work, even under a similar name.
        let by_name = takes_as_long
            && (names >= VERY_SIMILAR || (names >= SIMILAR && same_place))
            && parts.is_none_or(|share| share > 0.0);
        let by_parts =
            has_the_parts && (takes_as_long || names >= SIMILAR) && (same_place || names >= SIMILAR);
        by_name || by_parts
    };
    if !enough(true) {
        return None;
    }
    let same_place =
        old.side.place.after == new.side.place.after || old.side.place.before == new.side.place.before;
    let mut evidence = Vec::new();
    if same_place {
        evidence.push(RenameEvidence::SamePlace);
    }
    if let Some(share) = parts.filter(|share| *share > 0.0) {
        evidence.push(RenameEvidence::SharedParts { share });
    }
    if takes_as_long {
        evidence.push(RenameEvidence::SameTime { took_s: took, usual_s: usual.each_s });
    }
    if names >= SIMILAR {
        evidence.push(RenameEvidence::SimilarNames { similarity: names });
    }
    let time = if takes_as_long { 0.5 * (1.0 - 0.5 * off / limit) } else { 0.0 };
    let similarity = names + time + parts.unwrap_or(0.0);
    Some(Scored { removed: 0, added: 0, similarity, same_place, is_enough: enough(same_place), evidence })
}

/// Jaccard's index of two sets of names: the share of common names. None when both are empty.
fn shared(a: &[&str], b: &[&str]) -> Option<f64> {
    let names: HashSet<&str> = a.iter().copied().collect();
    let both = b.iter().filter(|name| names.contains(*name)).count();
    let either = a.len() + b.len() - both;
    (either > 0).then(|| count(both) / count(either))
}

/// Pairs of neighbouring letters of a name, sorted and in lower case. A sequence of other characters than
/// letters and digits is one space.
fn bigrams(name: &str) -> Vec<[char; 2]> {
    let mut letters: Vec<char> = Vec::with_capacity(name.len());
    for c in name.chars() {
        if c.is_alphanumeric() {
            letters.extend(c.to_lowercase());
        } else if letters.last().is_some_and(|last| *last != ' ') {
            letters.push(' ');
        }
    }
    let mut pairs: Vec<[char; 2]> = letters.windows(2).map(|pair| [pair[0], pair[1]]).collect();
    pairs.sort_unstable();
    pairs
}

/// Dice's coefficient of two sorted lists: twice the number of common elements over the number of all
/// (Dice 1945, "Measures of the amount of ecologic association between species").
fn dice(a: &[[char; 2]], b: &[[char; 2]]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
        }
    }
    if a.is_empty() && b.is_empty() { 0.0 } else { 2.0 * count(both) / count(a.len() + b.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_bigrams() {
        // 2 * shared bigrams / all bigrams, as multisets: night/nacht share "ht" of 4 + 4.
        for (a, b, expected) in [
            ("night", "nacht", 0.25),
            ("Unit tests", "unit-tests", 1.0),
            ("unit", "test", 0.0),
            ("a", "a", 0.0),
            ("", "x", 0.0),
        ] {
            let alike = dice(&bigrams(a), &bigrams(b));
            assert!((alike - expected).abs() < 1e-12, "{a} {b}: {alike}");
        }
    }

    #[test]
    fn parts_are_compared_as_sets() {
        assert_eq!(shared(&[], &[]), None);
        assert_eq!(shared(&["a", "b"], &[]), Some(0.0));
        assert_eq!(shared(&["a", "b", "c"], &["b", "c", "d"]), Some(0.5));
    }
}
