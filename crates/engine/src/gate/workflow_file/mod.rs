//! Finds the lines of jobs and steps in a workflow file of GitHub Actions, by the names that GitHub
//! shows. It does not validate workflows, so it may accept a file that GitHub refuses. A file that is not
//! a workflow is an error.

pub mod locations;
mod names;
mod read;
#[cfg(test)]
mod tests;

use names::Name;

/// Largest workflow file that is read, bytes. GitHub's limit is lower.
pub const MAX_BYTES: usize = 512 << 10;

/// The reason why a workflow file has no lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowFileError {
    /// Larger than [`MAX_BYTES`].
    #[error("the workflow file is larger than {} KiB, too large to find lines in", MAX_BYTES >> 10)]
    TooLarge,
    /// Not the YAML of a workflow, or too deep, or with too many nodes.
    #[error("the file can't be read as a workflow: {0}")]
    Unreadable(String),
}

/// A workflow file.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowFile {
    jobs: Vec<Job>,
}

#[derive(Debug, Clone, PartialEq)]
struct Job {
    /// The line of its key.
    line: u32,
    /// Its `name`, else its key.
    name: Name,
    /// The line of `uses`, if the job calls another workflow.
    calls_line: Option<u32>,
    has_matrix: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    /// The first line of its item.
    line: u32,
    /// Possible names, the most likely first.
    names: Vec<Name>,
}

/// How well a name matches, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The name has expressions. The number is the length of the text outside them.
    Expression(usize),
    /// The name is followed by the values of a matrix.
    Matrix,
    Equal,
}

impl WorkflowFile {
    /// Reads a file. Anchors and aliases are expanded up to a limit.
    ///
    /// # Errors
    /// [`WorkflowFileError`] when it is too large or not a workflow.
    pub fn parse(text: &str) -> Result<Self, WorkflowFileError> {
        if text.len() > MAX_BYTES {
            return Err(WorkflowFileError::TooLarge);
        }
        read::read(text)
    }

    /// The line, from 1, of a step. Without a step name, or when the step is not found, the line of the
    /// job, which is its `uses` where it calls another workflow. None when the file has no job of this
    /// name.
    ///
    /// Names are those that GitHub shows, or their stable names. `step_number` is GitHub's, which counts
    /// "Set up job" too. It distinguishes steps of one name.
    #[must_use]
    pub fn locate(&self, job_name: &str, step_name: Option<&str>, step_number: Option<u32>) -> Option<u32> {
        if let Some(job) = best(self.jobs.iter().map(|job| (job, job.fit(job_name)))).first() {
            let step = step_name.and_then(|name| job.step(name, step_number));
            return Some(step.map_or(job.calls_line.unwrap_or(job.line), |step| step.line));
        }
        // `caller / called`: the called job is in another file, and this file has the call.
        job_name.rmatch_indices(" / ").find_map(|(at, _)| {
            let callers = self.jobs.iter().filter(|job| job.calls_line.is_some());
            best(callers.map(|job| (job, job.fit(&job_name[..at])))).first().and_then(|job| job.calls_line)
        })
    }
}

impl Job {
    fn fit(&self, shown: &str) -> Option<Fit> {
        self.name.fit(shown).or_else(|| {
            let values = shown.rmatch_indices(" (").map(|(at, _)| &shown[..at]);
            let fits = self.has_matrix && values.into_iter().any(|name| self.name.fit(name).is_some());
            fits.then_some(Fit::Matrix)
        })
    }

    fn step(&self, shown: &str, number: Option<u32>) -> Option<&Step> {
        let main = ["", "Pre ", "Post "].into_iter().filter_map(|phase| shown.strip_prefix(phase));
        main.map(|name| best(self.steps.iter().map(|step| (step, step.fit(name)))))
            .find(|found| !found.is_empty())
            .and_then(|found| match number {
                None => found.first().copied(),
                // The number counts "Set up job" and other steps that GitHub puts before the file's
                // own steps.
                Some(number) => found
                    .iter()
                    .rev()
                    .find(|step| self.place(step).is_some_and(|place| place + 2 <= number as usize))
                    .or(found.first())
                    .copied(),
            })
    }

    fn place(&self, step: &Step) -> Option<usize> {
        self.steps.iter().position(|other| std::ptr::eq(other, step))
    }
}

impl Step {
    fn fit(&self, shown: &str) -> Option<Fit> {
        self.names.iter().filter_map(|name| name.fit(shown)).max()
    }
}

/// The items with the best fit, in the file's order.
fn best<'a, T>(candidates: impl Iterator<Item = (&'a T, Option<Fit>)>) -> Vec<&'a T> {
    let fitting: Vec<(&T, Fit)> = candidates.filter_map(|(item, fit)| Some((item, fit?))).collect();
    let best = fitting.iter().map(|(_, fit)| *fit).max();
    fitting.into_iter().filter(|(_, fit)| Some(*fit) == best).map(|(item, _)| item).collect()
}
