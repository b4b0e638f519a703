//! The stages of a run, or of many, as a tree by position: who holds whom, and how many. Knows
//! no times.

use std::collections::HashMap;

use crate::model::stage::StageKey;

/// One stage as the tree sees it.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Identity, once among all.
    pub key: &'a StageKey,
    /// What holds it.
    pub parent: Option<&'a StageKey>,
    /// Parts of its path.
    pub depth: usize,
}

/// Positions by what holds them.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    within: Vec<usize>,
}

impl Tree {
    /// Of stages in any order. What names a parent that is not there, or one that is no higher
    /// than itself, stands at the top: so every walk down ends.
    #[must_use]
    pub fn of(stages: &[Stage<'_>]) -> Self {
        let place: HashMap<&StageKey, usize> = stages.iter().enumerate().map(|(i, s)| (s.key, i)).collect();
        let holder = |stage: &Stage<'_>| {
            place.get(stage.parent?).copied().filter(|holder| stages[*holder].depth < stage.depth)
        };
        let mut tree = Self {
            children: vec![Vec::new(); stages.len()],
            roots: Vec::new(),
            within: vec![0; stages.len()],
        };
        for (i, stage) in stages.iter().enumerate() {
            match holder(stage) {
                Some(holder) => tree.children[holder].push(i),
                None => tree.roots.push(i),
            }
        }
        let mut deepest_first: Vec<usize> = (0..stages.len()).collect();
        deepest_first.sort_by_key(|i| std::cmp::Reverse(stages[*i].depth));
        for i in deepest_first {
            tree.within[i] = tree.children[i].iter().map(|child| tree.within[*child] + 1).sum();
        }
        tree
    }

    /// What a stage holds; at the top, what nothing holds.
    #[must_use]
    pub fn children(&self, of: Option<usize>) -> &[usize] {
        of.map_or(&self.roots, |of| &self.children[of])
    }

    /// How many stages it holds, at any depth.
    #[must_use]
    pub fn within(&self, of: usize) -> usize {
        self.within[of]
    }
}
