//! Changes of the pipeline, as each medium shows them.

use insta::assert_snapshot;

use super::*;
use crate::comment::Comment;
use crate::json::VerdictJson;
use crate::terminal::Colour;
use pacegate_engine::model::policy::Alias;
use pacegate_engine::model::structure::RenameEvidence;
use pacegate_engine::model::structure::{Change, EachTime, Repetition, Side, StructuralChange};

/// One change of each kind, with stages of this name.
pub(super) fn changes(name: &str) -> Vec<StructuralChange> {
    let made = |parts: &[&str], change| StructuralChange { key: key(parts), path: path(parts), change };
    let renamed = Change::Renamed {
        from: path(&["CI", "unit"]),
        evidence: vec![RenameEvidence::SamePlace, RenameEvidence::Text(format!("looks like {name}"))],
        alias: Some(Alias { from: "CI / unit".into(), to: format!("CI / {name}") }),
    };
    let moved = Change::Reordered { sibling: path(&["CI", name]), now: Side::After, runs: 58, of: 60 };
    let repeated =
        Repetition { count: 9, usual_count: 4.0, each_s: 2.1, usual_each_s: 2.0, each: EachTime::AsBefore };
    vec![
        made(&["CI", name], renamed),
        made(&["CI", name, "scan"], Change::Added { seconds: 41.0, within: 10 }),
        made(&["CI", "docs", name], Change::Removed { usual_s: Some(12.0), within: 0 }),
        made(&["CI", "shards", name], Change::Repeated(repeated)),
        made(&["CI", "lint", name], moved),
    ]
}

fn changed() -> RunComparison {
    RunComparison { structure: changes("tests"), ..comparison() }
}

#[test]
fn comment_collapses_changes() {
    let Comment::Post(text) = report(changed()).comment() else { panic!("has findings") };
    let block = text.split("<details>").find(|block| block.contains("What changed")).expect("a block");
    assert_snapshot!(block, @r##"
    <summary>What changed in the pipeline (5)</summary>

    - `CI / tests` looks like `CI / unit` under a new name: at the same place; looks like tests. To keep its history, the policy needs `aliases: [{from: "CI / unit", to: "CI / tests"}]`
    - `CI / tests / scan` is new with 10 stages in it: it took 41.0 s
    - `CI / docs / tests` is gone: it usually took 12.0 s
    - `CI / shards / tests` ran 9 times, usually 4; 2.1 s each, as before (2.25x the count, 1.05x the time each, 2.36x in all): more work, not slower work
    - `CI / lint / tests` now runs after `tests`; it ran before it in 58 of 60 runs

    </details>
    "##);
    assert!(
        report(changed()).check().text.contains("### What changed in the pipeline\n\n- `CI / tests` looks")
    );
}

#[test]
fn terminal_lists_changes() {
    let text = report(changed()).terminal(Colour::Never);
    let block = text.split("\n\n").find(|block| block.starts_with("What changed")).expect("a block");
    assert_snapshot!(block, @r##"
    What changed in the pipeline
      CI / tests looks like CI / unit under a new name: at the same place; looks like tests
        to keep its history: aliases: [{from: "CI / unit", to: "CI / tests"}]
      CI / tests / scan is new with 10 stages in it: it took 41.0 s
      CI / docs / tests is gone: it usually took 12.0 s
      CI / shards / tests ran 9 times, usually 4; 2.1 s each, as before (2.25x the count, 1.05x the time each, 2.36x in all): more work, not slower work
      CI / lint / tests now runs after tests; it ran before it in 58 of 60 runs
    "##);
}

#[test]
fn nothing_is_shown_without_changes() {
    let quiet = report(comparison());
    let Comment::Post(comment) = quiet.comment() else { panic!("has findings") };
    for text in [comment, quiet.check().text, quiet.terminal(Colour::Never)] {
        assert!(!text.contains("What changed"), "{text}");
    }
}

#[test]
fn alias_is_verbatim_or_absent() {
    for (name, offered) in [("tests", true), ("tests @x", false), ("PR#{n}", false), ("a \u{202e}b", false)] {
        let comparison = RunComparison { structure: changes(name), ..comparison() };
        let text = report(comparison).check().text;
        assert_eq!(text.contains("the policy needs"), offered, "{name}: {text}");
    }
}

#[test]
fn json_has_every_field_of_changes() {
    let json = VerdictJson::from(&changed());
    let kinds: Vec<&str> = json.structure.iter().map(|c| c.change.as_str()).collect();
    assert_eq!(kinds, ["renamed", "added", "removed", "repeated", "reordered"]);
    assert_eq!(json.structure[0].alias.as_ref().map(|a| a.to.as_str()), Some("CI / tests"));
    assert_eq!((json.structure[1].each_s, json.structure[1].within), (Some(41.0), Some(10)));
    assert_eq!((json.structure[3].count, json.structure[3].usual_count), (Some(9), Some(4.0)));
    assert_eq!(json.structure[4].now.as_deref(), Some("after"));
    let text = serde_json::to_string(&json.structure[2]).expect("serializes");
    assert!(
        text.contains("\"from\":null") && text.contains("\"sentence\":\"CI / docs / tests is gone"),
        "{text}"
    );
}
