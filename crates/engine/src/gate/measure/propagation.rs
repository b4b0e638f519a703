//! The errors of a trace, each reported at its origin. An exception that propagates through the spans
//! around it is not a further error. Whether an error is new is not decided here.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};

use super::stack_frame::own_frame;
use super::template::{Numbers, template};
use crate::model::note::Note;
use crate::model::span::{Attributes, Span, SpanStatus};
use crate::model::stage::{Frame, StageError, StageKey};
use crate::model::trace::{Node, Trace};

/// Longest message that is kept, in characters.
pub(crate) const MAX_MESSAGE_CHARS: usize = 1_000;
const MAX_TYPE_CHARS: usize = 200;
/// Most errors of one run, and most error events of one span.
const MAX_ERRORS: usize = 1_000;
const MAX_EVENTS: usize = 20;
/// The type of an error whose producer named none.
const UNTYPED: &str = "error";

/// The errors of a trace.
pub(crate) struct FoundErrors {
    /// Each signature once, parents' stages first.
    pub errors: Vec<StageError>,
    /// Set when errors were left out.
    pub note: Option<Note>,
}

/// Identity of an error without its frame: stage, type and templated message. It is 128 bits of SHA-256
/// in hexadecimal, so that its length is fixed and it can be a key.
#[must_use]
pub(crate) fn signature(stage: &StageKey, error_type: &str, message: &str) -> String {
    digest(&format!("{stage}\n{error_type}\n{}", template(message, Numbers::AsValues)))
}

/// The full identity: a signature together with the frame in the repository.
#[must_use]
pub(crate) fn placed(signature: &str, frame: Option<&Frame>) -> String {
    match frame {
        Some(frame) => digest(&format!("{signature}\n{}\n{}", frame.path, frame.function)),
        None => signature.to_owned(),
    }
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..16])
}

/// An error as its span recorded it.
struct RecordedError {
    error_type: String,
    message: String,
    frame: Option<Frame>,
}

/// The errors of a trace. `stage` returns the stage and path of a span.
pub(crate) fn errors_of(trace: &Trace, stage: impl Fn(Node) -> (StageKey, Vec<String>)) -> FoundErrors {
    let mut seen_below: HashMap<Node, HashSet<u64>> = HashMap::new();
    let mut failed_below: HashSet<Node> = HashSet::new();
    let mut kept = Vec::new();
    let mut left_out = 0_usize;
    let nodes: Vec<Node> = trace.nodes().collect();
    // Children before parents, so that an error belongs to the deepest span that has it.
    for node in nodes.into_iter().rev() {
        for RecordedError { error_type, message, frame } in errors_in(trace.span(node)) {
            if is_echo(seen_below.get(&node), failed_below.contains(&node), &error_type, &message) {
                continue;
            }
            if kept.len() >= MAX_ERRORS {
                left_out += 1;
                continue;
            }
            let (key, path) = stage(node);
            let mut at = trace.parent(node);
            while let Some(ancestor) = at {
                failed_below.insert(ancestor);
                let below = seen_below.entry(ancestor).or_default();
                below.insert(identity(&error_type, &message));
                below.insert(identity("", &message));
                // Python's SDK writes a status description in this form.
                below.insert(identity("", &format!("{error_type}: {message}")));
                at = trace.parent(ancestor);
            }
            let signature = placed(&signature(&key, &error_type, &message), frame.as_ref());
            kept.push(StageError { stage: key, path, signature, error_type, message, frame });
        }
    }
    kept.reverse();
    let mut seen = HashSet::new();
    kept.retain(|e: &StageError| seen.insert(e.signature.clone()));
    let note = (left_out > 0).then_some(Note::ErrorsLeftOut { errors: left_out, kept: MAX_ERRORS });
    FoundErrors { errors: kept, note }
}

/// A hash, because an error is stored at each of its up to 64 ancestors.
fn identity(error_type: &str, message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (error_type, message).hash(&mut hasher);
    hasher.finish()
}

/// Whether an error repeats one of the spans below: the same type and message, the same message without
/// a type, or a failure without a message.
fn is_echo(below: Option<&HashSet<u64>>, failed_below: bool, error_type: &str, message: &str) -> bool {
    let untyped = error_type == UNTYPED;
    let repeats = |kind: &str| below.is_some_and(|set| set.contains(&identity(kind, message)));
    repeats(error_type) || (untyped && (repeats("") || (message.is_empty() && failed_below)))
}

/// Each error of one span: its exceptions, else its failed status.
fn errors_in(span: &Span) -> Vec<RecordedError> {
    let described = match &span.status {
        SpanStatus::Error(text) => Some(text.as_str()),
        _ => None,
    };
    let exception = |attributes: &Attributes| {
        let message = attributes.text("exception.message");
        recorded_error(
            attributes.text("exception.type").as_deref(),
            message.as_deref().unwrap_or_else(|| described.unwrap_or_default()),
            attributes.text("exception.stacktrace").as_deref(),
        )
    };
    let exceptions = span.events.iter().filter(|event| event.name == "exception").take(MAX_EVENTS);
    let mut errors: Vec<RecordedError> = exceptions.map(|event| exception(&event.attributes)).collect();
    if let (true, Some(text)) = (errors.is_empty(), described) {
        let stack_trace = span.attributes.text("exception.stacktrace");
        errors.push(recorded_error(
            span.attributes.text("error.type").as_deref(),
            text,
            stack_trace.as_deref(),
        ));
    }
    errors
}

fn recorded_error(error_type: Option<&str>, message: &str, stack_trace: Option<&str>) -> RecordedError {
    let bounded = |text: &str, limit: usize| -> String {
        // A NUL can't be stored as text. Line breaks of a message are kept.
        text.trim().chars().take(limit).map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
    };
    RecordedError {
        error_type: bounded(error_type.unwrap_or(UNTYPED), MAX_TYPE_CHARS),
        message: bounded(message, MAX_MESSAGE_CHARS),
        frame: stack_trace.and_then(own_frame),
    }
}

#[cfg(test)]
mod tests {
    use crate::gate::measure::extract::extract;
    use crate::gate::tests::fixture::{SpanBuilder, trace};
    use crate::model::run::RunResult;
    use crate::model::span::{Span, SpanStatus};
    use crate::model::stage::Frame;

    fn found(spans: Vec<Span>) -> Vec<(String, String, String)> {
        let errors = extract(&trace(spans)).errors;
        errors.into_iter().map(|e| (e.path.join(" / "), e.error_type, e.message)).collect()
    }

    fn failed(text: &str) -> SpanStatus {
        SpanStatus::Error(text.to_owned())
    }

    fn triple(path: &str, kind: &str, message: &str) -> (String, String, String) {
        (path.to_owned(), kind.to_owned(), message.to_owned())
    }

    #[test]
    fn exception_is_reported_at_its_origin() {
        let spans = vec![
            SpanBuilder::new(1, "ci")
                .exception("IOError", "disk full")
                .status(failed("IOError: disk full"))
                .build(),
            SpanBuilder::new(2, "deploy").parent(1).status(failed("disk full")).build(),
            SpanBuilder::new(3, "copy")
                .parent(2)
                .exception("IOError", "disk full")
                .status(failed("x"))
                .build(),
        ];
        assert_eq!(found(spans), [triple("ci / deploy / copy", "IOError", "disk full")]);
    }

    #[test]
    fn parent_with_another_message_is_reported() {
        let spans = vec![
            SpanBuilder::new(1, "ci").status(failed("deploy failed")).build(),
            SpanBuilder::new(2, "deploy").parent(1).status(failed("")).build(),
            SpanBuilder::new(3, "copy")
                .parent(2)
                .status(failed("disk full"))
                .attributes(&[("error.type", "ENOSPC")])
                .build(),
        ];
        assert_eq!(
            found(spans),
            [triple("ci", "error", "deploy failed"), triple("ci / deploy / copy", "ENOSPC", "disk full")]
        );
    }

    #[test]
    fn lone_failure_without_message_is_an_error() {
        assert_eq!(
            found(vec![SpanBuilder::new(1, "ci").status(failed("")).build()]),
            [triple("ci", "error", "")]
        );
    }

    #[test]
    fn error_in_successful_stage_is_reported() {
        let extraction = extract(&trace(vec![
            SpanBuilder::new(1, "ci").status(SpanStatus::Ok).build(),
            SpanBuilder::new(2, "test")
                .parent(1)
                .exception("TimeoutError", "no answer in 5 s")
                .stack_trace("    at poll (/app/src/poll.js:7:3)")
                .build(),
        ]));
        assert_eq!(extraction.stages[1].result, RunResult::Success);
        let error = &extraction.errors[0];
        assert_eq!((error.path.join(" / "), error.error_type.as_str()), ("ci / test".into(), "TimeoutError"));
        let frame = Frame { path: "src/poll.js".into(), function: "poll".into(), line: Some(7) };
        assert_eq!(error.frame, Some(frame));
    }

    #[test]
    fn frame_without_line_distinguishes_errors() {
        let with = |places: [&str; 2]| {
            let step = |id: u32, place: &str| {
                let at = format!("    at {place}");
                SpanBuilder::new(id, "try").parent(1).exception("E", "no").stack_trace(&at).build()
            };
            found(vec![SpanBuilder::new(1, "ci").build(), step(2, places[0]), step(3, places[1])]).len()
        };
        assert_eq!(with(["f (/app/x.js:1:1)", "f (/app/x.js:9:1)"]), 1);
        assert_eq!(with(["f (/app/x.js:1:1)", "g (/app/x.js:1:1)"]), 2);
    }

    #[test]
    fn siblings_with_equal_signature_are_one_error() {
        let step = |id: u32, message: &str| {
            SpanBuilder::new(id, &format!("try-{id}")).parent(1).exception("E", message).build()
        };
        let spans = vec![SpanBuilder::new(1, "ci").build(), step(2, "port 80 busy"), step(3, "port 81 busy")];
        assert_eq!(found(spans).len(), 1);
    }

    #[test]
    fn messages_are_bounded_and_storable() {
        let long = format!("a\0{}", "b".repeat(5_000));
        let errors = found(vec![SpanBuilder::new(1, "ci").exception("E", &long).build()]);
        assert_eq!(errors[0].2.chars().count(), super::MAX_MESSAGE_CHARS);
        assert!(!errors[0].2.contains('\0'));
    }
}
