//! A stand-in for GitHub's runner. It runs an action's `main`, a job's steps and the action's
//! `post` with the real runner's files, variables, masks and cancellations. It contains nothing
//! about a particular action: `action.yml` names the scripts.

mod commands;
mod job;
mod metadata;
mod orphans;
mod process;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::time::now_milliseconds;
pub(super) use commands::Annotation;
use commands::{Log, Masks, pairs};
pub(super) use job::{Access, Job};
use metadata::Metadata;
use process::{End, Process};

/// A variable that a file must not set. The runner refuses it and keeps the other variables.
const REFUSED: &str = "NODE_OPTIONS";

/// A runner with one job.
pub(super) struct Runner {
    pub job: Job,
    action: PathBuf,
    metadata: Metadata,
    folder: TempDir,
    masks: Masks,
    /// Variables that steps wrote to `GITHUB_ENV` and `GITHUB_PATH`.
    exported: BTreeMap<String, String>,
    path: Vec<String>,
    state: BTreeMap<String, String>,
    /// Every step so far, in order.
    pub steps: Vec<Step>,
}

/// A step that ended.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: String,
    /// Milliseconds since the epoch.
    pub started_at: i64,
    pub ended_at: i64,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    /// Whether a process that it started still holds its output open.
    pub output_held: bool,
    /// The masked lines.
    pub log: Vec<String>,
    pub annotations: Vec<Annotation>,
    pub outputs: BTreeMap<String, String>,
    /// Markdown.
    pub summary: String,
}

impl Step {
    pub(super) fn warnings(&self) -> Vec<&str> {
        self.annotations.iter().filter(|a| a.level == "warning").map(|a| a.message.as_str()).collect()
    }

    pub(super) fn text(&self) -> String {
        self.log.join("\n")
    }
}

/// The files of a step, created anew for each.
const FILES: [&str; 5] =
    ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"];

impl Runner {
    /// A runner for a job that uses the action in this folder.
    pub(super) fn new(action: &Path, job: Job) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for name in ["temp/_runner_file_commands", "workspace", "home", "tools"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let event = folder.path().join("event.json");
        std::fs::write(event, job.event_payload().to_string()).expect("a file");
        let masks = Masks::default();
        let tokens = [&job.results, &job.id_tokens].into_iter().flatten().map(|access| &access.token);
        tokens.chain(&job.secrets).for_each(|secret| masks.add(secret));
        Self {
            metadata: Metadata::read(action),
            action: action.to_owned(),
            job,
            folder,
            masks,
            exported: BTreeMap::new(),
            path: Vec::new(),
            state: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    /// `GITHUB_WORKSPACE`.
    pub(super) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// `RUNNER_TEMP`.
    pub(super) fn temp(&self) -> PathBuf {
        self.folder.path().join("temp")
    }

    /// The entries of `RUNNER_TEMP` that the runner did not create.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.temp()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "_runner_file_commands").collect()
    }

    /// The value that an earlier step wrote to `GITHUB_ENV`.
    pub(super) fn exported(&self, name: &str) -> Option<&str> {
        self.exported.get(name).map(String::as_str)
    }

    /// Sets a variable of the workflow's `env`.
    pub(super) fn env(&mut self, name: &str, value: &str) {
        self.exported.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn main(&mut self) -> &Step {
        let (main, name) = (self.metadata.runs.main.clone(), "Run acme/pacegate/action@v1".to_owned());
        self.run_action(&main, name)
    }

    /// Runs the action's `post` with the state that the action saved. It always runs at the end,
    /// even after failures.
    pub(super) fn post(&mut self) -> &Step {
        assert_eq!(self.metadata.runs.post_if.as_deref().unwrap_or("always()"), "always()");
        let post = self.metadata.runs.post.clone().expect("the action has a post step");
        self.run_action(&post, "Post Run acme/pacegate/action@v1".to_owned())
    }

    fn run_action(&mut self, script: &str, name: String) -> &Step {
        assert!(self.metadata.runs.using.starts_with("node"), "an action that Node runs");
        let script = self.action.join(script);
        assert!(script.is_file(), "{}: `make action` builds it", script.display());
        let mut more = self.metadata.inputs(&self.job.with, &self.job.contexts());
        more.extend(self.job.services());
        more.extend(self.state.iter().map(|(name, value)| (format!("STATE_{name}"), value.clone())));
        let script = script.to_string_lossy().into_owned();
        let (folder, files) = (self.workspace(), self.new_files());
        let mut log = Log::default();
        let begun = now_milliseconds();
        let process = Process::start(&["node", &script], &folder, &self.environment(&files, more));
        let end = process.end(|line| log.take(line, &self.masks));
        let outputs = self.metadata.outputs.keys().cloned().collect::<BTreeSet<_>>();
        let step = self.ended(name, begun, end, log, &files);
        let undeclared = step.outputs.keys().find(|name| !outputs.contains(*name));
        assert_eq!(undeclared, None, "an output is not in action.yml");
        step
    }

    /// Runs a step's script until it ends.
    pub(super) fn run(&mut self, name: &str, script: &str) -> &Step {
        let (process, files, begun) = self.start(script);
        let mut log = Log::default();
        let end = process.end(|line| log.take(line, &self.masks));
        self.ended(name.to_owned(), begun, end, log, &files)
    }

    /// Runs a step's script until it has printed `marker`, and then cuts it off, as a cancellation
    /// or a time limit does.
    pub(super) fn run_cut_off(&mut self, name: &str, script: &str, marker: &str) -> &Step {
        let (mut process, files, begun) = self.start(script);
        let mut log = Log::default();
        let running = process.until(marker, |line| log.take(line, &self.masks));
        assert!(running, "{name} ended before it was cut off:\n{}", log.lines.join("\n"));
        let end = process.cut_off(|line| log.take(line, &self.masks));
        self.ended(name.to_owned(), begun, end, log, &files)
    }

    fn start(&self, script: &str) -> (Process, PathBuf, i64) {
        let files = self.new_files();
        let path = files.join("script.sh");
        std::fs::write(&path, script).expect("a file");
        let path = path.to_string_lossy().into_owned();
        let environment = self.environment(&files, BTreeMap::new());
        let begun = now_milliseconds();
        (Process::start(&["bash", "-e", &path], &self.workspace(), &environment), files, begun)
    }

    /// Creates a folder with empty files for this step.
    fn new_files(&self) -> PathBuf {
        let folder = self.temp().join("_runner_file_commands").join(self.steps.len().to_string());
        std::fs::create_dir(&folder).expect("a folder of this step alone");
        for name in FILES {
            std::fs::write(folder.join(name), "").expect("a file");
        }
        folder
    }

    fn environment(&self, files: &Path, more: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let inherited = std::env::var("PATH").expect("a PATH");
        let path = self.path.iter().rev().map(String::as_str).chain([inherited.as_str()]);
        let path = path.collect::<Vec<_>>().join(":");
        let mut all = self.exported.clone();
        // The runner's own variables replace values that a step wrote.
        all.extend(self.job.environment());
        all.extend(more);
        let below = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        for (name, value) in [
            ("PATH", path),
            ("HOME", below("home")),
            ("GITHUB_ACTION", format!("__step_{}", self.steps.len())),
            ("GITHUB_EVENT_PATH", below("event.json")),
            ("GITHUB_WORKSPACE", below("workspace")),
            ("RUNNER_TEMP", below("temp")),
            ("RUNNER_TOOL_CACHE", below("tools")),
            ("RUNNER_WORKSPACE", below("")),
            ("RUNNER_TRACKING_ID", self.tracking_id()),
        ] {
            all.insert(name.to_owned(), value);
        }
        let files = FILES.map(|name| (name.to_owned(), files.join(name).to_string_lossy().into_owned()));
        all.extend(files);
        all
    }

    /// Reads the files of a step that ended.
    fn ended(&mut self, name: String, started_at: i64, end: End, log: Log, files: &Path) -> &Step {
        let read = |name: &str| std::fs::read_to_string(files.join(name)).expect("a step keeps its files");
        let exported = pairs(&read("GITHUB_ENV"));
        assert!(!exported.contains_key(REFUSED), "the runner lets no step set {REFUSED}");
        self.exported.extend(exported);
        self.path.extend(read("GITHUB_PATH").lines().map(str::to_owned));
        self.state.extend(pairs(&read("GITHUB_STATE")));
        assert_eq!(log.open_groups, 0, "{name}: a group was not ended:\n{}", log.lines.join("\n"));
        let summary = read("GITHUB_STEP_SUMMARY");
        // GitHub leaves out a larger summary with a message.
        assert!(summary.len() <= 1 << 20, "{name}: a summary of {} bytes", summary.len());
        self.steps.push(Step {
            started_at,
            ended_at: now_milliseconds(),
            code: end.code,
            output_held: end.output_held,
            annotations: log.annotations,
            outputs: pairs(&read("GITHUB_OUTPUT")),
            log: log.lines,
            summary,
            name,
        });
        self.steps.last().expect("this one")
    }

    fn tracking_id(&self) -> String {
        format!("github_{}", self.folder.path().file_name().expect("a name").to_string_lossy())
    }

    /// Ends the job. Kills the processes that it left running and returns their commands.
    pub(super) fn end(&self) -> Vec<String> {
        orphans::end_all(&format!("RUNNER_TRACKING_ID={}", self.tracking_id()))
    }

    /// The environments of the processes that run beside the steps.
    pub(super) fn environments(&self) -> String {
        orphans::environments(&format!("RUNNER_TRACKING_ID={}", self.tracking_id()))
    }

    /// Everything that a step or a reader of the run can see: logs, summaries, outputs, variables,
    /// the action's saved state, and the content of every remaining file.
    pub(super) fn visible(&self) -> String {
        let mut text = format!("{:?}\n{:?}\n{:?}", self.steps, self.exported, self.state);
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    text.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
        }
        text
    }
}
