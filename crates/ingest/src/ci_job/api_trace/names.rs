//! Names of steps. They do not change when an action is pinned to another commit, and each step of
//! a job has its own name even if two steps are named alike.

use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepName {
    /// The stage's name: without the action's version, and with an ordinal if it is repeated.
    pub task: String,
    /// For the span's identifier: GitHub's name, with a suffix as in the Collector's receiver if it is
    /// repeated.
    pub unique: String,
}

/// `steps` are GitHub's names in the order of the steps.
pub(super) fn step_names<'a>(steps: impl Iterator<Item = &'a str>) -> Vec<StepName> {
    let (mut tasks, mut names) = (HashMap::<String, usize>::new(), HashMap::<&str, usize>::new());
    steps
        .map(|name| {
            let task = without_version(name);
            let before = tasks.entry(task.clone()).or_default();
            *before += 1;
            // A suffix like `-2` would be removed later as a part that varies between runs.
            let task = if *before == 1 { task } else { format!("{task} ({before})") };
            let before = names.entry(name).or_default();
            let unique = if *before == 0 { name.to_owned() } else { format!("{name}-{before}") };
            *before += 1;
            StepName { task, unique }
        })
        .collect()
}

/// Returns `Run actions/checkout` for `Run actions/checkout@v4`. The phases `Pre Run` and `Post Run`
/// keep their own names.
fn without_version(name: &str) -> String {
    let phases = ["Run ", "Pre Run ", "Post Run ", "Pre ", "Post "];
    let Some((phase, rest)) = phases.iter().find_map(|phase| Some((phase, name.strip_prefix(phase)?))) else {
        return name.to_owned();
    };
    let first = rest.split(char::is_whitespace).next().unwrap_or_default();
    match first.split_once('@') {
        Some((action, version))
            if first.len() == rest.len() && action.contains('/') && !version.is_empty() =>
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
    fn version_is_removed_from_actions_only() {
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
    fn repeated_names_get_an_ordinal() {
        let names = step_names(["Run a/b@v1", "Run x", "Run a/b@v2", "Run x"].into_iter());
        let tasks: Vec<&str> = names.iter().map(|n| n.task.as_str()).collect();
        let unique: Vec<&str> = names.iter().map(|n| n.unique.as_str()).collect();
        assert_eq!(tasks, ["Run a/b", "Run x", "Run a/b (2)", "Run x (2)"]);
        assert_eq!(unique, ["Run a/b@v1", "Run x", "Run a/b@v2", "Run x-1"]);
    }
}
