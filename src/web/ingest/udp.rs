//! Spans over UDP, for the repository that the configuration names: a datagram has no header for a
//! token. There is no answer either. Datagrams that do not fit the bounded queue are dropped and
//! counted.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{admit, receive, refused};
use crate::metrics::Metrics;
use crate::web::AppState;
use crate::web::access::configured_sender;
use crate::web::error::WebError;
use pacegate_engine::model::ids::RepoName;
use pacegate_ingest::Format;

/// The largest UDP datagram is smaller.
const DATAGRAM_BYTES: usize = 64 << 10;
const QUEUE_DATAGRAMS: usize = 4096;
const QUEUE_BYTES: usize = 16 << 20;
/// Datagrams stored at the same time.
const CONCURRENT: usize = 4;

/// A datagram and its share of `QUEUE_BYTES`.
type Waiting = (Bytes, OwnedSemaphorePermit);

/// A bound socket.
#[derive(Debug)]
pub(crate) struct UdpListener {
    pub socket: UdpSocket,
    /// Owner of the spans that arrive here.
    pub repository: RepoName,
    pub format: Format,
    /// Label in the metrics.
    pub ingress: &'static str,
}

/// Receives datagrams until `stop`, then stores the ones that still wait.
pub(crate) async fn serve(state: AppState, listener: UdpListener, stop: CancellationToken) {
    let UdpListener { socket, repository, format, ingress } = listener;
    let (sender, receiver) = mpsc::channel::<Waiting>(QUEUE_DATAGRAMS);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let mut workers = JoinSet::new();
    for _ in 0..CONCURRENT {
        let (state, receiver, repository) = (state.clone(), receiver.clone(), repository.clone());
        workers.spawn(async move {
            loop {
                let next = receiver.lock().await.recv().await;
                let Some((datagram, _permit)) = next else { return };
                let stored = store(&state, &repository, format, ingress, datagram).await;
                if let Err(error) = stored.map_err(refused(&state, ingress)) {
                    tracing::debug!(%error, ingress, "a datagram was not stored");
                }
            }
        });
    }
    let bytes = Arc::new(Semaphore::new(QUEUE_BYTES));
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        let Some(datagram) = datagram(received, &buffer) else { continue };
        let size = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let queued = match bytes.clone().try_acquire_many_owned(size) {
            Ok(permit) => sender.try_send((Bytes::copy_from_slice(datagram), permit)).is_ok(),
            Err(_) => false,
        };
        if !queued {
            Metrics::count(&state.context.metrics.refused_requests, ingress, "dropped");
        }
    }
    drop(sender);
    while workers.join_next().await.is_some() {}
}

/// The datagram, unless it is empty. An error belongs to an earlier send of this socket, which
/// sends nothing.
fn datagram<A>(received: io::Result<(usize, A)>, buffer: &[u8]) -> Option<&[u8]> {
    let (length, _from) = received.ok()?;
    buffer.get(..length).filter(|bytes| !bytes.is_empty())
}

async fn store(
    state: &AppState,
    repository: &RepoName,
    format: Format,
    ingress: &'static str,
    datagram: Bytes,
) -> Result<(), WebError> {
    let sender = configured_sender(state, repository).await?;
    let reservation = admit(state, &sender)?;
    receive(state, &sender, reservation, ingress, format, datagram).await?;
    Ok(())
}
