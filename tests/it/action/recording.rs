//! Records a real job with the action, and copies it into other runs. The copies have other times
//! and slightly other durations, because a history needs many runs.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::archive::Archive;
use super::artifact_service::ArtifactService;
use super::bundle::{assert_unharmed, exec, junit, node_program, pytest, runner};
use super::runner::{Job, Step};
use crate::fake_github::FakeGitHub;
use crate::fake_github::actions::{self, WorkflowRun};

/// A recorded job: its steps as GitHub knows them and the archive that the action shipped.
#[derive(Clone)]
pub(super) struct Recording {
    pub run_id: u64,
    head_sha: String,
    /// Name, start and end in milliseconds since the epoch.
    steps: Vec<(String, i64, i64)>,
    pub artifact: String,
    pub archive: Archive,
}

impl Recording {
    /// Runs a job of four parts. `cart` and `checkout` are seconds of its test cases.
    pub(super) async fn make(job: Job, cart: f64, checkout: f64) -> Self {
        let artifacts = ArtifactService::start().await;
        let (run_id, head_sha) = (job.run_id, job.head_sha.clone());
        let mut runner = runner(job.with("reports", "units.xml"), &artifacts);
        runner.main();
        let parts = [
            ("Run pytest", pytest(cart, checkout)),
            ("Run npm run build", node_program()),
            ("Run pacegate exec", exec()),
            ("Run npm test", junit()),
        ];
        for (name, script) in parts {
            let step = runner.run(name, &script);
            assert_eq!(step.code, Some(0), "{}", step.text());
        }
        runner.post();
        assert_unharmed(&runner, &artifacts);
        artifacts.finish();
        let [artifact] = &artifacts.artifacts()[..] else { panic!("one artifact") };
        let archive = Archive::read(&artifact.zip);
        Self { run_id, head_sha, steps: times(&runner.steps), artifact: artifact.name.clone(), archive }
    }

    /// The same job in another run that began at `started_at` (seconds since the epoch). All
    /// durations are multiplied by `times`.
    pub(super) fn again(&self, run_id: u64, head_sha: &str, started_at: i64, times: f64) -> Self {
        let first = i128::from(self.steps[0].1) * 1_000_000;
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "minutes")]
        let then = |ns: i128| i128::from(started_at) * 1_000_000_000 + ((ns - first) as f64 * times) as i128;
        let millisecond =
            |at: i64| i64::try_from(then(i128::from(at) * 1_000_000) / 1_000_000).expect("a time");
        let steps = self.steps.iter();
        let steps = steps.map(|(name, from, to)| (name.clone(), millisecond(*from), millisecond(*to)));
        let mut archive = self.archive.clone();
        let parts = archive.spans.iter_mut().chain(&mut archive.reports);
        for value in parts.chain(std::iter::once(&mut archive.manifest)) {
            let mut text = value.to_string();
            for (old, new) in [
                (trace_id(self.run_id), trace_id(run_id)),
                (job_span_id(self.run_id), job_span_id(run_id)),
                (self.head_sha.clone(), head_sha.to_owned()),
            ] {
                text = text.replace(&old, &new);
            }
            *value = serde_json::from_str(&text).expect("JSON");
            retime(value, &then);
        }
        archive.manifest["run_id"] = json!(run_id.to_string());
        archive.manifest["check_run_id"] = json!(check_run_id(run_id).to_string());
        let (steps, head_sha) = (steps.collect(), head_sha.to_owned());
        Self { run_id, head_sha, steps, artifact: self.artifact.clone(), archive }
    }

    /// The workflow run in GitHub's API: a successful push to main.
    pub(super) fn run(&self, repo: &str) -> WorkflowRun {
        run_of(repo, self.run_id, &self.head_sha, vec![job_of("test", &self.steps)])
    }

    /// Adds the run's artifact to the fake.
    pub(super) fn put_artifact(&self, fake: &FakeGitHub) {
        fake.put_artifact(self.run_id, &self.artifact, &self.archive.zip());
    }
}

pub(super) fn times(steps: &[Step]) -> Vec<(String, i64, i64)> {
    steps.iter().map(|step| (step.name.clone(), step.started_at, step.ended_at)).collect()
}

/// A run of these jobs: a successful push to main.
pub(super) fn run_of(repo: &str, run_id: u64, head_sha: &str, jobs: Vec<actions::Job>) -> WorkflowRun {
    let started_at = jobs.iter().map(|job| job.created_at).min().expect("a job");
    let mut run = WorkflowRun::new(run_id, repo, head_sha, started_at);
    run.updated_at = jobs.iter().filter_map(|job| job.completed_at).max().expect("a job that ended");
    run.jobs = jobs;
    run
}

/// A job in GitHub's API: times are truncated to whole seconds, and a step has no inner structure.
pub(super) fn job_of(name: &str, steps: &[(String, i64, i64)]) -> actions::Job {
    let seconds = |milliseconds: i64| milliseconds.div_euclid(1000);
    let (first, last) = (steps.first().expect("a step"), steps.last().expect("a step"));
    actions::Job {
        name: name.to_owned(),
        created_at: seconds(first.1) - 3,
        started_at: seconds(first.1),
        completed_at: Some(seconds(last.2)),
        conclusion: "success".to_owned(),
        steps: steps.iter().map(|(name, from, to)| (name.clone(), seconds(*from), seconds(*to))).collect(),
    }
}

fn retime(value: &mut Value, then: &impl Fn(i128) -> i128) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| retime(item, then)),
        Value::Object(members) => {
            for (name, member) in members {
                let is_time = name.ends_with("UnixNano") || name.ends_with("unix_nano");
                match member.as_str().and_then(|text| text.parse().ok()).filter(|_| is_time) {
                    Some(ns) => *member = json!(then(ns).to_string()),
                    None => retime(member, then),
                }
            }
        }
        _ => {}
    }
}

/// The number that the fake GitHub gives to the first job of a run.
fn check_run_id(run_id: u64) -> u64 {
    run_id * 100 + 1
}

fn trace_id(run_id: u64) -> String {
    hex::encode(Sha256::digest(format!("{run_id}1t")))[..32].to_owned()
}

fn job_span_id(run_id: u64) -> String {
    hex::encode(Sha256::digest(format!("{}-j", check_run_id(run_id))))[16..32].to_owned()
}
