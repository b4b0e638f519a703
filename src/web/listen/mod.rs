//! Serves a TCP port: HTTP/1 and HTTP/2 without TLS, with limits on connections, headers and idle
//! time. A stop answers the requests in flight first. When a port is full, the connection that was
//! idle for longest is closed, so idle connections keep no sender out. Knows no route.

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
/// How long the head of an HTTP/1 request may take. Also how long a connection waits for its next
/// request.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes of an HTTP/1 head, and of the read-ahead of a body.
const HEAD_BYTES: usize = 64 << 10;
/// Bytes of the headers of an HTTP/2 request.
const HEADERS_BYTES: u32 = 16 << 10;
/// Concurrent requests on an HTTP/2 connection.
const STREAMS: u32 = 100;
/// Unread bytes of a body that HTTP/2 buffers.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;
/// An idle HTTP/2 connection gets a ping this often.
const PING_INTERVAL: Duration = Duration::from_secs(45);
/// A connection is closed when its answer to a ping takes longer.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a failed accept, which usually means that no file handle is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then waits for the requests in flight. Dropping the future cuts them off.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let connections = Connections::new(CONNECTIONS);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // If every connection is busy, the new one is closed; its client tries again.
                    if let Some(connection) = connections.enter() {
                        tasks.spawn(serve_connection(stream, peer, app.clone(), connection, stop.clone()));
                    }
                }
                // The connection is closed already, or no file handle is left.
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// One connection, from its first byte to its end.
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    connection: Connection,
    stop: CancellationToken,
) {
    // Answers are small and are sent at once.
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
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS_BYTES)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
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
