//! The protocols that bring spans, one row each. The flags, the variables, the listeners and the
//! routes are made from these rows; a test compares the documents and the Dockerfile with them. Decodes
//! nothing and opens no port.

use pacegate_ingest::Format;

/// One protocol and its port.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// Label in the metrics and field in the log.
    pub name: &'static str,
    pub flag: &'static str,
    pub variable: &'static str,
    /// Used in help texts: "Address for TITLE".
    pub title: &'static str,
    /// The port that senders of this protocol use by default.
    pub port: u16,
    pub transport: Transport,
}

/// How requests arrive.
#[derive(Debug)]
pub(crate) enum Transport {
    Http {
        routes: &'static [Route],
        answer: Answer,
        /// The answer to any other path, after "there is nothing here: ".
        purpose: &'static str,
    },
    Grpc {
        path: &'static str,
        format: Format,
        answer: Answer,
        /// As for HTTP.
        purpose: &'static str,
    },
    /// Closed unless it is configured: a datagram can't carry a token.
    Udp(Format),
}

/// A path that takes `POST`.
#[derive(Debug)]
pub(crate) struct Route {
    pub path: &'static str,
    /// The format for each content type. The empty text stands for a request without a type.
    pub formats: &'static [(&'static str, Format)],
    /// The answer to another content type, after "the content type has to be ".
    pub accepted_types: &'static str,
}

/// The answer to a request whose spans were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// OTLP's `ExportTraceServiceResponse`, which can report rejected spans.
    Otlp,
    /// 202 with an empty body over HTTP, an empty message over gRPC.
    Empty,
}

impl Protocol {
    /// `HOST:PORT` that is opened without configuration.
    pub(crate) fn default_address(&self) -> Option<String> {
        match self.transport {
            Transport::Http { .. } | Transport::Grpc { .. } => Some(format!("127.0.0.1:{}", self.port)),
            Transport::Udp(_) => None,
        }
    }
}

/// The main port serves the routes of this protocol too.
pub(crate) static OTLP_HTTP: &Protocol = &PROTOCOLS[1];

/// Every protocol, in the order of `--help` and of the documents.
pub(crate) static PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "otlp_grpc",
        flag: "otlp-grpc-listen",
        variable: "PACEGATE_OTLP_GRPC_LISTEN",
        title: "OTLP over gRPC",
        port: 4317,
        transport: Transport::Grpc {
            path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            format: Format::OtlpProtobuf,
            answer: Answer::Otlp,
            purpose: "this port takes OTLP traces over gRPC (TraceService/Export)",
        },
    },
    Protocol {
        name: "otlp_http",
        flag: "otlp-http-listen",
        variable: "PACEGATE_OTLP_HTTP_LISTEN",
        title: "OTLP over HTTP, which the main port accepts too",
        port: 4318,
        transport: Transport::Http {
            routes: &[Route {
                path: "/v1/traces",
                formats: &[
                    ("application/x-protobuf", Format::OtlpProtobuf),
                    ("application/json", Format::OtlpJson),
                ],
                accepted_types: "application/x-protobuf or application/json",
            }],
            answer: Answer::Otlp,
            purpose: "this port takes OTLP traces over HTTP, at POST /v1/traces",
        },
    },
    Protocol {
        name: "zipkin",
        flag: "zipkin-listen",
        variable: "PACEGATE_ZIPKIN_LISTEN",
        title: "Zipkin, versions 1 and 2",
        port: 9411,
        transport: Transport::Http {
            // Old senders name no type and send JSON.
            routes: &[
                Route {
                    path: "/api/v2/spans",
                    formats: &[
                        ("application/json", Format::ZipkinV2Json),
                        ("", Format::ZipkinV2Json),
                        ("application/x-protobuf", Format::ZipkinV2Protobuf),
                    ],
                    accepted_types: "application/json or application/x-protobuf",
                },
                Route {
                    path: "/api/v1/spans",
                    formats: &[("application/json", Format::ZipkinV1Json), ("", Format::ZipkinV1Json)],
                    accepted_types: "application/json: the thrift form of Zipkin's version 1 is not supported; send \
                                     version 2 to /api/v2/spans",
                },
            ],
            answer: Answer::Empty,
            purpose: "this port takes Zipkin spans, at POST /api/v2/spans or /api/v1/spans",
        },
    },
    Protocol {
        name: "jaeger_http",
        flag: "jaeger-http-listen",
        variable: "PACEGATE_JAEGER_HTTP_LISTEN",
        title: "Jaeger's thrift over HTTP",
        port: 14268,
        transport: Transport::Http {
            routes: &[Route {
                path: "/api/traces",
                formats: &[
                    ("application/x-thrift", Format::JaegerThriftBatch),
                    ("application/vnd.apache.thrift.binary", Format::JaegerThriftBatch),
                ],
                accepted_types: "application/x-thrift or application/vnd.apache.thrift.binary",
            }],
            answer: Answer::Empty,
            purpose: "this port takes Jaeger thrift over HTTP, at POST /api/traces",
        },
    },
    Protocol {
        name: "jaeger_grpc",
        flag: "jaeger-grpc-listen",
        variable: "PACEGATE_JAEGER_GRPC_LISTEN",
        title: "Jaeger's gRPC",
        port: 14250,
        transport: Transport::Grpc {
            path: "/jaeger.api_v2.CollectorService/PostSpans",
            format: Format::JaegerProtobuf,
            answer: Answer::Empty,
            purpose: "this port takes Jaeger spans over gRPC (CollectorService/PostSpans)",
        },
    },
    Protocol {
        name: "jaeger_udp_compact",
        flag: "jaeger-udp-compact-listen",
        variable: "PACEGATE_JAEGER_UDP_COMPACT_LISTEN",
        title: "Jaeger's compact thrift over UDP",
        port: 6831,
        transport: Transport::Udp(Format::JaegerUdpCompact),
    },
    Protocol {
        name: "jaeger_udp_binary",
        flag: "jaeger-udp-binary-listen",
        variable: "PACEGATE_JAEGER_UDP_BINARY_LISTEN",
        title: "Jaeger's binary thrift over UDP",
        port: 6832,
        transport: Transport::Udp(Format::JaegerUdpBinary),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN_VARIABLE: &str = "PACEGATE_LISTEN";
    const MAIN_PORT: u16 = 8080;

    /// The lines of a document that are rows of a table and name a listen address.
    fn rows(document: &'static str) -> Vec<&'static str> {
        document.lines().filter(|line| line.starts_with('|') && line.contains("LISTEN`")).collect()
    }

    #[test]
    fn flags_and_variables_follow_from_names() {
        assert_eq!(OTLP_HTTP.name, "otlp_http");
        for protocol in PROTOCOLS {
            assert_eq!(protocol.flag, format!("{}-listen", protocol.name.replace('_', "-")));
            assert_eq!(protocol.variable, format!("PACEGATE_{}_LISTEN", protocol.name.to_uppercase()));
        }
    }

    #[test]
    fn configuration_document_lists_every_protocol() {
        let listed = rows(include_str!("../docs/configuration.md"));
        let expected: Vec<String> = PROTOCOLS
            .iter()
            .map(|protocol| {
                let Protocol { flag, variable, title, port, .. } = protocol;
                let (default, usually) = match protocol.default_address() {
                    Some(address) => (address, String::new()),
                    None => ("off".to_owned(), format!(", usually `127.0.0.1:{port}`")),
                };
                format!("| `--{flag}` | `{variable}` | `{default}` | {title}{usually} |")
            })
            .collect();
        let listed: Vec<&str> =
            listed.into_iter().filter(|row| !row.contains(&format!("`{MAIN_VARIABLE}`"))).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn protocols_document_lists_ports_and_paths() {
        let listed = rows(include_str!("../docs/protocols.md"));
        assert_eq!(listed.len(), PROTOCOLS.len() + 1, "one row each, and the main port's");
        for Protocol { variable, port, transport, .. } in PROTOCOLS {
            let row = listed.iter().find(|row| row.contains(&format!("`{variable}`")));
            let row = row.unwrap_or_else(|| panic!("{variable} has no row"));
            assert!(row.contains(&format!("`127.0.0.1:{port}`")), "{row}");
            let paths = match transport {
                Transport::Http { routes, .. } => routes.iter().map(|route| route.path).collect(),
                Transport::Grpc { path, .. } => vec![path.rsplit('.').next().unwrap_or_default()],
                Transport::Udp(_) => Vec::new(),
            };
            for path in paths {
                assert!(row.contains(path) || row.ends_with("| the same |"), "{path}: {row}");
            }
        }
    }

    #[test]
    fn dockerfile_opens_every_tcp_port() {
        let text = include_str!("../Dockerfile").replace("\\\n", " ");
        let instruction = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let open: Vec<(&str, u16)> = PROTOCOLS
            .iter()
            .filter(|protocol| protocol.default_address().is_some())
            .map(|protocol| (protocol.variable, protocol.port))
            .collect();
        let all = [vec![(MAIN_VARIABLE, MAIN_PORT)], open].concat();
        let variables: Vec<String> =
            all.iter().map(|(variable, port)| format!("{variable}=0.0.0.0:{port}")).collect();
        let ports: Vec<String> = all.iter().map(|(_, port)| port.to_string()).collect();
        assert_eq!(instruction("ENV "), variables);
        assert_eq!(instruction("EXPOSE "), ports);
    }
}
