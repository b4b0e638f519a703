//! Notes of runs and comparisons as sentences without a full stop. Names are not escaped: callers escape
//! the result for their medium.

use pacegate_engine::model::decision::Extent;
use pacegate_engine::model::note::{JobSpanProblem, Note, Repair, SpanPart};
use pacegate_engine::model::run::PipelineRun;

use super::number_format::{counted, duration, number};

/// The note as a sentence.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one arm for each fact")]
pub fn sentence(note: &Note) -> String {
    match note {
        Note::Repaired { repair, spans } => repaired(*repair, *spans),
        Note::ClockShifted { producer, ahead_ns } => {
            let who = if producer.is_empty() { "an unnamed machine" } else { producer };
            let way = if *ahead_ns > 0 { "ahead" } else { "behind" };
            let by = tenths(*ahead_ns);
            format!("the clock of {who} was {by} {way}: its spans were shifted, their durations are unchanged")
        }
        Note::MoreClocksShifted { producers } => {
            format!("the clocks of {} were wrong too", counted(*producers, "more machine"))
        }
        Note::MovedBelowStage { spans } => {
            let spans = counted(*spans, "span");
            format!("{spans} did not name the stage in which they ran: placed below it by their times")
        }
        Note::StagesLeftOut { spans } => format!(
            "{} {} too many or too deep: the stages nearest to the root were kept",
            counted(*spans, "span"),
            were(*spans)
        ),
        Note::ErrorsLeftOut { errors, kept } => format!(
            "{} beyond the first {} {} left out",
            counted(*errors, "error"),
            number(*kept),
            were(*errors)
        ),
        Note::TailSampled => "these traces were chosen by a tail sampler, which prefers slow and failed runs: \
                              durations may be biased"
            .to_owned(),
        Note::Sampled => "these traces were sampled before they came here: if slow or failed runs are preferred, \
                          durations are biased"
            .to_owned(),
        Note::PartsLeftOut { part, spans, left_out } => parts_left_out(*part, *spans, *left_out),
        Note::RootMissing => {
            "its root span did not arrive (the sender may have crashed): the run is incomplete".to_owned()
        }
        Note::ClockAhead => {
            "its clock is ahead of this service's: its start was set to the time of receipt".to_owned()
        }
        Note::LateSpansLeftOut => {
            "spans came too late, or too often, to be added to this run: they were left out".to_owned()
        }
        Note::RequestsLeftOut { values, requests, of } => format!(
            "its spans hold more than {} attributes, events and values: {} of {} with spans {} left out; send fewer \
             attributes",
            number(*values),
            number(*requests),
            counted(*of, "request"),
            were(*requests)
        ),
        Note::LinkedTracesLeftOut { traces, max_traces, max_spans } => format!(
            "{} of this run {} left out: a run has at most {max_traces} traces with {max_spans} spans",
            counted(*traces, "more linked trace"),
            were(*traces)
        ),
        Note::ListingIncomplete { missing } => {
            format!("GitHub does not list the whole run yet: {missing}; what it lists was measured")
        }
        Note::JobsLeftOut { jobs, kept } => {
            format!("{} beyond the first {} {} left out", counted(*jobs, "job"), number(*kept), were(*jobs))
        }
        Note::JobsOfEarlierAttempt { jobs } => format!(
            "{} of its jobs ran in an earlier attempt and {} measured there, not here",
            number(*jobs),
            if *jobs == 1 { "is" } else { "are" }
        ),
        Note::RanAgain { attempt, jobs } => format!("attempt {attempt} ran {} again", jobs.join(", ")),
        Note::ContradictsGitHub { job, spans } => format!(
            "the data of job {job} ({}) contradicts GitHub: it lies outside of the job's time on GitHub; it was left out, \
             and only GitHub's own times were judged",
            counted(*spans, "span")
        ),
        Note::JobClockShifted { job, behind_ns } => {
            let way = if *behind_ns > 0 { "behind" } else { "ahead" };
            let by = tenths(*behind_ns);
            format!(
                "the clock of the runner of job {job} was about {by} {way}: its spans were shifted, durations are \
                 unchanged"
            )
        }
        Note::DisputedFacts { job, facts } => {
            format!("job {job} sent different values for {}: left out", counted(*facts, "fact"))
        }
        Note::JobSpansLeftOut { why, spans } => job_spans_left_out(*why, *spans),
        Note::SilentJobs { silent, jobs } => format!(
            "{} of {} sent no span, so it is not known whether {} failed: {}",
            number(*silent),
            counted(*jobs, "job"),
            if *silent == 1 { "it" } else { "they" },
            if *silent == 1 { "it counts as green" } else { "they count as green" }
        ),
        Note::JobArchive { job, problem } => format!("job {job}: {problem}"),
        Note::ArtifactLeftOut { artifact, problem } => {
            format!("the artifact {artifact} was left out: {problem}")
        }
        Note::ArtifactsUnreadable { problem } => {
            format!("the artifacts of its jobs could not be listed: {problem}")
        }
        Note::MoreJobNotes { notes } => {
            format!("{} on the data of its jobs {} left out", counted(*notes, "more note"), were(*notes))
        }
        Note::OtherRunner { runs } => {
            format!("{} of this change used another kind of runner than the baseline", counted(*runs, "run"))
        }
        Note::LongWait { stage, took_s, usual_s, more } => {
            let more = match more {
                0 => String::new(),
                n => format!("; {} took longer than usual too", counted(*n, "more wait")),
            };
            let (took, usually) = (duration(*took_s), duration(*usual_s));
            format!("waiting for a runner took {took}, usually {usually} ({stage}){more}")
        }
        Note::StagesIgnored { stages } => format!(
            "{} {} ignored by the policy",
            counted(*stages, "stage"),
            if *stages == 1 { "is" } else { "are" }
        ),
        Note::MoreChanges { changes } => {
            format!("the pipeline has {} than are listed", counted(*changes, "more change"))
        }
        Note::DecisionOutgrown { stage, kind, by, decided, now } => format!(
            "{} was {} at {} by {by}; at {} it is worse than that, so it is a finding again",
            if stage.is_empty() { "a stage" } else { stage },
            kind.as_str(),
            extent(*decided),
            extent(*now)
        ),
        Note::BaseCommitUnmeasured { base, newest } => format!(
            "the base commit {} has no comparable run; the newest measured one before the change is {}",
            base.short(),
            newest.short()
        ),
        Note::FilesWithheld => "the App may not read this repository's files: its permission contents:read is \
                                missing, so the default policy applies and findings have no line in a workflow"
            .to_owned(),
        Note::PolicyDiffers { path, branch } => {
            format!("{path} of this change is not that of {branch}: an edit of it takes effect after the merge")
        }
        Note::PolicyRemoved { path } => {
            format!("this change has no {path}: its removal takes effect after the merge")
        }
        Note::PipelineNotInBaseline { pipeline, others } => {
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            format!("the baseline holds no run of the pipeline `{pipeline}`; its other pipelines: {others}")
        }
        Note::Text(text) => text.clone(),
    }
}

/// The run with its notes as text: in JSON they are sentences.
#[must_use]
pub fn with_sentences(mut run: PipelineRun) -> PipelineRun {
    run.notes = run.notes.iter().map(|note| Note::Text(sentence(note))).collect();
    run
}

fn were(n: usize) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

fn repaired(repair: Repair, spans: usize) -> String {
    let what = match repair {
        Repair::Duplicate => "sent more than once with different contents: the most complete copy was kept",
        Repair::Reversed => "ended before the start: duration set to zero",
        Repair::Orphan => "named a parent that did not arrive: placed below the root",
        Repair::Cycle => "formed a cycle of parents: the cycle was cut",
        Repair::TooDeep => "nested deeper than 64 levels: placed at that depth",
        Repair::SecondRoot => "had no parent, although another span is the root: placed below the root",
    };
    format!("{} {what}", counted(spans, "span"))
}

fn parts_left_out(part: SpanPart, spans: u64, left_out: u64) -> String {
    let one = match part {
        SpanPart::Attribute => "attribute",
        SpanPart::Event => "event",
        SpanPart::Link => "link",
    };
    let number_of = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    format!(
        "{} had more {one}s than are kept: {} left out",
        counted(number_of(spans), "span"),
        counted(number_of(left_out), one)
    )
}

fn job_spans_left_out(why: JobSpanProblem, spans: usize) -> String {
    let why = match why {
        JobSpanProblem::NoJob => "belong to no job of this run",
        JobSpanProblem::TakenId => "reused the id of the run, a job or a step",
        JobSpanProblem::TooMany => "exceeded the limit of one run",
        JobSpanProblem::NoStep => {
            "ran outside of all steps, and were too many, too early or named like a step"
        }
    };
    format!("{} that jobs sent {why}: left out", counted(spans, "span"))
}

/// Nanoseconds, without their sign, as seconds with one decimal.
fn tenths(ns: i64) -> String {
    let tenths = ns.unsigned_abs() / 100_000_000;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

fn extent(extent: Option<Extent>) -> String {
    match extent {
        Some(Extent::Slower { ratio, .. }) => format!("{ratio:.2}x"),
        Some(Extent::Took { seconds }) => format!("{seconds:.1} s"),
        None => "an unknown extent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacegate_engine::model::decision::DecisionKind;

    #[test]
    fn notes_have_their_numbers_and_names() {
        let slower = |ratio| Some(Extent::Slower { ratio, increase_s: 9.0 });
        for (note, expected) in [
            (
                Note::Repaired { repair: Repair::Reversed, spans: 1 },
                "1 span ended before the start: duration set to zero",
            ),
            (
                Note::ClockShifted { producer: "b".into(), ahead_ns: -3_090_000_000 },
                "the clock of b was 3.0 s behind: its spans were shifted, their durations are unchanged",
            ),
            (
                Note::PartsLeftOut { part: SpanPart::Attribute, spans: 2, left_out: 12 },
                "2 spans had more attributes than are kept: 12 attributes left out",
            ),
            (
                Note::JobSpansLeftOut { why: JobSpanProblem::NoJob, spans: 1_200 },
                "1,200 spans that jobs sent belong to no job of this run: left out",
            ),
            (
                Note::LongWait { stage: "test / queue".into(), took_s: 190.0, usual_s: 12.0, more: 1 },
                "waiting for a runner took 3 min 10 s, usually 12.0 s (test / queue); 1 more wait took longer than \
                 usual too",
            ),
            (
                Note::DecisionOutgrown {
                    stage: "unit".into(),
                    kind: DecisionKind::Accepted,
                    by: "ada".into(),
                    decided: slower(1.5),
                    now: slower(1.75),
                },
                "unit was accepted at 1.50x by ada; at 1.75x it is worse than that, so it is a finding again",
            ),
            (
                Note::PipelineNotInBaseline { pipeline: "ci".into(), others: vec![] },
                "the baseline holds no run of the pipeline `ci`; its other pipelines: none",
            ),
            (Note::Text("as it was stored".into()), "as it was stored"),
        ] {
            assert_eq!(sentence(&note), expected);
        }
    }
}
