//! Every program that has to get its verdict.

use super::program::Protocol::OtlpMain;
use super::program::Runtime::{Go, Java, Node, Python};
use super::program::{Program, Protocol, Runtime};

const fn program(
    name: &'static str,
    runtime: Runtime,
    arguments: &'static [&'static str],
    protocol: Protocol,
) -> Program {
    Program { name, runtime, arguments, protocol, plan: "pipeline" }
}

const fn of_plan(plan: &'static str, program: Program) -> Program {
    Program { plan, ..program }
}

/// All of them.
pub const PROGRAMS: &[Program] = &[
    program("java-otlp-http", Java("1.67.0"), &["otlp-http"], OtlpMain),
    program("java-1.31-otlp-http", Java("1.31.0"), &["otlp-http"], OtlpMain),
    program("go-otlp-http", Go, &["otlp-http"], OtlpMain),
    program("python-otlp-http", Python("otlp"), &["pipeline.py", "otlp-http"], OtlpMain),
    program("python-otlp-json", Python("otlp"), &["pipeline.py", "otlp-json"], OtlpMain),
    program("node-otlp-http", Node, &["pipeline.mjs", "otlp-http"], OtlpMain),
    program("node-otlp-json", Node, &["pipeline.mjs", "otlp-json"], OtlpMain),
    of_plan("queue", program("python-queue", Python("otlp"), &["queue_messages.py", "otlp-http"], OtlpMain)),
    of_plan(
        "operations",
        program("python-operations", Python("otlp"), &["operations.py", "otlp-json"], OtlpMain),
    ),
    of_plan("artifacts", program("node-artifacts", Node, &["artifacts.mjs", "otlp-http"], OtlpMain)),
];
