//! Reads a request's body into memory, within its reservation, and inflates it off the async
//! threads. Memory is reserved for the bytes that arrived, never for a size that a sender claims.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt;

use super::BODY_LIMIT;
use super::admission::MemoryReservation;
use super::inflate::{Coding, inflate};
use crate::web::AppState;
use crate::web::error::{WebError, body_error};

/// How long a sender may pause in the middle of a body.
const STALL: Duration = Duration::from_secs(20);

/// The coding that a header names. Several codings, one over the other, are refused.
pub(super) fn coding(headers: &HeaderMap, name: &HeaderName) -> Result<Coding, WebError> {
    let named = headers.get_all(name).iter().collect::<Vec<_>>();
    match named.as_slice() {
        [] => Some(Coding::Identity),
        [value] => value.to_str().ok().and_then(Coding::named),
        _ => None,
    }
    .ok_or(WebError::UnsupportedEncoding)
}

/// A body that is read step by step.
pub(super) struct Reader {
    body: Body,
    read: Vec<u8>,
    ended: bool,
}

impl Reader {
    /// Refuses a body whose `Content-Length` exceeds the limit.
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Result<Self, WebError> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > BODY_LIMIT as u64) {
            return Err(too_large());
        }
        Ok(Self { body, read: Vec::new(), ended: false })
    }

    /// Reads until `bytes` bytes have arrived or the body ends. Returns all bytes read so far.
    pub(super) async fn fill(
        &mut self,
        reservation: &mut MemoryReservation,
        bytes: usize,
    ) -> Result<&[u8], WebError> {
        while self.read.len() < bytes && !self.ended {
            // The connection's read-ahead has a limit of its own.
            reservation.grow_to(self.read.len() + 1)?;
            let frame = tokio::time::timeout(STALL, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| WebError::Stalled)? else {
                self.ended = true;
                break;
            };
            let frame = frame.map_err(|error| body_error(&error, BODY_LIMIT))?;
            if let Ok(data) = frame.into_data() {
                if self.read.len() + data.len() > BODY_LIMIT {
                    return Err(too_large());
                }
                reservation.grow_to(self.read.len() + data.len())?;
                self.read.extend_from_slice(&data);
            }
        }
        Ok(&self.read)
    }

    /// Reads the rest and returns the whole body.
    pub(super) async fn finish(mut self, reservation: &mut MemoryReservation) -> Result<Bytes, WebError> {
        self.fill(reservation, usize::MAX).await?;
        Ok(self.read.into())
    }
}

/// Inflates a body. Afterwards the reservation has the inflated size.
pub(super) async fn inflated(
    state: &AppState,
    mut reservation: MemoryReservation,
    coding: Coding,
    body: Bytes,
) -> Result<(MemoryReservation, Bytes), WebError> {
    if coding == Coding::Identity {
        return Ok((reservation, body));
    }
    let processor = state.admission.processor().await?;
    tokio::task::spawn_blocking(move || {
        let _processor = processor;
        let mut second = reservation.second();
        let inflated = inflate(coding, &body, BODY_LIMIT, |bytes| second.grow_to(bytes))?;
        drop(body);
        reservation.replace_with(second);
        Ok((reservation, inflated.into()))
    })
    .await
    .map_err(|error| WebError::Internal(error.into()))?
}

/// Reads and inflates an HTTP request's body.
pub(super) async fn read_inflated(
    state: &AppState,
    mut reservation: MemoryReservation,
    headers: &HeaderMap,
    body: Body,
) -> Result<(MemoryReservation, Bytes), WebError> {
    let coding = coding(headers, &header::CONTENT_ENCODING)?;
    let body = Reader::new(headers, body)?.finish(&mut reservation).await?;
    inflated(state, reservation, coding, body).await
}

/// Reads a body up to `limit` bytes and does not inflate it.
pub(in crate::web) async fn read_compressed(
    mut reservation: MemoryReservation,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<(MemoryReservation, Bytes), WebError> {
    let body = Reader::new(headers, body)?.finish(&mut reservation).await?;
    if body.len() > limit {
        return Err(WebError::TooLarge { limit_mib: limit >> 20 });
    }
    Ok((reservation, body))
}

pub(super) fn too_large() -> WebError {
    WebError::TooLarge { limit_mib: BODY_LIMIT >> 20 }
}
