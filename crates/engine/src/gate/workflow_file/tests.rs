//! Tests of the lines of names in typical and in hostile workflow files.

use proptest::prelude::*;

use super::*;

const CI: &str = r#"# Copyright somebody
name: CI
on:
  push: {branches: [main]}
  pull_request:
defaults: &defaults
  run: {shell: bash}

jobs:
  lint:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      # a remark between steps
      - name: Lint
        run: |
          npm ci
          npm run lint
      - run: |

          echo second line
          echo third
      - {uses: ./.github/actions/setup, with: {a: b}}
      - uses: docker://alpine:3.8
  "test":   # quoted
    name: Test on ${{ matrix.os }} / node ${{ matrix.node }}
    strategy:
      matrix:
        os: [ubuntu-latest, windows-latest]
        node: [18, 20]
        include: [{os: macos-latest, node: 22}]
    steps:
      - &checkout
        name: Check out
        uses: actions/checkout@v4
      - name: Run tests (${{ matrix.os }})
        id: tests
        run: npm test -- --shard ${{ matrix.node }}
      - name: Upload
        run: one
      - name: Upload
        run: two
  build:
    strategy: {matrix: {target: [a, b]}}
    steps:
      - *checkout
      -
        name: build-12345678
        run: make
  deploy-prod:
    name: Deploy
    needs: [build]
    uses: ./.github/workflows/deploy.yml
    secrets: inherit
  flow: {runs-on: x, steps: [{run: first}, {run: second}]}
"#;

#[test]
fn names_are_located_at_their_lines() {
    let file = WorkflowFile::parse(CI).expect("a workflow");
    let crlf = WorkflowFile::parse(&CI.replace('\n', "\r\n")).expect("a workflow");
    for (job, step, line) in [
        ("lint", None, Some(10)),
        ("lint", Some("Run actions/checkout@v4"), Some(13)),
        ("lint", Some("Post Run actions/checkout@v4"), Some(13)),
        ("lint", Some("Pre Run actions/checkout@v4"), Some(13)),
        ("lint", Some("Lint"), Some(15)),
        ("lint", Some("Run echo second line"), Some(19)),
        ("lint", Some("Run ./.github/actions/setup"), Some(23)),
        ("lint", Some("Run docker://alpine:3.8"), Some(24)),
        ("lint", Some("Run alpine:3.8"), Some(24)),
        ("lint", Some("Set up job"), Some(10)),
        ("lint", Some("Complete job"), Some(10)),
        ("lint", Some("a step that is nowhere"), Some(10)),
        ("Test on ubuntu-latest / node 18", None, Some(25)),
        ("Test on ${{ matrix.os }} / node ${{ matrix.node }}", None, Some(25)),
        ("Test on windows-latest / node 20", Some("Run tests (windows-latest)"), Some(36)),
        ("Test on windows-latest / node 20", Some("tests"), Some(36)),
        ("Test on windows-latest / node 20", Some("Check out"), Some(34)),
        ("Test on windows-latest / node 20", Some("Post Check out"), Some(34)),
        ("build (a)", None, Some(43)),
        ("build", Some("Check out"), Some(46)),
        // The form of the stable names of stages.
        ("build (b)", Some("build-{n}"), Some(48)),
        ("Deploy", None, Some(53)),
        ("Deploy / apply (eu)", Some("Run kubectl"), Some(53)),
        ("Deploy / canary / apply", None, Some(53)),
        ("flow", Some("Run second"), Some(55)),
        ("lint (a)", None, None),
        ("nowhere", None, None),
        ("nowhere / lint", None, None),
        ("", None, None),
    ] {
        let found = file.locate(job, step, None);
        assert_eq!(found, line, "{job} {step:?}");
        assert_eq!(crlf.locate(job, step, None), found, "the same with CRLF: {job} {step:?}");
    }
}

#[test]
fn number_distinguishes_steps_of_one_name() {
    let file = WorkflowFile::parse(CI).expect("a workflow");
    let job = "Test on ubuntu-latest / node 18";
    // "Set up job" is 1, and the file's own steps begin at 2.
    for (number, line) in [(None, 39), (Some(4), 39), (Some(5), 41), (Some(9), 41), (Some(0), 39)] {
        assert_eq!(file.locate(job, Some("Upload"), number), Some(line), "{number:?}");
    }
}

#[test]
fn cut_or_templated_names_are_found() {
    let long = "x".repeat(99) + " and a tail that GitHub's API does not show";
    let text = format!(
        "jobs:\n  a:\n    name: {long}\n    steps:\n      - name: Backup of 2026-11-22\n        run: x\n      - run: {long}\n      \
         - name: Shard ${{{{ matrix.n }}}} of release-{long}\n        run: x\n"
    );
    let file = WorkflowFile::parse(&text).expect("a workflow");
    let cut = |name: &str| name.chars().take(100).collect::<String>();
    let ellipsis = long.chars().take(97).collect::<String>() + "...";
    for job in [long.clone(), cut(&long), ellipsis, stable(&long), stable(&cut(&long))] {
        assert_eq!(file.locate(&job, None, None), Some(2), "{job}");
        assert_eq!(file.locate(&job, Some("Backup of {time}"), None), Some(5));
        assert_eq!(file.locate(&job, Some(&cut(&format!("Run {long}"))), None), Some(7));
        assert_eq!(file.locate(&job, Some(&cut(&format!("Shard 3 of release-{long}"))), None), Some(8));
    }
}

fn stable(name: &str) -> String {
    crate::gate::measure::stage_key::stable_name(name)
}

#[test]
fn equal_name_wins_over_expression() {
    let text = "on: push\njobs:\n  a: {name: '${{ inputs.name }}'}\n  b: {name: 'test ${{ matrix.os }}'}\n  c: {name: test linux}\n";
    let file = WorkflowFile::parse(text).expect("a workflow");
    for (job, line) in [("test linux", 5), ("test mac", 4), ("anything", 3)] {
        assert_eq!(file.locate(job, None, None), Some(line), "{job}");
    }
}

#[test]
fn unreadable_workflow_file_is_refused() {
    let bomb: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
        let j = i - 1;
        text + &format!("a{i}: &a{i} [*a{j}, *a{j}]\n")
    }) + "jobs: {a: {steps: [*a29]}}\n";
    let deep = format!("jobs:\n  a: {}", "[".repeat(100_000));
    for text in [
        "",
        "\0",
        "jobs: 7",
        "jobs:\n\t- x",
        "name: CI\n---\njobs: {a: {}}\n",
        "jobs: {a: {steps: {x: y}}}",
        "jobs: {a: {}, a: {}}",
        &bomb,
        &deep,
    ] {
        let refused = WorkflowFile::parse(text);
        assert!(matches!(refused, Err(WorkflowFileError::Unreadable(_))), "{text:.60}: {refused:?}");
    }
    assert_eq!(WorkflowFile::parse(&"#".repeat(MAX_BYTES + 1)), Err(WorkflowFileError::TooLarge));
}

proptest! {
    #[test]
    fn any_text_gives_valid_lines(text in "\\PC{0,200}", name in "\\PC{0,120}") {
        if let Ok(file) = WorkflowFile::parse(&text) {
            prop_assert!(file.locate(&name, Some(&name), Some(3)) != Some(0));
        }
        let file = WorkflowFile::parse(CI).expect("a workflow");
        prop_assert!(file.locate(&name, Some(&name), None).is_none_or(|line| line > 0));
    }
}
