//! Inflates compressed bodies. The limit is checked while the result grows, so a wrong claim about
//! the size has no effect. Pure: the caller reserves memory step by step and can refuse it.

use std::io::{self, BufReader, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::body::too_large;
use crate::web::error::WebError;

/// Bytes inflated in one step.
const STEP: usize = 64 << 10;
/// The largest window of a zstd frame: 8 MiB, from RFC 9659 for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Members of a gzip body. Each needs a new decoder, and a body can hold millions of empty members.
const GZIP_MEMBERS: usize = 1_000;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// HTTP's name for zlib. Some senders leave out zlib's header; both forms are read.
    Deflate,
    Zstd,
}

impl Coding {
    /// From the name in HTTP and gRPC headers.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// Inflates a body to at most `limit` bytes. `reserve` is called before the result grows to a size.
pub(super) fn inflate(
    coding: Coding,
    body: &[u8],
    limit: usize,
    reserve: impl FnMut(usize) -> Result<(), WebError>,
) -> Result<Vec<u8>, WebError> {
    let read = |error: io::Error| WebError::BadRequest(format!("the body is not {}: {error}", coding.name()));
    match coding {
        Coding::Identity => bounded(body, limit, read, reserve),
        Coding::Gzip => bounded(Members::new(body), limit, read, reserve),
        // The low half of zlib's first byte is the method, 8. Both bytes as one number are a
        // multiple of 31.
        Coding::Deflate => match body {
            [first, second, ..]
                if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0 =>
            {
                bounded(ZlibDecoder::new(body), limit, read, reserve)
            }
            _ => bounded(DeflateDecoder::new(body), limit, read, reserve),
        },
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(body)).map_err(read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(read)?;
            bounded(decoder, limit, read, reserve)
        }
    }
}

/// The members of a gzip body, one after the other, at most `GZIP_MEMBERS`.
struct Members<'a> {
    member: GzDecoder<&'a [u8]>,
    read: usize,
}

impl<'a> Members<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self { member: GzDecoder::new(body), read: 1 }
    }
}

impl Read for Members<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.member.read(into)?;
            let rest = *self.member.get_ref();
            if read > 0 || into.is_empty() || rest.is_empty() {
                return Ok(read);
            }
            if self.read == GZIP_MEMBERS {
                let why = format!("it has more than {GZIP_MEMBERS} members; compress the body as one");
                return Err(io::Error::other(why));
            }
            self.read += 1;
            self.member = GzDecoder::new(rest);
        }
    }
}

fn bounded(
    mut from: impl Read,
    limit: usize,
    failed: impl Fn(io::Error) -> WebError,
    mut reserve: impl FnMut(usize) -> Result<(), WebError>,
) -> Result<Vec<u8>, WebError> {
    let mut step = vec![0; STEP];
    let mut whole = Vec::new();
    loop {
        let read = match from.read(&mut step) {
            Ok(0) => return Ok(whole),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        if whole.len() + read > limit {
            return Err(too_large());
        }
        reserve(whole.len() + read)?;
        whole.extend_from_slice(&step[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    const ALL: [(&str, Coding); 5] = [
        ("gzip", Coding::Gzip),
        ("zlib", Coding::Deflate),
        ("deflate", Coding::Deflate),
        ("zstd", Coding::Zstd),
        ("identity", Coding::Identity),
    ];

    fn compressed(how: &str, body: &[u8]) -> Vec<u8> {
        let (memory, level) = (Vec::new(), Compression::best());
        match how {
            "gzip" => {
                let mut to = GzEncoder::new(memory, level);
                to.write_all(body).and_then(|()| to.finish())
            }
            "zlib" => {
                let mut to = ZlibEncoder::new(memory, level);
                to.write_all(body).and_then(|()| to.finish())
            }
            "deflate" => {
                let mut to = DeflateEncoder::new(memory, level);
                to.write_all(body).and_then(|()| to.finish())
            }
            "zstd" => zstd::encode_all(body, 3),
            _ => Ok(body.to_vec()),
        }
        .expect("memory")
    }

    #[test]
    fn compressed_text_is_restored_and_other_bytes_refused() {
        let text = b"a span and another span and another span".repeat(10_000);
        for (how, coding) in ALL {
            let body = compressed(how, &text);
            assert_eq!(inflate(coding, &body, text.len(), |_| Ok(())).expect(how), text, "{how}");
            if coding != Coding::Identity {
                for wrong in [&b"not compressed at all"[..], &body[..body.len() / 2]] {
                    let error = inflate(coding, wrong, text.len(), |_| Ok(())).expect_err(how);
                    assert!(matches!(error, WebError::BadRequest(_)), "{how}: {error}");
                }
            }
        }
    }

    #[test]
    fn bomb_stops_growing_at_limit() {
        let zeros = vec![0; 32 << 20];
        for (how, coding) in ALL {
            let body = compressed(how, &zeros);
            let mut largest = 0;
            let error = inflate(coding, &body, 1 << 20, |bytes| {
                largest = bytes;
                Ok(())
            })
            .expect_err(how);
            assert!(matches!(error, WebError::TooLarge { .. }), "{how}: {error}");
            assert!(largest <= 1 << 20, "{how}: {largest}");
            let refused = inflate(coding, &body, usize::MAX, |bytes| {
                if bytes > 1 << 20 { Err(WebError::Busy) } else { Ok(()) }
            });
            assert!(matches!(refused, Err(WebError::Busy)), "{how}: memory is reserved first");
        }
    }

    #[test]
    fn gzip_members_are_read_up_to_limit() {
        let (text, empty) = (compressed("gzip", b"span"), compressed("gzip", b""));
        let body = [text.clone(), empty.repeat(GZIP_MEMBERS - 2), text].concat();
        assert_eq!(inflate(Coding::Gzip, &body, 100, |_| Ok(())).expect("allowed"), b"spanspan");
        let error = inflate(Coding::Gzip, &[body, empty].concat(), 100, |_| Ok(())).expect_err("one more");
        assert!(matches!(&error, WebError::BadRequest(why) if why.contains("1000 members")), "{error}");
    }

    #[test]
    fn zstd_window_above_limit_is_refused() {
        // The head of a frame: magic, no single segment, a window of 2^31 bytes, an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = inflate(Coding::Zstd, &frame, 1 << 20, |_| Ok(())).expect_err("too much memory");
        assert!(matches!(error, WebError::BadRequest(_)), "{error}");
    }
}
