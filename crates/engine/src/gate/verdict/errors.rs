//! Judges whether an error is new: compares its signature with those of the base branch, including
//! failed runs. One occurrence is never enough, nor is absence from a short history.
//! The probabilities come from `stats::rate`.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::gate::baseline::Baseline;
use crate::gate::baseline::columns::renamed;
use crate::gate::measure::propagation::{placed, signature};
use crate::model::comparison::{ErrorComparison, ErrorVerdict};
use crate::model::policy::GatePolicy;
use crate::model::reason::ErrorReason;
use crate::model::run::MeasuredRun;
use crate::model::stage::{Frame, StageError, StageKey};
use crate::stats::rate::{Occurrences, holm, predicted_tail, unseen_probability};

/// Runs of history that are needed to call an error new; with fewer it stays suspect.
const MIN_HISTORY: usize = 10;
/// Candidate runs that confirm an error.
const CONFIRMED: usize = 2;
/// Level of the test for "far more often than before", over all errors of a change.
const RATE_ALPHA: f64 = 0.01;
/// From this share of errors that occurred only once, a single sighting is weak evidence.
const MANY_SEEN_ONCE: f64 = 0.05;

/// The base-branch runs of each error.
#[derive(Debug, Clone, Default)]
pub struct ErrorHistory {
    runs: usize,
    /// Runs by full identity, ascending. The identity of an error without a frame is its signature.
    placed: HashMap<String, Vec<usize>>,
    /// Runs by signature, from any place in the repository, ascending.
    anywhere: HashMap<String, Vec<usize>>,
}

/// The identity of an error. It is computed again from the stored error, so that a stage's new name or
/// a better template does not make all errors unknown.
struct Identity {
    signature: String,
    placed: String,
}

impl Identity {
    fn of(error: &StageError, policy: &GatePolicy) -> Self {
        let stage = renamed(&error.path, policy).map(|path| StageKey::from_path(&path));
        let stage = stage.as_ref().unwrap_or(&error.stage);
        let signature = signature(stage, &error.error_type, &error.message);
        Self { placed: placed(&signature, error.frame.as_ref()), signature }
    }
}

impl ErrorHistory {
    /// The history of all runs of a baseline, including failed ones.
    #[must_use]
    pub fn of(baseline: &Baseline, policy: &GatePolicy) -> Self {
        let mut history = Self::default();
        for run in baseline.runs.iter().chain(&baseline.error_history) {
            for error in &run.errors {
                let identity = Identity::of(error, policy);
                for (runs, key) in
                    [(&mut history.placed, identity.placed), (&mut history.anywhere, identity.signature)]
                {
                    let runs = runs.entry(key).or_default();
                    if runs.last() != Some(&history.runs) {
                        runs.push(history.runs);
                    }
                }
            }
            history.runs += 1;
        }
        history
    }

    /// Number of runs.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// How many runs had this error. Errors with and without a frame may be the same: not every
    /// producer sends stack traces, and not every run kept them.
    fn runs_with(&self, identity: &Identity, frame: Option<&Frame>) -> usize {
        let of = |map: &HashMap<String, Vec<usize>>, key| map.get(key).cloned().unwrap_or_default();
        let Some(_) = frame else { return of(&self.anywhere, &identity.signature).len() };
        let mut runs = of(&self.placed, &identity.placed);
        runs.extend(of(&self.placed, &identity.signature));
        runs.into_iter().collect::<HashSet<usize>>().len()
    }

    /// Probability that the next error of the base branch was never seen before.
    fn unseen_probability(&self) -> Option<f64> {
        let once = self.placed.values().filter(|runs| runs.len() == 1).count();
        unseen_probability(once, self.placed.values().map(Vec::len).sum())
    }
}

/// One error of the candidate.
struct Sighting<'a> {
    /// As the newest run had it.
    error: &'a StageError,
    identity: Identity,
    runs: usize,
    last_run: usize,
}

/// Judges every error of the candidate's runs, which are oldest first. Errors that the policy ignores
/// are left out. The most severe come first.
#[must_use]
pub fn judge_errors(
    history: &ErrorHistory,
    candidate: &[&MeasuredRun],
    policy: &GatePolicy,
) -> Vec<ErrorComparison> {
    let sightings = sightings(candidate, policy);
    let seen: Vec<Counts> = sightings
        .iter()
        .map(|sighting| Counts {
            here: sighting.runs,
            of: candidate.len(),
            before: history.runs_with(&sighting.identity, sighting.error.frame.as_ref()),
            history: history.runs,
        })
        .collect();
    let adjusted = holm(&seen.iter().filter(|c| c.before > 0).map(Counts::probability).collect::<Vec<f64>>());
    let mut adjusted = adjusted.into_iter();
    let mut judged: Vec<ErrorComparison> = sightings
        .into_iter()
        .zip(seen)
        .map(|(Sighting { error, identity, .. }, counts)| {
            let probability = if counts.before > 0 { adjusted.next() } else { None };
            let (verdict, reason) = counts.judge(probability, history.unseen_probability());
            ErrorComparison {
                stage: error.stage.clone(),
                path: error.path.clone(),
                signature: identity.placed,
                error_type: error.error_type.clone(),
                message: error.message.clone(),
                verdict,
                candidate_runs: counts.here,
                baseline_runs_with: counts.before,
                baseline_runs: counts.history,
                reason: Some(reason),
                decision: None,
                location: error.frame.as_ref().and_then(Frame::location),
            }
        })
        .collect();
    sort_errors(&mut judged);
    judged
}

/// The errors of the newest commit. Errors that only earlier pushes had are fixed.
fn sightings<'a>(candidate: &[&'a MeasuredRun], policy: &GatePolicy) -> Vec<Sighting<'a>> {
    let ignored =
        |e: &StageError| policy.errors().ignore.iter().any(|text| e.message.contains(text.as_str()));
    let head = candidate.last().map(|newest| &newest.run.head_sha);
    let mut present = HashSet::new();
    let mut found: BTreeMap<String, Sighting> = BTreeMap::new();
    for (at, run) in candidate.iter().enumerate() {
        for error in run.errors.iter().filter(|e| !ignored(e)) {
            let identity = Identity::of(error, policy);
            if Some(&run.run.head_sha) == head {
                present.insert(identity.placed.clone());
            }
            let key = identity.placed.clone();
            let sighting =
                found.entry(key).or_insert(Sighting { error, identity, runs: 0, last_run: usize::MAX });
            sighting.error = error;
            sighting.runs += usize::from(sighting.last_run != at);
            sighting.last_run = at;
        }
    }
    found.into_iter().filter(|(key, _)| present.contains(key)).map(|(_, sighting)| sighting).collect()
}

/// How often one error was seen: in `here` of the candidate's `of` runs, and in `before` of the base
/// branch's `history` runs.
#[derive(Clone, Copy)]
struct Counts {
    here: usize,
    of: usize,
    before: usize,
    history: usize,
}

impl Counts {
    /// Probability of at least as many sightings here at the rate of the base branch.
    fn probability(&self) -> f64 {
        match (Occurrences::new(self.here, self.of), Occurrences::new(self.before, self.history)) {
            (Ok(now), Ok(before)) => predicted_tail(now, before),
            _ => 1.0,
        }
    }

    /// The verdict and its reason. `probability` is adjusted for all tested errors.
    fn judge(self, probability: Option<f64>, unseen_probability: Option<f64>) -> (ErrorVerdict, ErrorReason) {
        let Self { here, of, before, history } = self;
        if before == 0 {
            return self.judge_unseen(unseen_probability);
        }
        match probability {
            Some(probability) if probability <= RATE_ALPHA && here >= CONFIRMED => {
                (ErrorVerdict::Suspect, ErrorReason::MoreOften { of, probability })
            }
            // More than 20% of the runs.
            _ if before * 5 > history => (ErrorVerdict::Known, ErrorReason::SeenBefore),
            _ => (ErrorVerdict::Flaky, ErrorReason::SeenBefore),
        }
    }

    fn judge_unseen(self, unseen_probability: Option<f64>) -> (ErrorVerdict, ErrorReason) {
        if self.history == 0 {
            return (ErrorVerdict::Suspect, ErrorReason::NoHistory);
        }
        if self.history < MIN_HISTORY {
            return (ErrorVerdict::Suspect, ErrorReason::ShortHistory { needed: MIN_HISTORY });
        }
        if self.here >= CONFIRMED {
            return (ErrorVerdict::New, ErrorReason::Unseen);
        }
        let reason = match unseen_probability.filter(|p| *p >= MANY_SEEN_ONCE) {
            Some(share) => ErrorReason::OftenSeenOnce { share },
            None => ErrorReason::Unseen,
        };
        (ErrorVerdict::Suspect, reason)
    }
}

/// Sorts by verdict (new, suspect, flaky, known), then by path.
pub fn sort_errors(errors: &mut [ErrorComparison]) {
    let rank = |verdict: ErrorVerdict| match verdict {
        ErrorVerdict::New => 0,
        ErrorVerdict::Suspect => 1,
        ErrorVerdict::Flaky => 2,
        ErrorVerdict::Known => 3,
    };
    errors.sort_by(|a, b| {
        (rank(a.verdict), &a.path, &a.signature).cmp(&(rank(b.verdict), &b.path, &b.signature))
    });
}

#[cfg(test)]
mod tests;
