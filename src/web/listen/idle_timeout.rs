//! Closes a connection that sends nothing at its beginning, or on which no byte moves for long.
//! HTTP's own timeouts begin only when its version is known.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long the bytes that decide between HTTP/1 and HTTP/2 may take.
const FIRST: Duration = Duration::from_secs(10);
/// A connection is closed after one to two of these periods without a byte. Longer than any answer
/// takes.
const IDLE: Duration = Duration::from_mins(2);
/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails with `TimedOut` when it is idle.
pub(super) struct IdleTimeoutStream<S> {
    stream: S,
    timer: Pin<Box<Sleep>>,
    /// How many bytes of the HTTP/2 preface were read so far. None when the version is known.
    beginning: Option<usize>,
    moved: bool,
    idle: Duration,
}

impl<S> IdleTimeoutStream<S> {
    pub(super) fn new(stream: S) -> Self {
        Self::with(stream, FIRST, IDLE)
    }

    fn with(stream: S, first: Duration, idle: Duration) -> Self {
        Self { stream, timer: Box::pin(sleep(first)), beginning: Some(0), moved: false, idle }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.moved = true;
        if let Some(seen) = self.beginning {
            let rest = &PREFACE[seen..];
            let same = bytes.len().min(rest.len());
            self.beginning = (bytes[..same] == rest[..same] && same < rest.len()).then_some(seen + same);
        }
    }

    /// An error when nothing moved for too long.
    fn watch(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.timer.as_mut().poll(context).is_ready() {
            let moved = std::mem::take(&mut self.moved);
            // A few bytes of the preface are not enough: the version has to be known by now.
            if self.beginning.is_some() || !moved {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no byte moved for too long"));
            }
            self.timer = Box::pin(sleep(self.idle));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, into) {
            self.read(&into.filled()[before..]);
            return Poll::Ready(read);
        }
        self.watch(context)?;
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.moved = true;
            return Poll::Ready(written);
        }
        self.watch(context)?;
        Poll::Pending
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write_vectored(context, parts) {
            self.moved = true;
            return Poll::Ready(written);
        }
        self.watch(context)?;
        Poll::Pending
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn silent_connections_time_out() {
        let (soon, never) = (Duration::from_millis(1), Duration::from_hours(1));
        for (begins, first, idle) in [
            (&b""[..], soon, never),
            (b"PRI * HTTP/2", soon, never),
            (b"GET", soon, soon),
            (PREFACE, soon, soon),
        ] {
            let (mut client, server) = duplex(64);
            client.write_all(begins).await.expect("room");
            let mut server = IdleTimeoutStream::with(server, first, idle);
            let mut read = vec![0; begins.len()];
            server.read_exact(&mut read).await.expect("what was written");
            let gone = server.read_u8().await.expect_err("nothing more comes");
            assert_eq!(gone.kind(), io::ErrorKind::TimedOut, "{begins:?}");
        }
    }

    #[tokio::test]
    async fn version_is_known_at_first_differing_byte() {
        for (parts, known) in [
            (&[&b"G"[..]][..], true),
            (&[b"P", b"OST"], true),
            (&[b"PRI * ", b"HTTP/2.0"], false),
            (&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n"], true),
        ] {
            let mut stream = IdleTimeoutStream::new(());
            for part in parts {
                stream.read(part);
            }
            assert_eq!(stream.beginning.is_none(), known, "{parts:?}");
        }
    }
}
