//! Notes on a run or a comparison, besides durations and verdicts, as facts. `report` formats them. Every
//! note has a variant here: no other text is stored.

use serde::{Deserialize, Serialize};

use super::decision::{DecisionKind, Extent};
use super::ids::CommitSha;

/// How the text of [`Note::ContradictsGitHub`] began when notes were stored as text.
const STORED_CONTRADICTION: &str = "What was sent contradicts GitHub:";

/// One fact about a run or a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Note {
    /// Invalid spans of a trace were corrected.
    Repaired {
        repair: Repair,
        spans: usize,
    },
    /// A producer's clock contradicted the others; its spans were shifted. Positive: it was ahead.
    ClockShifted {
        /// Empty when the spans name none.
        producer: String,
        ahead_ns: i64,
    },
    /// Producers with shifted clocks beyond those that have a note of their own.
    MoreClocksShifted {
        producers: usize,
    },
    /// Operations were moved below the stage in whose time they lie.
    MovedBelowStage {
        spans: usize,
    },
    /// Spans that got no stage of their own: too many, or nested too deep.
    StagesLeftOut {
        spans: usize,
    },
    ErrorsLeftOut {
        errors: usize,
        kept: usize,
    },
    /// The trace was chosen by a tail sampler.
    TailSampled,
    /// The trace was chosen by a sampler before it was sent.
    Sampled,
    /// Parts of spans were left out, by the sender's limits or by ours.
    PartsLeftOut {
        part: SpanPart,
        spans: u64,
        left_out: u64,
    },
    /// The root span was never received.
    RootMissing,
    /// The run began in the future by this service's clock.
    ClockAhead,
    /// Spans arrived after the run was closed.
    LateSpansLeftOut,
    /// Requests with spans were left out: together they hold too many values.
    RequestsLeftOut {
        /// The limit on attributes, events and values.
        values: usize,
        requests: usize,
        of: usize,
    },
    LinkedTracesLeftOut {
        traces: usize,
        max_traces: usize,
        max_spans: i64,
    },
    /// GitHub's API did not list the whole run.
    ListingIncomplete {
        missing: String,
    },
    JobsLeftOut {
        jobs: usize,
        kept: usize,
    },
    /// Jobs that ran in an earlier attempt only.
    JobsOfEarlierAttempt {
        jobs: usize,
    },
    /// An attempt repeated some jobs of the run.
    RanAgain {
        attempt: u32,
        /// At most five names.
        jobs: Vec<String>,
    },
    /// A job sent spans outside of the time in which GitHub saw it run, so they were left out. The run's
    /// durations are GitHub's own. Its pass is not trusted: it is inconclusive at best.
    ContradictsGitHub {
        job: String,
        spans: usize,
    },
    /// The spans of a job were shifted into the job's time. Positive: its clock was behind.
    JobClockShifted {
        job: String,
        behind_ns: i64,
    },
    /// Uploads of one job state some facts differently.
    DisputedFacts {
        job: String,
        facts: usize,
    },
    /// Spans that jobs sent and that were left out.
    JobSpansLeftOut {
        why: JobSpanProblem,
        spans: usize,
    },
    /// Jobs that sent nothing but their manifest.
    SilentJobs {
        silent: usize,
        jobs: usize,
    },
    /// A part of a job's archive could not be read.
    JobArchive {
        job: String,
        problem: String,
    },
    ArtifactLeftOut {
        artifact: String,
        problem: String,
    },
    /// GitHub did not list the run's artifacts.
    ArtifactsUnreadable {
        problem: String,
    },
    /// Further notes on the data of jobs.
    MoreJobNotes {
        notes: usize,
    },
    /// Runs of the change on another kind of runner than the baseline's.
    OtherRunner {
        runs: usize,
    },
    /// The longest wait for a runner was unusually long.
    LongWait {
        /// Job and stage.
        stage: String,
        took_s: f64,
        usual_s: f64,
        /// Number of further unusually long waits.
        more: usize,
    },
    StagesIgnored {
        stages: usize,
    },
    /// Changes of the pipeline beyond those that are listed.
    MoreChanges {
        changes: usize,
    },
    /// A stage is materially slower than the slowdown that was accepted or muted.
    DecisionOutgrown {
        /// Empty when it has no name.
        stage: String,
        kind: DecisionKind,
        by: String,
        decided: Option<Extent>,
        now: Option<Extent>,
    },
    /// The base commit was not measured; the newest comparable run is used instead.
    BaseCommitUnmeasured {
        base: CommitSha,
        newest: CommitSha,
    },
    /// The App may not read the repository's files.
    FilesWithheld,
    /// The change has another policy file than the base branch.
    PolicyDiffers {
        path: String,
        branch: String,
    },
    /// The change has no policy file, the base branch has one.
    PolicyRemoved {
        path: String,
    },
    /// No run of the baseline is of the candidate's pipeline.
    PipelineNotInBaseline {
        pipeline: String,
        others: Vec<String>,
    },
    /// Text that version 0.1.0 stored.
    #[serde(untagged)]
    Text(String),
}

/// Defects of spans that were repaired to get a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// Sent more than once with different contents.
    Duplicate,
    /// Ended before it began.
    Reversed,
    /// Named a parent that is not there.
    Orphan,
    /// Was its own ancestor.
    Cycle,
    /// Was nested too deep.
    TooDeep,
    /// Had no parent although another span is the root.
    SecondRoot,
}

/// A part of a span that limits apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanPart {
    Attribute,
    Event,
    Link,
}

/// Why spans that jobs sent were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobSpanProblem {
    /// They belong to no job of the run.
    NoJob,
    /// They have the id of a span that GitHub's answers describe.
    TakenId,
    TooMany,
    /// They lie in no step's time, and could not be placed beside the steps.
    NoStep,
}

impl Note {
    /// Whether the data of a job of the newest run contradicts GitHub's own times.
    #[must_use]
    pub fn contradicts_github(&self) -> bool {
        match self {
            Self::ContradictsGitHub { .. } => true,
            Self::Text(text) => text.starts_with(STORED_CONTRADICTION),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_is_read_as_text() {
        let read: Vec<Note> = serde_json::from_str(
            r#"["1 span ended before beginning: taken as of zero length",
                "What was sent contradicts GitHub: what job test sent (3 spans) lies outside"]"#,
        )
        .expect("notes of an old row");
        assert_eq!(read[0], Note::Text("1 span ended before beginning: taken as of zero length".into()));
        assert_eq!(read.iter().map(Note::contradicts_github).collect::<Vec<_>>(), [false, true]);
        assert_eq!(
            serde_json::to_string(&read[..1]).expect("JSON"),
            r#"["1 span ended before beginning: taken as of zero length"]"#
        );
    }

    #[test]
    fn facts_survive_being_stored() {
        let notes = vec![
            Note::Repaired { repair: Repair::TooDeep, spans: 2 },
            Note::TailSampled,
            Note::ContradictsGitHub { job: "test".into(), spans: 3 },
            Note::LongWait { stage: "test / queue".into(), took_s: 190.5, usual_s: 12.0, more: 0 },
            Note::DecisionOutgrown {
                stage: "test".into(),
                kind: DecisionKind::Accepted,
                by: "ada".into(),
                decided: Some(Extent::Slower { ratio: 1.5, increase_s: 50.0 }),
                now: None,
            },
        ];
        let text = serde_json::to_string(&notes).expect("JSON");
        assert!(text.contains(r#"{"fact":"repaired","repair":"too_deep","spans":2}"#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Note>>(&text).expect("notes"), notes);
        assert!(notes[2].contradicts_github());
    }
}
