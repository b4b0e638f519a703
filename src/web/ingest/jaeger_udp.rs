//! What a Jaeger agent takes over UDP, for the repository that the configuration names: a datagram
//! has no header that could say whose it is. There is no answer either, so what does not fit the
//! queue is dropped and counted, and the queue never grows.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{receive, refused, room_for};
use crate::metrics::Metrics;
use crate::web::AppState;
use crate::web::access::configured_sender;
use crate::web::error::WebError;
use pacegate_engine::model::ids::RepoName;
use pacegate_ingest::Format;

/// No datagram is larger.
const DATAGRAM: usize = 64 << 10;
/// Datagrams that wait, and their bytes.
const QUEUE: (usize, usize) = (4096, 16 << 20);
/// Datagrams that are stored at once.
const AT_ONCE: usize = 4;

/// A datagram and its bytes of the queue.
type Waiting = (Bytes, OwnedSemaphorePermit);

/// A socket and what it is for.
#[derive(Debug)]
pub struct UdpListener {
    /// Bound already.
    pub socket: UdpSocket,
    /// Whose spans come here.
    pub repository: RepoName,
    /// What a datagram is.
    pub format: Format,
    /// How the counters call it.
    pub door: &'static str,
}

/// Takes datagrams until `stop`; those that wait then are stored.
pub async fn serve(state: AppState, door: UdpListener, stop: CancellationToken) {
    let (sender, receiver) = mpsc::channel::<Waiting>(QUEUE.0);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (state, receiver, repository) = (state.clone(), receiver.clone(), door.repository.clone());
        let (format, door) = (door.format, door.door);
        workers.spawn(async move {
            loop {
                let next = receiver.lock().await.recv().await;
                let Some((datagram, _place)) = next else { return };
                if let Err(error) =
                    take(&state, &repository, format, door, datagram).await.map_err(refused(&state, door))
                {
                    tracing::debug!(%error, door, "a datagram was not stored");
                }
            }
        });
    }
    let bytes = Arc::new(Semaphore::new(QUEUE.1));
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = door.socket.recv_from(&mut buffer) => received,
        };
        let Some(datagram) = datagram(received, &buffer) else { continue };
        let size = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let queued = match bytes.clone().try_acquire_many_owned(size) {
            Ok(place) => sender.try_send((Bytes::copy_from_slice(datagram), place)).is_ok(),
            Err(_) => false,
        };
        if !queued {
            Metrics::count(&state.work.metrics.refused_requests, door.door, "dropped");
        }
    }
    drop(sender);
    while workers.join_next().await.is_some() {}
}

/// What came; an error is of an earlier answer that nobody sent.
fn datagram<A>(received: io::Result<(usize, A)>, buffer: &[u8]) -> Option<&[u8]> {
    let (length, _from) = received.ok()?;
    buffer.get(..length).filter(|bytes| !bytes.is_empty())
}

async fn take(
    state: &AppState,
    repository: &RepoName,
    format: Format,
    door: &'static str,
    datagram: Bytes,
) -> Result<(), WebError> {
    let sender = configured_sender(state, repository).await?;
    let room = room_for(state, &sender)?;
    receive(state, &sender, room, door, format, datagram).await?;
    Ok(())
}
