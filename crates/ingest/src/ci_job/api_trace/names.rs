//! Names of steps: stable when an action is pinned to another commit, and one for each step of a
//! job although two may be called the same.

use std::collections::HashMap;

/// What a step is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepName {
    /// For its stage: without the action's version, told apart by its ordinal.
    pub task: String,
    /// For its span's identifier: GitHub's own, told apart as the Collector's receiver does.
    pub unique: String,
}

/// The names of a job's steps, which come in their order.
pub(super) fn step_names<'a>(steps: impl Iterator<Item = &'a str>) -> Vec<StepName> {
    let (mut tasks, mut names) = (HashMap::<String, usize>::new(), HashMap::<&str, usize>::new());
    steps
        .map(|name| {
            let task = without_version(name);
            let before = tasks.entry(task.clone()).or_default();
            *before += 1;
            // Not `-2`, which would be taken for a part that varies from run to run.
            let task = if *before == 1 { task } else { format!("{task} ({before})") };
            let before = names.entry(name).or_default();
            let unique = if *before == 0 { name.to_owned() } else { format!("{name}-{before}") };
            *before += 1;
            StepName { task, unique }
        })
        .collect()
}

/// `Run actions/checkout@v4` is `Run actions/checkout`, whatever it is pinned to; the phases
/// `Pre Run` and `Post Run` stay apart.
fn without_version(name: &str) -> String {
    let phases = ["Run ", "Pre Run ", "Post Run ", "Pre ", "Post "];
    let Some((phase, rest)) = phases.iter().find_map(|phase| Some((phase, name.strip_prefix(phase)?))) else {
        return name.to_owned();
    };
    let word = rest.split(char::is_whitespace).next().unwrap_or_default();
    match word.split_once('@') {
        Some((action, version))
            if word.len() == rest.len() && action.contains('/') && !version.is_empty() =>
        {
            format!("{phase}{action}")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_action_keeps_its_name_and_a_command_too() {
        for (name, expected) in [
            ("Run actions/checkout@v4", "Run actions/checkout"),
            (
                "Post Run actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683",
                "Post Run actions/checkout",
            ),
            ("Run ./.github/actions/build@x", "Run ./.github/actions/build"),
            ("Post actions/cache@v3", "Post actions/cache"),
            ("Run npm install left-pad@1.3.0", "Run npm install left-pad@1.3.0"),
            ("Run user@host", "Run user@host"),
            ("Run tests", "Run tests"),
            ("Runner@v1/x", "Runner@v1/x"),
        ] {
            assert_eq!(without_version(name), expected);
        }
    }

    #[test]
    fn equal_names_are_told_apart_by_their_order() {
        let names = step_names(["Run a/b@v1", "Run x", "Run a/b@v2", "Run x"].into_iter());
        let tasks: Vec<&str> = names.iter().map(|n| n.task.as_str()).collect();
        let unique: Vec<&str> = names.iter().map(|n| n.unique.as_str()).collect();
        assert_eq!(tasks, ["Run a/b", "Run x", "Run a/b (2)", "Run x (2)"]);
        assert_eq!(unique, ["Run a/b@v1", "Run x", "Run a/b@v2", "Run x-1"]);
    }
}
