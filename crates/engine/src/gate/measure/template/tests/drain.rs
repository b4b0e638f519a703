//! A template miner for comparison: Drain (He et al., ICWS 2017), which learns templates from messages,
//! with a tree of fixed depth. For tests only.

use std::collections::HashMap;

/// The placeholder of a varying token.
const WILDCARD: &str = "<*>";
/// Leading tokens that select a leaf, after the number of tokens.
const LEADING_TOKENS: usize = 2;
/// Most branches of a node. Further tokens share the wildcard's branch.
const MAX_BRANCHES: usize = 100;

pub(crate) struct Drain {
    /// Smallest share of equal tokens with which a message belongs to a template.
    similarity: f64,
    /// The templates of each leaf, by number of tokens and leading tokens.
    leaves: HashMap<(usize, Vec<String>), Vec<usize>>,
    branches: HashMap<(usize, Vec<String>), Vec<String>>,
    templates: Vec<Vec<String>>,
}

impl Drain {
    pub(crate) fn new(similarity: f64) -> Self {
        Self { similarity, leaves: HashMap::new(), branches: HashMap::new(), templates: Vec::new() }
    }

    /// The group of a message, whose template is updated from it.
    pub(crate) fn group(&mut self, message: &str) -> usize {
        let tokens: Vec<&str> = message.split_whitespace().collect();
        let leaf = self.leaf(&tokens);
        let candidates = self.leaves.entry(leaf).or_default();
        let equal = |template: &[String]| template.iter().zip(&tokens).filter(|(t, m)| t == *m).count();
        let best = candidates.iter().copied().max_by_key(|group| equal(&self.templates[*group]));
        let needed = crate::stats::count(tokens.len()) * self.similarity;
        if let Some(group) = best.filter(|g| crate::stats::count(equal(&self.templates[*g])) >= needed) {
            for (known, token) in self.templates[group].iter_mut().zip(&tokens) {
                if known != token {
                    WILDCARD.clone_into(known);
                }
            }
            return group;
        }
        self.templates.push(tokens.into_iter().map(str::to_owned).collect());
        candidates.push(self.templates.len() - 1);
        self.templates.len() - 1
    }

    /// The current template of a group.
    pub(crate) fn template(&self, group: usize) -> String {
        self.templates[group].join(" ")
    }

    fn leaf(&mut self, tokens: &[&str]) -> (usize, Vec<String>) {
        let mut node = (tokens.len(), Vec::new());
        for token in tokens.iter().take(LEADING_TOKENS) {
            let known = self.branches.entry(node.clone()).or_default();
            let varies = token.bytes().any(|b| b.is_ascii_digit());
            let branch = if varies || (known.len() >= MAX_BRANCHES && !known.iter().any(|k| k == token)) {
                WILDCARD
            } else {
                token
            };
            if !known.iter().any(|k| k == branch) {
                known.push(branch.to_owned());
            }
            node.1.push(branch.to_owned());
        }
        node
    }
}

#[test]
fn drain_learns_varying_tokens() {
    let mut drain = Drain::new(0.5);
    let groups = ["send block 7 to a", "send block 8 to b", "drop block 9 to c"].map(|m| drain.group(m));
    assert_eq!(groups, [0, 0, 1]);
    assert_eq!(drain.template(0), "send block <*> to <*>");
}
