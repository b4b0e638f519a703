//! Opens the ports for spans. A configured port has to open. A default port that is in use costs a
//! warning, and the service runs without it.

use std::io;
use std::net::SocketAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::config::{ListenAddress, PortArgs};
use crate::protocols::{PROTOCOLS, Protocol, Transport};
use crate::web::ingest::ports;
use crate::web::ingest::udp::{self, UdpListener};
use crate::web::{AppState, listen};
use pacegate_engine::model::ids::RepoName;

/// The ports of a service, open and not served yet.
#[derive(Debug, Default)]
pub(super) struct OpenPorts {
    tcp: Vec<(&'static Protocol, TcpListener)>,
    udp: Vec<UdpListener>,
    addresses: Addresses,
}

/// The address of each open port, by the protocol's name.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Vec<(&'static str, SocketAddr)>);

impl Addresses {
    /// A port's address, or `off`.
    pub(super) fn named(&self, name: &str) -> String {
        self.0.iter().find(|(of, _)| *of == name).map_or("off".to_owned(), |(_, at)| at.to_string())
    }
}

impl OpenPorts {
    /// Opens the configured ports, and the default ports that are free.
    pub(super) async fn open(args: &PortArgs, default_repo: Option<&RepoName>) -> Result<Self, CliError> {
        raise_file_limit();
        let mut open = Self::default();
        for protocol in PROTOCOLS {
            let configured = args.listen.of(protocol);
            let address = match configured {
                Some(ListenAddress::Off) => None,
                Some(ListenAddress::At(address)) => Some(address.clone()),
                None => protocol.default_address(),
            };
            let Some(address) = address else { continue };
            let opened = match protocol.transport {
                Transport::Http { .. } | Transport::Grpc { .. } => {
                    bind_tcp(&address).await.map(|(at, listener)| {
                        open.tcp.push((protocol, listener));
                        at
                    })
                }
                Transport::Udp(format) => match bind_udp(&address).await {
                    Ok((at, socket)) => {
                        let repository = repository_of(protocol, at, args, default_repo)?;
                        open.udp.push(UdpListener { socket, repository, format, ingress: protocol.name });
                        Ok(at)
                    }
                    Err(error) => Err(error),
                },
            };
            match opened {
                Ok(at) => open.addresses.0.push((protocol.name, at)),
                Err(source) if configured.is_some() => {
                    return Err(CliError::Listen { variable: protocol.variable, address, source });
                }
                Err(error) => tracing::warn!(
                    port = protocol.name,
                    address,
                    %error,
                    "a port for spans is not open; {} takes another address, or `off`",
                    protocol.variable
                ),
            }
        }
        Ok(open)
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Serves every port until `stop`.
    pub(super) fn serve(self, state: &AppState, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        for (protocol, listener) in self.tcp {
            tasks.spawn(listen::serve(listener, ports::router(protocol, state.clone()), stop.clone()));
        }
        for listener in self.udp {
            tasks.spawn(udp::serve(state.clone(), listener, stop.clone()));
        }
    }
}

async fn bind_tcp(address: &str) -> io::Result<(SocketAddr, TcpListener)> {
    let listener = TcpListener::bind(address).await?;
    Ok((listener.local_addr()?, listener))
}

async fn bind_udp(address: &str) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = UdpSocket::bind(address).await?;
    Ok((socket.local_addr()?, socket))
}

/// The repository of a UDP port. Datagrams carry no token, so the configuration has to name it.
fn repository_of(
    protocol: &Protocol,
    at: SocketAddr,
    args: &PortArgs,
    default_repo: Option<&RepoName>,
) -> Result<RepoName, CliError> {
    let is_local = at.ip().to_canonical().is_loopback();
    let remedy = match (&args.jaeger_udp_repo, default_repo) {
        (Some(repository), _) => return Ok(repository.clone()),
        (None, Some(repository)) if is_local => return Ok(repository.clone()),
        (None, Some(_)) => {
            "for an address that other machines reach, name their repository with PACEGATE_JAEGER_UDP_REPO=OWNER/NAME"
        }
        (None, None) => "name their repository with PACEGATE_JAEGER_UDP_REPO=OWNER/NAME",
    };
    Err(CliError::NoRepository { variable: protocol.variable, remedy })
}

/// Raises the limit of open files to the system's maximum. Many systems begin with 1,024.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, maximum)| setrlimit(Resource::RLIMIT_NOFILE, maximum, maximum));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}
