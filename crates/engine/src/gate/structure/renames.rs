//! Which stage that is gone and which that came look like the same work under another name. It
//! proposes, with its evidence; nothing is renamed by it.

use std::collections::HashSet;

use super::usual::{Usual, each_s, log_ratio};
use crate::model::stage::StageSample;
use crate::model::structure::RenameEvidence;
use crate::stats::count;

/// Pairs under one parent that are all looked at; of more, each stage only meets [`WINDOW`] of
/// the others on each side of its place.
const ALL_PAIRS: usize = 1_024;
const WINDOW: usize = 8;
/// Names from which on they are evidence, and from which on they need no further one but time.
const ALIKE: f64 = 0.5;
const VERY_ALIKE: f64 = 0.7;
/// Share of parts that both have, from which on it is the same work.
const SAME_PARTS: f64 = 0.6;
/// ln of the ratio up to which two times are alike, if they usually scatter less.
const ALIKE_TIME: f64 = 0.182_321_556_793_954_6;
/// A second pair that is as good as this much less makes both a guess.
const MARGIN: f64 = 0.05;

/// One side of a possible rename.
pub(super) struct Side<'a> {
    /// Its own name.
    pub name: &'a str,
    /// Names of what it holds.
    pub parts: Vec<&'a str>,
    /// Where it stands among its siblings.
    pub place: Place,
}

/// Where a stage stands between the siblings that stayed (numbers that both sides share), and the
/// how-manieth of those that did not it is there, from either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The sibling before it, and the rank after that one.
    pub after: (Option<usize>, usize),
    /// The sibling behind it, and the rank before that one.
    pub before: (Option<usize>, usize),
}

/// A stage that is gone.
pub(super) struct Gone<'a> {
    /// What is known of it.
    pub side: Side<'a>,
    /// What it did; none when it never succeeded.
    pub usual: Option<Usual>,
}

/// A stage that came.
pub(super) struct Came<'a> {
    /// What is known of it.
    pub side: Side<'a>,
    /// Its sample.
    pub sample: &'a StageSample,
}

/// A proposed pair, by position in the lists that were given, and why.
pub(super) struct Rename {
    /// Among those that are gone.
    pub gone: usize,
    /// Among those that came.
    pub came: usize,
    pub evidence: Vec<RenameEvidence>,
}

/// Two stages that may be the same work.
struct Scored {
    gone: usize,
    came: usize,
    /// Names, time and parts; 0 to 2.5.
    likeness: f64,
    /// Whether they stand at the same place.
    same_place: bool,
    /// Enough for a proposal. What would only be enough at the same place still makes another
    /// pair doubtful: jobs that run side by side begin in any order.
    is_enough: bool,
    evidence: Vec<RenameEvidence>,
}

impl Scored {
    fn score(&self) -> f64 {
        self.likeness + if self.same_place { 0.5 } else { 0.0 }
    }
}

/// Pairs stages of one parent, the lists in the order of their beginning. A pair that is not
/// clearly better than another one with either of its stages is left alone. `runner` is how many
/// times slower than usual the machine was.
#[must_use]
pub(super) fn renames(gone: &[Gone<'_>], came: &[Came<'_>], runner: f64) -> Vec<Rename> {
    let gone_letters: Vec<Vec<[char; 2]>> = gone.iter().map(|g| bigrams(g.side.name)).collect();
    let came_letters: Vec<Vec<[char; 2]>> = came.iter().map(|c| bigrams(c.side.name)).collect();
    let mut pairs: Vec<Scored> = Vec::new();
    for (i, old) in gone.iter().enumerate() {
        let near = if gone.len().saturating_mul(came.len()) <= ALL_PAIRS {
            0..came.len()
        } else {
            i.saturating_sub(WINDOW).min(came.len())..(i + WINDOW + 1).min(came.len())
        };
        for j in near {
            let names = || dice(&gone_letters[i], &came_letters[j]);
            if let Some(pair) = resemblance(old, &came[j], names, runner) {
                pairs.push(Scored { gone: i, came: j, ..pair });
            }
        }
    }
    clear_pairs(pairs, gone.len(), came.len())
}

/// The best pairs first; what has two pairs that are equally good has none.
fn clear_pairs(mut pairs: Vec<Scored>, gone: usize, came: usize) -> Vec<Rename> {
    pairs.sort_by(|a, b| b.score().total_cmp(&a.score()).then((a.gone, a.came).cmp(&(b.gone, b.came))));
    let (mut by_gone, mut by_came) = (vec![Vec::new(); gone], vec![Vec::new(); came]);
    for (at, pair) in pairs.iter().enumerate() {
        by_gone[pair.gone].push(at);
        by_came[pair.came].push(at);
    }
    let (mut gone_fate, mut came_fate) = (vec![Fate::Open; gone], vec![Fate::Open; came]);
    let mut chosen = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        let is_open = gone_fate[pair.gone] == Fate::Open && came_fate[pair.came] == Fate::Open;
        if !pair.is_enough || !is_open {
            continue;
        }
        let rival = |other: &usize| {
            let is_other = *other != at;
            let other = &pairs[*other];
            is_other
                && gone_fate[other.gone] != Fate::Paired
                && came_fate[other.came] != Fate::Paired
                && other.likeness > pair.likeness - MARGIN
        };
        let is_clear = !by_gone[pair.gone].iter().any(rival) && !by_came[pair.came].iter().any(rival);
        let fate = if is_clear { Fate::Paired } else { Fate::Doubtful };
        (gone_fate[pair.gone], came_fate[pair.came]) = (fate, fate);
        if is_clear {
            chosen.push(Rename { gone: pair.gone, came: pair.came, evidence: pair.evidence.clone() });
        }
    }
    chosen
}

/// What became of a stage while pairs are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Paired,
    /// More than one pair would do, so it makes those doubtful too.
    Doubtful,
}

/// How much a pair looks like the same work, and why; none when it does not at any place. The
/// positions are the caller's to fill in.
fn resemblance(old: &Gone<'_>, new: &Came<'_>, names: impl Fn() -> f64, runner: f64) -> Option<Scored> {
    let usual = old.usual?;
    let took = each_s(new.sample);
    let raw = log_ratio(took, usual.each_s);
    let off = raw.abs().min((raw - runner.ln()).abs());
    let limit = ALIKE_TIME.max(2.0 * usual.spread);
    let takes_as_long = off <= limit;
    let parts = shared(&old.side.parts, &new.side.parts);
    let has_the_parts = parts.is_some_and(|share| share >= SAME_PARTS);
    // Whatever the names: without time or parts in common it is other work.
    if !takes_as_long && !has_the_parts {
        return None;
    }
    let names = names();
    let enough = |same_place: bool| {
        // Other parts are other work, however it is called.
        let by_name = takes_as_long
            && (names >= VERY_ALIKE || (names >= ALIKE && same_place))
            && parts.is_none_or(|share| share > 0.0);
        let by_parts = has_the_parts && (takes_as_long || names >= ALIKE) && (same_place || names >= ALIKE);
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
    if names >= ALIKE {
        evidence.push(RenameEvidence::SimilarNames { similarity: names });
    }
    let time = if takes_as_long { 0.5 * (1.0 - 0.5 * off / limit) } else { 0.0 };
    let likeness = names + time + parts.unwrap_or(0.0);
    Some(Scored { gone: 0, came: 0, likeness, same_place, is_enough: enough(same_place), evidence })
}

/// Jaccard's index of two sets of names: how many of all they share. None when neither has any.
fn shared(a: &[&str], b: &[&str]) -> Option<f64> {
    let names: HashSet<&str> = a.iter().copied().collect();
    let both = b.iter().filter(|name| names.contains(*name)).count();
    let either = a.len() + b.len() - both;
    (either > 0).then(|| count(both) / count(either))
}

/// Pairs of neighbouring letters of a name, sorted; whatever is neither letter nor digit is one
/// space, and cases are alike.
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

/// Dice's coefficient of two sorted lists (Dice 1945, "Measures of the amount of ecologic
/// association between species"): twice what they share over what they have.
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
    fn names_are_compared_by_their_letters() {
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
