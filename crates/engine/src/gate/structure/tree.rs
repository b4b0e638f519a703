//! The tree of the stages of one or more runs, by position: children, and numbers of descendants. It has
//! no times.

use std::collections::HashMap;

use crate::model::stage::StageKey;

/// A stage as input of the tree.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Unique among the stages.
    pub key: &'a StageKey,
    pub parent: Option<&'a StageKey>,
    /// Number of parts of its path.
    pub depth: usize,
}

/// Positions of children and roots.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    within: Vec<usize>,
}

impl Tree {
    /// The stages may be in any order. A stage is a root if its parent is missing, or if its parent is not
    /// above it. This makes every walk down end.
    #[must_use]
    pub fn of(stages: &[Stage<'_>]) -> Self {
        let place: HashMap<&StageKey, usize> = stages.iter().enumerate().map(|(i, s)| (s.key, i)).collect();
        let parent = |stage: &Stage<'_>| {
            place.get(stage.parent?).copied().filter(|parent| stages[*parent].depth < stage.depth)
        };
        let mut tree = Self {
            children: vec![Vec::new(); stages.len()],
            roots: Vec::new(),
            within: vec![0; stages.len()],
        };
        for (i, stage) in stages.iter().enumerate() {
            match parent(stage) {
                Some(parent) => tree.children[parent].push(i),
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

    /// The children of a stage, or the roots.
    #[must_use]
    pub fn children(&self, of: Option<usize>) -> &[usize] {
        of.map_or(&self.roots, |of| &self.children[of])
    }

    /// The number of descendants.
    #[must_use]
    pub fn within(&self, of: usize) -> usize {
        self.within[of]
    }
}
