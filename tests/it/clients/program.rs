//! The programs of `tests/clients`: how each is run, its protocol, and the stage that a slowed run
//! has to be attributed to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The protocol and port that a program sends to, which determine its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    OtlpGrpc,
    /// The port for OTLP over HTTP only.
    OtlpHttp,
    /// The main port, which accepts OTLP over HTTP too.
    OtlpMain,
    ZipkinV1,
    ZipkinV2,
    JaegerHttp,
    JaegerUdpCompact,
    JaegerUdpBinary,
    JaegerGrpc,
}

/// Addresses (`HOST:PORT`) by protocol.
pub(super) type Ports = BTreeMap<Protocol, String>;

impl Protocol {
    /// The variables to set for this address. A run against Jaeger needs no other changes.
    pub(super) fn environment(self, address: &str, token: &str) -> Vec<(&'static str, String)> {
        let otlp = || {
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
                ("OTEL_EXPORTER_OTLP_HEADERS", format!("Authorization=Bearer%20{token}")),
            ]
        };
        let zipkin = |path| vec![("OTEL_EXPORTER_ZIPKIN_ENDPOINT", format!("http://{address}{path}"))];
        let agent = || {
            let (host, port) = address.split_once(':').expect("HOST:PORT");
            vec![
                ("OTEL_EXPORTER_JAEGER_AGENT_HOST", host.to_owned()),
                ("OTEL_EXPORTER_JAEGER_AGENT_PORT", port.to_owned()),
            ]
        };
        match self {
            Self::OtlpGrpc | Self::OtlpHttp | Self::OtlpMain => otlp(),
            Self::ZipkinV1 => zipkin("/api/v1/spans"),
            Self::ZipkinV2 => zipkin("/api/v2/spans"),
            Self::JaegerHttp => {
                vec![("OTEL_EXPORTER_JAEGER_ENDPOINT", format!("http://{address}/api/traces"))]
            }
            Self::JaegerUdpCompact | Self::JaegerUdpBinary => agent(),
            Self::JaegerGrpc => vec![
                ("OTEL_EXPORTER_JAEGER_ENDPOINT", address.to_owned()),
                ("OTEL_EXPORTER_JAEGER_GRPC_INSECURE", "true".to_owned()),
            ],
        }
    }
}

/// The interpreter of a program, and the folder with its dependencies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runtime {
    /// The SDK's version.
    Java(&'static str),
    Go,
    /// The virtual environment.
    Python(&'static str),
    Node,
}

/// A program with its exporter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// Also the name of its pipeline.
    pub name: &'static str,
    pub runtime: Runtime,
    pub arguments: &'static [&'static str],
    pub protocol: Protocol,
    /// The plan of `plan.py` that it works through.
    pub plan: &'static str,
    /// Whether a Collector is between it and the service.
    pub through_collector: bool,
}

impl Program {
    /// The command line. All files are below the repository, where `tests/clients/setup.sh`
    /// installed them.
    pub(super) fn command(&self) -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (built, sources) = (root.join("target/clients"), root.join("tests/clients"));
        let mut command = match self.runtime {
            Runtime::Java(version) => {
                let made = built.join("java").join(version);
                let path = format!("{0}/classes:{0}/dependency/*", made.display());
                vec!["java".into(), "-cp".into(), path.into(), "PipelineEngine".into()]
            }
            Runtime::Go => vec![built.join("go-clients")],
            Runtime::Python(environment) => {
                vec![built.join("python").join(environment).join("bin/python"), "-B".into()]
            }
            Runtime::Node => vec!["node".into()],
        };
        let mut arguments = self.arguments.iter();
        if let Some(folder) = match self.runtime {
            Runtime::Python(_) => Some("python"),
            Runtime::Node => Some("node"),
            Runtime::Java(_) | Runtime::Go => None,
        } {
            command.push(sources.join(folder).join(arguments.next().expect("a script")));
        }
        command.extend(arguments.map(PathBuf::from));
        command
    }

    /// The operation that is slowed.
    pub(super) fn slowed(&self) -> &'static str {
        match self.plan {
            "queue" => "process-message",
            "artifacts" => "store-artifact",
            "operations" => "run-tests",
            _ => "test-integration",
        }
    }

    /// The path of the slowed operation in the tree, below the pipeline.
    pub(super) fn blamed(&self) -> &'static [&'static str] {
        match self.plan {
            "queue" => &[
                "publish",
                "send-message-build-queue",
                "receive-message-build-queue",
                "process-message-build-queue",
            ],
            "artifacts" => &["artifacts", "upload-artifact", "store-artifact"],
            "operations" => &["test", "run-tests"],
            _ => &["test", "test-integration"],
        }
    }
}
