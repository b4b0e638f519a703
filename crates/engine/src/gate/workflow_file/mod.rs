//! A workflow file of GitHub Actions as far as lines go: which line a reader would change for a
//! job or step that is known only by the name GitHub shows. Decides nothing about workflows: a
//! file GitHub would refuse may be read, one that is no workflow gives no lines.

pub mod locations;
mod names;
mod read;
#[cfg(test)]
mod tests;

use names::Name;

/// Longest workflow file that is read, bytes; GitHub takes none as large.
pub const MAX_BYTES: usize = 512 << 10;

/// Why a workflow file gives no lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowFileError {
    /// More than [`MAX_BYTES`].
    #[error("the workflow file is larger than {} KiB, too large to find lines in", MAX_BYTES >> 10)]
    TooLarge,
    /// Not the YAML of a workflow, or too deep or too much of it.
    #[error("the workflow file can't be read as one: {0}")]
    Unreadable(String),
}

/// A workflow file.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowFile {
    jobs: Vec<Job>,
}

#[derive(Debug, Clone, PartialEq)]
struct Job {
    /// Of its key.
    line: u32,
    /// Its `name`, else its key.
    name: Name,
    /// Where it calls another workflow, the line of `uses`.
    calls_line: Option<u32>,
    has_matrix: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    /// The first of its item.
    line: u32,
    /// What it may be called, the likeliest first.
    names: Vec<Name>,
}

/// How sure a name is meant: an equal one, then one with the values of a matrix behind it, then
/// one that fits an expression, better the more of it is no expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Expression(usize),
    Matrix,
    Equal,
}

impl WorkflowFile {
    /// Reads a file. Anchors and aliases are followed within bounds.
    ///
    /// # Errors
    /// [`WorkflowFileError`] when it is too large or not a workflow.
    pub fn parse(text: &str) -> Result<Self, WorkflowFileError> {
        if text.len() > MAX_BYTES {
            return Err(WorkflowFileError::TooLarge);
        }
        read::read(text)
    }

    /// The line, from 1, of a step or, without one or where it is not found, of a job. Names are
    /// those GitHub shows, or stable names made of them. `step_number` is GitHub's, which counts
    /// "Set up job" too; it tells apart steps of one name.
    ///
    /// None when no job of the file is called so.
    #[must_use]
    pub fn locate(&self, job_name: &str, step_name: Option<&str>, step_number: Option<u32>) -> Option<u32> {
        if let Some(job) = best(self.jobs.iter().map(|job| (job, job.fit(job_name)))).first() {
            let step = step_name.and_then(|name| job.step(name, step_number));
            return Some(step.map_or(job.calls_line.unwrap_or(job.line), |step| step.line));
        }
        // `caller / called`: what runs is in another file, what a reader finds here is the call.
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
                // Its number is its place behind "Set up job" and whatever steps GitHub puts
                // before the file's own.
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

/// Those that fit best, in the file's order.
fn best<'a, T>(candidates: impl Iterator<Item = (&'a T, Option<Fit>)>) -> Vec<&'a T> {
    let fitting: Vec<(&T, Fit)> = candidates.filter_map(|(item, fit)| Some((item, fit?))).collect();
    let best = fitting.iter().map(|(_, fit)| *fit).max();
    fitting.into_iter().filter(|(_, fit)| Some(*fit) == best).map(|(item, _)| item).collect()
}
