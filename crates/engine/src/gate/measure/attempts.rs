//! Joins a run with a rerun of some of its jobs, whose attempt has those jobs only. The attempts become
//! one complete run and a further sample of the jobs that ran twice.

use std::collections::BTreeSet;

use crate::model::note::Note;
use crate::model::run::MeasuredRun;
use crate::model::stage::{StageError, StageSample};

/// The runs of one pipeline, oldest first, with partial attempts joined to their run. An earlier attempt
/// keeps the jobs that ran again only: its other samples are in the joined run, so that none counts
/// twice.
#[must_use]
pub fn join(runs: Vec<MeasuredRun>) -> Vec<MeasuredRun> {
    let mut joined: Vec<MeasuredRun> = Vec::with_capacity(runs.len());
    for run in runs {
        let earlier = joined.iter().rposition(|before| {
            run.run.attempt > before.run.attempt
                && run.run.external_id.is_some()
                && run.run.external_id == before.run.external_id
                && run.run.head_sha == before.run.head_sha
        });
        let Some(earlier) = earlier else {
            joined.push(run);
            continue;
        };
        let again = jobs(&run);
        if jobs(&joined[earlier]).is_subset(&again) {
            joined.push(run); // All jobs ran again.
            continue;
        }
        let whole = overlay(&joined[earlier], run, &again);
        keep(&mut joined[earlier], &|path| is_of(path, &again));
        joined.push(whole);
    }
    joined
}

/// The jobs of a run: the stages directly below the pipeline.
fn jobs(run: &MeasuredRun) -> BTreeSet<String> {
    run.stages.iter().filter_map(|stage| stage.path.get(1).cloned()).collect()
}

fn is_of(path: &[String], jobs: &BTreeSet<String>) -> bool {
    path.get(1).is_some_and(|job| jobs.contains(job))
}

fn keep(run: &mut MeasuredRun, wanted: &dyn Fn(&[String]) -> bool) {
    run.stages.retain(|stage: &StageSample| wanted(&stage.path));
    run.errors.retain(|error: &StageError| wanted(&error.path));
}

/// The earlier attempt, with the jobs that ran again in place of its own. The pipeline's duration is the
/// earlier attempt's, in which all jobs ran.
fn overlay(earlier: &MeasuredRun, again: MeasuredRun, jobs: &BTreeSet<String>) -> MeasuredRun {
    let mut whole = earlier.clone();
    keep(&mut whole, &|path| !is_of(path, jobs));
    whole.stages.extend(again.stages.into_iter().filter(|stage| is_of(&stage.path, jobs)));
    whole.errors.extend(again.errors.into_iter().filter(|error| is_of(&error.path, jobs)));
    whole.run.id = again.run.id;
    whole.run.trace_id = again.run.trace_id;
    whole.run.attempt = again.run.attempt;
    whole.run.result = again.run.result;
    whole.run.notes.extend(again.run.notes);
    let jobs = jobs.iter().take(5).cloned().collect();
    whole.run.notes.push(Note::RanAgain { attempt: whole.run.attempt, jobs });
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{run, stage};
    use crate::model::run::RunResult;

    fn attempt(n: u32, stages: &[(&str, f64)]) -> MeasuredRun {
        let mut measured = run(n, stages.iter().map(|(path, seconds)| stage(path, 0.0, *seconds)).collect());
        measured.run.attempt = n;
        measured.run.external_id = Some("7".into());
        measured.run.head_sha = "0123456789012345678901234567890123456789".parse().expect("a commit");
        measured
    }

    fn durations(run: &MeasuredRun) -> Vec<(String, f64)> {
        let mut durations: Vec<_> = run.stages.iter().map(|s| (s.path.join(" / "), s.seconds())).collect();
        durations.sort_by(|a, b| a.0.cmp(&b.0));
        durations
    }

    #[test]
    fn rerun_job_is_a_second_sample() {
        let mut first = attempt(1, &[("ci", 90.0), ("ci / a", 30.0), ("ci / a / x", 29.0), ("ci / b", 60.0)]);
        first.run.result = RunResult::Failure;
        let second = attempt(2, &[("ci", 31.0), ("ci / a", 31.0), ("ci / a / x", 30.0)]);
        let joined = join(vec![first, second]);
        let expected = |stages: &[(&str, f64)]| -> Vec<(String, f64)> {
            stages.iter().map(|(path, s)| ((*path).to_owned(), *s)).collect()
        };
        assert_eq!(durations(&joined[0]), expected(&[("ci / a", 30.0), ("ci / a / x", 29.0)]));
        let whole = [("ci", 90.0), ("ci / a", 31.0), ("ci / a / x", 30.0), ("ci / b", 60.0)];
        assert_eq!(durations(&joined[1]), expected(&whole));
        assert_eq!((joined[1].run.result, joined[1].run.attempt), (RunResult::Success, 2));
        let third = attempt(3, &[("ci", 61.0), ("ci / b", 61.0)]);
        let thrice = join([joined, vec![third]].concat());
        assert_eq!(durations(&thrice[2])[3], ("ci / b".to_owned(), 61.0));
        assert_eq!(durations(&thrice[1]), expected(&[("ci / b", 60.0)]));
    }

    #[test]
    fn full_rerun_or_other_run_stays() {
        let (first, again) =
            (attempt(1, &[("ci", 9.0), ("ci / a", 9.0)]), attempt(2, &[("ci", 8.0), ("ci / a", 8.0)]));
        assert_eq!(join(vec![first.clone(), again.clone()]), [first.clone(), again]);
        let mut other = attempt(2, &[("ci", 8.0), ("ci / b", 8.0)]);
        other.run.external_id = Some("8".into());
        assert_eq!(join(vec![first.clone(), other.clone()]), [first, other]);
    }
}
