//! Opens the ports that spans come to. One that nobody asked for and that is in use is left
//! alone with a warning; one that was asked for has to open.

use std::net::SocketAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::config::{ListenAddress, PortArgs};
use crate::web::ingest::jaeger_udp::{self, UdpListener};
use crate::web::ingest::ports::Port;
use crate::web::{AppState, listen};
use pacegate_engine::model::ids::RepoName;
use pacegate_ingest::Format;

/// The ports of a service, open and not served yet.
#[derive(Debug, Default)]
pub(super) struct OpenPorts {
    tcp: Vec<(Port, TcpListener)>,
    udp: Vec<UdpListener>,
    addresses: Addresses,
}

/// Where each port is.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Vec<(&'static str, SocketAddr)>);

impl Addresses {
    /// A port's address, or `off`.
    pub(super) fn named(&self, name: &str) -> String {
        self.0.iter().find(|(of, _)| *of == name).map_or("off".to_owned(), |(_, at)| at.to_string())
    }
}

/// A port as it may be configured.
struct Wanted<'a> {
    name: &'static str,
    variable: &'static str,
    chosen: Option<&'a ListenAddress>,
    default: Option<&'static str>,
}

impl<'a> Wanted<'a> {
    fn new(
        name: &'static str,
        variable: &'static str,
        chosen: Option<&'a ListenAddress>,
        default: Option<&'static str>,
    ) -> Self {
        Self { name, variable, chosen, default }
    }

    /// What to listen on, if anywhere.
    fn address(&self) -> Option<&str> {
        match self.chosen {
            Some(ListenAddress::Off) => None,
            Some(ListenAddress::At(address)) => Some(address),
            None => self.default,
        }
    }

    /// An error, or a warning when nobody asked for the port.
    fn failed(&self, source: std::io::Error) -> Result<(), CliError> {
        let address = self.address().unwrap_or_default().to_owned();
        if self.chosen.is_some() {
            return Err(CliError::Listen { variable: self.variable, address, source });
        }
        tracing::warn!(
            port = self.name,
            address,
            error = %source,
            "a port for spans is not open; {} takes another address, or `off`",
            self.variable
        );
        Ok(())
    }
}

impl OpenPorts {
    /// Opens what is configured.
    pub(super) async fn open(args: &PortArgs, default_repo: Option<&RepoName>) -> Result<Self, CliError> {
        raise_handles();
        let mut open = Self::default();
        for (port, wanted) in tcp(args) {
            let Some(address) = wanted.address() else { continue };
            match TcpListener::bind(address).await.and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((at, listener)) => {
                    open.addresses.0.push((wanted.name, at));
                    open.tcp.push((port, listener));
                }
                Err(source) => wanted.failed(source)?,
            }
        }
        for (format, wanted) in udp(args) {
            let Some(address) = wanted.address() else { continue };
            match UdpSocket::bind(address).await.and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((at, socket)) => {
                    let repository = repository_of(&wanted, at, args, default_repo)?;
                    open.addresses.0.push((wanted.name, at));
                    open.udp.push(UdpListener { socket, repository, format, door: wanted.name });
                }
                Err(source) => wanted.failed(source)?,
            }
        }
        Ok(open)
    }

    /// Where they are.
    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Serves them all until `stop`.
    pub(super) fn serve(self, state: &AppState, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        for (port, listener) in self.tcp {
            tasks.spawn(listen::serve(listener, port.router(state.clone()), stop.clone()));
        }
        for door in self.udp {
            tasks.spawn(jaeger_udp::serve(state.clone(), door, stop.clone()));
        }
    }
}

/// Whose the spans of a UDP port are: nothing in them can say it.
fn repository_of(
    wanted: &Wanted<'_>,
    at: SocketAddr,
    args: &PortArgs,
    default_repo: Option<&RepoName>,
) -> Result<RepoName, CliError> {
    let local = at.ip().to_canonical().is_loopback();
    let remedy = match (&args.jaeger_udp_repo, default_repo) {
        (Some(repository), _) => return Ok(repository.clone()),
        (None, Some(repository)) if local => return Ok(repository.clone()),
        (None, Some(_)) => {
            "for an address that other machines reach, say whose they are with PACEGATE_JAEGER_UDP_REPO=OWNER/NAME"
        }
        (None, None) => "say whose they are with PACEGATE_JAEGER_UDP_REPO=OWNER/NAME",
    };
    Err(CliError::NobodyKnown { variable: wanted.variable, remedy })
}

fn tcp(args: &PortArgs) -> [(Port, Wanted<'_>); 5] {
    let wanted = Wanted::new;
    [
        (
            Port::OtlpGrpc,
            wanted(
                "otlp_grpc",
                "PACEGATE_OTLP_GRPC_LISTEN",
                args.otlp_grpc_listen.as_ref(),
                Some("127.0.0.1:4317"),
            ),
        ),
        (
            Port::OtlpHttp,
            wanted(
                "otlp_http",
                "PACEGATE_OTLP_HTTP_LISTEN",
                args.otlp_http_listen.as_ref(),
                Some("127.0.0.1:4318"),
            ),
        ),
        (
            Port::Zipkin,
            wanted("zipkin", "PACEGATE_ZIPKIN_LISTEN", args.zipkin_listen.as_ref(), Some("127.0.0.1:9411")),
        ),
        (
            Port::JaegerHttp,
            wanted(
                "jaeger_http",
                "PACEGATE_JAEGER_HTTP_LISTEN",
                args.jaeger_http_listen.as_ref(),
                Some("127.0.0.1:14268"),
            ),
        ),
        (
            Port::JaegerGrpc,
            wanted(
                "jaeger_grpc",
                "PACEGATE_JAEGER_GRPC_LISTEN",
                args.jaeger_grpc_listen.as_ref(),
                Some("127.0.0.1:14250"),
            ),
        ),
    ]
}

fn udp(args: &PortArgs) -> [(Format, Wanted<'_>); 2] {
    let (compact, binary) = (args.jaeger_udp_compact_listen.as_ref(), args.jaeger_udp_binary_listen.as_ref());
    [
        (
            Format::JaegerUdpCompact,
            Wanted::new("jaeger_udp_compact", "PACEGATE_JAEGER_UDP_COMPACT_LISTEN", compact, None),
        ),
        (
            Format::JaegerUdpBinary,
            Wanted::new("jaeger_udp_binary", "PACEGATE_JAEGER_UDP_BINARY_LISTEN", binary, None),
        ),
    ]
}

/// As many files and connections as the system lets us have: many systems begin with 1,024.
fn raise_handles() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
