//! The programs that have to get their verdict. Every statement of docs/senders.md about a sender
//! is shown by a line here.

use super::program::Protocol::{
    JaegerGrpc, JaegerHttp, JaegerUdpBinary, JaegerUdpCompact, OtlpGrpc, OtlpHttp, OtlpMain, ZipkinV1,
    ZipkinV2,
};
use super::program::Runtime::{Go, Java, Node, Python};
use super::program::{Program, Protocol, Runtime};

const fn program(
    name: &'static str,
    runtime: Runtime,
    arguments: &'static [&'static str],
    protocol: Protocol,
) -> Program {
    Program { name, runtime, arguments, protocol, plan: "pipeline", through_collector: false }
}

const fn of_plan(plan: &'static str, program: Program) -> Program {
    Program { plan, ..program }
}

const fn collected(program: Program) -> Program {
    Program { through_collector: true, ..program }
}

pub(super) const PROGRAMS: &[Program] = &[
    program("java-otlp-http", Java("1.67.0"), &["otlp-http"], OtlpMain),
    program("java-1.31-otlp-http", Java("1.31.0"), &["otlp-http"], OtlpMain),
    program("go-otlp-http", Go, &["otlp-http"], OtlpMain),
    program("python-otlp-http", Python("otlp"), &["pipeline.py", "otlp-http"], OtlpMain),
    program("python-otlp-json", Python("otlp"), &["pipeline.py", "otlp-json"], OtlpMain),
    program("node-otlp-http", Node, &["pipeline.mjs", "otlp-http"], OtlpMain),
    program("node-otlp-json", Node, &["pipeline.mjs", "otlp-json"], OtlpMain),
    program("python-otlp-as-written", Python("otlp"), &["pipeline.py", "otlp-http", "as-written"], OtlpMain),
    of_plan("queue", program("python-queue", Python("otlp"), &["queue_messages.py", "otlp-http"], OtlpMain)),
    of_plan(
        "operations",
        program("python-operations", Python("otlp"), &["operations.py", "otlp-json"], OtlpMain),
    ),
    of_plan("artifacts", program("node-artifacts", Node, &["artifacts.mjs", "otlp-http"], OtlpMain)),
    program("java-otlp-grpc", Java("1.67.0"), &["otlp-grpc"], OtlpGrpc),
    program("java-1.31-otlp-grpc", Java("1.31.0"), &["otlp-grpc"], OtlpGrpc),
    program("go-otlp-grpc", Go, &["otlp-grpc"], OtlpGrpc),
    program("go-otlp-http-own-port", Go, &["otlp-http"], OtlpHttp),
    program("go-zipkin", Go, &["zipkin"], ZipkinV2),
    program("go-jaeger-http", Go, &["jaeger-http", "as-written"], JaegerHttp),
    program("go-jaeger-udp", Go, &["jaeger-udp", "as-written"], JaegerUdpCompact),
    program("python-otlp-grpc", Python("otlp"), &["pipeline.py", "otlp-grpc"], OtlpGrpc),
    program("python-zipkin-v1", Python("zipkin"), &["pipeline.py", "zipkin-v1"], ZipkinV1),
    program("python-zipkin-v2", Python("zipkin"), &["pipeline.py", "zipkin-v2"], ZipkinV2),
    program("python-zipkin-proto", Python("zipkin"), &["pipeline.py", "zipkin-proto"], ZipkinV2),
    program(
        "python-jaeger-http",
        Python("jaeger-thrift"),
        &["pipeline.py", "jaeger-thrift", "as-written"],
        JaegerHttp,
    ),
    program(
        "python-jaeger-udp",
        Python("jaeger-thrift"),
        &["pipeline.py", "jaeger-thrift", "as-written"],
        JaegerUdpCompact,
    ),
    program("python-jaeger-grpc", Python("jaeger-grpc"), &["pipeline.py", "jaeger-grpc"], JaegerGrpc),
    program("node-otlp-grpc", Node, &["pipeline.mjs", "otlp-grpc"], OtlpGrpc),
    program("node-zipkin", Node, &["pipeline.mjs", "zipkin"], ZipkinV2),
    program("node-jaeger-http", Node, &["pipeline.mjs", "jaeger"], JaegerHttp),
    program("node-jaeger-udp", Node, &["pipeline.mjs", "jaeger"], JaegerUdpBinary),
    collected(program("collector-otlp-grpc", Go, &["otlp-grpc"], OtlpGrpc)),
    collected(program("collector-jaeger", Go, &["jaeger-udp"], JaegerUdpCompact)),
    collected(program("collector-zipkin", Node, &["pipeline.mjs", "zipkin"], ZipkinV2)),
];
