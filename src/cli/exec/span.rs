//! Makes the span of a command that ended, by OpenTelemetry's semantic conventions for processes and
//! pipelines. Does no I/O.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::context::{TraceParent, percent_decoded};
use super::engine::CiRun;
use super::process::{End, Ended, signal_name};
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Scope, Span, SpanEvent, SpanKind, SpanStatus,
};
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::trace::Trace;

/// `service.name` of a command, unless the environment names one.
const SERVICE: &str = "pacegate-exec";

/// The facts about a command.
pub(super) struct Command<'a> {
    pub parent: Option<SpanId>,
    pub own: TraceParent,
    pub trace_state: String,
    pub name: Option<String>,
    pub line: &'a [OsString],
    pub record_arguments: bool,
    pub baggage: Vec<(String, String)>,
    pub ci: &'a CiRun,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub ended: &'a Ended,
}

impl Command<'_> {
    /// `variable` reads the environment.
    pub(super) fn span(&self, variable: impl Fn(&str) -> Option<String>) -> Span {
        let is_root = self.parent.is_none();
        let program = self.program();
        let of_ci = if is_root { self.ci.name() } else { None };
        let name = self.name.clone().or(of_ci).unwrap_or(program);
        let (start_ns, end_ns) = (nanos(self.started_at), nanos(self.ended_at.max(self.started_at)));
        Span {
            trace_id: self.own.trace_id,
            span_id: self.own.span_id,
            parent_span_id: self.parent,
            attributes: self.attributes(&name),
            name,
            kind: if is_root { SpanKind::Server } else { SpanKind::Internal },
            start_ns,
            end_ns,
            status: self.status(),
            events: self.exception(end_ns).into_iter().collect(),
            links: Vec::new(),
            dropped: Dropped::default(),
            trace_state: self.trace_state.clone(),
            scope: Arc::new(Scope {
                name: "pacegate exec".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            resource: Arc::new(self.resource(variable)),
        }
    }

    fn program(&self) -> String {
        let program = self.line.first().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or(program)
    }

    fn attributes(&self, name: &str) -> Attributes {
        let mut attributes = Attributes::default();
        let mut add = |key: &str, value: AttributeValue| attributes.0.push((key.to_owned(), value));
        let text = |text: &str| AttributeValue::String(text.to_owned());
        let result = self.result();
        if self.parent.is_none() {
            add("cicd.pipeline.name", text(name));
            add("cicd.pipeline.result", text(result));
        } else {
            add("cicd.pipeline.task.name", text(name));
            add("cicd.pipeline.task.run.result", text(result));
        }
        add("process.executable.name", text(&self.program()));
        if let Some(command) = self.line.first() {
            add("process.command", text(&command.to_string_lossy()));
        }
        if self.record_arguments {
            let parts = self.line.iter().map(|part| text(&part.to_string_lossy()));
            add("process.command_args", AttributeValue::Array(parts.collect()));
        }
        match &self.ended.end {
            End::Exited(code) => {
                add("process.exit.code", AttributeValue::Int(i64::from(*code)));
                if *code != 0 {
                    add("error.type", text(&code.to_string()));
                }
            }
            End::Killed(signal) => {
                add("process.exit.signal", text(&signal_name(*signal)));
                add("error.type", text(&signal_name(*signal)));
            }
            End::NotStarted { code, .. } => {
                add("process.exit.code", AttributeValue::Int(i64::from(*code)));
                add("error.type", text("not_started"));
            }
        }
        if let Some(used) = self.ended.used {
            add("process.memory.rss.max", AttributeValue::Int(used.max_rss));
            add("process.cpu.user_time", AttributeValue::Double(used.user_s));
            add("process.cpu.system_time", AttributeValue::Double(used.system_s));
        }
        for (key, value) in &self.baggage {
            add(key, text(value));
        }
        attributes
    }

    fn result(&self) -> &'static str {
        match &self.ended.end {
            End::Exited(0) => "success",
            End::NotStarted { .. } => "error",
            _ if self.ended.stop_requested => "cancellation",
            _ => "failure",
        }
    }

    fn status(&self) -> SpanStatus {
        match &self.ended.end {
            End::Exited(0) => SpanStatus::Unset,
            End::Exited(code) => SpanStatus::Error(format!("the command ended with exit code {code}")),
            End::Killed(signal) => {
                SpanStatus::Error(format!("the command was ended by {}", signal_name(*signal)))
            }
            End::NotStarted { reason, .. } => {
                SpanStatus::Error(format!("the command could not be started: {reason}"))
            }
        }
    }

    /// For a command whose parts have errors of their own.
    pub(super) fn status_without_message(&self) -> SpanStatus {
        match self.ended.end {
            End::Exited(0) => SpanStatus::Unset,
            _ => SpanStatus::Error(String::new()),
        }
    }

    fn exception(&self, time_ns: i64) -> Option<SpanEvent> {
        let End::NotStarted { reason, .. } = &self.ended.end else { return None };
        let message = format!("the command could not be started: {reason}");
        let pairs = [("exception.type", "not_started".to_owned()), ("exception.message", message)];
        let attributes = pairs.map(|(key, value)| (key.to_owned(), AttributeValue::String(value)));
        Some(SpanEvent {
            name: "exception".to_owned(),
            time_ns,
            attributes: Attributes(attributes.to_vec()),
            dropped_attributes: 0,
        })
    }

    /// The first value of a key counts, so the values from the environment come first.
    fn resource(&self, variable: impl Fn(&str) -> Option<String>) -> Resource {
        let mut attributes = Attributes::default();
        let mut add = |key: &str, value: String| {
            if attributes.get(key).is_none() {
                attributes.0.push((key.to_owned(), AttributeValue::String(value)));
            }
        };
        if let Some(service) = variable("OTEL_SERVICE_NAME") {
            add("service.name", service);
        }
        for entry in variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',') {
            if let Some((key, value)) = entry.split_once('=') {
                add(percent_decoded(key.trim()).as_str(), percent_decoded(value.trim()));
            }
        }
        for (key, value) in self.ci.attributes().0 {
            if let Some(value) = value.to_text() {
                add(&key, value);
            }
        }
        add("service.name", SERVICE.to_owned());
        add("os.type", if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS }.to_owned());
        add(
            "host.arch",
            match std::env::consts::ARCH {
                "x86_64" => "amd64".to_owned(),
                "aarch64" => "arm64".to_owned(),
                other => other.to_owned(),
            },
        );
        Resource { attributes, dropped_attributes: 0 }
    }
}

/// Whether a run's span names a commit, but no branch, tag or pull request. Such a run is measured
/// and never used as a baseline.
pub(super) fn names_no_branch(span: &Span) -> bool {
    // A tag has a name too, and deliberately has no branch.
    let is_named = span.parent_span_id.is_some() || span.text(&["vcs.ref.head.name"]).is_some();
    let trace = if is_named { None } else { Trace::build(vec![span.clone()]) };
    trace.is_some_and(|trace| {
        let identity = RunIdentity::of(&trace);
        identity.head_sha.is_some() && identity.lineage() == Lineage::Unknown
    })
}

fn nanos(time: Timestamp) -> i64 {
    time.0.saturating_mul(1_000)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use pacegate_engine::model::ids::TraceId;

    /// The span of a command that succeeded, with these `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) fn span(parent: Option<SpanId>, resource: &str) -> Span {
        let own = TraceParent {
            trace_id: TraceId::from_bytes(&[1; 16]).expect("an id"),
            span_id: SpanId::from_bytes(&[2; 8]).expect("an id"),
        };
        let command = Command {
            parent,
            own,
            trace_state: String::new(),
            name: None,
            line: &["true".into()],
            record_arguments: false,
            baggage: Vec::new(),
            ci: &CiRun::default(),
            started_at: Timestamp(0),
            ended_at: Timestamp(1),
            ended: &Ended { end: End::Exited(0), used: None, stop_requested: false },
        };
        command.span(|name| (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| resource.to_owned()))
    }

    #[test]
    fn missing_branch_is_found_only_where_needed() {
        let commit = "vcs.ref.head.revision=0123456789abcdef0123456789abcdef01234567";
        let above = SpanId::from_bytes(&[3; 8]).ok();
        assert!(names_no_branch(&span(None, commit)));
        assert!(!names_no_branch(&span(above, commit)) && !names_no_branch(&span(None, "")));
        for named in [
            "vcs.ref.head.name=main",
            "vcs.ref.head.name=v1,vcs.ref.head.type=tag",
            "git.branch=main",
            "vcs.change.id=7",
        ] {
            assert!(!names_no_branch(&span(None, &format!("{commit},{named}"))), "{named}");
        }
    }
}
