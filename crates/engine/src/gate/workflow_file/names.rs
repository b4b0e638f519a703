//! Matches a name that GitHub shows, or its stable name, with a name in a workflow file. The shown name
//! may be cut or templated, and has values in place of expressions. It does not know jobs and steps.

use super::Fit;
use crate::gate::measure::stage_key::stable_name;

/// GitHub's API cuts longer names, characters.
const CUT: usize = 100;
/// Only the first characters of a name in a file are used.
const MAX_CHARS: usize = 300;

/// A name in a workflow file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    /// All forms in which it is shown without replaced expressions.
    shown: Vec<String>,
    /// The texts between its expressions, as written and templated. Empty without expressions.
    literals: Vec<Vec<String>>,
}

impl Name {
    pub(super) fn new(written: &str) -> Self {
        let written: String = written.trim().chars().take(MAX_CHARS).collect();
        let mut shown = vec![written.clone()];
        if written.chars().nth(CUT).is_some() {
            let cut = |n: usize, end: &str| written.chars().take(n).collect::<String>() + end;
            shown.extend([cut(CUT, ""), cut(CUT - 3, "..."), cut(CUT - 1, "…")]);
        }
        let stable: Vec<String> = shown.iter().map(|name| stable_name(name)).collect();
        shown.extend(stable);
        let between = between_expressions(&written);
        let literals = if between.len() > 1 {
            // A blank part is kept, because it has no stable name.
            let stable = |part: &String| match part.trim() {
                "" => part.clone(),
                name => part.replacen(name, &stable_name(name), 1),
            };
            let templated = between.iter().map(stable).collect();
            vec![between, templated]
        } else {
            Vec::new()
        };
        Self { shown, literals }
    }

    pub(super) fn fit(&self, shown: &str) -> Option<Fit> {
        let shown = shown.trim();
        if self.shown.iter().any(|name| name == shown) {
            return Some(Fit::Equal);
        }
        let is_cut = shown.chars().nth(CUT - 4).is_some();
        let fits = |literals: &&Vec<String>| holds(shown, literals) || (is_cut && begins(shown, literals));
        let literals = self.literals.iter().find(fits)?;
        Some(Fit::Expression(literals.iter().map(String::len).sum()))
    }
}

/// The texts before, between and after `${{ … }}`.
fn between_expressions(written: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = written;
    while let Some((before, behind)) = rest.split_once("${{") {
        parts.push(before.to_owned());
        rest = behind.split_once("}}").map_or("", |(_, rest)| rest);
    }
    parts.push(rest.to_owned());
    parts
}

/// Whether a text consists of these parts in their order, with any text between them.
fn holds(text: &str, parts: &[String]) -> bool {
    let [first, between @ .., last] = parts else { return false };
    // GitHub does not show blanks at the ends of a name.
    let Some(mut rest) = text.strip_prefix(first.trim_start()) else { return false };
    for part in between {
        match rest.split_once(part.as_str()) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last.trim_end())
}

/// Whether a text that was cut begins with the first of these parts.
fn begins(text: &str, parts: &[String]) -> bool {
    let first = parts.first().map_or("", |part| part.trim_start());
    !first.is_empty() && text.starts_with(first)
}
