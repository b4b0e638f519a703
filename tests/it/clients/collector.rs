//! A real Collector between programs and the service, with `tests/clients/collector/config.yaml`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::DEADLINE;
use super::program::{Ports, Protocol};

/// The protocols it receives, with the variables that its configuration reads the addresses from.
const RECEIVERS: [(Protocol, &str); 5] = [
    (Protocol::OtlpGrpc, "COLLECTOR_OTLP_GRPC"),
    (Protocol::OtlpHttp, "COLLECTOR_OTLP_HTTP"),
    (Protocol::ZipkinV2, "COLLECTOR_ZIPKIN"),
    (Protocol::JaegerHttp, "COLLECTOR_JAEGER_HTTP"),
    (Protocol::JaegerUdpCompact, "COLLECTOR_JAEGER_UDP_COMPACT"),
];

/// The protocols it sends.
const EXPORTERS: [(Protocol, &str); 3] = [
    (Protocol::OtlpGrpc, "PACEGATE_OTLP_GRPC"),
    (Protocol::OtlpHttp, "PACEGATE_OTLP_HTTP"),
    (Protocol::ZipkinV2, "PACEGATE_ZIPKIN"),
];

/// A running Collector.
pub(super) struct Collector {
    child: Child,
    pub ports: Ports,
}

impl Collector {
    /// Starts a Collector that sends to `service`, and returns once it accepts spans.
    pub(super) async fn start(service: &Ports, token: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ports = free_ports();
        let mut child = Command::new(root.join("target/clients/otelcol"))
            .arg("--config")
            .arg(root.join("tests/clients/collector/config.yaml"))
            .envs(RECEIVERS.map(|(protocol, variable)| (variable, &ports[&protocol])))
            .envs(EXPORTERS.map(|(protocol, variable)| (variable, &service[&protocol])))
            .env("PACEGATE_TOKEN", token)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`make setup-tests` builds target/clients/otelcol");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let collector = Self { child, ports };
        let (ready, becomes_ready) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut ready = Some(ready);
            // Read to its end, so that the Collector never blocks on a full pipe.
            for line in log.lines().map_while(Result::ok) {
                if line.contains("Everything is ready") {
                    // Fails only if the test has ended.
                    let _ = ready.take().map(|ready| ready.send(()));
                }
            }
        });
        let becomes_ready = tokio::time::timeout(DEADLINE, becomes_ready).await;
        becomes_ready.expect("the Collector is ready in time").expect("the Collector did not end before");
        collector
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Free addresses. All stay bound until each is known, so that they differ.
fn free_ports() -> Ports {
    let held: Vec<_> = RECEIVERS
        .iter()
        .map(|(protocol, _)| {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = tcp.local_addr().expect("an address");
            (*protocol, address.to_string(), tcp)
        })
        .collect();
    held.into_iter().map(|(protocol, address, _)| (protocol, address)).collect()
}
