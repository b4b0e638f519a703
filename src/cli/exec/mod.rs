//! `pacegate exec`: runs a command as one span of a trace. Streams, exit code and signals of the
//! command stay unchanged; a problem with recording never fails it.

mod answer;
mod attachments;
mod context;
mod destination;
mod endpoint;
mod engine;
mod engines;
mod process;
mod span;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::context::{TraceParent, is_trace_state, pipeline_baggage};
use self::destination::{DEFAULT_FILE, Destination, FILE_VARIABLE};
use self::engine::CiRun;
use self::process::{End, signal_name};
use self::span::{Command, names_no_branch};
use super::output::print_diagnostic;
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::duration;
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_ingest::redact::redact;

/// How long sending may take after a signal to stop: the sender of the signal waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// GitHub's own limit for an event file is far below this.
const EVENT_BYTES: u64 = 10 << 20;

/// Arguments of `exec`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The span goes to PACEGATE_URL with PACEGATE_TOKEN, else to OTEL_EXPORTER_OTLP_ENDPOINT with \
OTEL_EXPORTER_OTLP_HEADERS. Without a server it is appended to --output, PACEGATE_EXEC_FILE or \
pacegate-traces.jsonl, which `pacegate compare` reads.

The command gets this span as its parent (TRACEPARENT): `pacegate exec` in `pacegate exec` makes a tree. \
The outermost one is the run of the pipeline. The exit code is the command's; 128+n when signal n \
ended it, 127 when it does not exist, 126 when it can't be run.")]
pub(super) struct ExecArgs {
    /// Name of the command in the trace; for the outermost command, of the pipeline
    /// [default: the program's name; for the outermost command, pipeline and job of the CI system]
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_name = "FILE", help = attach_help())]
    attach: Vec<PathBuf>,
    /// Append the spans to this file as OTLP JSON lines; `PACEGATE_EXEC_FILE` can name it too
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Record the command's arguments too; they may hold secrets
    #[arg(long)]
    record_arguments: bool,
    /// How long sending may take once the command has ended
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The help of `--attach` names every format that can be read.
fn attach_help() -> String {
    format!(
        "Report of the command, added as spans below it: {}. A file, a folder or a 'quoted/**/*.xml'; can be \
         repeated",
        pacegate_ingest::reports::formats()
    )
}

/// `pacegate exec`. Returns the command's exit code.
pub(super) async fn exec(args: ExecArgs) -> ExitCode {
    let (clock, rng) = (Clock::system(), Randomness::from_system());
    let mut warnings = Vec::new();
    let above = trace_parent(&mut warnings);
    let destination = Destination::of(args.output.as_deref(), variable, &mut warnings);
    if destination.by_default && above.is_none() {
        warnings.push(format!(
            "no server is configured: the trace is appended to {DEFAULT_FILE} (PACEGATE_URL names a server, \
             --output another file)"
        ));
    }
    for warning in warnings {
        print_diagnostic(&warning);
    }
    let mut ci = CiRun::of(variable, event_file);
    if above.is_none() {
        add_git(&mut ci);
    }
    let own = TraceParent {
        trace_id: above.map_or_else(|| trace_id(&rng), |above| above.trace_id),
        span_id: span_id(&rng),
    };
    let trace_state = variable("TRACESTATE").filter(|text| above.is_some() && is_trace_state(text));
    let environment = environment(own, trace_state.as_deref(), &destination);
    let started_at = clock.now();
    let ended = process::run(&args.command, &environment).await;
    let ended_at = clock.now();
    let code = ended.end.code();
    if let End::NotStarted { reason, .. } = &ended.end {
        print_diagnostic(&format!("{}: {reason}", args.command[0].display()));
    }
    let command = Command {
        parent: above.map(|above| above.span_id),
        own,
        trace_state: trace_state.unwrap_or_default(),
        name: args.name.clone(),
        line: &args.command,
        record_arguments: args.record_arguments,
        baggage: variable("BAGGAGE").map(|text| pipeline_baggage(&text)).unwrap_or_default(),
        ci: &ci,
        started_at,
        ended_at,
        ended: &ended,
    };
    let mut span = command.span(variable);
    if names_no_branch(&span) {
        print_diagnostic(
            "no branch is known, for example because of a detached HEAD: the run is measured, but can't be a \
             baseline; OTEL_RESOURCE_ATTRIBUTES=vcs.ref.head.name=BRANCH names the branch",
        );
    }
    let attached = attachments::read(&args.attach, &span, started_at);
    for warning in &attached.warnings {
        print_diagnostic(warning);
    }
    if attached.failures {
        // The failed parts have errors of their own; "exit code 1" would be a second error.
        span.status = command.status_without_message();
    }
    let mut spans = vec![span];
    spans.extend(attached.spans);
    redact(&mut spans);
    if let End::Killed(signal) = ended.end {
        print_diagnostic(&format!("the command was ended by {}", signal_name(signal)));
    }
    let timeout = if ended.stop_requested { args.timeout.min(STOP_TIMEOUT) } else { args.timeout };
    for problem in destination.record(&spans, timeout).await {
        print_diagnostic(&problem);
    }
    ExitCode::from(code)
}

/// A variable that is set, not empty and valid UTF-8.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn trace_parent(warnings: &mut Vec<String>) -> Option<TraceParent> {
    let text = variable("TRACEPARENT")?;
    let parsed = TraceParent::parse(text.trim());
    if parsed.is_none() {
        warnings.push(
            "TRACEPARENT is not a W3C trace context (00-TRACE-SPAN-FLAGS in lower-case hexadecimal): this \
             command begins a new trace"
                .to_owned(),
        );
    }
    parsed
}

/// Variables that the command gets in addition.
fn environment(
    own: TraceParent,
    trace_state: Option<&str>,
    destination: &Destination,
) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("TRACEPARENT", own.to_text()),
        // Overwritten even if it is invalid: it does not belong to this parent.
        ("TRACESTATE", trace_state.unwrap_or_default().to_owned()),
    ];
    if let Some(file) = destination.file.as_ref().and_then(|file| file.to_str()) {
        environment.push((FILE_VARIABLE, file.to_owned()));
    }
    environment
}

fn trace_id(rng: &Randomness) -> TraceId {
    loop {
        if let Ok(id) = TraceId::from_bytes(&rng.bytes::<16>()) {
            return id;
        }
    }
}

fn span_id(rng: &Randomness) -> SpanId {
    loop {
        if let Ok(id) = SpanId::from_bytes(&rng.bytes::<8>()) {
            return id;
        }
    }
}

fn event_file(path: &str) -> Option<String> {
    let bytes = super::input::bytes_of_regular(path.as_ref(), EVENT_BYTES).ok()?;
    String::from_utf8(bytes).ok()
}

/// Adds commit and branch from git where the CI system did not name them.
fn add_git(ci: &mut CiRun) {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    if ci.revision.is_none() {
        ci.revision = git(&["rev-parse", "--verify", "HEAD"]);
    }
    if ci.branch.is_none() && ci.change.is_none() {
        ci.branch = git(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
    }
}
