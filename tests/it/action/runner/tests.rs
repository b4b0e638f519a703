//! Tests of the stand-in runner against the behaviour of the real one, with a small action.

use serde_json::json;
use tempfile::TempDir;

use super::{Access, Job, Runner};

const METADATA: &str = r#"
name: An action
description: For this test
inputs:
  plain name: {description: A word, default: "a word"}
  given: {description: What the workflow gives}
  job-id: {default: "${{ job.check_run_id }}"}
  matrix: {default: "${{ toJSON(matrix) }}"}
outputs: {result: {description: A number}}
runs: {using: node24, main: dist/first.js, post: dist/last.js, post-if: always()}
"#;

const MAIN: &str = r##"
const fs = require("node:fs");
const put = (file, text) => fs.appendFileSync(process.env[file], text);
put("GITHUB_ENV", "FOR_LATER<<end\ntwo\nlines\nend\nGITHUB_SHA=forged\n");
put("GITHUB_STATE", "kept=a state\n");
put("GITHUB_OUTPUT", "result=42\n");
put("GITHUB_PATH", process.env.RUNNER_TEMP + "\n");
put("GITHUB_STEP_SUMMARY", "# A title\n");
const shown = ["INPUT_PLAIN_NAME", "INPUT_GIVEN", "INPUT_JOB-ID", "INPUT_MATRIX", "STATE_kept"];
console.log(JSON.stringify(shown.map((name) => process.env[name])));
console.log("::add-mask::s3cret");
console.log("::group::Group of s3cret");
console.log(process.env.ACTIONS_RUNTIME_TOKEN, "is seen by the action");
console.log("::endgroup::");
require("node:child_process").spawn("sleep", ["600"], { detached: true, stdio: "ignore" }).unref();
"##;

const POST: &str = r#"
console.log("::warning::s3cret, " + process.env.STATE_kept + ", " + JSON.stringify(process.env.FOR_LATER));
process.exitCode = 3;
"#;

fn runner() -> (TempDir, Runner) {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("dist")).expect("a folder");
    for (name, text) in [("action.yml", METADATA), ("dist/first.js", MAIN), ("dist/last.js", POST)] {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let mut job = Job::new("acme/my-app", 7, "test", &"a".repeat(40)).with("given", "this");
    job.matrix = json!({ "node": 18 });
    let url = "http://127.0.0.1:9/".to_owned();
    job.results = Some(Access { url, token: "the runtime's token".to_owned() });
    let runner = Runner::new(folder.path(), job);
    (folder, runner)
}

#[test]
fn action_gets_inputs_and_state_step_gets_exports() {
    let (_action, mut runner) = runner();
    let main = runner.main();
    assert_eq!((main.code, main.summary.as_str()), (Some(0), "# A title\n"));
    assert_eq!(main.outputs["result"], "42");
    let inputs = r#"["a word","this","701","{\n  \"node\": 18\n}",null]"#;
    let shown =
        [inputs, "::add-mask::***", "##[group]Group of ***", "*** is seen by the action", "##[endgroup]"];
    assert_eq!(main.log, shown);

    let script = "echo $FOR_LATER; echo $GITHUB_SHA; echo ${PATH%%:*} = $RUNNER_TEMP; env | grep -c -e ACTIONS_RUN -e INPUT_ -e STATE_ || true; false; echo never";
    let step = runner.run("A step", script).clone();
    let temp = runner.temp().display().to_string();
    assert_eq!(step.log, ["two lines", &"a".repeat(40), &format!("{temp} = {temp}"), "0"]);
    assert_eq!(step.code, Some(1), "a step's first failure ends it");
    assert!(step.ended_at >= step.started_at && !step.output_held);

    let post = runner.post();
    assert_eq!((post.code, post.warnings()), (Some(3), vec![r#"***, a state, "two\nlines""#]));
    assert_eq!(runner.end(), ["sleep 600"], "what an action leaves running is named");
    assert_eq!(runner.end(), [""; 0]);
    assert_eq!(runner.left_behind(), [""; 0]);
}

#[test]
fn step_cut_off_kills_group_not_detached_processes() {
    let (_action, mut runner) = runner();
    let script = "trap '' INT; sleep 601 & setsid sleep 602 >/dev/null 2>&1 & echo ready; wait";
    let step = runner.run_cut_off("A step", script, "ready");
    assert_eq!((step.code, step.log[0].as_str(), step.output_held), (None, "ready", false));
    assert_eq!(runner.end(), ["sleep 602"]);
}

#[test]
fn step_whose_child_holds_output_is_reported() {
    let (_action, mut runner) = runner();
    let step = runner.run("A step", "sleep 603 &");
    assert_eq!((step.code, step.output_held), (Some(0), true));
    assert_eq!(runner.end(), ["sleep 603"]);
}
