//! One way to serve a TCP port: HTTP/1 and HTTP/2 in clear, bounds on connections, headers and
//! silence, and a stop that lets requests in flight be answered. Knows nothing of what is served.
//! When a port is full, the connection that has had nothing to do for longest makes room: idle
//! connections, however many, keep nobody out.

mod connections;
mod idle_timeout;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::connections::{Connection, Connections};
use self::idle_timeout::IdleTimeoutStream;

/// Connections of one port.
const CONNECTIONS: usize = 1024;
/// How long the head of an HTTP/1 request may take, and how long a connection waits for its next.
const HEAD: Duration = Duration::from_mins(1);
/// Bytes of an HTTP/1 head, and what is read ahead of a body.
const HEAD_BYTES: usize = 64 << 10;
/// Bytes of the headers of an HTTP/2 request.
const HEADERS_BYTES: u32 = 16 << 10;
/// Requests at once on an HTTP/2 connection.
const STREAMS: u32 = 100;
/// What HTTP/2 keeps of a body that is not read yet.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;
/// How often a quiet HTTP/2 connection is asked whether somebody is there, and how long it may
/// take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(45), Duration::from_secs(20));
/// How long to wait when the system gives no more connections: of file handles, usually.
const OUT_OF_HANDLES: Duration = Duration::from_millis(100);

/// Serves until `stop`, then waits for the requests in flight. Whoever drops the future cuts
/// them off.
pub async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let connections = Connections::new(CONNECTIONS);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Without room and with nobody idle, the newcomer is who comes again.
                    if let Some(connection) = connections.enter() {
                        tasks.spawn(attend(stream, peer, app.clone(), connection, stop.clone()));
                    }
                }
                // Of a connection that is gone already; or the system has no handle left.
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_HANDLES).await;
                }
            },
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// One connection, from its first byte to its end.
async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    connection: Connection,
    stop: CancellationToken,
) {
    // Answers are small and wait for nothing.
    let _unsupported = stream.set_nodelay(true);
    let connection = Arc::new(connection);
    let evicted = connection.evicted();
    let service = tower::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        let busy = connection.busy();
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = app.clone().oneshot(request.map(Body::new));
        async move {
            let _busy = busy;
            answer.await as Result<_, Infallible>
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS_BYTES)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let stream = TokioIo::new(IdleTimeoutStream::new(stream));
    let serving = builder.serve_connection(stream, TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "a connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            () = evicted.cancelled() => return,
        }
    }
}
