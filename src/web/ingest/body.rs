//! A request's body into memory: as it comes, within its place, and inflated off the async
//! threads. Nothing is reserved because a sender claims a size.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt;

use super::BODY_LIMIT;
use super::admission::Room;
use super::inflate::{Coding, inflate};
use crate::web::AppState;
use crate::web::error::{WebError, body_error};

/// How long a sender may say nothing in the middle of a body.
const STALL: Duration = Duration::from_secs(20);

/// The coding that a header names; several in a row are refused.
pub(super) fn coding(headers: &HeaderMap, name: &HeaderName) -> Result<Coding, WebError> {
    let named = headers.get_all(name).iter().collect::<Vec<_>>();
    match named.as_slice() {
        [] => Some(Coding::Identity),
        [value] => value.to_str().ok().and_then(Coding::named),
        _ => None,
    }
    .ok_or(WebError::UnsupportedEncoding)
}

/// Reads a body bit by bit.
pub(super) struct Reader {
    body: Body,
    read: Vec<u8>,
    ended: bool,
}

impl Reader {
    /// Refuses at once what says itself that it is too large.
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Result<Self, WebError> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > BODY_LIMIT as u64) {
            return Err(too_large());
        }
        Ok(Self { body, read: Vec::new(), ended: false })
    }

    /// Reads until so many bytes are there or the body ends; gives what is there.
    pub(super) async fn fill(&mut self, room: &mut Room, bytes: usize) -> Result<&[u8], WebError> {
        while self.read.len() < bytes && !self.ended {
            // What the connection has read ahead is bounded by itself; ours is taken before.
            room.hold(self.read.len() + 1)?;
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
                room.hold(self.read.len() + data.len())?;
                self.read.extend_from_slice(&data);
            }
        }
        Ok(&self.read)
    }

    /// Everything.
    pub(super) async fn finish(mut self, room: &mut Room) -> Result<Bytes, WebError> {
        self.fill(room, usize::MAX).await?;
        Ok(self.read.into())
    }
}

/// Inflates a body. Its place becomes as large as what it holds.
pub(super) async fn inflated(
    state: &AppState,
    mut room: Room,
    coding: Coding,
    body: Bytes,
) -> Result<(Room, Bytes), WebError> {
    if coding == Coding::Identity {
        return Ok((room, body));
    }
    let at_work = state.admission.at_work().await?;
    tokio::task::spawn_blocking(move || {
        let _at_work = at_work;
        let mut place = room.beside();
        let inflated = inflate(coding, &body, BODY_LIMIT, |bytes| place.hold(bytes))?;
        drop(body);
        room.replace_with(place);
        Ok((room, inflated.into()))
    })
    .await
    .map_err(|error| WebError::Internal(error.into()))?
}

/// Reads and inflates an HTTP request's body.
pub(super) async fn whole(
    state: &AppState,
    mut room: Room,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Room, Bytes), WebError> {
    let coding = coding(headers, &header::CONTENT_ENCODING)?;
    let body = Reader::new(headers, body)?.finish(&mut room).await?;
    inflated(state, room, coding, body).await
}

/// Reads a body that is compressed in a way of its own, up to a limit.
pub(in crate::web) async fn whole_as_sent(
    mut room: Room,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<(Room, Bytes), WebError> {
    let body = Reader::new(headers, body)?.finish(&mut room).await?;
    if body.len() > limit { Err(WebError::TooLarge { limit_mib: limit >> 20 }) } else { Ok((room, body)) }
}

pub(super) fn too_large() -> WebError {
    WebError::TooLarge { limit_mib: BODY_LIMIT >> 20 }
}
